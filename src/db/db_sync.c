/* db_sync.c - see db_sync.h.  Runs in gamectl; it blocks. */
#include "db/db_sync.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "db/db_sqlstate.h"
#include "db/db_stmt.h"
#include "db/db_text.h"

struct db_sync {
	PGconn *pg;
	char sqlstate[6]; /* of the last failure */
};

static PGconn *connect_db(const char *conninfo)
{
	/* what stands before dbname is a default, what follows is not */
	static const char *const keys[] = {"fallback_application_name",
		"connect_timeout", "tcp_user_timeout", "keepalives_idle",
		"keepalives_interval", "keepalives_count", "dbname",
		"client_encoding", NULL};
	const char *const values[] = {
		"gamectl", "5", "5000", "10", "5", "3", conninfo, "UTF8", NULL};

	return PQconnectdbParams(keys, values, 1);
}

/* Takes the result; -1 unless it has one of the two good states. */
static int check(struct db_sync *db, PGresult *res, struct err *err_r)
{
	char text[256];
	enum err_code code = ERR_INVALID;

	switch (PQresultStatus(res)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_EMPTY_QUERY:
		db->sqlstate[0] = '\0';
		return 0;
	default: /* the enum is libpq's and grows */
		break;
	}
	db_text_result(res, text, sizeof(text), db->sqlstate);
	if (text[0] == '\0')
		db_text_conn(db->pg, text, sizeof(text));
	switch (db_sqlstate_class(db->sqlstate)) {
	case DB_SQL_UNIQUE:
	case DB_SQL_FOREIGN_KEY:
		code = ERR_CONFLICT;
		break;
	case DB_SQL_CANCELLED:
	case DB_SQL_LOCKED:
		code = ERR_TIMEOUT;
		break;
	case DB_SQL_RETRY:
	case DB_SQL_CONNECTION:
	case DB_SQL_RESOURCES:
		code = ERR_UNAVAILABLE;
		break;
	case DB_SQL_OTHER:
		break;
	}
	if (PQstatus(db->pg) == CONNECTION_BAD)
		code = ERR_UNAVAILABLE;
	return err_set(err_r, code, "database: %s", text);
}

struct db_sync *db_sync_open(const char *conninfo, struct err *err_r)
{
	struct db_sync *db = calloc(1, sizeof(*db));
	char text[256];

	if (!db)
		fatal("out of memory");
	db->pg = connect_db(conninfo);
	if (!db->pg)
		fatal("out of memory");
	if (PQstatus(db->pg) != CONNECTION_OK) {
		db_text_conn(db->pg, text, sizeof(text));
		err_set(err_r, ERR_UNAVAILABLE, "database: %s", text);
		db_sync_close(&db);
		return NULL;
	}
	PQsetNoticeProcessor(db->pg, db_text_on_notice, NULL);
	if (db_sync_script(db, "SET TimeZone TO 'UTC'", err_r) < 0)
		db_sync_close(&db);
	return db;
}

void db_sync_close(struct db_sync **db)
{
	if (!*db)
		return;
	PQfinish((*db)->pg);
	free(*db);
	*db = NULL;
}

int db_sync_exec(struct db_sync *db, const struct db_stmt *stmt,
	const struct db_param *params, const struct db_res **res_r,
	struct err *err_r)
{
	struct db_args args;
	PGresult *res;

	db_stmt_oids(stmt, args.types);
	db_stmt_values(stmt, params, &args);
	res = PQexecParams(db->pg, stmt->sql, stmt->nparams, args.types,
		args.values, args.lengths, args.formats, 0);
	if (check(db, res, err_r) < 0) {
		PQclear(res);
		return -1;
	}
	if (res_r)
		*res_r = (const struct db_res *)res;
	else
		PQclear(res);
	return 0;
}

void db_sync_res_free(const struct db_res **res)
{
	PQclear((PGresult *)*res);
	*res = NULL;
}

int db_sync_script(struct db_sync *db, const char *sql, struct err *err_r)
{
	PGresult *res = PQexec(db->pg, sql);
	int rc = check(db, res, err_r);

	PQclear(res);
	return rc;
}

int db_sync_begin(struct db_sync *db, struct err *err_r)
{
	return db_sync_script(db, "BEGIN", err_r);
}

int db_sync_commit(struct db_sync *db, struct err *err_r)
{
	/* COMMIT of a failed transaction succeeds, as a rollback */
	if (PQtransactionStatus(db->pg) == PQTRANS_INERROR) {
		db_sync_rollback(db);
		return err_set(err_r, ERR_INVALID,
			"database: the transaction has failed before");
	}
	return db_sync_script(db, "COMMIT", err_r);
}

void db_sync_rollback(struct db_sync *db)
{
	struct err err;

	if (PQtransactionStatus(db->pg) != PQTRANS_IDLE &&
		db_sync_script(db, "ROLLBACK", &err) < 0)
		log_warnx("rollback failed: %s", err.text);
}

const char *db_sync_sqlstate(const struct db_sync *db)
{
	return db->sqlstate;
}

struct pg_conn *db_sync_pg(struct db_sync *db)
{
	return db->pg;
}
