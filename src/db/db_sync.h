/*
 * db_sync.h - one blocking connection, for gamectl only.  The processes of
 * the server use db_pool.h and never this.
 *
 * One owner, from open to close.  Every failure fills err_r and leaves its
 * SQLSTATE in db_sync_sqlstate.  The session runs in UTC, without
 * statement_timeout unless the connection string sets one.
 */
#ifndef DB_DB_SYNC_H
#define DB_DB_SYNC_H

#include "base/err.h"
#include "db/db_pool.h"
#include "db/db_row.h"

struct db_sync;
struct pg_conn;

/* Waits 5 s for the server unless conninfo says otherwise; NULL on failure. */
struct db_sync *db_sync_open(
	const char *conninfo, struct err *err_r) MUST_CHECK;
/* Rolls back what is open. */
void db_sync_close(struct db_sync **db);

/*
 * One statement; params may be NULL when there are none.  The result, when
 * res_r is given, is the caller's: db_sync_res_free.
 */
int db_sync_exec(struct db_sync *db, const struct db_stmt *stmt,
	const struct db_param *params, const struct db_res **res_r,
	struct err *err_r) MUST_CHECK;
void db_sync_res_free(const struct db_res **res);
/* Any number of statements, without parameters; stops at the first error. */
int db_sync_script(
	struct db_sync *db, const char *sql, struct err *err_r) MUST_CHECK;

int db_sync_begin(struct db_sync *db, struct err *err_r) MUST_CHECK;
int db_sync_commit(struct db_sync *db, struct err *err_r) MUST_CHECK;
/* Safe outside of a transaction too; errors go to the log. */
void db_sync_rollback(struct db_sync *db);

/* Of the last failure, "" when it had none (no connection). */
const char *db_sync_sqlstate(const struct db_sync *db);
/* The PGconn itself, for COPY. */
struct pg_conn *db_sync_pg(struct db_sync *db);

#endif
