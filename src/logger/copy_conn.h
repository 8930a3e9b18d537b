/*
 * copy_conn.h - the logger's one connection to Postgres: asynchronous libpq
 * that does COPY FROM STDIN and nothing else (the pools of db/ are pipelined,
 * and COPY is not possible in a pipeline).
 *
 * It connects by itself, with back-off from 0.1 to 5 s.  One job at a time;
 * its callback runs exactly once, perhaps before copy_conn_send returns.
 */
#ifndef LOGGER_COPY_CONN_H
#define LOGGER_COPY_CONN_H

#include "base/base.h"
#include "base/str.h"

struct copy_conn;
struct event_base;

enum copy_outcome {
	COPY_STORED,   /* committed */
	COPY_REFUSED,  /* a row is at fault: nothing was stored */
	COPY_NO_TABLE, /* the table, its columns or rights: nothing was stored */
	COPY_FAILED,   /* the server is at fault: nothing was stored */
	COPY_LOST      /* no connection any more: outcome unknown */
};

struct copy_reply {
	enum copy_outcome outcome;
	char sqlstate[6];    /* "" when the server said nothing */
	char constraint[64]; /* that refused a row; "" for none */
	char message[256];
};

struct copy_job {
	const char *table;
	const char *columns;
	struct str lines; /* text format, stays until the callback */
	/* Through a staging table and ON CONFLICT DO NOTHING: some of the rows
	 * may be there already. */
	bool staged;
};

struct copy_conn_conf {
	const char *conninfo;
	const char *app_name;
	uint32_t deadline_ms; /* connect, and one job */
	void (*on_ready)(void *arg);
	void (*on_done)(void *arg, const struct copy_reply *reply);
	void *arg;
};

struct copy_conn *copy_conn_new(
	struct event_base *base, const struct copy_conn_conf *conf);
void copy_conn_free(struct copy_conn **c);
bool copy_conn_is_ready(const struct copy_conn *c);
/* Only when ready. */
void copy_conn_send(struct copy_conn *c, const struct copy_job *job);

#endif
