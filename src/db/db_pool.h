/*
 * db_pool.h - a worker's connections to Postgres: a fixed set, asynchronous
 * libpq in pipeline mode, a bounded wait queue, deadlines, reconnect.
 *
 * A job is one or more prepared statements sent between two syncs, that is
 * one implicit transaction: all or nothing.  Jobs of the read lane share
 * connections and are pipelined; a job of the write lane has a connection
 * for itself while it runs.  The job and its parameters belong to the caller
 * (usually the request's arena) and must stay until the callback ran.  The
 * callback runs exactly once, never before db_pool_submit returns, always
 * from the event loop.
 */
#ifndef DB_DB_POOL_H
#define DB_DB_POOL_H

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "db/db_row.h"

struct event_base;
struct db_pool;

#define DB_PARAMS_MAX 24

/* A prepared statement; static storage, one per SQL text, in store_*.c. */
struct db_stmt {
	const char *name; /* unique, [a-z_]+ */
	const char *sql;
	int nparams;
	const char *types; /* one letter each: u uuid, t text, i int4, l int8,
			      d float8, b bool, j jsonb, J json, z timestamptz,
			      s int2; an upper-case U T I L S D B stands for an
			      array of it; '?' leaves it to the server */
};

struct db_param {
	const char *p; /* NULL: SQL NULL; text form is NUL-terminated */
	int len;       /* bytes, for the binary form */
	int binary;    /* 1: binary form */
};

struct db_call {
	const struct db_stmt *stmt;
	const struct db_param *params; /* stmt->nparams */
};

enum db_outcome {
	DB_OK,         /* committed; one result per call */
	DB_SQL_ERROR,  /* refused by the server: sqlstate */
	DB_TIMEOUT,    /* deadline passed; whether it happened is unknown */
	DB_LOST,       /* connection lost after sending: outcome unknown */
	DB_UNAVAILABLE /* never sent: queue full or no healthy connection */
};

struct db_reply {
	enum db_outcome outcome;
	const struct db_res *const *res; /* one per call when DB_OK */
	unsigned res_cnt;
	char sqlstate[6];
	char message[256]; /* last line of the server's message; for the log */
};

enum db_lane { DB_LANE_READ, DB_LANE_WRITE };

struct db_job;
typedef void (*db_job_cb)(struct db_job *job, const struct db_reply *reply);

struct db_job {
	/* caller */
	enum db_lane lane;
	const struct db_call *calls;
	unsigned calls_cnt;
	uint32_t deadline_ms; /* from submit to answer; 0: the pool's default */
	db_job_cb cb;
	void *arg;
	/* pool */
	struct db_job *next;
	uint64_t deadline_at_ms;
	void *conn;
};

struct db_pool_conf {
	const char *conninfo;    /* host is a socket directory or address */
	const char *app_name;    /* game-worker-0 */
	unsigned read_conns;     /* at least 1 */
	unsigned write_conns;    /* 1 or 2 */
	unsigned pipeline_depth; /* jobs in flight per read connection */
	unsigned queue_max;      /* waiting jobs per lane */
	uint32_t deadline_ms;
	const char *session_sql; /* settings sent after connect, may be NULL */
	const char *listen_channel; /* LISTEN on one connection, may be NULL */
	void (*on_notify)(void *arg, const char *payload);
	/* Runs on each new connection; false closes it and stops the pool. */
	void (*on_state)(void *arg, bool healthy);
	void *arg;
};

struct db_pool *db_pool_new(
	struct event_base *base, const struct db_pool_conf *conf);
/* Jobs still waiting get DB_UNAVAILABLE first. */
void db_pool_free(struct db_pool **p);
void db_pool_submit(struct db_pool *p, struct db_job *job);
/* At least one connection of the lane answers. */
bool db_pool_healthy(const struct db_pool *p);
/* A write connection is free now: a group commit may be sent. */
bool db_pool_write_idle(const struct db_pool *p);

struct db_pool_stats {
	unsigned conns_idle, conns_busy, conns_down;
	unsigned queued;
	unsigned in_flight;
};
void db_pool_stats(const struct db_pool *p, struct db_pool_stats *s_r);

#endif
