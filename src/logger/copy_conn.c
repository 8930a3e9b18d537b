/*
 * copy_conn.c - see copy_conn.h.  Logger process.
 *
 *	DOWN -> CONNECTING -> IDLE -> QUERY <-> DATA -> QUERY -> IDLE
 *
 * A job is a script of one to three steps; each is a simple query, one of
 * them a COPY whose data is sent when the server asks for it.  Any failure of
 * the connection leads to DOWN, and set_state is the only way there.
 */
#include "logger/copy_conn.h"

#include <event2/event.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define CHUNK_BYTES    65536

enum state {
	CC_DOWN,       /* waits for the timer */
	CC_CONNECTING, /* PQconnectPoll */
	CC_IDLE,
	CC_QUERY, /* results of the step are awaited */
	CC_DATA   /* COPY data is being sent */
};

enum { STEPS_MAX = 3 };

struct copy_conn {
	struct event_base *base;
	struct copy_conn_conf conf;
	PGconn *pg;
	enum state state;
	struct event *ev_io;    /* made anew when the socket may have changed */
	short io_wants;         /* what ev_io waits for */
	struct event *ev_timer; /* DOWN: reconnect; else: the deadline */
	uint32_t backoff_ms;
	/* the job */
	struct copy_job job;
	char *steps[STEPS_MAX];
	unsigned steps_cnt, step;
	size_t sent; /* bytes of the lines handed to libpq */
	bool copy_ended;
	bool rolling_back;
	bool ended; /* the server said that it ends the session */
	struct copy_reply reply;
};

static void on_io(evutil_socket_t fd, short what, void *arg);

static void set_timer(struct copy_conn *c, uint32_t ms)
{
	struct timeval tv = {ms / 1000, (ms % 1000) * 1000};

	if (event_add(c->ev_timer, &tv) < 0)
		fatal("cannot set the timer of the logger's connection");
}

static void want(struct copy_conn *c, short what)
{
	if (c->ev_io != NULL && c->io_wants == what)
		return;
	if (c->ev_io != NULL)
		event_free(c->ev_io);
	c->ev_io = event_new(
		c->base, PQsocket(c->pg), what | EV_PERSIST, on_io, c);
	c->io_wants = what;
	if (c->ev_io == NULL || event_add(c->ev_io, NULL) < 0)
		fatal("cannot watch the logger's connection");
}

static void unwatch(struct copy_conn *c)
{
	if (c->ev_io != NULL)
		event_free(c->ev_io);
	c->ev_io = NULL;
	c->io_wants = 0;
}

/* Last line of a libpq message, without its end. */
static void last_line(char *out, size_t size, const char *msg)
{
	struct str s = str_trim(str_from(msg ? msg : ""));

	for (size_t i = s.len; i > 0; i--)
		if (s.p[i - 1] == '\n') {
			s = (struct str){s.p + i, s.len - i};
			break;
		}
	snprintf(out, size, "%.*s", STR_ARG(str_trim(s)));
}

static void set_state(struct copy_conn *c, enum state to)
{
	c->state = to;
	switch (to) {
	case CC_DOWN:
		unwatch(c);
		PQfinish(c->pg);
		c->pg = NULL;
		set_timer(c, c->backoff_ms);
		c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MAX_MS
					? c->backoff_ms * 2
					: BACKOFF_MAX_MS;
		break;
	case CC_CONNECTING:
		set_timer(c, c->conf.deadline_ms);
		break;
	case CC_IDLE:
		event_del(c->ev_timer);
		want(c, EV_READ);
		break;
	case CC_QUERY:
	case CC_DATA:
		break;
	}
}

static void job_end(struct copy_conn *c, enum copy_outcome outcome)
{
	for (unsigned i = 0; i < c->steps_cnt; i++)
		free(c->steps[i]);
	c->steps_cnt = 0;
	c->reply.outcome = outcome;
	c->conf.on_done(c->conf.arg, &c->reply);
}

static void lose(struct copy_conn *c, const char *why)
{
	bool busy = c->state == CC_QUERY || c->state == CC_DATA;
	char msg[256];

	last_line(msg, sizeof(msg), why);
	log_warnx_limited("the logger has no database: %s", msg);
	if (c->reply.message[0] == '\0')
		memcpy(c->reply.message, msg, sizeof(msg));
	set_state(c, CC_DOWN);
	if (busy)
		job_end(c, COPY_LOST);
}

/* ---- the script --------------------------------------------------------- */

static char *sql(const char *fmt, ...) PRINTF_LIKE(1, 2);

static char *sql(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		fatal("out of memory for a statement of the logger");
	va_end(ap);
	return text;
}

static void make_script(struct copy_conn *c)
{
	const struct copy_job *j = &c->job;

	if (!j->staged) {
		c->steps[0] =
			sql("COPY %s (%s) FROM STDIN", j->table, j->columns);
		c->steps_cnt = 1;
		return;
	}
	c->steps[0] = sql("BEGIN; CREATE TEMPORARY TABLE gamed_stage "
			  "(LIKE %s) ON COMMIT DROP",
		j->table);
	c->steps[1] = sql("COPY gamed_stage (%s) FROM STDIN", j->columns);
	c->steps[2] = sql("INSERT INTO %s (%s) SELECT %s FROM gamed_stage "
			  "ON CONFLICT DO NOTHING; COMMIT",
		j->table, j->columns, j->columns);
	c->steps_cnt = 3;
}

/* True when everything is on its way to the server. */
static bool push_out(struct copy_conn *c)
{
	int rc = PQflush(c->pg);

	if (rc < 0) {
		lose(c, PQerrorMessage(c->pg));
		return false;
	}
	want(c, rc == 0 ? EV_READ : EV_READ | EV_WRITE);
	return rc == 0;
}

static void send_query(struct copy_conn *c, const char *text)
{
	if (PQsendQuery(c->pg, text) == 0) {
		lose(c, PQerrorMessage(c->pg));
		return;
	}
	set_state(c, CC_QUERY);
	(void)push_out(c);
}

/* Hands lines to libpq as long as the socket takes them. */
static void send_data(struct copy_conn *c)
{
	while (c->sent < c->job.lines.len) {
		size_t n = c->job.lines.len - c->sent;

		if (n > CHUNK_BYTES)
			n = CHUNK_BYTES;
		if (PQputCopyData(c->pg, c->job.lines.p + c->sent, (int)n) !=
			1) {
			lose(c, PQerrorMessage(c->pg));
			return;
		}
		c->sent += n;
		if (!push_out(c))
			return;
	}
	if (!c->copy_ended && PQputCopyEnd(c->pg, NULL) != 1) {
		lose(c, PQerrorMessage(c->pg));
		return;
	}
	c->copy_ended = true;
	set_state(c, CC_QUERY);
	(void)push_out(c);
}

/*
 * Whose fault an error is.  Connections, resources, conflicts and operators
 * pass, and so the rows are kept.  A schema, a broken file or index and what
 * else is wrong inside of the server concern the table, which waits for who
 * mends it while the others go on.  Whatever else a statement says is said of
 * its rows: of their data, constraints and sizes, or by a trigger, in classes
 * of its own.
 */
static enum copy_outcome whose_fault(const char *sqlstate)
{
	static const char *const server[] = {
		"08", "25", "28", "2D", "3D", "40", "53", "57"};
	static const char *const table[] = {"3F", "42", "55", "58", "F0", "XX"};

	if (sqlstate[0] == '\0')
		return COPY_FAILED;
	for (size_t i = 0; i < NELEM(server); i++)
		if (memcmp(sqlstate, server[i], 2) == 0)
			return COPY_FAILED;
	for (size_t i = 0; i < NELEM(table); i++)
		if (memcmp(sqlstate, table[i], 2) == 0)
			return COPY_NO_TABLE;
	return COPY_REFUSED;
}

static void note_error(struct copy_conn *c, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *name = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
	const char *sev =
		PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	/* it may have committed before that */
	if (sev != NULL && strcmp(sev, "ERROR") != 0)
		c->ended = true;
	if (c->reply.message[0] != '\0')
		return;
	snprintf(c->reply.sqlstate, sizeof(c->reply.sqlstate), "%s",
		state ? state : "");
	snprintf(c->reply.constraint, sizeof(c->reply.constraint), "%s",
		name ? name : "");
	last_line(c->reply.message, sizeof(c->reply.message),
		text ? text : PQresultErrorMessage(res));
}

static void step_done(struct copy_conn *c)
{
	bool failed = c->reply.message[0] != '\0';

	if (c->ended || PQstatus(c->pg) == CONNECTION_BAD) {
		lose(c, failed ? c->reply.message : PQerrorMessage(c->pg));
		return;
	}
	if (failed && !c->rolling_back &&
		PQtransactionStatus(c->pg) != PQTRANS_IDLE) {
		c->rolling_back = true;
		send_query(c, "ROLLBACK");
		return;
	}
	if (!failed && ++c->step < c->steps_cnt) {
		send_query(c, c->steps[c->step]);
		return;
	}
	set_state(c, CC_IDLE);
	job_end(c, failed ? whose_fault(c->reply.sqlstate) : COPY_STORED);
}

static void read_results(struct copy_conn *c)
{
	while (!PQisBusy(c->pg)) {
		PGresult *res = PQgetResult(c->pg);
		ExecStatusType st;

		if (res == NULL) {
			step_done(c);
			return;
		}
		st = PQresultStatus(res);
		if (st == PGRES_FATAL_ERROR || st == PGRES_BAD_RESPONSE)
			note_error(c, res);
		PQclear(res);
		if (st == PGRES_COPY_IN) {
			set_state(c, CC_DATA);
			send_data(c);
			return;
		}
	}
}

/* ---- events ------------------------------------------------------------- */

static void on_connected(struct copy_conn *c)
{
	if (PQsetnonblocking(c->pg, 1) < 0) {
		lose(c, PQerrorMessage(c->pg));
		return;
	}
	c->backoff_ms = BACKOFF_MIN_MS;
	log_info("the logger is connected to the database");
	set_state(c, CC_IDLE);
	c->conf.on_ready(c->conf.arg);
}

static void poll_connect(struct copy_conn *c)
{
	PostgresPollingStatusType st = PQconnectPoll(c->pg);

	/* libpq may have gone on to another socket */
	unwatch(c);
	if (st == PGRES_POLLING_READING)
		want(c, EV_READ);
	else if (st == PGRES_POLLING_WRITING)
		want(c, EV_WRITE);
	else if (st == PGRES_POLLING_OK)
		on_connected(c);
	else
		lose(c, PQerrorMessage(c->pg));
}

static void on_notice(void *arg, const char *message)
{
	(void)arg;
	log_debug("database: %s", message);
}

static void start_connect(struct copy_conn *c)
{
	const char *keys[] = {
		"dbname", "application_name", "client_encoding", NULL};
	const char *values[] = {
		c->conf.conninfo, c->conf.app_name, "UTF8", NULL};

	memset(&c->reply, 0, sizeof(c->reply));
	c->pg = PQconnectStartParams(keys, values, 1);
	if (c->pg == NULL)
		fatal("out of memory for the logger's connection");
	if (PQstatus(c->pg) == CONNECTION_BAD) {
		lose(c, PQerrorMessage(c->pg));
		return;
	}
	PQsetNoticeProcessor(c->pg, on_notice, NULL);
	set_state(c, CC_CONNECTING);
	want(c, EV_WRITE);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct copy_conn *c = arg;

	(void)fd;
	if (c->state == CC_CONNECTING) {
		poll_connect(c);
		return;
	}
	if ((what & EV_READ) && PQconsumeInput(c->pg) == 0) {
		lose(c, PQerrorMessage(c->pg));
		return;
	}
	switch (c->state) {
	case CC_IDLE:
		/* a notice, or the end of the connection */
		if (PQstatus(c->pg) == CONNECTION_BAD)
			lose(c, PQerrorMessage(c->pg));
		break;
	case CC_DATA:
		if (push_out(c))
			send_data(c);
		break;
	case CC_QUERY:
		if (((what & EV_WRITE) && !push_out(c)) || c->pg == NULL)
			break;
		read_results(c);
		break;
	case CC_DOWN:
	case CC_CONNECTING:
		break;
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct copy_conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == CC_DOWN)
		start_connect(c);
	else
		lose(c, "no answer within the deadline");
}

/* ---- interface ---------------------------------------------------------- */

struct copy_conn *copy_conn_new(
	struct event_base *base, const struct copy_conn_conf *conf)
{
	struct copy_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		fatal("out of memory for the logger's connection");
	c->base = base;
	c->conf = *conf;
	c->backoff_ms = BACKOFF_MIN_MS;
	c->ev_timer = evtimer_new(base, on_timer, c);
	if (c->ev_timer == NULL)
		fatal("cannot make the timer of the logger's connection");
	set_timer(c, 0);
	return c;
}

void copy_conn_free(struct copy_conn **cp)
{
	struct copy_conn *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	unwatch(c);
	PQfinish(c->pg);
	event_free(c->ev_timer);
	for (unsigned i = 0; i < c->steps_cnt; i++)
		free(c->steps[i]);
	free(c);
}

bool copy_conn_is_ready(const struct copy_conn *c)
{
	return c->state == CC_IDLE;
}

void copy_conn_send(struct copy_conn *c, const struct copy_job *job)
{
	c->job = *job;
	c->step = 0;
	c->sent = 0;
	c->copy_ended = false;
	c->rolling_back = false;
	c->ended = false;
	memset(&c->reply, 0, sizeof(c->reply));
	make_script(c);
	set_timer(c, c->conf.deadline_ms);
	send_query(c, c->steps[0]);
}
