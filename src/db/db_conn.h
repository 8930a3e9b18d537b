/*
 * db_conn.h - one connection of a pool: a state machine on the event loop.
 * Used by db_pool.c only, which owns the storage and decides when to connect
 * and what to send.
 *
 *	BROKEN -> CONNECTING -> PREPARING -> CHECKING -> IDLE <-> BUSY
 *
 * and from each of them back to BROKEN.
 */
#ifndef DB_DB_CONN_H
#define DB_DB_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "db/db_pool.h"
#include "db/db_stmt.h"

struct db_conn;
struct pg_conn;
struct pg_result;

enum db_conn_state {
	DB_CONN_BROKEN,     /* no socket; the timer runs if a retry is due */
	DB_CONN_CONNECTING, /* PQconnectPoll */
	DB_CONN_PREPARING,  /* the session's settings are on their way */
	DB_CONN_CHECKING,   /* conf.check_sql is on its way */
	DB_CONN_IDLE,       /* in pipeline mode, nothing sent */
	DB_CONN_BUSY        /* replies are awaited */
};

/* What the pool does when something happens; none runs inside db_conn_init. */
struct db_conn_ops {
	/* Around every event, so that the pool can be freed by a callback. */
	void (*enter)(struct db_pool *p);
	void (*leave)(struct db_pool *p);
	/* The time given to db_conn_retry_after has come. */
	void (*on_retry)(struct db_pool *p, struct db_conn *c);
	void (*on_up)(struct db_pool *p, struct db_conn *c);
	/* Jobs that were sent and not answered, oldest first, by job->next. */
	void (*on_down)(struct db_pool *p, struct db_conn *c, bool was_up,
		struct db_job *lost);
	void (*on_reply)(struct db_pool *p, struct db_conn *c,
		struct db_job *job, const struct db_reply *reply);
};

struct db_conn_conf {
	const char *conninfo;
	const char *app_name;
	bool log_statements;
	char *setup_sql;       /* owned: settings and LISTEN */
	const char *check_sql; /* may be NULL */
	int (*on_check)(
		void *arg, const struct db_res *res, const char *sqlstate);
	void (*on_notify)(void *arg, const char *payload);
	void *arg;
};

/* One thing sent, in order; replies are matched to the oldest. */
struct db_sent {
	enum { DB_SENT_PREPARE, DB_SENT_CALL, DB_SENT_SYNC } kind;
	unsigned stmt_id;   /* DB_SENT_PREPARE */
	struct db_job *job; /* DB_SENT_SYNC: the job that it ends, or NULL */
};

struct db_results {
	struct pg_result **v;
	unsigned cnt, cap;
};

struct db_conn {
	enum db_conn_state state;
	struct db_pool *pool;
	const struct db_conn_ops *ops;
	struct event_base *base;
	struct db_conn_conf conf;
	enum db_lane lane;
	unsigned backoff_ms; /* the pool's: of the last retry, 0 when up */

	struct pg_conn *pg; /* NULL when broken */
	struct event io;
	short io_events; /* 0: not watched */
	struct event timer;
	uint64_t timer_at_ms; /* 0: not armed */

	struct db_sent *sent; /* ring */
	unsigned sent_cap;    /* a power of two */
	unsigned sent_head, sent_cnt;
	unsigned jobs_cnt;     /* jobs among them */
	struct db_job *stream; /* the one sent whose rows go to on_row */
	bool is_single; /* its rows come one by one: single-row mode is set */
	bool has_rest;  /* a pause left rows in libpq's buffer */
	uint64_t prepared[DB_STMTS_MAX / 64]; /* by statement id */
	bool is_stale; /* its prepared statements fail: replaced when idle */

	/* what came for the oldest job so far */
	struct db_results results;
	char sqlstate[6];  /* its first error */
	char message[256]; /* of that error, or why the connection broke */
	/* the last PREPARE that failed: why a statement does not exist */
	char prepare_sqlstate[6];
	char prepare_message[256];
};

/* Takes conf->setup_sql. */
void db_conn_init(struct db_conn *c, struct event_base *base,
	const struct db_conn_conf *conf, const struct db_conn_ops *ops,
	struct db_pool *p, enum db_lane lane);
void db_conn_fini(struct db_conn *c);
/* Only when broken; leads to on_up or on_down. */
void db_conn_open(struct db_conn *c);
void db_conn_retry_after(struct db_conn *c, unsigned ms);
/* Only when up; the job is answered by on_reply or given back by on_down. */
void db_conn_send(struct db_conn *c, struct db_job *job);
/* Reads again for a job that is not paused any more. */
void db_conn_resume(struct db_conn *c, const struct db_job *job);
/* Gives the job up, and the connection with it; leads to on_down. */
void db_conn_abandon(struct db_conn *c);
/* Closes without on_down; returns the jobs that were not answered. */
struct db_job *db_conn_close(struct db_conn *c);

/* Takes one more job; the pool bounds how many. */
static inline bool db_conn_is_usable(const struct db_conn *c)
{
	return !c->is_stale &&
	       (c->state == DB_CONN_IDLE || c->state == DB_CONN_BUSY);
}

static inline bool db_conn_is_up(const struct db_conn *c)
{
	return c->state == DB_CONN_IDLE || c->state == DB_CONN_BUSY;
}

#endif
