/* db_stmt.c - see db_stmt.h.  Runs in every process that talks to Postgres. */
#include "db/db_stmt.h"

#include <assert.h>

#include "base/log.h"

#define SLOTS (2 * DB_STMTS_MAX) /* a power of two */

/* Hash table by address, open addressing, nothing is ever removed. */
static struct {
	const struct db_stmt *stmt[SLOTS];
	uint16_t id[SLOTS];
	unsigned cnt;
} self;

unsigned db_stmt_id(const struct db_stmt *stmt)
{
	unsigned i = (unsigned)(((uintptr_t)stmt >> 4) * 2654435761U) % SLOTS;

	while (self.stmt[i] && self.stmt[i] != stmt)
		i = (i + 1) % SLOTS;
	if (!self.stmt[i]) {
		assert(self.cnt < DB_STMTS_MAX);
		self.stmt[i] = stmt;
		self.id[i] = (uint16_t)self.cnt++;
	}
	return self.id[i];
}

/* Fixed numbers of the system catalogue (pg_type.dat). */
static unsigned type_oid(char letter)
{
	switch (letter) {
	case '?':
		return 0;
	case 'b':
		return 16;
	case 'l':
		return 20;
	case 's':
		return 21;
	case 'i':
		return 23;
	case 't':
		return 25;
	case 'J':
		return 114;
	case 'd':
		return 701;
	case 'B':
		return 1000;
	case 'S':
		return 1005;
	case 'I':
		return 1007;
	case 'T':
		return 1009;
	case 'L':
		return 1016;
	case 'D':
		return 1022;
	case 'z':
		return 1184;
	case 'u':
		return 2950;
	case 'U':
		return 2951;
	case 'j':
		return 3802;
	}
	fatal("statement parameter type '%c' is unknown", letter);
}

void db_stmt_oids(const struct db_stmt *stmt, unsigned oids[DB_PARAMS_MAX])
{
	assert(stmt->nparams <= DB_PARAMS_MAX);
	assert(stmt->nparams == 0 ||
		strlen(stmt->types) == (size_t)stmt->nparams);
	for (int i = 0; i < stmt->nparams; i++)
		oids[i] = type_oid(stmt->types[i]);
}

void db_stmt_values(const struct db_stmt *stmt, const struct db_param *params,
	struct db_args *args_r)
{
	for (int i = 0; i < stmt->nparams; i++) {
		args_r->values[i] = params[i].p;
		args_r->lengths[i] = params[i].len;
		args_r->formats[i] = params[i].binary;
	}
}
