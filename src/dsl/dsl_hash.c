/*
 * dsl_hash.c - the canonical text of an AST (dsl.md 20) and its SHA-256.
 * Recursion is bounded by the JSON reader's depth.
 */
#include "dsl/dsl_run.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/num.h"
#include "base/sha256.h"

static void add_u16(struct buf *out, uint32_t u)
{
	static const char hex[] = "0123456789abcdef";
	const char text[6] = {'\\', 'u', hex[u >> 12 & 15], hex[u >> 8 & 15],
		hex[u >> 4 & 15], hex[u & 15]};

	buf_add(out, text, sizeof(text));
}

/* Code point at s.p[*i] of valid UTF-8; *i moves past it. */
static uint32_t next_code(struct str s, size_t *i)
{
	unsigned char c = (unsigned char)s.p[(*i)++];
	uint32_t u;

	if (c < 0x80)
		return c;
	u = c < 0xe0 ? c & 0x1f : c < 0xf0 ? c & 0x0f : c & 0x07;
	while (*i < s.len && (s.p[*i] & 0xc0) == 0x80)
		u = u << 6 | (s.p[(*i)++] & 0x3f);
	return u;
}

static void add_char(struct buf *out, uint32_t u)
{
	static const char plain[] = "\"\\\n\r\t\b\f";
	static const char escaped[] = "\"\\nrtbf";
	const char *p = u < 0x80 && u != 0 ? strchr(plain, (int)u) : NULL;

	if (p != NULL) {
		buf_add_char(out, '\\');
		buf_add_char(out, escaped[p - plain]);
	} else if (u >= 0x20 && u <= 0x7e) {
		buf_add_char(out, (char)u);
	} else if (u < 0x10000) {
		add_u16(out, u);
	} else {
		add_u16(out, 0xd800 + ((u - 0x10000) >> 10));
		add_u16(out, 0xdc00 + ((u - 0x10000) & 0x3ff));
	}
}

static void add_text(struct buf *out, struct str s)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < s.len;)
		add_char(out, next_code(s, &i));
	buf_add_char(out, '"');
}

static int by_key(const void *a, const void *b)
{
	const struct jv_member *const *l = a, *const *r = b;

	return str_cmp((*l)->key, (*r)->key);
}

static void add_value(struct buf *out, const struct jv *v);

static void add_object(struct buf *out, const struct jv *v)
{
	const struct jv_member *few[16], **sorted = few;

	if (v->n > NELEM(few)) {
		sorted = calloc(v->n, sizeof(*sorted));
		if (sorted == NULL)
			fatal("out of memory sorting %u keys", v->n);
	}
	for (uint32_t i = 0; i < v->n; i++)
		sorted[i] = &v->u.obj[i];
	qsort(sorted, v->n, sizeof(*sorted), by_key);
	buf_add_char(out, '{');
	for (uint32_t i = 0; i < v->n; i++) {
		if (i > 0)
			buf_add_char(out, ',');
		add_text(out, sorted[i]->key);
		buf_add_char(out, ':');
		add_value(out, &sorted[i]->val);
	}
	buf_add_char(out, '}');
	if (sorted != few)
		free(sorted);
}

static void add_array(struct buf *out, const struct jv *v)
{
	buf_add_char(out, '[');
	for (uint32_t i = 0; i < v->n; i++) {
		if (i > 0)
			buf_add_char(out, ',');
		add_value(out, &v->u.arr[i]);
	}
	buf_add_char(out, ']');
}

static void add_value(struct buf *out, const struct jv *v)
{
	char num[NUM_DOUBLE_MAX];

	switch (v->type) {
	case JV_NULL:
		buf_add(out, "null", 4);
		break;
	case JV_BOOL:
		buf_add_str(out, v->u.b ? STR("true") : STR("false"));
		break;
	case JV_INT:
		buf_printf(out, "%lld", (long long)v->u.i);
		break;
	case JV_FLOAT:
		buf_add(out, num, num_print_double(v->u.d, num));
		break;
	case JV_STR:
		add_text(out, v->u.s);
		break;
	case JV_ARR:
		add_array(out, v);
		break;
	case JV_OBJ:
		add_object(out, v);
		break;
	}
}

void dsl_canon(struct buf *out, const struct jv *ast)
{
	if (ast->type == JV_NULL)
		buf_add(out, "{}", 2);
	else
		add_value(out, ast);
}

void dsl_hash(const struct jv *ast, char hex[65])
{
	struct buf b;

	buf_init(&b, 0);
	dsl_canon(&b, ast);
	sha256_hex(buf_str(&b), hex);
	buf_fini(&b);
}
