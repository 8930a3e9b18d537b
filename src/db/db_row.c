/* db_row.c - see db_row.h.  Runs in every process that talks to Postgres. */
#include "db/db_row.h"

#include <libpq-fe.h>

#include "base/log.h"
#include "base/num.h"

static const PGresult *pg(const struct db_res *r)
{
	return (const PGresult *)r;
}

static NORETURN void wrong_form(
	const struct db_res *r, int col, const char *wanted)
{
	fatal("column %d (%s) of a result is not %s", col,
		PQfname(pg(r), col) ? PQfname(pg(r), col) : "missing", wanted);
}

int db_res_rows(const struct db_res *r)
{
	return PQntuples(pg(r));
}

int64_t db_res_affected(const struct db_res *r)
{
	int64_t n = 0;
	/* not const in libpq, though it only reads */
	const char *text = PQcmdTuples((PGresult *)pg(r));

	if (*text && num_parse_i64(str_from(text), &n) < 0)
		fatal("affected rows '%s' is not a number", text);
	return n;
}

bool db_row_str(const struct db_res *r, int row, int col, struct str *v_r)
{
	if (row >= PQntuples(pg(r)) || col >= PQnfields(pg(r)))
		fatal("row %d column %d is outside of a result of %d by %d",
			row, col, PQntuples(pg(r)), PQnfields(pg(r)));
	if (PQgetisnull(pg(r), row, col))
		return false;
	v_r->p = PQgetvalue(pg(r), row, col);
	v_r->len = (size_t)PQgetlength(pg(r), row, col);
	return true;
}

bool db_row_i64(const struct db_res *r, int row, int col, int64_t *v_r)
{
	struct str s;

	if (!db_row_str(r, row, col, &s))
		return false;
	if (num_parse_i64(s, v_r) < 0)
		wrong_form(r, col, "an integer");
	return true;
}

bool db_row_double(const struct db_res *r, int row, int col, double *v_r)
{
	struct str s;

	if (!db_row_str(r, row, col, &s))
		return false;
	if (str_is(s, "NaN"))
		*v_r = __builtin_nan("");
	else if (str_is(s, "Infinity"))
		*v_r = __builtin_inf();
	else if (str_is(s, "-Infinity"))
		*v_r = -__builtin_inf();
	else if (num_parse_double(s, v_r) < 0)
		wrong_form(r, col, "a number");
	return true;
}

bool db_row_bool(const struct db_res *r, int row, int col, bool *v_r)
{
	struct str s;

	if (!db_row_str(r, row, col, &s))
		return false;
	if (s.len != 1 || (*s.p != 't' && *s.p != 'f'))
		wrong_form(r, col, "a boolean");
	*v_r = *s.p == 't';
	return true;
}

bool db_row_uuid(const struct db_res *r, int row, int col, struct uuid *v_r)
{
	struct str s;

	if (!db_row_str(r, row, col, &s))
		return false;
	if (uuid_parse(s, v_r) < 0)
		wrong_form(r, col, "a uuid");
	return true;
}

bool db_row_time_us(const struct db_res *r, int row, int col, int64_t *v_r)
{
	return db_row_i64(r, row, col, v_r);
}
