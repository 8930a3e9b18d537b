/*
 * db_array.h - one-dimensional arrays in Postgres's binary form, for
 * statements over many rows.  Nothing is quoted or printed, and the server
 * parses nothing.
 *
 *	struct db_array a = {0};
 *
 *	db_array_begin(&a, DB_ARRAY_TEXT);
 *	db_array_text(&a, name);
 *	db_array_null(&a);
 *	params[0] = db_array_param(&a);
 *
 * The parameter points into the array's memory: it is valid until the next
 * begin or fini.  An array may be begun again any number of times and keeps
 * its memory.
 */
#ifndef DB_DB_ARRAY_H
#define DB_DB_ARRAY_H

#include "base/str.h"
#include "base/uuid.h"
#include "db/db_pool.h"

/* The values are type OIDs of the elements. */
enum db_array_type {
	DB_ARRAY_BOOL = 16,
	DB_ARRAY_INT8 = 20,
	DB_ARRAY_INT2 = 21,
	DB_ARRAY_INT4 = 23,
	DB_ARRAY_TEXT = 25,
	DB_ARRAY_FLOAT8 = 701,
	DB_ARRAY_UUID = 2950
};

struct db_array {
	struct buf buf; /* all zero before the first begin */
	enum db_array_type type;
	uint32_t cnt;  /* elements */
	bool has_null; /* one of them is NULL */
};

void db_array_begin(struct db_array *a, enum db_array_type type);
void db_array_fini(struct db_array *a);
void db_array_null(struct db_array *a);
/* Each is for its own element type only; text is UTF-8 without U+0000. */
void db_array_bool(struct db_array *a, bool v);
void db_array_i16(struct db_array *a, int16_t v);
void db_array_i32(struct db_array *a, int32_t v);
void db_array_i64(struct db_array *a, int64_t v);
void db_array_double(struct db_array *a, double v);
void db_array_uuid(struct db_array *a, const struct uuid *v);
void db_array_text(struct db_array *a, struct str s); /* p NULL: SQL NULL */
struct db_param db_array_param(struct db_array *a);

#endif
