/* api_common.c - see api_common.h. Runs in workers. */
#include "api/api_common.h"

#include <stdio.h>

#include "base/log.h"
#include "http/http_reply.h"
#include "shm/shm.h"

#define NODE_ID_HEADER_MAX 256

void *api_alloc(struct http_req *req, size_t size)
{
	void *p = arena_calloc(&req->arena, 1, size);

	if (p == NULL)
		fatal("request arena is too small for %zu bytes", size);
	return p;
}

struct str api_keep(struct http_req *req, struct str s)
{
	char *p;

	if (s.p == NULL)
		return s;
	p = api_alloc(req, s.len + 1);
	memcpy(p, s.p, s.len);
	return (struct str){p, s.len};
}

struct str api_principal_key(const struct auth_principal *who)
{
	return who->has_key ? str_from(who->key_prefix) : (struct str){NULL, 0};
}

struct str api_principal_subject(const struct auth_principal *who)
{
	return who->has_subject ? str_from(who->subject)
				: (struct str){NULL, 0};
}

void api_forget(struct http_req *req, const char *kind, const struct uuid *id)
{
	char text[UUID_TEXT_LEN + 1];
	struct str key;

	uuid_print(id, text);
	key = arena_printf(&req->arena, "%s:%s", kind, text);
	if (key.p != NULL)
		shm_generation_bump(key);
}

static void reply_sql_error(struct http_req *req, const struct db_reply *rep)
{
	static const struct {
		const char *sqlstate;
		int status;
		const char *text;
	} known[] = {
		{"23503", 404, "a referenced object does not exist"},
		{"23505", 409, "the object exists"},
		{"22001", 422, "a value is too long"},
		{"22003", 422, "a number is out of range"},
		{"22P02", 422, "a value is not of the wanted form"},
		{"22P05", 422, "a text cannot be stored"},
		{"54000", 422, "a value is too large to be indexed"},
	};

	for (size_t i = 0; i < NELEM(known); i++)
		if (strcmp(rep->sqlstate, known[i].sqlstate) == 0) {
			http_reply_error(
				req, known[i].status, "%s", known[i].text);
			return;
		}
	log_set_correlation(req->correlation_id);
	log_errorx("statement failed handler=%s sqlstate=%s message=\"%s\"",
		req->route->template, rep->sqlstate, rep->message);
	log_set_correlation(NULL);
	http_reply_error(req, 500, "Internal server error");
}

void api_reply_db(struct http_req *req, const struct db_reply *rep)
{
	switch (rep->outcome) {
	case DB_OK:
	case DB_SQL_ERROR:
		if (strncmp(rep->sqlstate, "57", 2) == 0 ||
			/* it lost a deadlock: nothing has happened */
			strncmp(rep->sqlstate, "40", 2) == 0 ||
			strcmp(rep->sqlstate, "55P03") == 0)
			http_reply_unavailable(
				req, 1, "the database is busy, try again");
		else
			reply_sql_error(req, rep);
		return;
	case DB_TIMEOUT:
		http_reply_unavailable(
			req, 1, "the database did not answer in time");
		return;
	case DB_LOST:
	case DB_UNAVAILABLE:
		http_reply_unavailable(req, 1, "the database is not available");
		return;
	}
}

bool api_no_strategy(struct http_req *req, const struct db_reply *rep)
{
	if (rep->outcome != DB_OK)
		api_reply_db(req, rep);
	else if (db_res_rows(rep->res[0]) == 0)
		http_reply_error(req, 404, "strategy does not exist");
	else
		return false;
	return true;
}

void api_reply_open(struct http_req *req, enum svc_open res)
{
	switch (res) {
	case SVC_OPEN_OK:
	case SVC_OPEN_MISSING:
		http_reply_error(req, 404, "game does not exist");
		return;
	case SVC_OPEN_FOREIGN:
		http_reply_error(req, 403, "the game belongs to somebody else");
		return;
	case SVC_OPEN_UNAVAILABLE:
		http_reply_unavailable(req, 1, "the database is not available");
		return;
	}
}

void api_reply_assign(
	struct http_req *req, enum svc_assign res, struct str strategy_id)
{
	switch (res) {
	case SVC_ASSIGN_OK:
	case SVC_ASSIGN_UNKNOWN:
		http_reply_error(req, 404, "strategy %.*s does not exist",
			STR_ARG(strategy_id));
		return;
	case SVC_ASSIGN_NOT_PUBLISHED:
		http_reply_error(req, 400, "strategy %.*s is not published",
			STR_ARG(strategy_id));
		return;
	case SVC_ASSIGN_UNAVAILABLE:
		http_reply_unavailable(req, 1, "the database is not available");
		return;
	}
}

/* Bytes outside 0x21 to 0x7e, and '%', as %XX; cut to the header's limit. */
static void node_id_header(struct http_req *req, struct str id)
{
	static const char hex[] = "0123456789ABCDEF";
	char out[NODE_ID_HEADER_MAX + 1];
	size_t at = 0;

	for (size_t i = 0; i < id.len; i++) {
		unsigned char c = (unsigned char)id.p[i];
		bool plain = c > 0x20 && c < 0x7f && c != '%';

		if (at + (plain ? 1 : 3) > NODE_ID_HEADER_MAX)
			break;
		if (plain) {
			out[at++] = (char)c;
			continue;
		}
		out[at++] = '%';
		out[at++] = hex[c >> 4];
		out[at++] = hex[c & 15];
	}
	out[at] = '\0';
	http_reply_header(req, "X-Node-Id", out);
}

void api_reply_dsl_error(struct http_req *req, int status,
	const struct dsl_error *err, bool force_code)
{
	struct json_out o;
	struct buf b;

	if (err->node_id.p != NULL)
		node_id_header(req, err->node_id);
	if (err->code == NULL && !force_code) {
		http_reply_error(req, status, "%s", err->message);
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_cstr(
		&o, "code", err->code ? err->code : dsl_error_log_code(err));
	json_out_key(&o, "params");
	json_out_obj(&o);
	for (unsigned i = 0; i < err->params_cnt; i++) {
		json_out_key(&o, err->params[i].name);
		json_out_val(&o, &err->params[i].val);
	}
	json_out_obj_end(&o);
	json_out_kv_cstr(&o, "message", err->message);
	json_out_obj_end(&o);
	http_reply_detail(req, status, buf_str(&b));
	buf_fini(&b);
}

void api_show_page(
	struct json_out *o, const struct store_page *page, int64_t total)
{
	char ordering[80];

	snprintf(ordering, sizeof(ordering), "%s%.*s",
		page->descending ? "-" : "", STR_ARG(page->order));
	json_out_key(o, "search_options");
	json_out_obj(o);
	json_out_kv_cstr(o, "ordering", ordering);
	json_out_kv_int(o, "page", page->page);
	if (page->size < 0)
		json_out_kv_cstr(o, "page_size", "all");
	else
		json_out_kv_int(o, "page_size", page->size);
	json_out_kv_int(o, "total_count", total);
	json_out_obj_end(o);
}

void api_show_time(struct json_out *o, int64_t us, enum clock_form form)
{
	if (us == 0)
		json_out_null(o);
	else
		json_out_time(o, us, form);
}
