/*
 * store_trace.h - one kept run with the program that ran, for gamectl: over a
 * blocking connection, never in a worker.
 */
#ifndef STORE_STORE_TRACE_H
#define STORE_STORE_TRACE_H

#include "base/base.h"
#include "base/err.h"

struct db_sync;

/* SQL: a timestamp as ISO 8601, UTC. */
#define STORE_ISO(col) \
	"to_char(" col \
	" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* Text of the columns; NULL where the column is. */
struct store_trace {
	const char *id;
	const char *at; /* ISO 8601, UTC */
	const char *strategy_id;
	const char *strategy_name; /* NULL: the strategy is gone */
	const char *version;
	const char *type;
	const char *realm;
	const char *game, *task, *user;
	const char *status;
	const char *error_code;
	const char *points;
	const char *case_name;
	const char *duration_ms;
	const char *nodes;
	const char *reason;
	const char *weight;
	const char *correlation_id;
	const char *ast_sha256;
	const char *notes;
	const char *trace;  /* JSON array */
	const char *data;   /* JSON */
	const char *fields; /* JSON object */
	const char *ast;    /* JSON, of the strategy as it is now */
};

enum store_trace_pick {
	STORE_TRACE_BY_ID,
	STORE_TRACE_LAST,       /* the newest */
	STORE_TRACE_LAST_FAILED /* the newest that made no award */
};

typedef int (*store_trace_cb)(void *arg, const struct store_trace *t);

/* id is needed for BY_ID only.  The row lives as long as the call of cb, whose
 * value is put into *rc_r.  ERR_NOT_FOUND when there is no such run. */
int store_trace_read(struct db_sync *db, enum store_trace_pick pick,
	const char *id, store_trace_cb cb, void *arg, int *rc_r,
	struct err *err_r) MUST_CHECK;

#endif
