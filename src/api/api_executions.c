/*
 * api_executions.c - the kept runs of a custom strategy: page by page, newest
 * first, and one of them whole, with its trace.  Runs in workers.
 *
 *	{"items": [{...}], "nextCursor": "..." | null}
 *
 * A cursor is the place of the last run of its page, so rows that arrive
 * meanwhile neither repeat nor hide one.
 */
#include <inttypes.h>
#include <stdio.h>

#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_valid.h"
#include "api/api_when.h"
#include "base/num.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "store/store_runs.h"
#include "svc/app.h"

#define PAGE_DEFAULT 50
#define MARK_US_MAX  253402300799999999 /* the end of year 9999 */

struct runs_call {
	struct http_req *req;
	struct app *app;
	const struct auth_principal *who;
	struct store_op op;
	struct store_runs_filter filter;
};

/* ---- reading --------------------------------------------------------- */

/* NULL: the path's id is no UUID and names nothing; answered. */
static struct runs_call *call_new(struct http_req *req, store_cb cb)
{
	struct runs_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	c->who = api_principal(req);
	c->filter.realm = str_from(c->who->realm);
	c->filter.all_realms = c->who->is_admin;
	if (uuid_parse(http_req_capture(req, "id"), &c->filter.strategy) < 0) {
		http_reply_error(req, 404, "strategy does not exist");
		return NULL;
	}
	store_op_init(&c->op, cb, c);
	return c;
}

static void query_item(struct api_valid *v, const char *name, const char *type,
	const char *msg, struct str given)
{
	struct api_loc loc = {.cnt = 0};
	struct jv input = jv_str(given);

	api_loc_add(&loc, "query");
	api_loc_add(&loc, name);
	api_valid_item(v, type, &loc, msg, &input);
}

static void read_bound(
	struct api_valid *v, const char *name, bool *has_r, int64_t *us_r)
{
	struct str s = http_req_query(v->req, name);
	struct api_when w;

	if (s.p == NULL)
		return;
	if (api_when_parse_lax(s, &w) < 0) {
		query_item(v, name, "datetime_from_date_parsing",
			"Input should be a valid datetime or date", s);
		return;
	}
	*has_r = true;
	*us_r = w.us;
}

/* "<microseconds>.<uuid>" */
static int mark_parse(struct str s, struct store_runs_mark *m_r)
{
	const char *dot = memchr(s.p, '.', s.len);
	struct str us, id;

	if (dot == NULL)
		return -1;
	us = (struct str){s.p, (size_t)(dot - s.p)};
	id = (struct str){dot + 1, s.len - us.len - 1};
	if (num_parse_i64(us, &m_r->created_us) < 0 ||
		m_r->created_us < -MARK_US_MAX || m_r->created_us > MARK_US_MAX)
		return -1;
	return uuid_parse(id, &m_r->id);
}

static void read_cursor(struct api_valid *v, struct store_runs_filter *f)
{
	struct str s = http_req_query(v->req, "cursor");

	if (s.p == NULL)
		return;
	f->has_after = mark_parse(s, &f->after) == 0;
	if (!f->has_after)
		query_item(v, "cursor", "value_error",
			"Input should be the nextCursor of an answer", s);
}

static bool read_filter(struct http_req *req, struct store_runs_filter *f)
{
	struct api_valid v;

	api_valid_init(&v, req);
	f->status = api_valid_query_pattern(
		&v, "status", "^(ok|error|timeout|limit)$");
	f->case_name = http_req_query(req, "caseName");
	f->user = http_req_query(req, "externalUserId");
	f->correlation_id = http_req_query(req, "correlationId");
	read_bound(&v, "since", &f->has_since, &f->since_us);
	read_bound(&v, "until", &f->has_until, &f->until_us);
	read_cursor(&v, f);
	f->limit = api_valid_query_int(
		&v, "limit", 1, STORE_RUNS_MAX, PAGE_DEFAULT);
	return api_valid_done(&v);
}

/* ---- showing --------------------------------------------------------- */

/* NaN and Infinity are numbers of Postgres, and none of JSON. */
static void show_number(struct json_out *o, const char *key, struct str text)
{
	bool finite = text.len > 0 && text.p[text.len - 1] >= '0' &&
		      text.p[text.len - 1] <= '9';

	json_out_key(o, key);
	if (!finite)
		json_out_null(o);
	else
		json_out_raw(o, text);
}

static void show_raw(struct json_out *o, const char *key, struct str json)
{
	json_out_key(o, key);
	if (json.p == NULL)
		json_out_null(o);
	else
		json_out_raw(o, json);
}

/* Members of a run, without the braces. */
static void show_run(struct json_out *o, const struct store_run *r)
{
	json_out_key(o, "id");
	json_out_uuid(o, &r->mark.id);
	json_out_key(o, "createdAt");
	api_show_time(o, r->mark.created_us, CLOCK_TS_Z);
	json_out_kv_str(o, "strategyId", r->strategy_id);
	json_out_kv_int(o, "strategyVersion", r->version);
	json_out_kv_str(o, "strategyType", r->type);
	json_out_kv_str(o, "externalGameId", r->game);
	json_out_kv_str(o, "externalTaskId", r->task);
	json_out_kv_str(o, "externalUserId", r->user);
	json_out_kv_str(o, "status", r->status);
	json_out_kv_str(o, "errorCode", r->error_code);
	show_number(o, "points", r->points);
	json_out_kv_str(o, "caseName", r->case_name);
	show_number(o, "durationMs", r->duration_ms);
	json_out_kv_int(o, "nodesExecuted", r->nodes);
	json_out_kv_str(o, "reason", r->reason);
	show_number(o, "weight", r->weight);
	json_out_kv_str(o, "correlationId", r->correlation_id);
	json_out_kv_str(o, "notes", r->notes);
}

static void show_cursor(struct json_out *o, const struct store_runs_mark *m)
{
	char id[UUID_TEXT_LEN + 1], text[UUID_TEXT_LEN + 24];

	uuid_print(&m->id, id);
	snprintf(text, sizeof(text), "%" PRId64 ".%s", m->created_us, id);
	json_out_kv_cstr(o, "nextCursor", text);
}

/* ---- handlers -------------------------------------------------------- */

static void on_list(struct store_op *op, const struct db_reply *rep)
{
	struct runs_call *c = op->arg;
	struct store_run run;
	struct json_out o;
	struct buf b;
	int row = 0;
	bool more;

	if (api_no_strategy(c->req, rep))
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "items");
	json_out_arr(&o);
	/* one row more than the page was asked for */
	more = db_res_rows(rep->res[0]) > c->filter.limit;
	for (; row < db_res_rows(rep->res[0]) && row < c->filter.limit; row++) {
		if (!store_run_row(rep->res[0], row, &run))
			break;
		json_out_obj(&o);
		show_run(&o, &run);
		json_out_obj_end(&o);
	}
	json_out_arr_end(&o);
	if (more) {
		show_cursor(&o, &run.mark);
	} else {
		json_out_key(&o, "nextCursor");
		json_out_null(&o);
	}
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

void api_executions_list(struct http_req *req)
{
	struct runs_call *c = call_new(req, on_list);

	if (c != NULL && read_filter(req, &c->filter))
		store_runs_list(&c->op, c->app->db, &c->filter);
}

static void on_run(struct store_op *op, const struct db_reply *rep)
{
	struct runs_call *c = op->arg;
	struct store_run run;
	struct json_out o;
	struct buf b;

	if (api_no_strategy(c->req, rep))
		return;
	if (!store_run_whole_row(rep->res[0], &run)) {
		http_reply_error(c->req, 404, "execution does not exist");
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	show_run(&o, &run);
	json_out_kv_str(&o, "parentStrategyId", run.parent);
	json_out_kv_str(&o, "astSha256", run.ast_sha256);
	show_raw(&o, "data", run.data);
	show_raw(&o, "fields", run.fields);
	show_raw(&o, "trace", run.trace);
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

void api_executions_get(struct http_req *req)
{
	struct runs_call *c = call_new(req, on_run);
	struct uuid row;

	if (c == NULL)
		return;
	if (uuid_parse(http_req_capture(req, "rowId"), &row) < 0) {
		http_reply_error(req, 404, "execution does not exist");
		return;
	}
	store_runs_get(&c->op, c->app->db, c->filter.realm,
		c->filter.all_realms, &c->filter.strategy, &row);
}
