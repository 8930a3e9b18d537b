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
