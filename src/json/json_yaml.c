/*
 * json_yaml.c - see json_yaml.h.  Reads libyaml's events one by one; recursion
 * is bounded by the limits' depth.
 */
#include "json/json_yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/num.h"

struct reader {
	struct arena *arena;
	const struct json_limits *lim;
	yaml_parser_t parser;
	yaml_event_t event; /* the current one, freed by the next */
	bool has_event;
	uint32_t values;
	struct err *err_r;
};

static int bad_at(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

static int bad_at(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->err_r, ERR_INVALID, "%zu:%zu: %s", at->line + 1,
		at->column + 1, text);
}

#define bad(r, ...) bad_at(r, &(r)->event.start_mark, __VA_ARGS__)

static int next(struct reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	if (!yaml_parser_parse(&r->parser, &r->event))
		return bad_at(r, &r->parser.problem_mark, "%s",
			r->parser.problem ? r->parser.problem
					  : "unreadable text");
	r->has_event = true;
	return 0;
}

static int copy(struct reader *r, struct str s, struct str *s_r)
{
	if (s.len > r->lim->string_bytes)
		return bad(
			r, "text longer than %u bytes", r->lim->string_bytes);
	if (memchr(s.p, '\0', s.len) != NULL)
		return bad(r, "text with a NUL character");
	s_r->p = arena_strndup(r->arena, s.p, s.len);
	s_r->len = s.len;
	return s_r->p ? 0 : bad(r, "document needs too much memory");
}

/* ---- plain scalars: YAML 1.2, 10.3.2 ------------------------------------- */

static bool is_word(struct str s, const char *const *words)
{
	for (; *words != NULL; words++)
		if (str_is(s, *words))
			return true;
	return false;
}

static struct str without_sign(struct str s)
{
	size_t n = s.len > 0 && (s.p[0] == '-' || s.p[0] == '+');

	return (struct str){s.p + n, s.len - n};
}

/* Takes the digits at the front of *s away and returns how many. */
static size_t take_digits(struct str *s)
{
	size_t n = 0;

	while (n < s->len && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	s->p += n;
	s->len -= n;
	return n;
}

static bool take_char(struct str *s, char a, char b)
{
	if (s->len == 0 || (s->p[0] != a && s->p[0] != b))
		return false;
	s->p++;
	s->len--;
	return true;
}

/* Decimal digits after an optional sign: an integer, in range or not. */
static bool looks_int(struct str s)
{
	s = without_sign(s);
	return take_digits(&s) > 0 && s.len == 0;
}

static bool looks_float(struct str s)
{
	size_t digits;

	s = without_sign(s);
	digits = take_digits(&s);
	if (take_char(&s, '.', '.'))
		digits += take_digits(&s);
	if (digits > 0 && take_char(&s, 'e', 'E')) {
		s = without_sign(s);
		digits = take_digits(&s);
	}
	return digits > 0 && s.len == 0;
}

/* 0x1F and 0o17; 0 for anything else. */
static unsigned base_of(struct str s)
{
	unsigned base = str_starts_with(s, "0x")   ? 16
			: str_starts_with(s, "0o") ? 8
						   : 0;

	if (s.len < 3)
		return 0;
	for (size_t i = 2; i < s.len; i++)
		if (!(base == 16 ? isxdigit((unsigned char)s.p[i])
				 : s.p[i] >= '0' && s.p[i] <= '7'))
			return 0;
	return base;
}

static int read_based(struct reader *r, struct str s, struct jv *v_r)
{
	char *end;

	/* the event's text ends in NUL */
	errno = 0;
	*v_r = jv_int(strtoll(s.p + 2, &end, (int)base_of(s)));
	return errno == ERANGE ? bad(r, "integer past 64 bits") : 0;
}

static int read_number(struct reader *r, struct str s, struct jv *v_r)
{
	int64_t i;
	double d;

	if (base_of(s) != 0)
		return read_based(r, s, v_r);
	if (looks_int(s)) {
		if (num_parse_i64(s, &i) < 0)
			return bad(r, "integer past 64 bits");
		*v_r = jv_int(i);
		return 0;
	}
	if (num_parse_double(s, &d) < 0)
		return bad(r, "number outside the range of a double");
	*v_r = jv_float(d);
	return 0;
}

static int read_plain(struct reader *r, struct str s, struct jv *v_r)
{
	static const char *const nulls[] = {
		"", "~", "null", "Null", "NULL", NULL};
	static const char *const yes[] = {"true", "True", "TRUE", NULL};
	static const char *const no[] = {"false", "False", "FALSE", NULL};
	static const char *const inf[] = {".inf", ".Inf", ".INF", NULL};
	static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};

	if (is_word(s, nulls)) {
		*v_r = jv_null();
	} else if (is_word(s, yes) || is_word(s, no)) {
		*v_r = jv_bool(is_word(s, yes));
	} else if (is_word(without_sign(s), inf) || is_word(s, nan)) {
		return bad(r, "%.*s, expected a finite number", STR_ARG(s));
	} else if (looks_int(s) || looks_float(s) || base_of(s) != 0) {
		return read_number(r, s, v_r);
	} else {
		v_r->type = JV_STR;
		return copy(r, s, &v_r->u.s);
	}
	return 0;
}

/* ---- values ---------------------------------------------------------------- */

static struct str scalar(const struct reader *r)
{
	return (struct str){(const char *)r->event.data.scalar.value,
		r->event.data.scalar.length};
}

static int read_scalar(struct reader *r, struct jv *v_r)
{
	if (r->event.data.scalar.anchor || r->event.data.scalar.tag)
		return bad(r, "anchor or tag, expected a plain value");
	if (r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return read_plain(r, scalar(r), v_r);
	v_r->type = JV_STR;
	return copy(r, scalar(r), &v_r->u.s);
}

static int read_value(
	struct reader *r, uint32_t depth, struct jv *v_r) MUST_CHECK;

/* What was gathered, moved into the arena. */
static int settle(struct reader *r, struct buf *b, void **p_r)
{
	*p_r = arena_alloc(r->arena, b->len + 1);
	if (*p_r != NULL && b->len > 0)
		memcpy(*p_r, b->p, b->len);
	buf_fini(b);
	return *p_r ? 0 : bad(r, "document needs too much memory");
}

static int read_array(struct reader *r, uint32_t depth, struct jv *v_r)
{
	struct buf items;
	struct jv item;
	void *p;

	buf_init(&items, 0);
	for (;;) {
		if (next(r) < 0)
			goto fail;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		memset(&item, 0, sizeof(item));
		if (read_value(r, depth, &item) < 0)
			goto fail;
		buf_add(&items, &item, sizeof(item));
		v_r->n++;
	}
	if (settle(r, &items, &p) < 0)
		return -1;
	v_r->u.arr = p;
	return 0;
fail:
	buf_fini(&items);
	return -1;
}

static bool has_key(const struct buf *members, struct str key)
{
	struct jv_member m;

	for (size_t at = 0; at < members->len; at += sizeof(m)) {
		memcpy(&m, members->p + at, sizeof(m));
		if (str_eq(m.key, key))
			return true;
	}
	return false;
}

static int read_key(
	struct reader *r, const struct buf *members, struct str *key_r)
{
	if (r->event.type != YAML_SCALAR_EVENT)
		return bad(r, "expected a key");
	if (r->event.data.scalar.anchor || r->event.data.scalar.tag)
		return bad(r, "anchor or tag, expected a key");
	if (has_key(members, scalar(r)))
		return bad(r, "the key %.*s stands twice",
			(int)(scalar(r).len > 60 ? 60 : scalar(r).len),
			scalar(r).p);
	return copy(r, scalar(r), key_r);
}

static int read_object(struct reader *r, uint32_t depth, struct jv *v_r)
{
	struct jv_member m;
	struct buf members;
	void *p;

	buf_init(&members, 0);
	for (;;) {
		if (next(r) < 0)
			goto fail;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			break;
		memset(&m, 0, sizeof(m));
		if (read_key(r, &members, &m.key) < 0 || next(r) < 0 ||
			read_value(r, depth, &m.val) < 0)
			goto fail;
		buf_add(&members, &m, sizeof(m));
		v_r->n++;
	}
	if (settle(r, &members, &p) < 0)
		return -1;
	v_r->u.obj = p;
	return 0;
fail:
	buf_fini(&members);
	return -1;
}

/* The value that the current event starts; depth is how deep it stands. */
static int read_value(struct reader *r, uint32_t depth, struct jv *v_r)
{
	bool is_array = r->event.type == YAML_SEQUENCE_START_EVENT;

	if (++r->values > r->lim->values)
		return bad(r, "more than %u values", r->lim->values);
	if (r->event.type == YAML_SCALAR_EVENT)
		return read_scalar(r, v_r);
	if (r->event.type == YAML_ALIAS_EVENT)
		return bad(r, "alias, expected a plain value");
	if (depth >= r->lim->depth)
		return bad(r, "more than %u levels", r->lim->depth);
	if (is_array ? r->event.data.sequence_start.anchor ||
				r->event.data.sequence_start.tag
		     : r->event.data.mapping_start.anchor ||
				r->event.data.mapping_start.tag)
		return bad(r, "anchor or tag, expected a plain value");
	v_r->type = is_array ? JV_ARR : JV_OBJ;
	return is_array ? read_array(r, depth + 1, v_r)
			: read_object(r, depth + 1, v_r);
}

static int read_stream(struct reader *r, struct jv *v_r)
{
	*v_r = jv_null();
	if (next(r) < 0 || next(r) < 0) /* stream start, then a document */
		return -1;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return 0;
	if (next(r) < 0 || read_value(r, 0, v_r) < 0 || next(r) < 0 ||
		next(r) < 0)
		return -1;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return bad(r, "second document, expected one");
	return 0;
}

int json_yaml_parse(struct arena *a, struct str text,
	const struct json_limits *lim, struct jv *v_r, struct err *err_r)
{
	struct reader r = {.arena = a, .lim = lim, .err_r = err_r};
	int rc;

	if (!yaml_parser_initialize(&r.parser))
		return err_set(err_r, ERR_SYSTEM, "out of memory");
	yaml_parser_set_input_string(&r.parser,
		(const unsigned char *)(text.p ? text.p : ""), text.len);
	rc = read_stream(&r, v_r);
	if (r.has_event)
		yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return rc;
}
