/*
 * db_row.h - typed getters from one result; NULL is explicit.  Results are
 * text form and belong to the pool: they are valid inside the callback only.
 * A getter returns false when the value is SQL NULL.  A value that is not of
 * the wanted form is a bug and ends the process.
 */
#ifndef DB_DB_ROW_H
#define DB_DB_ROW_H

#include "base/base.h"
#include "base/str.h"
#include "base/uuid.h"

struct db_res; /* a PGresult */

int db_res_rows(const struct db_res *r);
/* Rows touched by INSERT, UPDATE, DELETE. */
int64_t db_res_affected(const struct db_res *r);
bool db_row_str(const struct db_res *r, int row, int col, struct str *v_r);
bool db_row_i64(const struct db_res *r, int row, int col, int64_t *v_r);
bool db_row_double(const struct db_res *r, int row, int col, double *v_r);
bool db_row_bool(const struct db_res *r, int row, int col, bool *v_r);
bool db_row_uuid(const struct db_res *r, int row, int col, struct uuid *v_r);
/*
 * Microseconds since the epoch from a bigint column (select
 * (extract(epoch from t) * 1000000)::bigint).
 */
bool db_row_time_us(const struct db_res *r, int row, int col, int64_t *v_r);

#endif
