/*
 * json_val.h - JSON values in an arena, the form in which everything above
 * level 1 sees JSON (json-c stays inside json_in.c).
 *
 * An int is a number token without '.', 'e', 'E' and fits 64 bits; a float is
 * a finite double.  Strings are valid UTF-8 without U+0000.  Objects keep
 * document order; of duplicate keys the last value stands at the first key's
 * place.  A value is immutable once made and lives as long as its arena.
 */
#ifndef JSON_JSON_VAL_H
#define JSON_JSON_VAL_H

#include "base/str.h"

enum jv_type { JV_NULL, JV_BOOL, JV_INT, JV_FLOAT, JV_STR, JV_ARR, JV_OBJ };

struct jv_member;

struct jv {
	enum jv_type type;
	uint32_t n; /* elements of an array, members of an object */
	union {
		bool b;
		int64_t i;
		double d;
		struct str s;
		struct jv *arr;        /* n values */
		struct jv_member *obj; /* n members */
	} u;
};

struct jv_member {
	struct str key;
	struct jv val;
};

static inline struct jv jv_null(void)
{
	return (struct jv){.type = JV_NULL};
}

static inline struct jv jv_bool(bool b)
{
	return (struct jv){.type = JV_BOOL, .u.b = b};
}

static inline struct jv jv_int(int64_t i)
{
	return (struct jv){.type = JV_INT, .u.i = i};
}

static inline struct jv jv_float(double d)
{
	return (struct jv){.type = JV_FLOAT, .u.d = d};
}

static inline struct jv jv_str(struct str s)
{
	return (struct jv){.type = JV_STR, .u.s = s};
}

/* Member of an object by key; NULL when v is no object or has none. */
const struct jv *jv_get(const struct jv *v, struct str key);
/* As jv_get with a literal. */
const struct jv *jv_member(const struct jv *v, const char *key);
/*
 * About the bytes of v as JSON text, what escapes need not counted: numbers
 * and literals count 24 each.  Stops soon after max, so the work is bounded
 * by it too.
 */
size_t jv_text_bytes(const struct jv *v, size_t max);
/* "null", "boolean", "integer", "number", "string", "array", "object" */
const char *jv_type_name(enum jv_type t);

#endif
