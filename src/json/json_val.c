/* json_val.c - see json_val.h. */
#include "json/json_val.h"

const struct jv *jv_get(const struct jv *v, struct str key)
{
	if (v == NULL || v->type != JV_OBJ)
		return NULL;
	for (uint32_t i = 0; i < v->n; i++)
		if (str_eq(v->u.obj[i].key, key))
			return &v->u.obj[i].val;
	return NULL;
}

const struct jv *jv_member(const struct jv *v, const char *key)
{
	return jv_get(v, str_from(key));
}

size_t jv_text_bytes(const struct jv *v, size_t max)
{
	size_t n = 2; /* quotes or brackets */

	switch (v->type) {
	case JV_NULL:
	case JV_BOOL:
	case JV_INT:
	case JV_FLOAT:
		return 24;
	case JV_STR:
		return n + v->u.s.len;
	case JV_ARR:
		for (uint32_t i = 0; i < v->n && n <= max; i++)
			n += 1 + jv_text_bytes(&v->u.arr[i], max - n);
		return n;
	case JV_OBJ:
		for (uint32_t i = 0; i < v->n && n <= max; i++) {
			n += 4 + v->u.obj[i].key.len;
			if (n <= max)
				n += jv_text_bytes(&v->u.obj[i].val, max - n);
		}
		return n;
	}
	return n;
}

const char *jv_type_name(enum jv_type t)
{
	switch (t) {
	case JV_NULL:
		return "null";
	case JV_BOOL:
		return "boolean";
	case JV_INT:
		return "integer";
	case JV_FLOAT:
		return "number";
	case JV_STR:
		return "string";
	case JV_ARR:
		return "array";
	case JV_OBJ:
		return "object";
	}
	return "unknown";
}
