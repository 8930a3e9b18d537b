/* json_out.c - see json_out.h. */
#include "json/json_out.h"

#include <math.h>
#include <stdio.h>

#include "base/num.h"

void json_out_init(struct json_out *o, struct buf *b)
{
	o->b = b;
	o->comma = false;
}

static void before_value(struct json_out *o)
{
	if (o->comma)
		buf_add_char(o->b, ',');
	o->comma = true;
}

static void open(struct json_out *o, char c)
{
	before_value(o);
	buf_add_char(o->b, c);
	o->comma = false;
}

static void close(struct json_out *o, char c)
{
	buf_add_char(o->b, c);
	o->comma = true;
}

void json_out_obj(struct json_out *o)
{
	open(o, '{');
}

void json_out_obj_end(struct json_out *o)
{
	close(o, '}');
}

void json_out_arr(struct json_out *o)
{
	open(o, '[');
}

void json_out_arr_end(struct json_out *o)
{
	close(o, ']');
}

/* Length of a well-formed sequence at p, 0 for anything else. */
static size_t sequence(const char *p, size_t left)
{
	unsigned char c = (unsigned char)p[0];
	size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

	if (c < 0xc2 || c > 0xf4 || left < n)
		return 0;
	return str_is_utf8((struct str){p, n}) ? n : 0;
}

static void add_special(struct buf *b, unsigned char c)
{
	static const char names[] = "btn\0fr";

	if (c >= 8 && c <= 13 && c != 11) {
		buf_add_char(b, '\\');
		buf_add_char(b, names[c - 8]);
		return;
	}
	if (c == 0)
		buf_add_str(b, STR("\xef\xbf\xbd"));
	else
		buf_printf(b, "\\u%04x", c);
}

static void add_quoted(struct buf *b, struct str s)
{
	size_t from = 0, i = 0;

	buf_add_char(b, '"');
	while (i < s.len) {
		unsigned char c = (unsigned char)s.p[i];
		size_t n;

		if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
			i++;
			continue;
		}
		if (c >= 0x80 && (n = sequence(s.p + i, s.len - i)) > 0) {
			i += n;
			continue;
		}
		buf_add(b, s.p + from, i - from);
		if (c == '"' || c == '\\') {
			buf_add_char(b, '\\');
			buf_add_char(b, (char)c);
		} else if (c >= 0x80) {
			buf_add_str(b, STR("\xef\xbf\xbd"));
		} else {
			add_special(b, c);
		}
		from = ++i;
	}
	buf_add(b, s.p + from, i - from);
	buf_add_char(b, '"');
}

void json_out_key_str(struct json_out *o, struct str key)
{
	before_value(o);
	add_quoted(o->b, key);
	buf_add_char(o->b, ':');
	o->comma = false;
}

void json_out_key(struct json_out *o, const char *key)
{
	json_out_key_str(o, str_from(key));
}

void json_out_raw(struct json_out *o, struct str json)
{
	before_value(o);
	buf_add_str(o->b, json);
}

void json_out_null(struct json_out *o)
{
	json_out_raw(o, STR("null"));
}

void json_out_bool(struct json_out *o, bool v)
{
	json_out_raw(o, v ? STR("true") : STR("false"));
}

void json_out_int(struct json_out *o, int64_t v)
{
	char num[24];
	int n = snprintf(num, sizeof(num), "%lld", (long long)v);

	json_out_raw(o, (struct str){num, (size_t)n});
}

void json_out_uint(struct json_out *o, uint64_t v)
{
	char num[24];
	int n = snprintf(num, sizeof(num), "%llu", (unsigned long long)v);

	json_out_raw(o, (struct str){num, (size_t)n});
}

void json_out_float(struct json_out *o, double v)
{
	char num[NUM_DOUBLE_MAX];

	if (!isfinite(v)) {
		json_out_null(o);
		return;
	}
	json_out_raw(o, (struct str){num, num_print_double(v, num)});
}

void json_out_str(struct json_out *o, struct str s)
{
	if (s.p == NULL) {
		json_out_null(o);
		return;
	}
	before_value(o);
	add_quoted(o->b, s);
}

void json_out_cstr(struct json_out *o, const char *s)
{
	json_out_str(o, str_from(s));
}

void json_out_uuid(struct json_out *o, const struct uuid *u)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_print(u, text);
	json_out_str(o, (struct str){text, UUID_TEXT_LEN});
}

void json_out_time(struct json_out *o, int64_t wall_us, enum clock_form form)
{
	char text[CLOCK_TEXT_MAX];

	json_out_str(o, (struct str){text, clock_print(wall_us, form, text)});
}

void json_out_val(struct json_out *o, const struct jv *v)
{
	switch (v->type) {
	case JV_NULL:
		json_out_null(o);
		return;
	case JV_BOOL:
		json_out_bool(o, v->u.b);
		return;
	case JV_INT:
		json_out_int(o, v->u.i);
		return;
	case JV_FLOAT:
		json_out_float(o, v->u.d);
		return;
	case JV_STR:
		json_out_str(o, v->u.s);
		return;
	case JV_ARR:
		json_out_arr(o);
		for (uint32_t i = 0; i < v->n; i++)
			json_out_val(o, &v->u.arr[i]);
		json_out_arr_end(o);
		return;
	case JV_OBJ:
		json_out_obj(o);
		for (uint32_t i = 0; i < v->n; i++) {
			json_out_key_str(o, v->u.obj[i].key);
			json_out_val(o, &v->u.obj[i].val);
		}
		json_out_obj_end(o);
		return;
	}
}

void json_out_kv_str(struct json_out *o, const char *key, struct str s)
{
	json_out_key(o, key);
	json_out_str(o, s);
}

void json_out_kv_cstr(struct json_out *o, const char *key, const char *s)
{
	json_out_key(o, key);
	json_out_cstr(o, s);
}

void json_out_kv_int(struct json_out *o, const char *key, int64_t v)
{
	json_out_key(o, key);
	json_out_int(o, v);
}

void json_out_kv_bool(struct json_out *o, const char *key, bool v)
{
	json_out_key(o, key);
	json_out_bool(o, v);
}
