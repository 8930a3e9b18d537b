/*
 * db_pool.h - a worker's connections to Postgres: a fixed set, asynchronous
 * libpq in pipeline mode, a bounded wait queue, deadlines, reconnect.
 *
 * A job is one or more prepared statements sent between two syncs, that is
 * one implicit transaction: all or nothing.  Jobs of the read lane share
 * connections and are pipelined, and one whose connection is lost is sent once
 * more on another, so it must be safe to run twice.  A job of the write lane
 * has a connection for itself while it runs and is never sent twice.  The long
 * lane is as the write lane, for what may take minutes: it has connections of
 * its own, so that nobody else waits, and a job there may have its rows handed
 * out one by one (on_row).
 *
 * The job and its parameters belong to the caller (usually the request's
 * arena) and must stay until the callback ran.  The callback runs exactly
 * once, never before db_pool_submit returns, always from the event loop or
 * from db_pool_free.  It may submit, and it may free the pool.
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
	DB_SQL_ERROR,  /* refused by the server, rolled back: sqlstate */
	DB_TIMEOUT,    /* deadline passed; whether it happened is unknown */
	DB_LOST,       /* connection lost after sending: outcome unknown */
	DB_UNAVAILABLE /* never sent: queue full, no healthy connection, or
			  the deadline passed while it waited for one */
};

struct db_reply {
	enum db_outcome outcome;
	const struct db_res *const *res; /* one per call when DB_OK */
	unsigned res_cnt;
	char sqlstate[6];  /* "" unless DB_SQL_ERROR; see db_sqlstate.h */
	char message[256]; /* one line about what went wrong; for the log */
};

enum db_lane { DB_LANE_READ, DB_LANE_WRITE, DB_LANE_LONG };
#define DB_LANES 3

/* statement_timeout of the long lane */
#define DB_LONG_MS 600000

struct db_job;
struct db_conn;
typedef void (*db_job_cb)(struct db_job *job, const struct db_reply *reply);
typedef void (*db_row_cb)(struct db_job *job, const struct db_res *row);

struct db_job {
	/* caller */
	enum db_lane lane;
	const struct db_call *calls;
	unsigned calls_cnt;
	uint32_t deadline_ms; /* from submit to answer; 0: the pool's default */
	db_job_cb cb;
	/*
	 * Long lane, one call: takes the rows in order, each a result of one
	 * row that is valid inside the callback only.  cb runs after the last
	 * with an empty result, or with the failure that came after some.
	 * May pause, resume and cancel the job.  NULL: rows come with cb.
	 */
	db_row_cb on_row;
	void *arg;
	/* pool */
	struct db_job *next;
	uint64_t submitted_ns;   /* monotonic */
	uint64_t deadline_at_ms; /* monotonic */
	enum db_outcome outcome; /* of a job that failed, until told */
	bool was_retried;        /* already sent on another connection */
	bool is_paused;
	struct db_conn *conn; /* of a job with on_row, while it is sent */
};

struct db_pool_conf {
	const char *conninfo;    /* host is a socket directory or address */
	const char *app_name;    /* game-worker-0 */
	unsigned read_conns;     /* at least 1 */
	unsigned write_conns;    /* 1 or 2 */
	unsigned long_conns;     /* 0: no jobs of the long lane */
	unsigned pipeline_depth; /* jobs in flight per read connection */
	unsigned queue_max;      /* waiting jobs per lane */
	uint32_t deadline_ms;
	bool log_statements; /* logger game.sql: their text, no values */
	/*
	 * Each new session: TimeZone is UTC, idle_in_transaction_session_
	 * timeout 5 s, the two below (0: as the server has them), then
	 * session_sql: settings, several if separated by ';', may be NULL.
	 */
	uint32_t statement_timeout_ms;
	uint32_t lock_timeout_ms;
	const char *session_sql;
	/*
	 * The worker's slot, 0 for none: setting gamed.shard of the write
	 * connections, each with a value of its own.
	 */
	unsigned shard;
	/*
	 * LISTEN on the first read connection, may be NULL.  A NULL payload
	 * says that the connection is new: notifications may have been lost.
	 */
	const char *listen_channel;
	void (*on_notify)(void *arg, const char *payload);
	/*
	 * First statement of each new session, may be NULL; res is NULL when
	 * it failed with sqlstate.  Below 0 the connection is not used and
	 * tried again later; a worker ends itself in here (exit 2).
	 */
	const char *check_sql;
	int (*on_check)(
		void *arg, const struct db_res *res, const char *sqlstate);
	/* db_pool_healthy has changed; it begins as false. */
	void (*on_state)(void *arg, bool healthy);
	void *arg;
};

/* Copies conf; connects from the event loop. */
struct db_pool *db_pool_new(
	struct event_base *base, const struct db_pool_conf *conf);
/* Jobs still waiting get DB_UNAVAILABLE first, those already sent DB_LOST. */
void db_pool_free(struct db_pool **p);
void db_pool_submit(struct db_pool *p, struct db_job *job);
/*
 * A job with on_row.  While it is paused nothing is read from its connection,
 * so the server waits, and its deadline stands still; otherwise the deadline
 * counts from the last rows.  Resuming hands out rows later, never inside.
 * A cancelled job gets its callback soon, and its connection is made anew.
 */
void db_job_pause(struct db_job *job);
void db_job_resume(struct db_job *job);
void db_job_cancel(struct db_job *job);
/* Each lane has at least one connection that is up. */
bool db_pool_healthy(const struct db_pool *p);
/* A write connection is free now: a group commit may be sent. */
bool db_pool_write_idle(const struct db_pool *p);

struct db_pool_stats {
	unsigned conns_idle, conns_busy;
	unsigned conns_down; /* connecting ones too */
	unsigned queued;     /* jobs waiting for a connection */
	unsigned in_flight;  /* jobs sent and not answered */
};
void db_pool_stats(const struct db_pool *p, struct db_pool_stats *s_r);

#endif
