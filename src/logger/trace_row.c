/* trace_row.c - see trace_row.h.  Logger process. */
#include "logger/trace_row.h"

#include <assert.h>
#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "ipc/audit_rec.h"
#include "ipc/request_rec.h"
#include "ipc/run_rec.h"
#include "json/json_out.h"

#define FFFD "\xef\xbf\xbd" /* U+FFFD in UTF-8 */

/* ---- making text storable ----------------------------------------------- */

/* Bytes of the well-formed character at the start of s, 0 for none. */
static size_t char_len(struct str s)
{
	for (size_t n = 1; n <= 4 && n <= s.len; n++)
		if (str_is_utf8((struct str){s.p, n}))
			return s.p[0] == '\0' ? 0 : n;
	return 0;
}

static void add_clean(struct buf *b, struct str s)
{
	if (str_is_utf8(s) && memchr(s.p, '\0', s.len) == NULL) {
		buf_add_str(b, s);
		return;
	}
	while (s.len > 0) {
		size_t n = char_len(s);

		if (n == 0)
			buf_add(b, FFFD, 3);
		else
			buf_add(b, s.p, n);
		s.p += n ? n : 1;
		s.len -= n ? n : 1;
	}
}

/* Value of \uXXXX at the start of s, -1 when there is none. */
static int unicode_escape(struct str s)
{
	int v = 0;

	if (s.len < 6 || s.p[0] != '\\' || s.p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		char c = s.p[i];

		v <<= 4;
		if (c >= '0' && c <= '9')
			v |= c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v |= (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/*
 * Length of the escape at the start of s that jsonb refuses, 0 when it is
 * fine; *ok_len_r is then how much may be copied.
 */
static size_t bad_escape(struct str s, size_t *ok_len_r)
{
	int v = unicode_escape(s), low;

	*ok_len_r = s.len < 2 ? s.len : 2; /* backslash and what it escapes */
	if (v < 0)
		return 0;
	*ok_len_r = 6;
	if (v >= 0xd800 && v <= 0xdbff) {
		low = unicode_escape((struct str){s.p + 6, s.len - 6});
		if (low >= 0xdc00 && low <= 0xdfff) {
			*ok_len_r = 12;
			return 0;
		}
		return 6;
	}
	return v == 0 || (v >= 0xdc00 && v <= 0xdfff) ? 6 : 0;
}

/* JSON text from a client: bad bytes and escapes become U+FFFD. */
static void add_clean_json(struct buf *b, struct str s)
{
	size_t start = b->len, from = start, bad, n;
	struct str all;

	add_clean(b, s);
	all = (struct str){b->p + start, b->len - start};
	if (memchr(all.p, '\\', all.len) == NULL)
		return;
	/* in place: a replacement is never longer than the escape */
	for (size_t i = 0; i < all.len; i += n) {
		if (all.p[i] != '\\') {
			b->p[from++] = all.p[i];
			n = 1;
			continue;
		}
		bad = bad_escape((struct str){all.p + i, all.len - i}, &n);
		if (bad != 0) {
			memcpy(b->p + from, FFFD, 3);
			from += 3;
			n = bad;
			continue;
		}
		memmove(b->p + from, all.p + i, n);
		from += n;
	}
	b->len = from;
}

/* ---- columns ------------------------------------------------------------ */

/*
 * While a row is read a column holds its offset and length in `text`, which
 * may still move; `NO_OFFSET` stands for NULL.
 */
struct cols {
	struct trace_row *row;
	struct json_out json;
	size_t at[TRACE_COLS_MAX + 1];
	bool null[TRACE_COLS_MAX];
	unsigned n;
};

static struct buf *col_next(struct cols *c, bool is_null)
{
	c->at[c->n] = c->row->text.len;
	c->null[c->n] = is_null;
	c->n++;
	json_out_init(&c->json, &c->row->text);
	return &c->row->text;
}

static void col_text(struct cols *c, struct str s)
{
	struct buf *b = col_next(c, s.p == NULL);

	if (s.p != NULL)
		add_clean(b, s);
}

static void col_uuid(struct cols *c, const struct uuid *u)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_print(u, text);
	col_text(c, str_from(text));
}

static void col_time(struct cols *c, int64_t us)
{
	char text[CLOCK_TEXT_MAX];
	size_t n = clock_print(us, CLOCK_TS_SP, text);

	col_text(c, (struct str){text, n});
}

static void col_int(struct cols *c, int64_t v)
{
	buf_printf(col_next(c, false), "%lld", (long long)v);
}

static void col_ms(struct cols *c, uint64_t ns)
{
	buf_printf(col_next(c, false), "%llu.%06llu",
		(unsigned long long)(ns / 1000000),
		(unsigned long long)(ns % 1000000));
}

static void col_bool(struct cols *c, bool v)
{
	buf_add_char(col_next(c, false), v ? 't' : 'f');
}

/* For numeric and double precision; "5.0" is written as 5. */
static void col_number(struct cols *c, bool there, double v)
{
	char text[NUM_DOUBLE_MAX];
	size_t n;

	if (!there || !isfinite(v)) {
		col_next(c, true);
		return;
	}
	n = num_print_double(v, text);
	if (n > 2 && memcmp(text + n - 2, ".0", 2) == 0)
		n -= 2;
	buf_add(col_next(c, false), text, n);
}

static void cols_finish(struct cols *c)
{
	struct trace_row *r = c->row;

	c->at[c->n] = r->text.len;
	r->cols_cnt = c->n;
	for (unsigned i = 0; i < c->n; i++)
		r->col[i] = c->null[i] ? (struct str){NULL, 0}
				       : (struct str){r->text.p + c->at[i],
						 c->at[i + 1] - c->at[i]};
}

/* ---- runs --------------------------------------------------------------- */

static void col_trace(struct cols *c, const struct run_rec *rec)
{
	/* entries were counted but not kept: absent, not empty */
	bool absent = rec->ents_cnt == 0 && rec->nodes > 0;
	struct json_out *o = &c->json;

	col_next(c, absent);
	if (absent)
		return;
	json_out_arr(o);
	for (unsigned i = 0; i < rec->ents_cnt; i++) {
		const struct run_ent *e = &rec->ents[i];

		json_out_obj(o);
		json_out_kv_str(o, "nodeId", e->node_id);
		json_out_kv_cstr(o, "type", e->type);
		json_out_key(o, "value");
		json_out_val(o, e->value);
		if (e->branch != NULL)
			json_out_kv_cstr(o, "branch", e->branch);
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

static void col_fields(struct cols *c, const struct run_rec *rec)
{
	struct json_out *o = &c->json;

	col_next(c, false);
	json_out_obj(o);
	for (unsigned i = 0; i < rec->fields_cnt; i++) {
		json_out_key_str(o, rec->fields[i].path);
		json_out_val(o, rec->fields[i].value);
	}
	json_out_obj_end(o);
}

static void col_data(struct cols *c, struct str json)
{
	struct buf *b = col_next(c, json.p == NULL);

	if (json.p != NULL)
		add_clean_json(b, json);
}

/* The first sentence is the reference's, to the letter. */
void trace_row_notes(const struct run_rec *rec, struct buf *b)
{
	size_t start = b->len;

	if (rec->ents_cut > 0)
		buf_printf(b, "trace truncated: %u -> %u entries",
			rec->ents_cnt + rec->ents_cut, rec->ents_cnt);
	if (rec->error_message.p != NULL) {
		if (b->len > start)
			buf_add_str(b, STR("; "));
		add_clean(b, rec->error_message);
	}
	if (rec->clipped > 0)
		buf_printf(b, "%s%u values clipped", b->len > start ? "; " : "",
			rec->clipped);
	if (rec->data_cut)
		buf_printf(b, "%sevent data too large to keep",
			b->len > start ? "; " : "");
}

static void col_notes(struct cols *c, const struct run_rec *rec)
{
	struct buf *b = col_next(c, false);
	size_t start = b->len;

	trace_row_notes(rec, b);
	c->null[c->n - 1] = b->len == start;
}

static int read_run(struct cols *c, struct str body, unsigned without)
{
	struct run_rec run, *rec = &run;

	(void)without;
	if (run_rec_decode(&c->row->arena, body, rec) < 0)
		return -1;
	c->row->id = rec->id;
	col_uuid(c, &rec->id);
	col_time(c, rec->at_us);
	col_time(c, rec->at_us);
	col_text(c, rec->strategy_id);
	col_int(c, rec->strategy_version);
	col_text(c, rec->strategy_type);
	col_text(c, rec->realm);
	col_text(c, rec->game);
	col_text(c, rec->task);
	col_text(c, rec->user);
	col_text(c, rec->status);
	col_text(c, rec->error_code);
	col_number(c, rec->has_points, rec->points);
	col_text(c, rec->case_name);
	col_ms(c, rec->duration_ns);
	col_int(c, rec->nodes);
	col_trace(c, rec);
	col_bool(c, rec->sampled && str_is(rec->status, "ok"));
	col_text(c, rec->parent_strategy);
	col_notes(c, rec);
	col_data(c, rec->data_json);
	col_fields(c, rec);
	col_number(c, true, rec->weight);
	col_text(c, rec->reason);
	col_text(c, rec->correlation_id);
	col_text(c, rec->ast_sha256);
	return 0;
}

/* ---- audit -------------------------------------------------------------- */

static void kv_unless_null(struct json_out *o, const char *key, struct str s)
{
	if (s.p != NULL)
		json_out_kv_str(o, key, s);
}

/* The members of `details` behind those that are added here. */
static void col_details(
	struct cols *c, const struct audit_rec *rec, unsigned without)
{
	struct str d = str_trim(rec->details_json);
	struct json_out *o = &c->json;
	struct buf *b = col_next(c, false);
	size_t start = b->len;

	json_out_obj(o);
	kv_unless_null(o, "correlationId", rec->correlation_id);
	if (without & TRACE_REF_KEY)
		kv_unless_null(o, "apiKey_unresolved", rec->api_key);
	if (without & TRACE_REF_SUBJECT)
		kv_unless_null(o, "oauth_user_id_unresolved", rec->subject);
	if (d.len > 2 && d.p[0] == '{') {
		d = str_trim((struct str){d.p + 1, d.len - 1});
		if (b->len > start + 1 && d.len > 1)
			buf_add_char(b, ',');
		add_clean_json(b, d);
	} else
		json_out_obj_end(o);
}

static int read_audit(struct cols *c, struct str body, unsigned without)
{
	struct audit_rec audit, *rec = &audit;
	struct str none = {NULL, 0};

	if (audit_rec_decode(body, rec) < 0)
		return -1;
	c->row->id = rec->id;
	col_uuid(c, &rec->id);
	col_time(c, rec->at_us);
	col_time(c, rec->at_us);
	col_text(c, without & TRACE_REF_KEY ? none : rec->api_key);
	col_text(c, without & TRACE_REF_SUBJECT ? none : rec->subject);
	col_text(c, rec->level);
	col_text(c, rec->message);
	col_text(c, rec->module);
	col_details(c, rec, without);
	return 0;
}

/* ---- requests ----------------------------------------------------------- */

static int read_request(struct cols *c, struct str body, unsigned without)
{
	struct request_rec rec;
	uint64_t ms;

	if (request_rec_decode(body, &rec) < 0)
		return -1;
	ms = (rec.duration_ns + 500000) / 1000000;
	c->row->id = rec.id;
	col_uuid(c, &rec.id);
	col_time(c, rec.at_us);
	col_time(c, rec.at_us);
	col_text(c, rec.api_key);
	if (rec.has_user && !(without & TRACE_REF_USER))
		col_uuid(c, &rec.user);
	else
		col_next(c, true);
	col_text(c, rec.endpoint);
	col_int(c, rec.status);
	col_int(c, ms < INT32_MAX ? (int64_t)ms : INT32_MAX);
	col_text(c, rec.method);
	col_text(c, rec.subject);
	col_ms(c, rec.duration_ns);
	col_number(c, true, rec.weight);
	col_text(c, rec.correlation_id);
	return 0;
}

/* ---- the tables --------------------------------------------------------- */

#define REFS_MAX 2

static const struct table {
	const char *name;
	const char *columns;
	unsigned cols_cnt;
	/* Columns with foreign keys, by their bit of enum trace_ref. */
	const char *refs[REFS_MAX];
	enum evidence_type type; /* of its records */
	/* All columns of a record, in order; -1: it cannot be read. */
	int (*read)(struct cols *c, struct str body, unsigned without);
} tables[TRACE_TABLES] = {
	[TRACE_RUNS] = {"strategyexecutionlog",
		"\"id\",\"created_at\",\"updated_at\",\"strategyId\","
		"\"strategyVersion\",\"strategyType\",\"realmId\","
		"\"externalGameId\",\"externalTaskId\",\"externalUserId\","
		"\"status\",\"errorCode\",\"points\",\"caseName\","
		"\"durationMs\",\"nodesExecuted\",\"trace\",\"sampled\","
		"\"parentStrategyId\",\"notes\",\"data\",\"fields\","
		"\"weight\",\"reason\",\"correlation_id\",\"ast_sha256\"",
		26, {NULL}, EV_T_RUN, read_run},
	[TRACE_LOGS] = {"logs",
		"\"id\",\"created_at\",\"updated_at\",\"apiKey_used\","
		"\"oauth_user_id\",\"log_level\",\"message\",\"module\","
		"\"details\"",
		9, {"apiKey_used", "oauth_user_id"}, EV_T_AUDIT, read_audit},
	[TRACE_REQUESTS] = {"apirequests",
		"\"id\",\"created_at\",\"updated_at\",\"apiKey_used\","
		"\"userId\",\"endpoint\",\"statusCode\","
		"\"responseTimeMS\",\"requestType\",\"oauth_user_id\","
		"\"duration_ms\",\"weight\",\"correlation_id\"",
		13, {"userId"}, EV_T_REQUEST, read_request},
};

/* Rows for Sentry go into none. */
static const enum trace_table of_class[EV_CLASS_CNT] = {
	[EV_AUDIT] = TRACE_LOGS,
	[EV_ERROR] = TRACE_RUNS,
	[EV_SAMPLE] = TRACE_RUNS,
	[EV_REQUEST] = TRACE_REQUESTS,
};

/* ---- interface ---------------------------------------------------------- */

enum trace_table trace_table_of(enum evidence_class cls)
{
	return of_class[cls];
}

const char *trace_table_name(enum trace_table t)
{
	return tables[t].name;
}

const char *trace_table_columns(enum trace_table t)
{
	return tables[t].columns;
}

/* Names of foreign keys hold that of their column, whatever they add to it. */
unsigned trace_table_refs(enum trace_table t, const char *constraint)
{
	const char *const *refs = tables[t].refs;
	unsigned all = 0;

	for (unsigned i = 0; i < REFS_MAX && refs[i] != NULL; i++) {
		if (strstr(constraint, refs[i]) != NULL)
			return 1u << i;
		all |= 1u << i;
	}
	return all;
}

void trace_row_init(struct trace_row *r)
{
	memset(r, 0, sizeof(*r));
	buf_init(&r->text, 0);
	arena_init(&r->arena, 0);
}

void trace_row_fini(struct trace_row *r)
{
	buf_fini(&r->text);
	arena_fini(&r->arena);
}

int trace_row_read(struct trace_row *r, enum evidence_type type,
	struct str body, unsigned without)
{
	struct cols c = {.row = r};

	buf_reset(&r->text);
	arena_reset(&r->arena);
	/* type is a byte from a socket */
	for (unsigned t = 0; t < TRACE_TABLES; t++) {
		if (tables[t].type != type)
			continue;
		r->table = t;
		if (tables[t].read(&c, body, without) < 0)
			return -1;
		assert(c.n == tables[t].cols_cnt);
		cols_finish(&c);
		return 0;
	}
	return -1;
}

/* What stands behind the backslash in COPY's text format. */
static char copy_escape(char c)
{
	switch (c) {
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return c;
	}
}

/* How much of s COPY takes as it is. */
static size_t copy_plain(struct str s)
{
	static const char special[] = {'\\', '\n', '\t', '\r'};
	size_t len = s.len;

	for (size_t i = 0; i < sizeof(special); i++) {
		const char *at = memchr(s.p, special[i], len);

		if (at != NULL)
			len = (size_t)(at - s.p);
	}
	return len;
}

static void add_copy_text(struct buf *b, struct str s)
{
	while (s.len > 0) {
		size_t len = copy_plain(s);

		buf_add(b, s.p, len);
		s = (struct str){s.p + len, s.len - len};
		if (s.len == 0)
			return;
		buf_add_char(b, '\\');
		buf_add_char(b, copy_escape(*s.p));
		s = (struct str){s.p + 1, s.len - 1};
	}
}

void trace_row_copy(const struct trace_row *r, struct buf *out)
{
	for (unsigned i = 0; i < r->cols_cnt; i++) {
		if (i > 0)
			buf_add_char(out, '\t');
		if (r->col[i].p == NULL)
			buf_add_str(out, STR("\\N"));
		else
			add_copy_text(out, r->col[i]);
	}
	buf_add_char(out, '\n');
}

/* Name of the column at *rest, which moves on. */
static struct str next_column(const char **rest)
{
	const char *from = *rest + 1, *end = strchr(from, '"');

	*rest = end[1] == ',' ? end + 2 : end + 1;
	return (struct str){from, (size_t)(end - from)};
}

void trace_row_json(const struct trace_row *r, struct buf *out)
{
	const char *names = tables[r->table].columns;
	struct json_out o;

	json_out_init(&o, out);
	json_out_obj(&o);
	for (unsigned i = 0; i < r->cols_cnt; i++) {
		json_out_key_str(&o, next_column(&names));
		json_out_str(&o, r->col[i]);
	}
	json_out_obj_end(&o);
}
