/*
 * db_array.c - see db_array.h.  The form is that of array_recv in
 * src/backend/utils/adt/arrayfuncs.c, all integers big-endian: dimensions,
 * "has a NULL", element type, then length and lower bound of the dimension,
 * then each element as length (-1: NULL) and bytes.
 */
#include "db/db_array.h"

#include <assert.h>
#include <endian.h>
#include <limits.h>

struct head {
	uint32_t ndim, has_null, type, cnt, lower;
};

void db_array_begin(struct db_array *a, enum db_array_type type)
{
	buf_reset(&a->buf);
	a->type = type;
	a->cnt = 0;
	a->has_null = false;
	/* filled in by db_array_param, when the count is known */
	memset(buf_reserve(&a->buf, sizeof(struct head)), 0,
		sizeof(struct head));
	a->buf.len += sizeof(struct head);
}

void db_array_fini(struct db_array *a)
{
	buf_fini(&a->buf);
}

static void add(
	struct db_array *a, enum db_array_type type, const void *p, size_t len)
{
	uint32_t be = htobe32((uint32_t)len);
	char *to = buf_reserve(&a->buf, sizeof(be) + len);

	assert(a->type == type);
	assert(len <= INT_MAX);
	memcpy(to, &be, sizeof(be));
	if (len)
		memcpy(to + sizeof(be), p, len);
	a->buf.len += sizeof(be) + len;
	a->cnt++;
}

void db_array_null(struct db_array *a)
{
	static const uint32_t minus_one = UINT32_MAX;

	buf_add(&a->buf, &minus_one, sizeof(minus_one));
	a->has_null = true;
	a->cnt++;
}

void db_array_bool(struct db_array *a, bool v)
{
	uint8_t byte = v;

	add(a, DB_ARRAY_BOOL, &byte, sizeof(byte));
}

void db_array_i16(struct db_array *a, int16_t v)
{
	uint16_t be = htobe16((uint16_t)v);

	add(a, DB_ARRAY_INT2, &be, sizeof(be));
}

void db_array_i32(struct db_array *a, int32_t v)
{
	uint32_t be = htobe32((uint32_t)v);

	add(a, DB_ARRAY_INT4, &be, sizeof(be));
}

void db_array_i64(struct db_array *a, int64_t v)
{
	uint64_t be = htobe64((uint64_t)v);

	add(a, DB_ARRAY_INT8, &be, sizeof(be));
}

void db_array_double(struct db_array *a, double v)
{
	uint64_t be;

	memcpy(&be, &v, sizeof(be));
	be = htobe64(be);
	add(a, DB_ARRAY_FLOAT8, &be, sizeof(be));
}

void db_array_uuid(struct db_array *a, const struct uuid *v)
{
	add(a, DB_ARRAY_UUID, v->b, sizeof(v->b));
}

void db_array_text(struct db_array *a, struct str s)
{
	if (s.p)
		add(a, DB_ARRAY_TEXT, s.p, s.len);
	else
		db_array_null(a);
}

struct db_param db_array_param(struct db_array *a)
{
	struct head h = {.ndim = htobe32(1),
		.has_null = htobe32(a->has_null),
		.type = htobe32((uint32_t)a->type),
		.cnt = htobe32(a->cnt),
		.lower = htobe32(1)};

	assert(a->buf.len <= INT_MAX);
	memcpy(a->buf.p, &h, sizeof(h));
	return (struct db_param){
		.p = a->buf.p, .len = (int)a->buf.len, .binary = 1};
}
