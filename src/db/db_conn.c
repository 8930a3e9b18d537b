/*
 * db_conn.c - one connection to Postgres: connects, sets the session up,
 * sends jobs in pipeline mode and matches what comes back.  Runs in workers,
 * stats and logger; never blocks.
 *
 * A job is its calls and a sync.  Statements are prepared on first use, in
 * front of the job and behind a sync of their own, so that neither a job that
 * fails takes the PREPARE of a later one with it nor the other way round.
 * After an error the server skips to the next sync, where the job ends.
 */
#include "db/db_conn.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/db_sqlstate.h"
#include "db/db_text.h"

#define CONNECT_DEADLINE_MS 5000

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* The only place that changes a state. */
static void set_state(struct db_conn *c, enum db_conn_state state)
{
	c->state = state;
}

/* ---- watcher and timer ---------------------------------------------------- */

static void unwatch(struct db_conn *c)
{
	if (c->io_events)
		event_del(&c->io);
	c->io_events = 0;
}

static void watch(struct db_conn *c, short events)
{
	if (c->io_events == events)
		return;
	unwatch(c);
	if (events == 0)
		return;
	event_assign(&c->io, c->base, PQsocket(c->pg), events | EV_PERSIST,
		on_io, c);
	if (event_add(&c->io, NULL) < 0)
		fatal("cannot watch a database connection");
	c->io_events = events;
}

static void timer_stop(struct db_conn *c)
{
	if (c->timer_at_ms)
		event_del(&c->timer);
	c->timer_at_ms = 0;
}

static void timer_at(struct db_conn *c, uint64_t now_ms, uint64_t at_ms)
{
	uint64_t ms = at_ms > now_ms ? at_ms - now_ms : 0;
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	c->timer_at_ms = at_ms;
	if (event_add(&c->timer, &tv) < 0)
		fatal("cannot set a database timer");
}

/* ---- what was sent --------------------------------------------------------- */

static void sent_push(struct db_conn *c, struct db_sent s)
{
	if (c->sent_cnt == c->sent_cap) {
		unsigned cap = c->sent_cap ? 2 * c->sent_cap : 64;
		struct db_sent *v = malloc(cap * sizeof(*v));

		if (!v)
			fatal("out of memory");
		for (unsigned i = 0; i < c->sent_cnt; i++)
			v[i] = c->sent[(c->sent_head + i) & (c->sent_cap - 1)];
		free(c->sent);
		c->sent = v;
		c->sent_cap = cap;
		c->sent_head = 0;
	}
	c->sent[(c->sent_head + c->sent_cnt++) & (c->sent_cap - 1)] = s;
}

static struct db_sent *sent_at(const struct db_conn *c, unsigned i)
{
	return &c->sent[(c->sent_head + i) & (c->sent_cap - 1)];
}

static void sent_pop(struct db_conn *c)
{
	assert(c->sent_cnt > 0);
	c->sent_head = (c->sent_head + 1) & (c->sent_cap - 1);
	c->sent_cnt--;
}

static void results_add(struct db_results *r, PGresult *res)
{
	if (r->cnt == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 8;
		r->v = realloc(r->v, r->cap * sizeof(*r->v));
		if (!r->v)
			fatal("out of memory");
	}
	r->v[r->cnt++] = res;
}

static void results_clear(struct db_results *r)
{
	for (unsigned i = 0; i < r->cnt; i++)
		PQclear(r->v[i]);
	r->cnt = 0;
}

/* ---- the end of a connection ----------------------------------------------- */

struct db_job *db_conn_close(struct db_conn *c)
{
	struct db_job *first = NULL, **last = &first;

	unwatch(c);
	timer_stop(c);
	for (unsigned i = 0; i < c->sent_cnt; i++) {
		struct db_job *job = sent_at(c, i)->job;

		if (job) {
			job->conn = NULL;
			*last = job;
			last = &job->next;
		}
	}
	*last = NULL;
	c->sent_head = c->sent_cnt = c->jobs_cnt = 0;
	results_clear(&c->results);
	memset(c->prepared, 0, sizeof(c->prepared));
	c->sqlstate[0] = c->prepare_sqlstate[0] = '\0';
	c->is_stale = c->is_single = c->has_rest = false;
	c->stream = NULL;
	PQfinish(c->pg);
	c->pg = NULL;
	set_state(c, DB_CONN_BROKEN);
	return first;
}

/* The reason is libpq's unless given.  Nothing of c may be used after it. */
static void broken(struct db_conn *c, const char *reason)
{
	bool was_up = db_conn_is_up(c);

	if (reason)
		snprintf(c->message, sizeof(c->message), "%s", reason);
	else if (c->sqlstate[0] == '\0')
		db_text_conn(c->pg, c->message, sizeof(c->message));
	log_warnx_limited("database connection %s: %s",
		was_up ? "lost" : "failed", c->message);
	c->ops->on_down(c->pool, c, was_up, db_conn_close(c));
}

static bool is_paused(const struct db_conn *c)
{
	return c->stream && c->stream->is_paused;
}

/* -1 when the connection broke. */
static MUST_CHECK int flush(struct db_conn *c)
{
	short in = is_paused(c) ? 0 : EV_READ;
	int rc = PQflush(c->pg);

	if (rc < 0) {
		broken(c, NULL);
		return -1;
	}
	watch(c, rc == 0 ? in : (short)(in | EV_WRITE));
	return 0;
}

/* ---- connect --------------------------------------------------------------- */

void db_conn_open(struct db_conn *c)
{
	/* what stands before dbname is a default, what follows is not */
	static const char *const keys[] = {"tcp_user_timeout",
		"keepalives_idle", "keepalives_interval", "keepalives_count",
		"gssencmode", "dbname", "client_encoding", "application_name",
		NULL};
	const char *const values[] = {"5000", "10", "5", "3", "disable",
		c->conf.conninfo, "UTF8", c->conf.app_name, NULL};
	uint64_t now = clock_mono_ms();

	assert(c->state == DB_CONN_BROKEN);
	timer_stop(c);
	c->pg = PQconnectStartParams(keys, values, 1);
	if (!c->pg)
		fatal("out of memory");
	set_state(c, DB_CONN_CONNECTING);
	if (PQstatus(c->pg) == CONNECTION_BAD) {
		broken(c, NULL);
		return;
	}
	PQsetNoticeProcessor(c->pg, db_text_on_notice, NULL);
	timer_at(c, now, now + CONNECT_DEADLINE_MS);
	watch(c, EV_WRITE);
}

static void send_setup(
	struct db_conn *c, enum db_conn_state state, const char *sql)
{
	set_state(c, state);
	if (PQsendQuery(c->pg, sql) != 1) {
		broken(c, NULL);
		return;
	}
	if (flush(c) < 0)
		return;
}

static void step_connect(struct db_conn *c)
{
	PostgresPollingStatusType st;

	/* libpq may go on with another socket under the same number */
	unwatch(c);
	st = PQconnectPoll(c->pg);
	switch (st) {
	case PGRES_POLLING_READING:
		watch(c, EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch(c, EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		if (PQsetnonblocking(c->pg, 1) != 0) {
			broken(c, NULL);
			break;
		}
		send_setup(c, DB_CONN_PREPARING, c->conf.setup_sql);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		broken(c, NULL);
		break;
	}
}

/* ---- session --------------------------------------------------------------- */

static void note_error(struct db_conn *c, const PGresult *res)
{
	if (c->sqlstate[0] == '\0')
		db_text_result(
			res, c->message, sizeof(c->message), c->sqlstate);
	/* an error of libpq itself has none */
	if (c->sqlstate[0] == '\0')
		snprintf(c->sqlstate, sizeof(c->sqlstate), "XX000");
}

static bool is_good(const PGresult *res)
{
	ExecStatusType st = PQresultStatus(res);

	return st == PGRES_TUPLES_OK || st == PGRES_COMMAND_OK ||
	       st == PGRES_EMPTY_QUERY;
}

static void session_is_up(struct db_conn *c)
{
	if (PQenterPipelineMode(c->pg) != 1) {
		broken(c, NULL);
		return;
	}
	timer_stop(c);
	set_state(c, DB_CONN_IDLE);
	c->ops->on_up(c->pool, c);
}

/* All results of one of the two steps are here. */
static void end_setup(struct db_conn *c)
{
	if (c->state == DB_CONN_PREPARING) {
		if (c->sqlstate[0]) {
			broken(c, NULL);
			return;
		}
		if (c->conf.check_sql) {
			send_setup(c, DB_CONN_CHECKING, c->conf.check_sql);
			return;
		}
	} else {
		const struct db_res *res =
			c->sqlstate[0] || c->results.cnt == 0
				? NULL
				: (const struct db_res *)c->results.v[0];
		bool good =
			c->conf.on_check(c->conf.arg, res, c->sqlstate) >= 0;

		if (c->state == DB_CONN_BROKEN)
			return; /* the callback freed the pool */
		results_clear(&c->results);
		c->sqlstate[0] = '\0';
		if (!good) {
			broken(c, "the database was refused by the check");
			return;
		}
	}
	session_is_up(c);
}

static void step_setup(struct db_conn *c)
{
	PGresult *res;

	if (PQconsumeInput(c->pg) != 1) {
		broken(c, NULL);
		return;
	}
	if (flush(c) < 0)
		return;
	while (!PQisBusy(c->pg)) {
		res = PQgetResult(c->pg);
		if (!res) {
			end_setup(c);
			return;
		}
		if (!is_good(res))
			note_error(c, res);
		if (is_good(res) && c->state == DB_CONN_CHECKING)
			results_add(&c->results, res);
		else
			PQclear(res);
	}
}

/* ---- send ------------------------------------------------------------------ */

static bool is_prepared(const struct db_conn *c, unsigned id)
{
	return c->prepared[id / 64] & UINT64_C(1) << id % 64;
}

static void flip_prepared(struct db_conn *c, unsigned id)
{
	c->prepared[id / 64] ^= UINT64_C(1) << id % 64;
}

static MUST_CHECK int send_prepares(struct db_conn *c, const struct db_job *job)
{
	Oid oids[DB_PARAMS_MAX];
	bool any = false;

	for (unsigned i = 0; i < job->calls_cnt; i++) {
		const struct db_stmt *stmt = job->calls[i].stmt;
		unsigned id = db_stmt_id(stmt);

		if (is_prepared(c, id))
			continue;
		db_stmt_oids(stmt, oids);
		if (PQsendPrepare(c->pg, stmt->name, stmt->sql, stmt->nparams,
			    oids) != 1)
			return -1;
		sent_push(c, (struct db_sent){
				     .kind = DB_SENT_PREPARE, .stmt_id = id});
		flip_prepared(c, id);
		any = true;
	}
	if (!any)
		return 0;
	if (PQpipelineSync(c->pg) != 1)
		return -1;
	sent_push(c, (struct db_sent){.kind = DB_SENT_SYNC});
	return 0;
}

static MUST_CHECK int send_calls(struct db_conn *c, const struct db_job *job)
{
	struct db_args args;

	for (unsigned i = 0; i < job->calls_cnt; i++) {
		const struct db_stmt *stmt = job->calls[i].stmt;

		db_stmt_values(stmt, job->calls[i].params, &args);
		if (c->conf.log_statements && LOG_L_INFO >= log_threshold)
			log_fields(LOG_L_INFO, "game.sql", NULL, 0, "%s: %s",
				stmt->name, stmt->sql);
		if (PQsendQueryPrepared(c->pg, stmt->name, stmt->nparams,
			    args.values, args.lengths, args.formats, 0) != 1)
			return -1;
		sent_push(c, (struct db_sent){.kind = DB_SENT_CALL});
	}
	return PQpipelineSync(c->pg) == 1 ? 0 : -1;
}

void db_conn_send(struct db_conn *c, struct db_job *job)
{
	int rc;

	assert(db_conn_is_up(c));
	rc = send_prepares(c, job);
	if (rc == 0)
		rc = send_calls(c, job);
	if (job->on_row) {
		assert(c->jobs_cnt == 0);
		c->stream = job;
		job->conn = c;
	}
	/* also when it failed half-way: the job is given back as lost */
	sent_push(c, (struct db_sent){.kind = DB_SENT_SYNC, .job = job});
	c->jobs_cnt++;
	set_state(c, DB_CONN_BUSY);
	if (rc < 0) {
		broken(c, NULL);
		return;
	}
	if (flush(c) < 0)
		return;
	if (c->timer_at_ms == 0 || job->deadline_at_ms < c->timer_at_ms)
		timer_at(c, clock_mono_ms(), job->deadline_at_ms);
}

/* ---- receive --------------------------------------------------------------- */

/*
 * A statement is not there, or its plan is of no use since a table changed.
 * When its PREPARE has failed, that says more than "does not exist".
 */
static void look_at_stmt_error(struct db_conn *c)
{
	bool is_missing =
		strcmp(c->sqlstate, DB_SQLSTATE_UNDEFINED_STATEMENT) == 0;

	if (is_missing && c->prepare_sqlstate[0]) {
		memcpy(c->sqlstate, c->prepare_sqlstate, sizeof(c->sqlstate));
		memcpy(c->message, c->prepare_message, sizeof(c->message));
	} else if (is_missing ||
		   strcmp(c->sqlstate, DB_SQLSTATE_NOT_SUPPORTED) == 0) {
		c->is_stale = true;
	}
}

static void fill_reply(struct db_conn *c, struct db_reply *reply)
{
	memset(reply, 0, sizeof(*reply));
	if (c->sqlstate[0] == '\0') {
		reply->outcome = DB_OK;
		return;
	}
	look_at_stmt_error(c);
	reply->outcome = DB_SQL_ERROR;
	memcpy(reply->sqlstate, c->sqlstate, sizeof(reply->sqlstate));
	memcpy(reply->message, c->message, sizeof(reply->message));
	c->sqlstate[0] = '\0';
}

/* A sync came: everything sent up to it has been answered. */
static void end_unit(struct db_conn *c)
{
	struct db_job *job = sent_at(c, 0)->job;
	struct db_results results = c->results;
	struct db_reply reply;

	sent_pop(c);
	if (c->sent_cnt == 0)
		set_state(c, DB_CONN_IDLE);
	if (!job)
		return;
	c->jobs_cnt--;
	c->stream = NULL;
	job->conn = NULL;
	c->is_single = false;
	fill_reply(c, &reply);
	if (reply.outcome == DB_OK) {
		assert(results.cnt == job->calls_cnt);
		reply.res = (const struct db_res *const *)results.v;
		reply.res_cnt = results.cnt;
	}
	/* the callback may close this connection and still read its results */
	memset(&c->results, 0, sizeof(c->results));
	c->ops->on_reply(c->pool, c, job, &reply);
	results_clear(&results);
	if (c->results.v)
		free(results.v);
	else
		c->results = results;
}

static void end_prepare(struct db_conn *c, const PGresult *res)
{
	flip_prepared(c, sent_at(c, 0)->stmt_id);
	if (PQresultStatus(res) == PGRES_PIPELINE_ABORTED)
		return; /* one in front of it failed */
	db_text_result(res, c->prepare_message, sizeof(c->prepare_message),
		c->prepare_sqlstate);
	log_warnx_limited(
		"a statement cannot be prepared: %s", c->prepare_message);
}

/* Takes one result. */
static void take_result(struct db_conn *c, PGresult *res)
{
	ExecStatusType st = PQresultStatus(res);
	const struct db_sent *head = sent_at(c, 0);

	if (st == PGRES_PIPELINE_SYNC) {
		assert(head->kind == DB_SENT_SYNC);
		PQclear(res);
		end_unit(c);
		return;
	}
	if (st == PGRES_SINGLE_TUPLE) {
		/* it may close this connection */
		c->stream->on_row(c->stream, (const struct db_res *)res);
		PQclear(res);
		return;
	}
	if (is_good(res) && head->kind == DB_SENT_CALL) {
		results_add(&c->results, res);
		return;
	}
	if (head->kind == DB_SENT_PREPARE) {
		if (!is_good(res))
			end_prepare(c, res);
	} else if (st != PGRES_PIPELINE_ABORTED) {
		/* of a call, or of the commit when the head is a sync */
		note_error(c, res);
	}
	PQclear(res);
}

static void take_notifies(struct db_conn *c)
{
	PGnotify *n;

	while (db_conn_is_up(c) && (n = PQnotifies(c->pg))) {
		if (c->conf.on_notify)
			c->conf.on_notify(c->conf.arg, n->extra);
		PQfreemem(n);
	}
}

/*
 * True when the oldest reply can be taken.  Single-row mode can be asked for
 * only when its call is the oldest and nothing of the reply has been parsed.
 */
static bool has_reply(struct db_conn *c)
{
	if (c->state != DB_CONN_BUSY || is_paused(c))
		return false;
	if (c->stream && !c->is_single && sent_at(c, 0)->kind == DB_SENT_CALL)
		c->is_single = PQsetSingleRowMode(c->pg) == 1;
	return !PQisBusy(c->pg);
}

/* Rows came, or none are wanted: the deadline is for the server alone. */
static void put_off_deadline(struct db_conn *c)
{
	uint64_t now = clock_mono_ms();

	c->has_rest = is_paused(c);
	c->stream->deadline_at_ms = now + c->stream->deadline_ms;
	if (c->timer_at_ms == 0)
		timer_at(c, now, c->stream->deadline_at_ms);
}

static void step_run(struct db_conn *c)
{
	PGresult *res;
	unsigned nulls = 0;

	if (is_paused(c)) {
		/* here to write only */
		(void)!flush(c);
		return;
	}
	/* reading before the rest is taken would let libpq's buffer grow */
	if (!c->has_rest && PQconsumeInput(c->pg) != 1) {
		broken(c, NULL);
		return;
	}
	c->has_rest = false;
	/* a callback may close the connection */
	while (has_reply(c)) {
		if (PQstatus(c->pg) == CONNECTION_BAD) {
			broken(c, NULL);
			return;
		}
		res = PQgetResult(c->pg);
		nulls = res ? 0 : nulls + 1;
		if (res) {
			take_result(c, res);
		} else if (sent_at(c, 0)->kind != DB_SENT_SYNC) {
			sent_pop(c); /* NULL ends a command, not a sync */
		} else if (nulls > 2) {
			broken(c, "replies are out of step");
			return;
		}
	}
	if (c->stream)
		put_off_deadline(c);
	take_notifies(c);
	if (c->state == DB_CONN_IDLE && c->is_stale)
		broken(c, "its prepared statements are out of date");
	else if (db_conn_is_up(c) && flush(c) < 0)
		return;
}

/* ---- events ---------------------------------------------------------------- */

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct db_conn *c = arg;
	struct db_pool *p = c->pool;
	const struct db_conn_ops *ops = c->ops;

	(void)fd;
	(void)what;
	ops->enter(p);
	switch (c->state) {
	case DB_CONN_BROKEN:
		break;
	case DB_CONN_CONNECTING:
		step_connect(c);
		break;
	case DB_CONN_PREPARING:
	case DB_CONN_CHECKING:
		step_setup(c);
		break;
	case DB_CONN_IDLE:
	case DB_CONN_BUSY:
		step_run(c);
		break;
	}
	ops->leave(p);
}

/* The earliest deadline of what was sent; 0 when nothing was. */
static uint64_t first_deadline(const struct db_conn *c)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < c->sent_cnt; i++) {
		const struct db_job *job = sent_at(c, i)->job;

		if (job && !job->is_paused &&
			(first == 0 || job->deadline_at_ms < first))
			first = job->deadline_at_ms;
	}
	return first;
}

/* Armed for a job that may have been answered since: looks again. */
static void check_deadlines(struct db_conn *c)
{
	uint64_t now = clock_mono_ms();
	uint64_t first = first_deadline(c);

	if (first == 0)
		return;
	if (first <= now)
		broken(c, "a statement passed its deadline");
	else
		timer_at(c, now, first);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct db_conn *c = arg;
	struct db_pool *p = c->pool;
	const struct db_conn_ops *ops = c->ops;

	(void)fd;
	(void)what;
	c->timer_at_ms = 0;
	ops->enter(p);
	switch (c->state) {
	case DB_CONN_BROKEN:
		ops->on_retry(p, c);
		break;
	case DB_CONN_CONNECTING:
	case DB_CONN_PREPARING:
	case DB_CONN_CHECKING:
		broken(c, "the server did not answer in time");
		break;
	case DB_CONN_IDLE:
	case DB_CONN_BUSY:
		check_deadlines(c);
		break;
	}
	ops->leave(p);
}

void db_conn_resume(struct db_conn *c, const struct db_job *job)
{
	assert(c->stream == job);
	if (flush(c) < 0)
		return;
	put_off_deadline(c);
	/* what was read before the pause makes no socket readable */
	c->has_rest = true;
	event_active(&c->io, EV_READ, 0);
}

void db_conn_abandon(struct db_conn *c)
{
	broken(c, "what was asked for is not wanted any more");
}

void db_conn_retry_after(struct db_conn *c, unsigned ms)
{
	uint64_t now = clock_mono_ms();

	assert(c->state == DB_CONN_BROKEN);
	timer_at(c, now, now + ms);
}

void db_conn_init(struct db_conn *c, struct event_base *base,
	const struct db_conn_conf *conf, const struct db_conn_ops *ops,
	struct db_pool *p, enum db_lane lane)
{
	memset(c, 0, sizeof(*c));
	c->pool = p;
	c->ops = ops;
	c->base = base;
	c->conf = *conf;
	c->lane = lane;
	event_assign(&c->timer, base, -1, 0, on_timer, c);
}

void db_conn_fini(struct db_conn *c)
{
	assert(c->state == DB_CONN_BROKEN && c->sent_cnt == 0);
	timer_stop(c);
	free(c->sent);
	free(c->results.v);
	free(c->conf.setup_sql);
}
