/* sentry_json.c - see sentry_json.h.  Logger process. */
#define _GNU_SOURCE /* sigabbrev_np */
#include "sentry/sentry_json.h"

#include <stdio.h>
#include <string.h>

#include "json/json_out.h"

#define TAG_MAX     200
#define SPAN_ID_LEN 16

static void print_hex(const uint8_t *b, size_t n, char *to)
{
	for (size_t i = 0; i < n; i++)
		snprintf(to + 2 * i, 3, "%02x", b[i]);
}

void sentry_make_id(char id_r[SENTRY_ID_LEN + 1])
{
	struct uuid u;

	uuid_make_v4(&u);
	print_hex(u.b, sizeof(u.b), id_r);
}

/* ---- parts ------------------------------------------------------------- */

static void put_time(struct json_out *o, const char *key, int64_t us)
{
	json_out_key(o, key);
	json_out_float(o, (double)us / 1e6);
}

/* Sentry refuses tags that are empty, long or have a line break. */
static void put_tag(struct json_out *o, const char *key, struct str value)
{
	char text[TAG_MAX];

	value = str_clip(value, TAG_MAX);
	if (value.len == 0)
		return;
	for (size_t i = 0; i < value.len; i++)
		text[i] = (unsigned char)value.p[i] < 0x20 ? ' ' : value.p[i];
	json_out_kv_str(o, key, (struct str){text, value.len});
}

static void put_tag_num(struct json_out *o, const char *key, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)v);
	json_out_kv_cstr(o, key, text);
}

/* Name of the signal that ended a process; NULL: none did. */
static const char *signal_of(const struct fault_rec *rec)
{
	if (rec->kind != FAULT_CRASH || rec->how == 0 ||
		str_is(rec->code, "exit"))
		return NULL;
	return sigabbrev_np((int)rec->how);
}

static void put_tags(struct json_out *o, const struct fault_rec *rec)
{
	json_out_key(o, "tags");
	json_out_obj(o);
	put_tag(o, "handler", rec->handler);
	put_tag(o, "method", rec->method);
	if (rec->status != 0)
		put_tag_num(o, "status", rec->status);
	put_tag(o, "role", rec->role);
	if (rec->slot != 0)
		put_tag_num(o, "slot", rec->slot);
	put_tag(o, "correlation_id", rec->correlation_id);
	put_tag(o, "realm", rec->realm);
	put_tag(o, "strategy", rec->strategy);
	if (rec->strategy.p != NULL)
		put_tag_num(o, "strategy_version", rec->version);
	put_tag(o, "strategy_type", rec->strategy_type);
	put_tag(o, "code", rec->code);
	put_tag(o, "node", rec->node);
	if (signal_of(rec))
		put_tag(o, "signal", str_from(signal_of(rec)));
	json_out_obj_end(o);
}

/* What every event and transaction says of its sender. */
static void put_sender(struct json_out *o, const struct sentry_ctx *ctx)
{
	json_out_kv_cstr(o, "platform", "c");
	json_out_kv_cstr(o, "environment", ctx->conf->sentry_environment);
	json_out_kv_cstr(o, "release", ctx->conf->sentry_release);
	json_out_kv_cstr(o, "server_name", ctx->server_name);
	json_out_key(o, "sdk");
	json_out_obj(o);
	json_out_kv_cstr(o, "name", "game-c");
	json_out_kv_cstr(o, "version", GAMED_VERSION);
	json_out_obj_end(o);
}

static void put_raw(struct json_out *o, const char *key, struct str json)
{
	if (json.p == NULL)
		return;
	json_out_key(o, key);
	json_out_raw(o, json);
}

/* The template, not the path: that names users. */
static void put_request(struct json_out *o, const struct fault_rec *rec)
{
	if (rec->method.p == NULL)
		return;
	json_out_key(o, "request");
	json_out_obj(o);
	json_out_kv_str(o, "method", rec->method);
	json_out_kv_str(o, "url", rec->handler);
	if (rec->query.p != NULL)
		json_out_kv_str(o, "query_string", rec->query);
	put_raw(o, "headers", rec->headers);
	put_raw(o, "data", rec->data);
	json_out_obj_end(o);
}

/* Only with sentry.send_default_pii. */
static void put_user(struct json_out *o, const struct fault_rec *rec)
{
	if (rec->address.p == NULL && rec->subject.p == NULL)
		return;
	json_out_key(o, "user");
	json_out_obj(o);
	if (rec->subject.p != NULL)
		json_out_kv_str(o, "id", rec->subject);
	if (rec->address.p != NULL)
		json_out_kv_str(o, "ip_address", rec->address);
	json_out_obj_end(o);
}

static void put_frame(struct json_out *o, const char *file, struct buf *text)
{
	json_out_obj(o);
	json_out_kv_str(o, "function", buf_str(text));
	json_out_kv_cstr(o, "filename", file);
	json_out_kv_bool(o, "in_app", true);
	json_out_obj_end(o);
	buf_reset(text);
}

/* The steps of the request, oldest first. */
static void put_stack(struct json_out *o, const struct fault_rec *rec)
{
	struct buf b;

	if (rec->method.p == NULL)
		return;
	buf_init(&b, 0);
	json_out_key(o, "stacktrace");
	json_out_obj(o);
	json_out_key(o, "frames");
	json_out_arr(o);
	buf_printf(
		&b, "%.*s %.*s", STR_ARG(rec->method), STR_ARG(rec->handler));
	put_frame(o, "route", &b);
	if (rec->strategy.p != NULL) {
		buf_printf(&b, "%.*s version %lld", STR_ARG(rec->strategy),
			(long long)rec->version);
		put_frame(o, "strategy", &b);
	}
	if (rec->node.len > 0) {
		buf_add_str(&b, rec->node);
		put_frame(o, "node", &b);
	}
	json_out_arr_end(o);
	json_out_obj_end(o);
	buf_fini(&b);
}

/* ---- events ------------------------------------------------------------ */

static const char *level_of(const struct fault_rec *rec)
{
	if (rec->kind != FAULT_CRASH)
		return rec->kind == FAULT_LOSS ? "warning" : "error";
	return str_is(rec->code, "exit") ? "error" : "fatal";
}

static void add_type(struct buf *b, const struct fault_rec *rec)
{
	switch (rec->kind) {
	case FAULT_RUN:
		buf_add_str(b, rec->code);
		break;
	case FAULT_ANSWER:
	case FAULT_TXN:
		buf_printf(b, "HTTP %u", rec->status);
		break;
	case FAULT_CRASH:
		buf_printf(b, "%.*s died", STR_ARG(rec->role));
		break;
	case FAULT_LOSS:
		buf_add_str(b, STR("evidence dropped"));
		break;
	}
}

static void add_crash(struct buf *b, const struct fault_rec *rec)
{
	buf_printf(b, "a process of role %.*s died: %.*s", STR_ARG(rec->role),
		STR_ARG(rec->code));
	if (rec->slot == 0)
		return;
	if (signal_of(rec))
		buf_printf(b, " %s", signal_of(rec));
	buf_printf(b, " %u, slot %u", rec->how, rec->slot);
}

static void add_value(struct buf *b, const struct fault_rec *rec)
{
	switch (rec->kind) {
	case FAULT_RUN:
		buf_printf(b, "strategy %.*s version %lld failed",
			STR_ARG(rec->strategy), (long long)rec->version);
		if (rec->node.len > 0)
			buf_printf(b, " at node %.*s", STR_ARG(rec->node));
		break;
	case FAULT_ANSWER:
	case FAULT_TXN:
		buf_printf(b, "%.*s %.*s answered %u", STR_ARG(rec->method),
			STR_ARG(rec->handler), rec->status);
		break;
	case FAULT_CRASH:
		add_crash(b, rec);
		break;
	case FAULT_LOSS:
		buf_printf(b, "rows of class %.*s were dropped",
			STR_ARG(rec->code));
		break;
	}
}

static void put_mechanism(struct json_out *o, const struct fault_rec *rec)
{
	const char *name = signal_of(rec);

	json_out_key(o, "mechanism");
	json_out_obj(o);
	json_out_kv_cstr(o, "type", "generic");
	json_out_kv_bool(o, "handled", rec->kind != FAULT_CRASH);
	if (name != NULL) {
		json_out_key(o, "meta");
		json_out_obj(o);
		json_out_key(o, "signal");
		json_out_obj(o);
		json_out_kv_int(o, "number", rec->how);
		json_out_kv_cstr(o, "name", name);
		json_out_obj_end(o);
		json_out_obj_end(o);
	}
	json_out_obj_end(o);
}

static void put_exception(struct json_out *o, const struct fault_rec *rec,
	const struct sentry_seen *seen)
{
	struct buf b;

	buf_init(&b, 0);
	json_out_key(o, "exception");
	json_out_obj(o);
	json_out_key(o, "values");
	json_out_arr(o);
	json_out_obj(o);
	add_type(&b, rec);
	json_out_kv_str(o, "type", buf_str(&b));
	buf_reset(&b);
	add_value(&b, rec);
	if (seen->cnt > 1)
		buf_printf(&b, " (%llu times)", (unsigned long long)seen->cnt);
	json_out_kv_str(o, "value", buf_str(&b));
	put_mechanism(o, rec);
	put_stack(o, rec);
	json_out_obj_end(o);
	json_out_arr_end(o);
	json_out_obj_end(o);
	buf_fini(&b);
}

/* Parts of the fingerprint of each kind, at most four. */
static unsigned key_of(const struct fault_rec *rec, struct str part[4])
{
	switch (rec->kind) {
	case FAULT_RUN:
		part[0] = STR("strategy");
		part[1] = rec->strategy;
		part[2] = rec->code;
		part[3] = rec->node;
		return 4;
	case FAULT_ANSWER:
	case FAULT_TXN:
		break;
	case FAULT_CRASH:
		part[0] = STR("crash");
		part[1] = rec->role;
		part[2] = rec->code;
		if (signal_of(rec) == NULL)
			return 3;
		part[3] = str_from(signal_of(rec));
		return 4;
	case FAULT_LOSS:
		part[0] = STR("evidence");
		part[1] = rec->code;
		return 2;
	}
	part[0] = STR("answer");
	part[1] = rec->method;
	part[2] = rec->handler;
	return 3;
}

void sentry_json_key(struct buf *out, const struct fault_rec *rec)
{
	struct str part[4];
	unsigned n = key_of(rec, part);

	for (unsigned i = 0; i < n; i++) {
		buf_add_str(out, part[i]);
		buf_add_char(out, '\n');
	}
	if (rec->kind == FAULT_ANSWER)
		buf_printf(out, "%u", rec->status);
}

static void put_fingerprint(struct json_out *o, const struct fault_rec *rec)
{
	struct str part[4];
	unsigned n = key_of(rec, part);
	char status[16];

	json_out_key(o, "fingerprint");
	json_out_arr(o);
	for (unsigned i = 0; i < n; i++)
		json_out_str(o, part[i].p ? part[i] : STR(""));
	if (rec->kind == FAULT_ANSWER) {
		snprintf(status, sizeof(status), "%u", rec->status);
		json_out_cstr(o, status);
	}
	json_out_arr_end(o);
}

void sentry_json_event(struct buf *out, const struct sentry_ctx *ctx,
	const char *id, const struct fault_rec *rec,
	const struct sentry_seen *seen)
{
	struct json_out o;

	json_out_init(&o, out);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "event_id", id);
	put_time(&o, "timestamp", rec->at_us);
	json_out_kv_cstr(&o, "level", level_of(rec));
	json_out_kv_cstr(&o, "logger", "gamed");
	put_sender(&o, ctx);
	if (rec->handler.p != NULL)
		json_out_kv_str(&o, "transaction", rec->handler);
	put_fingerprint(&o, rec);
	put_exception(&o, rec, seen);
	put_tags(&o, rec);
	put_request(&o, rec);
	put_user(&o, rec);
	json_out_key(&o, "extra");
	json_out_obj(&o);
	json_out_kv_int(&o, "count", (int64_t)seen->cnt);
	put_time(&o, "first_seen", seen->first_us);
	put_time(&o, "last_seen", rec->at_us);
	json_out_obj_end(&o);
	json_out_obj_end(&o);
}

/* ---- transactions ------------------------------------------------------ */

static const char *txn_status(unsigned http)
{
	static const struct {
		unsigned http;
		const char *word;
	} words[] = {{401, "unauthenticated"}, {403, "permission_denied"},
		{404, "not_found"}, {409, "already_exists"},
		{413, "failed_precondition"}, {429, "resource_exhausted"},
		{501, "unimplemented"}, {503, "unavailable"},
		{504, "deadline_exceeded"}};

	if (http < 400)
		return "ok";
	for (size_t i = 0; i < NELEM(words); i++)
		if (words[i].http == http)
			return words[i].word;
	return http < 500 ? "invalid_argument" : "internal_error";
}

static bool is_hex(struct str s, size_t len)
{
	for (size_t i = 0; i < s.len; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') &&
			!(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	return s.len == len;
}

struct txn_ids {
	char trace[SENTRY_ID_LEN + 1];
	char parent[SPAN_ID_LEN + 1]; /* "": none */
	char span[SPAN_ID_LEN + 1];
};

static void make_span_id(char id_r[SPAN_ID_LEN + 1])
{
	uint8_t b[SPAN_ID_LEN / 2];

	rnd_bytes(b, sizeof(b));
	print_hex(b, sizeof(b), id_r);
}

static int64_t start_us(const struct fault_rec *rec)
{
	return rec->at_us - (int64_t)(rec->duration_ns / 1000);
}

/* <trace id>-<span id>[-flag], adopted when it is well formed. */
static void find_ids(const struct fault_rec *rec, struct txn_ids *ids)
{
	struct str t = rec->trace;

	make_span_id(ids->span);
	ids->parent[0] = '\0';
	if (t.len >= 49 && t.p[32] == '-' &&
		is_hex((struct str){t.p, 32}, 32) &&
		is_hex((struct str){t.p + 33, 16}, 16)) {
		snprintf(ids->trace, sizeof(ids->trace), "%.32s", t.p);
		snprintf(ids->parent, sizeof(ids->parent), "%.16s", t.p + 33);
	} else {
		sentry_make_id(ids->trace);
	}
}

/* What the steps are, in Sentry's words; by enum fault_span. */
static const struct {
	const char *op, *description;
} spans[FAULT_SPANS] = {
	{"auth", "authenticate the caller"},
	{"db", "read what the strategy needs"},
	{"function", "evaluate the strategy"},
	{"db", "write the award"},
};

unsigned sentry_json_spans(const struct fault_rec *rec)
{
	unsigned n = 1;

	for (unsigned i = 0; i < FAULT_SPANS; i++)
		n += rec->span[i].ns != 0;
	return n;
}

static void put_spans(struct json_out *o, const struct fault_rec *rec,
	const struct txn_ids *ids)
{
	char id[SPAN_ID_LEN + 1];

	json_out_key(o, "spans");
	json_out_arr(o);
	for (unsigned i = 0; i < FAULT_SPANS; i++) {
		const struct clock_span *s = &rec->span[i];

		if (s->ns == 0)
			continue;
		make_span_id(id);
		json_out_obj(o);
		json_out_kv_cstr(o, "trace_id", ids->trace);
		json_out_kv_cstr(o, "span_id", id);
		json_out_kv_cstr(o, "parent_span_id", ids->span);
		json_out_kv_cstr(o, "op", spans[i].op);
		json_out_kv_cstr(o, "description", spans[i].description);
		put_time(o, "start_timestamp",
			start_us(rec) + (int64_t)(s->start_ns / 1000));
		put_time(o, "timestamp",
			start_us(rec) +
				(int64_t)((s->start_ns + s->ns) / 1000));
		json_out_kv_cstr(o, "status", "ok");
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

static void put_contexts(struct json_out *o, const struct fault_rec *rec,
	const struct txn_ids *ids)
{
	json_out_key(o, "contexts");
	json_out_obj(o);
	json_out_key(o, "trace");
	json_out_obj(o);
	json_out_kv_cstr(o, "trace_id", ids->trace);
	json_out_kv_cstr(o, "span_id", ids->span);
	if (*ids->parent)
		json_out_kv_cstr(o, "parent_span_id", ids->parent);
	json_out_kv_cstr(o, "op", "http.server");
	json_out_kv_cstr(o, "status", txn_status(rec->status));
	json_out_kv_cstr(o, "origin", "auto.http.game");
	json_out_obj_end(o);
	json_out_obj_end(o);
}

static void add_trace_header(struct buf *out, const struct sentry_ctx *ctx,
	const struct fault_rec *rec, const struct txn_ids *ids)
{
	struct json_out o;
	char rate[32];

	snprintf(
		rate, sizeof(rate), "%g", ctx->conf->sentry_traces_sample_rate);
	json_out_init(&o, out);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "trace_id", ids->trace);
	json_out_kv_cstr(&o, "public_key", ctx->public_key);
	json_out_kv_cstr(&o, "sample_rate", rate);
	json_out_kv_cstr(&o, "sampled", "true");
	json_out_kv_cstr(&o, "release", ctx->conf->sentry_release);
	json_out_kv_cstr(&o, "environment", ctx->conf->sentry_environment);
	json_out_kv_str(&o, "transaction", rec->handler);
	json_out_obj_end(&o);
}

void sentry_json_txn(struct buf *out, struct buf *trace,
	const struct sentry_ctx *ctx, const char *id,
	const struct fault_rec *rec)
{
	struct txn_ids ids;
	struct json_out o;

	find_ids(rec, &ids);
	json_out_init(&o, out);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "type", "transaction");
	json_out_kv_cstr(&o, "event_id", id);
	json_out_kv_str(&o, "transaction", rec->handler);
	json_out_key(&o, "transaction_info");
	json_out_obj(&o);
	json_out_kv_cstr(&o, "source", "route");
	json_out_obj_end(&o);
	put_time(&o, "start_timestamp", start_us(rec));
	put_time(&o, "timestamp", rec->at_us);
	put_sender(&o, ctx);
	put_contexts(&o, rec, &ids);
	put_spans(&o, rec, &ids);
	put_tags(&o, rec);
	put_request(&o, rec);
	put_user(&o, rec);
	json_out_obj_end(&o);
	add_trace_header(trace, ctx, rec, &ids);
}
