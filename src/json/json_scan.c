/*
 * json_scan.c - the strict scanner of hardening J1: one pass, no recursion,
 * no allocation.  What it passes, json-c reads without surprises.
 */
#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "json/json_in.h"

#define DEPTH_MAX 1024 /* bits of the nesting stack */

const struct json_limits json_limits_default = {
	.depth = 128, .values = 100000, .string_bytes = 65536};

struct scan {
	const unsigned char *p;
	size_t len, at;
	const struct json_limits *lim;
	struct json_err *err;
	uint32_t depth, values;
	uint8_t is_object[DEPTH_MAX / 8]; /* kind of each open container */
};

static int fail(struct scan *s, enum json_fault fault, const char *text)
{
	if (s->err != NULL) {
		s->err->fault = fault;
		s->err->offset = s->at;
		strncpy(s->err->text, text, sizeof(s->err->text) - 1);
		s->err->text[sizeof(s->err->text) - 1] = '\0';
	}
	return -1;
}

static void skip_space(struct scan *s)
{
	while (s->at < s->len &&
		(s->p[s->at] == ' ' || s->p[s->at] == '\t' ||
			s->p[s->at] == '\n' || s->p[s->at] == '\r'))
		s->at++;
}

static int peek(const struct scan *s)
{
	return s->at < s->len ? s->p[s->at] : -1;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static int hex4(struct scan *s, unsigned *v_r)
{
	unsigned v = 0;

	if (s->len - s->at < 4)
		return fail(s, JSON_FAULT_SYNTAX, "unfinished \\u escape");
	for (int i = 0; i < 4; i++, s->at++) {
		int c = s->p[s->at];

		if (is_digit(c))
			v = v * 16 + (unsigned)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + (unsigned)((c | 32) - 'a' + 10);
		else
			return fail(s, JSON_FAULT_SYNTAX, "bad \\u escape");
	}
	*v_r = v;
	return 0;
}

/* After "\u": adds the UTF-8 length of the character. */
static int unicode_escape(struct scan *s, size_t *bytes)
{
	unsigned hi, lo;

	if (hex4(s, &hi) < 0)
		return -1;
	if (hi == 0)
		return fail(s, JSON_FAULT_TEXT, "U+0000 in a string");
	if (hi >= 0xdc00 && hi <= 0xdfff)
		return fail(s, JSON_FAULT_TEXT, "lone low surrogate");
	if (hi < 0xd800 || hi > 0xdbff) {
		*bytes += hi < 0x80 ? 1 : hi < 0x800 ? 2 : 3;
		return 0;
	}
	if (s->len - s->at < 2 || s->p[s->at] != '\\' || s->p[s->at + 1] != 'u')
		return fail(s, JSON_FAULT_TEXT, "lone high surrogate");
	s->at += 2;
	if (hex4(s, &lo) < 0)
		return -1;
	if (lo < 0xdc00 || lo > 0xdfff)
		return fail(s, JSON_FAULT_TEXT, "lone high surrogate");
	*bytes += 4;
	return 0;
}

static int escape(struct scan *s, size_t *bytes)
{
	int c;

	s->at++;
	c = peek(s);
	if (c == 'u') {
		s->at++;
		return unicode_escape(s, bytes);
	}
	if (c < 0 || c == 0 || strchr("\"\\/bfnrt", c) == NULL)
		return fail(s, JSON_FAULT_SYNTAX, "bad escape in a string");
	s->at++;
	*bytes += 1;
	return 0;
}

/* Length of the UTF-8 sequence at the cursor, 0 when it is malformed. */
static size_t utf8_here(const struct scan *s)
{
	size_t n = s->p[s->at] >= 0xf0 ? 4 : s->p[s->at] >= 0xe0 ? 3 : 2;
	struct str seq = {(const char *)s->p + s->at, n};

	if (s->len - s->at < n || s->p[s->at] < 0xc2)
		return 0;
	return str_is_utf8(seq) ? n : 0;
}

static int scan_string(struct scan *s)
{
	size_t bytes = 0;

	s->at++;
	for (;;) {
		int c = peek(s);

		if (c < 0)
			return fail(s, JSON_FAULT_SYNTAX, "unfinished string");
		if (c == '"')
			break;
		if (c < 0x20)
			return fail(s, JSON_FAULT_SYNTAX,
				"control character in a string");
		if (c == '\\') {
			if (escape(s, &bytes) < 0)
				return -1;
		} else if (c < 0x80) {
			s->at++;
			bytes++;
		} else {
			size_t n = utf8_here(s);

			if (n == 0)
				return fail(s, JSON_FAULT_UTF8,
					"bytes that are not UTF-8");
			s->at += n;
			bytes += n;
		}
		if (bytes > s->lim->string_bytes)
			return fail(s, JSON_FAULT_LIMIT, "string is too long");
	}
	s->at++;
	return 0;
}

static int digits(struct scan *s)
{
	if (!is_digit(peek(s)))
		return fail(s, JSON_FAULT_SYNTAX, "digit expected");
	while (is_digit(peek(s)))
		s->at++;
	return 0;
}

static int check_range(struct scan *s, size_t from, bool is_float)
{
	struct str text = {(const char *)s->p + from, s->at - from};
	int64_t i;
	char tmp[1100];

	if (!is_float) {
		if (num_parse_i64(text, &i) < 0)
			return fail(s, JSON_FAULT_NUMBER,
				"integer outside 64 bits");
		return 0;
	}
	if (text.len >= sizeof(tmp))
		return fail(s, JSON_FAULT_NUMBER, "number is too long");
	memcpy(tmp, text.p, text.len);
	tmp[text.len] = '\0';
	if (!isfinite(strtod(tmp, NULL)))
		return fail(s, JSON_FAULT_NUMBER,
			"number outside the range of a double");
	return 0;
}

static int scan_number(struct scan *s)
{
	size_t from = s->at;
	bool is_float = false;

	if (peek(s) == '-')
		s->at++;
	if (peek(s) == '0')
		s->at++;
	else if (digits(s) < 0)
		return -1;
	if (is_digit(peek(s)))
		return fail(s, JSON_FAULT_SYNTAX, "number starts with 0");
	if (peek(s) == '.') {
		is_float = true;
		s->at++;
		if (digits(s) < 0)
			return -1;
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		is_float = true;
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (digits(s) < 0)
			return -1;
	}
	return check_range(s, from, is_float);
}

static int scan_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if (s->len - s->at < n || memcmp(s->p + s->at, word, n) != 0)
		return fail(s, JSON_FAULT_SYNTAX, "value expected");
	s->at += n;
	return 0;
}

static bool in_object(const struct scan *s)
{
	uint32_t top = s->depth - 1;

	return s->is_object[top / 8] >> (top % 8) & 1;
}

static int enter(struct scan *s, bool object)
{
	if (s->depth >= s->lim->depth || s->depth >= DEPTH_MAX)
		return fail(s, JSON_FAULT_LIMIT, "nesting is too deep");
	if (object)
		s->is_object[s->depth / 8] |= (uint8_t)(1 << s->depth % 8);
	else
		s->is_object[s->depth / 8] &= (uint8_t) ~(1 << s->depth % 8);
	s->depth++;
	s->at++;
	return 0;
}

/* A key and its colon. */
static int scan_key(struct scan *s)
{
	skip_space(s);
	if (peek(s) != '"')
		return fail(s, JSON_FAULT_SYNTAX, "member name expected");
	if (scan_string(s) < 0)
		return -1;
	skip_space(s);
	if (peek(s) != ':')
		return fail(s, JSON_FAULT_SYNTAX, "':' expected");
	s->at++;
	return 0;
}

/*
 * A value; *opened_r is set when it is a container that is not empty and whose
 * first value comes next.
 */
static int scan_value(struct scan *s, bool *opened_r)
{
	int c;

	*opened_r = false;
	skip_space(s);
	if (++s->values > s->lim->values)
		return fail(s, JSON_FAULT_LIMIT, "too many values");
	c = peek(s);
	if (c == '{' || c == '[') {
		if (enter(s, c == '{') < 0)
			return -1;
		skip_space(s);
		if (peek(s) == (c == '{' ? '}' : ']')) {
			s->at++;
			s->depth--;
			return 0;
		}
		*opened_r = true;
		return c == '{' ? scan_key(s) : 0;
	}
	if (c == '"')
		return scan_string(s);
	if (c == '-' || is_digit(c))
		return scan_number(s);
	return scan_word(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
}

/* After a value: closes what ends here; 1 when another value follows. */
static int after_value(struct scan *s)
{
	while (s->depth > 0) {
		bool object = in_object(s);
		int c;

		skip_space(s);
		c = peek(s);
		if (c == ',') {
			s->at++;
			if (object && scan_key(s) < 0)
				return -1;
			return 1;
		}
		if (c != (object ? '}' : ']'))
			return fail(s, JSON_FAULT_SYNTAX,
				object ? "',' or '}' expected"
				       : "',' or ']' expected");
		s->at++;
		s->depth--;
	}
	return 0;
}

int json_scan(
	struct str text, const struct json_limits *lim, struct json_err *err_r)
{
	struct scan s = {.p = (const unsigned char *)text.p,
		.len = text.len,
		.lim = lim,
		.err = err_r};
	int more = 1;

	while (more > 0) {
		bool opened;

		if (scan_value(&s, &opened) < 0)
			return -1;
		if (opened)
			continue;
		more = after_value(&s);
	}
	if (more < 0)
		return -1;
	skip_space(&s);
	if (s.at != s.len)
		return fail(&s, JSON_FAULT_SYNTAX, "text after the value");
	return 0;
}
