/*
 * db_pool.c - see db_pool.h: which connection gets which job, what waits, and
 * when a broken connection is tried again.  Runs in workers, stats and
 * logger.
 *
 * Replies go to callbacks straight from the connection that read them.
 * Failures are parked in `failed` and told from an event of their own,
 * because they are found where a callback must not run: inside submit.
 */
#include "db/db_pool.h"

#include <assert.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "db/db_conn.h"
#include "shm/shm.h"

#define BACKOFF_MIN_MS  100
#define BACKOFF_MAX_MS  5000
#define DOWN_GRACE_MS   100 /* a lane without connections may reconnect */
#define AFTER_OTHERS_MS 20  /* until it is looked for the others again */
#define SHARDS          16

struct job_list {
	struct db_job *first, **last;
};

struct lane {
	enum db_lane id;
	struct db_conn *conns;
	unsigned conns_cnt;
	unsigned depth;        /* jobs in flight per connection */
	struct job_list queue; /* waiting, oldest first */
	unsigned queued;
	uint64_t down_at_ms; /* the last one went, while none is up */
	bool is_refused;     /* none is up, and not for a moment only */
};

struct db_pool {
	struct event_base *base;
	struct lane lanes[DB_LANES]; /* by enum db_lane */
	char *conninfo, *app_name, *check_sql;
	struct db_conn *listener; /* of the read lane, or NULL */
	struct db_conn *prober;   /* the one that tries while none is up */
	uint32_t deadline_ms;
	unsigned queue_max;
	void (*on_notify)(void *arg, const char *payload);
	void (*on_state)(void *arg, bool healthy);
	void *arg;

	struct job_list failed; /* their callbacks are due */
	struct event *kick;     /* made active when failed or health changed */
	struct event *wait;     /* earliest deadline of the queues */
	uint64_t wait_at_ms;    /* 0: not armed */
	bool was_healthy;       /* as on_state was told */
	char last_error[256];   /* of the connection that broke last */
	unsigned depth;         /* events we are inside of */
	bool is_freed;          /* by a callback; goes when depth is 0 */
};

/* ---- lists ----------------------------------------------------------------- */

static void list_init(struct job_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct job_list *l, struct db_job *job)
{
	job->next = NULL;
	*l->last = job;
	l->last = &job->next;
}

static struct db_job *list_take(struct job_list *l)
{
	struct db_job *job = l->first;

	if (!job)
		return NULL;
	l->first = job->next;
	if (!l->first)
		l->last = &l->first;
	return job;
}

static void list_put_back(struct job_list *l, struct db_job *job)
{
	job->next = l->first;
	if (!l->first)
		l->last = &job->next;
	l->first = job;
}

/* ---- state ----------------------------------------------------------------- */

static unsigned lane_up_cnt(const struct lane *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < l->conns_cnt; i++)
		n += db_conn_is_up(&l->conns[i]);
	return n;
}

static bool any_up(const struct db_pool *p)
{
	for (size_t i = 0; i < NELEM(p->lanes); i++)
		if (lane_up_cnt(&p->lanes[i]) > 0)
			return true;
	return false;
}

bool db_pool_healthy(const struct db_pool *p)
{
	return lane_up_cnt(&p->lanes[DB_LANE_READ]) > 0 &&
	       lane_up_cnt(&p->lanes[DB_LANE_WRITE]) > 0;
}

bool db_pool_write_idle(const struct db_pool *p)
{
	const struct lane *l = &p->lanes[DB_LANE_WRITE];

	for (unsigned i = 0; i < l->conns_cnt; i++) {
		const struct db_conn *c = &l->conns[i];

		if (db_conn_is_usable(c) && c->jobs_cnt == 0)
			return l->queued == 0;
	}
	return false;
}

void db_pool_stats(const struct db_pool *p, struct db_pool_stats *s_r)
{
	memset(s_r, 0, sizeof(*s_r));
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		const struct lane *l = &p->lanes[i];

		s_r->queued += l->queued;
		for (unsigned k = 0; k < l->conns_cnt; k++) {
			const struct db_conn *c = &l->conns[k];

			s_r->conns_idle += c->state == DB_CONN_IDLE;
			s_r->conns_busy += c->state == DB_CONN_BUSY;
			s_r->conns_down += !db_conn_is_up(c);
			s_r->in_flight += c->jobs_cnt;
		}
	}
}

/* ---- counting -------------------------------------------------------------- */

#define OUTCOMES (DB_UNAVAILABLE + 1)
_Static_assert(
	M_DB_JOBS_WRITE_OK == M_DB_JOBS_READ_OK + DB_LANE_WRITE * OUTCOMES &&
		M_DB_JOBS_LONG_UNAVAILABLE == M_DB_JOBS_READ_OK +
						      DB_LANE_LONG * OUTCOMES +
						      DB_UNAVAILABLE &&
		T_DB_WAIT_LONG == T_DB_WAIT_READ + DB_LANE_LONG &&
		T_DB_JOB_LONG == T_DB_JOB_READ + DB_LANE_LONG &&
		L_QUEUE_DB_LONG == L_QUEUE_DB_READ + DB_LANE_LONG,
	"metrics in the order of lanes and outcomes");

/* Before its callback, which may free it. */
static void count_end(const struct db_job *job, enum db_outcome outcome)
{
	metric_inc(M_DB_JOBS_READ_OK + job->lane * OUTCOMES + outcome);
	metric_time(
		T_DB_JOB_READ + job->lane, clock_mono_ns() - job->submitted_ns);
}

/* A job that is sent once more has waited for something else. */
static void count_sent(const struct db_job *job, uint64_t waited_ns)
{
	if (!job->was_retried)
		metric_time(T_DB_WAIT_READ + job->lane, waited_ns);
}

/* ---- failures -------------------------------------------------------------- */

static void fail(struct db_pool *p, struct db_job *job, enum db_outcome outcome)
{
	job->outcome = outcome;
	list_add(&p->failed, job);
	event_active(p->kick, EV_TIMEOUT, 1);
}

static void tell_failed(struct db_pool *p)
{
	struct db_job *job;
	struct db_reply reply;

	while ((job = list_take(&p->failed))) {
		const char *why = p->last_error;

		memset(&reply, 0, sizeof(reply));
		reply.outcome = job->outcome;
		if (job->outcome == DB_TIMEOUT)
			why = "the deadline passed";
		else if (job->outcome == DB_UNAVAILABLE && any_up(p))
			why = "no connection is free";
		snprintf(reply.message, sizeof(reply.message), "%s", why);
		count_end(job, job->outcome);
		job->cb(job, &reply);
	}
}

static void tell_health(struct db_pool *p)
{
	bool healthy = db_pool_healthy(p);

	if (healthy == p->was_healthy)
		return;
	p->was_healthy = healthy;
	if (healthy)
		log_info("database is up");
	else
		log_warnx("database is down: %s", p->last_error);
	if (p->on_state)
		p->on_state(p->arg, healthy);
}

/* ---- waiting --------------------------------------------------------------- */

static void wait_until(struct db_pool *p, uint64_t now_ms, uint64_t at_ms)
{
	uint64_t ms = at_ms > now_ms ? at_ms - now_ms : 0;
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (p->wait_at_ms && p->wait_at_ms <= at_ms)
		return;
	p->wait_at_ms = at_ms;
	if (event_add(p->wait, &tv) < 0)
		fatal("cannot set a database timer");
}

static void count_queued(struct lane *l, unsigned queued)
{
	l->queued = queued;
	metric_level(L_QUEUE_DB_READ + l->id, queued);
}

static void enqueue(
	struct db_pool *p, struct lane *l, struct db_job *job, uint64_t now_ms)
{
	list_add(&l->queue, job);
	count_queued(l, l->queued + 1);
	wait_until(p, now_ms, job->deadline_at_ms);
}

static struct db_job *dequeue(struct lane *l)
{
	struct db_job *job = list_take(&l->queue);

	if (job)
		count_queued(l, l->queued - 1);
	return job;
}

static void fail_all_waiting(struct db_pool *p, struct lane *l)
{
	struct db_job *job;

	while ((job = dequeue(l)))
		fail(p, job, DB_UNAVAILABLE);
}

/* Of a job that is not on a connection; one sent before may have happened. */
static enum db_outcome late_outcome(const struct db_job *job)
{
	return job->was_retried ? DB_TIMEOUT : DB_UNAVAILABLE;
}

/* Nothing is up, and an attempt failed or hangs: whoever waits must go. */
static void refuse(struct db_pool *p, struct lane *l)
{
	l->is_refused = true;
	fail_all_waiting(p, l);
}

static void lane_is_down(struct db_pool *p, struct lane *l, uint64_t now_ms)
{
	l->down_at_ms = now_ms;
	wait_until(p, now_ms, now_ms + DOWN_GRACE_MS);
}

static void check_grace(struct db_pool *p, struct lane *l, uint64_t now_ms)
{
	if (l->is_refused || lane_up_cnt(l) > 0)
		return;
	if (now_ms >= l->down_at_ms + DOWN_GRACE_MS)
		refuse(p, l);
	else
		wait_until(p, now_ms, l->down_at_ms + DOWN_GRACE_MS);
}

static void drop_late(struct db_pool *p, struct lane *l, uint64_t now_ms)
{
	struct job_list old = l->queue;
	struct db_job *job, *next;

	if (!old.first)
		return;
	list_init(&l->queue);
	count_queued(l, 0);
	for (job = old.first; job; job = next) {
		next = job->next;
		if (job->deadline_at_ms <= now_ms)
			fail(p, job, late_outcome(job));
		else
			enqueue(p, l, job, now_ms);
	}
}

/* ---- dispatch -------------------------------------------------------------- */

/* The connection with the fewest jobs that takes one more, or NULL. */
static struct db_conn *pick(const struct lane *l)
{
	struct db_conn *best = NULL;

	for (unsigned i = 0; i < l->conns_cnt; i++) {
		struct db_conn *c = &l->conns[i];

		if (db_conn_is_usable(c) && c->jobs_cnt < l->depth &&
			(!best || c->jobs_cnt < best->jobs_cnt))
			best = c;
	}
	return best;
}

static void pump(struct lane *l)
{
	struct db_conn *c;

	while (l->queued > 0 && (c = pick(l))) {
		struct db_job *job = dequeue(l);

		count_sent(job, clock_mono_ns() - job->submitted_ns);
		db_conn_send(c, job);
	}
}

void db_pool_submit(struct db_pool *p, struct db_job *job)
{
	struct lane *l = &p->lanes[job->lane];
	uint64_t now_ns = clock_mono_ns(), now = now_ns / 1000000;
	struct db_conn *c;

	assert(job->calls_cnt > 0 && job->cb);
	assert(!job->on_row ||
		(job->lane == DB_LANE_LONG && job->calls_cnt == 1));
	job->is_paused = false;
	job->conn = NULL;
	if (job->deadline_ms == 0)
		job->deadline_ms = p->deadline_ms;
	job->submitted_ns = now_ns;
	job->deadline_at_ms = now + job->deadline_ms;
	job->was_retried = false;
	if (p->is_freed || l->is_refused || l->queued >= p->queue_max) {
		fail(p, job, DB_UNAVAILABLE);
		return;
	}
	c = l->queued == 0 ? pick(l) : NULL;
	if (c) {
		count_sent(job, 0);
		db_conn_send(c, job);
	} else {
		enqueue(p, l, job, now);
	}
}

void db_job_pause(struct db_job *job)
{
	job->is_paused = true;
}

void db_job_resume(struct db_job *job)
{
	if (!job->is_paused)
		return;
	job->is_paused = false;
	if (job->conn)
		db_conn_resume(job->conn, job);
}

void db_job_cancel(struct db_job *job)
{
	if (job->conn)
		db_conn_abandon(job->conn);
}

/* ---- what connections report ----------------------------------------------- */

static void destroy(struct db_pool *p)
{
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		struct lane *l = &p->lanes[i];

		for (unsigned k = 0; k < l->conns_cnt; k++)
			db_conn_fini(&l->conns[k]);
		free(l->conns);
	}
	event_free(p->kick);
	event_free(p->wait);
	free(p->conninfo);
	free(p->app_name);
	free(p->check_sql);
	free(p);
}

static void enter(struct db_pool *p)
{
	p->depth++;
}

static void leave(struct db_pool *p)
{
	if (--p->depth == 0 && p->is_freed)
		destroy(p);
}

/* ± 20 %, so that processes that lost one server do not return as one. */
static unsigned jitter(unsigned ms)
{
	return (unsigned)(ms * (0.8 + 0.4 * rnd_unit()));
}

static bool lane_is_full(const struct lane *l)
{
	return lane_up_cnt(l) == l->conns_cnt;
}

/*
 * Where the server allows fewer connections than we want, this process and
 * others like it share what there is so that each can work: one for reads and
 * one for writes first, the rest of both then, listings last.
 */
static bool is_after_others(const struct db_pool *p, const struct db_conn *c)
{
	const struct lane *reads = &p->lanes[DB_LANE_READ];
	const struct lane *writes = &p->lanes[DB_LANE_WRITE];

	if (c->lane == DB_LANE_LONG)
		return !lane_is_full(reads) || !lane_is_full(writes);
	return lane_up_cnt(&p->lanes[c->lane]) > 0 &&
	       (lane_up_cnt(reads) == 0 || lane_up_cnt(writes) == 0);
}

static void on_retry(struct db_pool *p, struct db_conn *c)
{
	if (is_after_others(p, c)) {
		db_conn_retry_after(c, AFTER_OTHERS_MS);
		return;
	}
	if (!any_up(p)) {
		/* the others wait until the prober is up */
		if (p->prober && p->prober != c)
			return;
		p->prober = c;
	}
	db_conn_open(c);
}

static void retry_parked(struct db_pool *p)
{
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		struct lane *l = &p->lanes[i];

		for (unsigned k = 0; k < l->conns_cnt; k++) {
			struct db_conn *c = &l->conns[k];

			if (c->state == DB_CONN_BROKEN && !c->timer_at_ms)
				db_conn_retry_after(c, 0);
		}
	}
}

/* One is up again: the other lanes get a moment to follow. */
static void end_outage(struct db_pool *p)
{
	uint64_t now = clock_mono_ms();

	p->prober = NULL;
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		if (p->lanes[i].conns_cnt == 0)
			continue;
		p->lanes[i].is_refused = false;
		lane_is_down(p, &p->lanes[i], now);
	}
	retry_parked(p);
}

static void on_up(struct db_pool *p, struct db_conn *c)
{
	struct lane *l = &p->lanes[c->lane];

	metric_inc(M_DB_CONNECTS);
	c->backoff_ms = 0;
	l->is_refused = false;
	if (p->prober)
		end_outage(p);
	pump(l);
	event_active(p->kick, EV_TIMEOUT, 1);
	if (c == p->listener && p->on_notify)
		p->on_notify(p->arg, NULL);
}

static void attempt_failed(struct db_pool *p, struct db_conn *c)
{
	c->backoff_ms = c->backoff_ms ? 2 * c->backoff_ms : BACKOFF_MIN_MS;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		/* the prober tries for all */
		if (lane_up_cnt(&p->lanes[i]) == 0 &&
			(i == c->lane || p->prober == c))
			refuse(p, &p->lanes[i]);
	}
}

/* Reads go to another connection, once; the rest is told. */
static void give_back(struct db_pool *p, struct db_job *lost)
{
	uint64_t now = clock_mono_ms();
	struct db_job *job, *next, *again = NULL;

	for (job = lost; job; job = next) {
		struct lane *l = &p->lanes[job->lane];

		next = job->next;
		if (job->deadline_at_ms <= now) {
			fail(p, job, DB_TIMEOUT);
		} else if (job->lane != DB_LANE_READ || job->was_retried ||
			   l->is_refused) {
			fail(p, job, DB_LOST);
		} else {
			job->was_retried = true;
			job->next = again;
			again = job;
		}
	}
	/* newest first, so that they come out oldest first */
	for (job = again; job; job = next) {
		struct lane *l = &p->lanes[job->lane];

		next = job->next;
		list_put_back(&l->queue, job);
		count_queued(l, l->queued + 1);
		wait_until(p, now, job->deadline_at_ms);
	}
}

static void on_down(
	struct db_pool *p, struct db_conn *c, bool was_up, struct db_job *lost)
{
	struct lane *l = &p->lanes[c->lane];

	metric_inc(was_up ? M_DB_CONNECTIONS_LOST : M_DB_CONNECTS_FAILED);
	memcpy(p->last_error, c->message, sizeof(p->last_error));
	if (!was_up)
		attempt_failed(p, c);
	else if (lane_up_cnt(l) == 0)
		lane_is_down(p, l, clock_mono_ms());
	db_conn_retry_after(c, jitter(c->backoff_ms));
	give_back(p, lost);
	/* not here: this may be inside of a submit or a send */
	event_active(p->kick, EV_TIMEOUT, 1);
}

static void on_reply(struct db_pool *p, struct db_conn *c, struct db_job *job,
	const struct db_reply *reply)
{
	struct lane *l = &p->lanes[c->lane];

	count_end(job, reply->outcome);
	job->cb(job, reply);
	pump(l);
}

static const struct db_conn_ops conn_ops = {.enter = enter,
	.leave = leave,
	.on_retry = on_retry,
	.on_up = on_up,
	.on_down = on_down,
	.on_reply = on_reply};

/* ---- events ---------------------------------------------------------------- */

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct db_pool *p = arg;

	(void)fd;
	(void)what;
	enter(p);
	if (!p->is_freed) {
		for (size_t i = 0; i < NELEM(p->lanes); i++)
			pump(&p->lanes[i]);
		tell_health(p);
	}
	tell_failed(p);
	leave(p);
}

static void on_wait(evutil_socket_t fd, short what, void *arg)
{
	struct db_pool *p = arg;
	uint64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	p->wait_at_ms = 0;
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		check_grace(p, &p->lanes[i], now);
		drop_late(p, &p->lanes[i], now);
	}
}

/* ---- life ------------------------------------------------------------------ */

static void *must(void *p)
{
	if (!p)
		fatal("out of memory");
	return p;
}

/* Identifiers of SQL: quotes doubled. */
static void add_quoted(struct buf *b, const char *name)
{
	buf_add_char(b, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_add_char(b, '"');
		buf_add_char(b, *name);
	}
	buf_add_char(b, '"');
}

/* What a new session of the lane runs, as one simple query; malloc'd. */
static char *setup_sql(
	const struct db_pool_conf *conf, enum db_lane lane, unsigned index)
{
	struct buf b;

	buf_init(&b, 0);
	buf_printf(&b, "SET TimeZone TO 'UTC';"
		       "SET idle_in_transaction_session_timeout TO 5000;");
	if (lane == DB_LANE_LONG)
		/* rows come in the order of a subquery: no parallel plans */
		buf_printf(&b,
			"SET statement_timeout TO %u;"
			"SET max_parallel_workers_per_gather TO 0;",
			DB_LONG_MS);
	else if (conf->statement_timeout_ms)
		buf_printf(&b, "SET statement_timeout TO %u;",
			conf->statement_timeout_ms);
	if (conf->lock_timeout_ms)
		buf_printf(
			&b, "SET lock_timeout TO %u;", conf->lock_timeout_ms);
	if (conf->shard && lane == DB_LANE_WRITE)
		/* two of one worker never meet on one shard */
		buf_printf(&b, "SET gamed.shard TO '%u';",
			(conf->shard + index * SHARDS / 2) % SHARDS);
	if (conf->session_sql)
		buf_printf(&b, "%s;", conf->session_sql);
	if (conf->listen_channel && lane == DB_LANE_READ && index == 0) {
		buf_add_str(&b, STR("LISTEN "));
		add_quoted(&b, conf->listen_channel);
	}
	buf_add_char(&b, '\0');
	return b.p;
}

static void lane_init(struct db_pool *p, enum db_lane lane,
	const struct db_pool_conf *conf, unsigned conns_cnt, unsigned depth)
{
	struct lane *l = &p->lanes[lane];

	assert(depth > 0);
	list_init(&l->queue);
	l->id = lane;
	l->depth = depth;
	l->is_refused = conns_cnt == 0;
	if (conns_cnt == 0)
		return;
	l->conns_cnt = conns_cnt;
	l->conns = must(calloc(conns_cnt, sizeof(*l->conns)));
	for (unsigned i = 0; i < conns_cnt; i++) {
		struct db_conn_conf cc = {.conninfo = p->conninfo,
			.app_name = p->app_name,
			.log_statements = conf->log_statements,
			.setup_sql = setup_sql(conf, lane, i),
			.check_sql = p->check_sql,
			.on_check = conf->on_check,
			.on_notify = conf->on_notify,
			.arg = conf->arg};

		db_conn_init(&l->conns[i], p->base, &cc, &conn_ops, p, lane);
		db_conn_retry_after(&l->conns[i], 0);
	}
	lane_is_down(p, l, clock_mono_ms());
}

struct db_pool *db_pool_new(
	struct event_base *base, const struct db_pool_conf *conf)
{
	struct db_pool *p = must(calloc(1, sizeof(*p)));

	assert(conf->read_conns > 0 && conf->write_conns > 0);
	p->base = base;
	p->conninfo = must(strdup(conf->conninfo));
	p->app_name = must(strdup(conf->app_name));
	if (conf->check_sql)
		p->check_sql = must(strdup(conf->check_sql));
	p->deadline_ms = conf->deadline_ms;
	p->queue_max = conf->queue_max;
	p->on_notify = conf->on_notify;
	p->on_state = conf->on_state;
	p->arg = conf->arg;
	snprintf(p->last_error, sizeof(p->last_error), "not connected yet");
	list_init(&p->failed);
	p->kick = must(event_new(base, -1, 0, on_kick, p));
	p->wait = must(event_new(base, -1, 0, on_wait, p));
	lane_init(
		p, DB_LANE_READ, conf, conf->read_conns, conf->pipeline_depth);
	lane_init(p, DB_LANE_WRITE, conf, conf->write_conns, 1);
	lane_init(p, DB_LANE_LONG, conf, conf->long_conns, 1);
	if (conf->listen_channel)
		p->listener = &p->lanes[DB_LANE_READ].conns[0];
	return p;
}

void db_pool_free(struct db_pool **pool)
{
	struct db_pool *p = *pool;
	struct db_job *job, *next;

	*pool = NULL;
	if (!p || p->is_freed)
		return;
	enter(p);
	p->is_freed = true;
	snprintf(p->last_error, sizeof(p->last_error), "shutting down");
	for (size_t i = 0; i < NELEM(p->lanes); i++) {
		struct lane *l = &p->lanes[i];

		fail_all_waiting(p, l);
		for (unsigned k = 0; k < l->conns_cnt; k++) {
			for (job = db_conn_close(&l->conns[k]); job;
				job = next) {
				next = job->next;
				fail(p, job, DB_LOST);
			}
		}
	}
	event_del(p->wait);
	tell_failed(p);
	leave(p);
}
