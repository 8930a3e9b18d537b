/* api_valid.c - see api_valid.h. Runs in workers. */
#include "api/api_valid.h"

#include <regex.h>
#include <stdio.h>
#include <strings.h>

#include "api/api_audit.h"
#include "base/log.h"
#include "base/num.h"
#include "http/http_reply.h"
#include "svc/svc_catalog.h"

void api_loc_add(struct api_loc *loc, const char *name)
{
	if (loc->cnt < API_LOC_MAX)
		loc->names[loc->cnt++] = name;
}

void api_loc_add_index(struct api_loc *loc, uint32_t i)
{
	if (loc->cnt >= API_LOC_MAX)
		return;
	loc->names[loc->cnt] = NULL;
	loc->indexes[loc->cnt++] = i;
}

static struct api_loc loc_of(const char *where, const char *name)
{
	struct api_loc loc = {.cnt = 0};

	api_loc_add(&loc, where);
	api_loc_add(&loc, name);
	return loc;
}

void api_valid_init(struct api_valid *v, struct http_req *req)
{
	memset(v, 0, sizeof(*v));
	v->req = req;
	buf_init(&v->items, 0);
	json_out_init(&v->out, &v->items);
}

void api_valid_item_ctx(struct api_valid *v, const char *type,
	const struct api_loc *loc, const char *msg, const struct jv *input,
	const char *ctx)
{
	struct json_out *o = &v->out;

	if (++v->items_cnt > API_ITEMS_MAX)
		return;
	json_out_obj(o);
	json_out_kv_cstr(o, "type", type);
	json_out_key(o, "loc");
	json_out_arr(o);
	for (unsigned i = 0; i < loc->cnt; i++) {
		if (loc->names[i] != NULL)
			json_out_cstr(o, loc->names[i]);
		else
			json_out_uint(o, loc->indexes[i]);
	}
	json_out_arr_end(o);
	json_out_kv_cstr(o, "msg", msg);
	json_out_key(o, "input");
	if (input != NULL)
		json_out_val(o, input);
	else
		json_out_null(o);
	if (ctx != NULL) {
		json_out_key(o, "ctx");
		json_out_raw(o, str_from(ctx));
	}
	json_out_obj_end(o);
}

void api_valid_item(struct api_valid *v, const char *type,
	const struct api_loc *loc, const char *msg, const struct jv *input)
{
	api_valid_item_ctx(v, type, loc, msg, input, NULL);
}

bool api_valid_done(struct api_valid *v)
{
	if (v->items_cnt > 0) {
		api_audit_skip(v->req);
		api_valid_reply(v);
		return false;
	}
	buf_fini(&v->items);
	api_audit_begin(v->req);
	return true;
}

void api_valid_reply(struct api_valid *v)
{
	struct buf all;

	buf_init(&all, 0);
	buf_add_char(&all, '[');
	buf_add_str(&all, buf_str(&v->items));
	buf_add_char(&all, ']');
	http_reply_detail(v->req, 422, buf_str(&all));
	buf_fini(&all);
	buf_fini(&v->items);
}

/* The member, or NULL when it is absent, null and that is fine, or missing
 * (then an item says so). */
static const struct jv *member(
	struct api_valid *v, const char *name, unsigned flags)
{
	const struct jv *val = jv_member(&v->req->json, name);
	struct api_loc loc;

	if (val == NULL && (flags & API_REQUIRED)) {
		loc = loc_of("body", name);
		api_valid_item(
			v, "missing", &loc, "Field required", &v->req->json);
	}
	if (val != NULL && val->type == JV_NULL && (flags & API_NULLABLE))
		return NULL;
	return val;
}

struct str api_valid_str(struct api_valid *v, const char *name, unsigned flags)
{
	const struct jv *val = member(v, name, flags);
	struct api_loc loc;

	if (val == NULL)
		return (struct str){NULL, 0};
	if (val->type == JV_STR)
		return val->u.s;
	loc = loc_of("body", name);
	api_valid_item(
		v, "string_type", &loc, "Input should be a valid string", val);
	return (struct str){NULL, 0};
}

static void length_item(struct api_valid *v, const char *name, struct str s,
	bool too_long, size_t limit)
{
	struct api_loc loc = loc_of("body", name);
	struct jv input = jv_str(s);
	char msg[80], ctx[48];

	snprintf(msg, sizeof(msg), "String should have at %s %zu character%s",
		too_long ? "most" : "least", limit, limit == 1 ? "" : "s");
	snprintf(ctx, sizeof(ctx), "{\"%s\":%zu}",
		too_long ? "max_length" : "min_length", limit);
	api_valid_item_ctx(v, too_long ? "string_too_long" : "string_too_short",
		&loc, msg, &input, ctx);
}

struct str api_valid_text(struct api_valid *v, const char *name, unsigned flags,
	size_t min_chars, size_t max_chars)
{
	struct str s = api_valid_str(v, name, flags);
	size_t n;

	if (s.p == NULL)
		return s;
	n = str_utf8_cnt(s);
	if (n < min_chars)
		length_item(v, name, s, false, min_chars);
	else if (n > max_chars)
		length_item(v, name, s, true, max_chars);
	return s;
}

struct str api_valid_index_str(
	struct api_valid *v, const char *name, unsigned flags)
{
	struct str s = api_valid_str(v, name, flags);

	if (s.p != NULL && s.len > API_INDEX_BYTES)
		length_item(v, name, s, true, API_INDEX_BYTES);
	return s;
}

struct str api_valid_strategy(struct api_valid *v)
{
	struct str s = api_valid_str(v, "strategyId", API_NULLABLE);
	char text[UUID_TEXT_LEN + 1];
	struct uuid id;

	if (s.p == NULL || !svc_strategy_is_custom(s, &id))
		return s;
	uuid_print(&id, text);
	return arena_printf(&v->req->arena, "custom:%s", text);
}

struct str api_valid_enum(struct api_valid *v, const char *name,
	const char *const *words, const char *fallback)
{
	const struct jv *val =
		member(v, name, fallback ? API_OPTIONAL : API_NULLABLE);
	struct api_loc loc = loc_of("body", name);
	struct str msg = STR(""), expected = STR("");
	struct arena *a = &v->req->arena;
	size_t n = 0;

	if (val == NULL)
		return str_from(fallback);
	for (; words[n] != NULL; n++)
		if (val->type == JV_STR && str_is(val->u.s, words[n]))
			return val->u.s;
	for (size_t i = 0; i < n; i++)
		expected = arena_printf(a, "%.*s%s'%s'", STR_ARG(expected),
			i == 0       ? ""
			: i == n - 1 ? " or "
				     : ", ",
			words[i]);
	msg = arena_printf(a, "Input should be %.*s", STR_ARG(expected));
	expected =
		arena_printf(a, "{\"expected\":\"%.*s\"}", STR_ARG(expected));
	api_valid_item_ctx(v, "enum", &loc, msg.p, val, expected.p);
	return (struct str){NULL, 0};
}

const struct jv *api_valid_object(
	struct api_valid *v, const char *name, unsigned flags)
{
	const struct jv *val = member(v, name, flags);
	struct api_loc loc;

	if (val == NULL || val->type == JV_OBJ)
		return val;
	loc = loc_of("body", name);
	api_valid_item(v, "dict_type", &loc,
		"Input should be a valid dictionary", val);
	return NULL;
}

/* 1, 0, or -1 when the text is no boolean. */
static int bool_word(struct str s)
{
	static const char *const yes[] = {"true", "t", "yes", "y", "on", "1"};
	static const char *const no[] = {"false", "f", "no", "n", "off", "0"};

	for (size_t i = 0; i < NELEM(yes); i++) {
		if (s.len == strlen(yes[i]) &&
			strncasecmp(s.p, yes[i], s.len) == 0)
			return 1;
		if (s.len == strlen(no[i]) &&
			strncasecmp(s.p, no[i], s.len) == 0)
			return 0;
	}
	return -1;
}

bool api_valid_bool(struct api_valid *v, const char *name, bool fallback)
{
	const struct jv *val = member(v, name, API_NULLABLE);
	struct api_loc loc = loc_of("body", name);
	bool scalar = true;
	int word = -1;

	if (val == NULL)
		return fallback;
	switch (val->type) {
	case JV_BOOL:
		return val->u.b;
	case JV_INT:
		word = val->u.i == 0 ? 0 : val->u.i == 1 ? 1 : -1;
		break;
	case JV_FLOAT:
		word = val->u.d == 0 ? 0 : val->u.d == 1 ? 1 : -1;
		break;
	case JV_STR:
		word = bool_word(val->u.s);
		break;
	case JV_NULL:
	case JV_ARR:
	case JV_OBJ:
		scalar = false;
		break;
	}
	if (word >= 0)
		return word == 1;
	if (scalar)
		api_valid_item(v, "bool_parsing", &loc,
			"Input should be a valid boolean, unable to interpret "
			"input",
			val);
	else
		api_valid_item(v, "bool_type", &loc,
			"Input should be a valid boolean", val);
	return fallback;
}

void api_valid_uuid_value(struct api_valid *v, const struct api_loc *loc,
	const struct jv *val, struct uuid *u_r)
{
	if (val->type == JV_STR && uuid_parse(val->u.s, u_r) == 0)
		return;
	api_valid_item_ctx(v, "uuid_parsing", loc,
		"Input should be a valid UUID, it is not 32 hexadecimal digits",
		val, "{\"error\":\"it is not 32 hexadecimal digits\"}");
}

void api_valid_uuid(struct api_valid *v, const char *name, struct uuid *u_r)
{
	struct api_loc loc = loc_of("path", name);
	struct jv val = jv_str(http_req_capture(v->req, name));

	memset(u_r, 0, sizeof(*u_r));
	api_valid_uuid_value(v, &loc, &val, u_r);
}

struct str api_valid_query_pattern(
	struct api_valid *v, const char *name, const char *pattern)
{
	struct str s = http_req_query(v->req, name);
	struct api_loc loc = loc_of("query", name);
	struct jv input = jv_str(s);
	char msg[160], ctx[120];
	regex_t re;
	int rc;

	if (s.p == NULL)
		return s;
	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		fatal("pattern of %s is not valid", name);
	rc = regexec(&re, s.p, 0, NULL, 0);
	regfree(&re);
	if (rc == 0)
		return s;
	snprintf(msg, sizeof(msg), "String should match pattern '%s'", pattern);
	snprintf(ctx, sizeof(ctx), "{\"pattern\":\"%s\"}", pattern);
	api_valid_item_ctx(
		v, "string_pattern_mismatch", &loc, msg, &input, ctx);
	return (struct str){NULL, 0};
}

static void range_item(struct api_valid *v, const struct api_loc *loc,
	const struct jv *input, bool too_small, int64_t bound)
{
	char msg[96], ctx[48];

	snprintf(msg, sizeof(msg), "Input should be %s than or equal to %lld",
		too_small ? "greater" : "less", (long long)bound);
	snprintf(ctx, sizeof(ctx), "{\"%s\":%lld}", too_small ? "ge" : "le",
		(long long)bound);
	api_valid_item_ctx(v,
		too_small ? "greater_than_equal" : "less_than_equal", loc, msg,
		input, ctx);
}

/* Integer text, "5.0" included. */
static int lax_int(struct str s, int64_t *i_r)
{
	double d;

	s = str_trim(s);
	if (num_parse_i64(s, i_r) == 0)
		return 0;
	if (num_parse_double(s, &d) < 0 || d < -9e15 || d > 9e15 ||
		d != (double)(int64_t)d)
		return -1;
	*i_r = (int64_t)d;
	return 0;
}

static int64_t int_between(struct api_valid *v, const struct api_loc *loc,
	struct str s, int64_t min, int64_t max)
{
	struct jv input = jv_str(s);
	int64_t i;

	if (lax_int(s, &i) < 0) {
		api_valid_item(v, "int_parsing", loc,
			"Input should be a valid integer, unable to parse "
			"string as an integer",
			&input);
		return min;
	}
	if (i < min)
		range_item(v, loc, &input, true, min);
	else if (i > max)
		range_item(v, loc, &input, false, max);
	return i;
}

int64_t api_valid_path_int(struct api_valid *v, const char *name, int64_t min)
{
	struct api_loc loc = loc_of("path", name);

	return int_between(
		v, &loc, http_req_capture(v->req, name), min, INT64_MAX);
}

int64_t api_valid_query_int(struct api_valid *v, const char *name, int64_t min,
	int64_t max, int64_t fallback)
{
	struct str s = http_req_query(v->req, name);
	struct api_loc loc = loc_of("query", name);

	return s.p == NULL ? fallback : int_between(v, &loc, s, min, max);
}

static void valid_ordering(struct api_valid *v, const char *const *columns,
	struct store_page *page_r)
{
	struct str s = http_req_query(v->req, "ordering");
	struct api_loc loc = loc_of("query", "ordering");
	struct jv input = jv_str(s);

	page_r->order = STR("id");
	page_r->descending = true;
	if (s.p == NULL)
		return;
	page_r->descending = s.len > 0 && s.p[0] == '-';
	if (page_r->descending) {
		s.p++;
		s.len--;
	}
	page_r->order = s;
	for (size_t i = 0; columns[i] != NULL; i++)
		if (str_is(s, columns[i]))
			return;
	api_valid_item(v, "enum", &loc,
		"Input should be a column of the listing, with a leading - "
		"for descending order",
		&input);
}

void api_valid_page(struct api_valid *v, const char *const *columns,
	struct store_page *page_r)
{
	struct str size = http_req_query(v->req, "page_size");

	/* the product of both stays far inside 64 bits */
	page_r->page = api_valid_query_int(v, "page", 1, 1000000000, 1);
	if (size.p != NULL && str_is(size, "all"))
		page_r->size = -1;
	else
		page_r->size =
			api_valid_query_int(v, "page_size", 0, 1000000, 10);
	valid_ordering(v, columns, page_r);
}
