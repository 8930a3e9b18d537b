/*
 * db_stmt.h - what the files of db/ share about statements: the type letters
 * of struct db_stmt as Postgres type OIDs, and parameters in libpq's form.
 */
#ifndef DB_DB_STMT_H
#define DB_DB_STMT_H

#include "db/db_pool.h"

/* A parameter list as libpq takes it. */
struct db_args {
	unsigned types[DB_PARAMS_MAX]; /* OIDs; 0: the server decides */
	const char *values[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX];
	int formats[DB_PARAMS_MAX];
};

#define DB_STMTS_MAX 512

/*
 * A small number for a statement, the same in the whole process, given out on
 * first use.  More than DB_STMTS_MAX statements is a bug.
 */
unsigned db_stmt_id(const struct db_stmt *stmt);
/* An unknown letter or a count that does not match is a bug. */
void db_stmt_oids(const struct db_stmt *stmt, unsigned oids[DB_PARAMS_MAX]);
void db_stmt_values(const struct db_stmt *stmt, const struct db_param *params,
	struct db_args *args_r);

#endif
