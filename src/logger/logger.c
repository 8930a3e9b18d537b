/*
 * logger.c - role main of the logger: takes evidence from the workers and
 * writes it to Postgres.  Entered once by the master's child, which has set
 * its signals, log and slot; never returns.
 *
 * It leaves after EOF of every trace socket, when all rows are written or
 * flush_timeout_s has passed; its last line says how many rows went where.
 */
#include "logger/logger.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/evidence.h"
#include "logger/tail.h"
#include "logger/trace_batch.h"
#include "logger/trace_flush.h"
#include "logger/trace_recv.h"
#include "sentry/sentry.h"

#define LOCK_WAIT_MS 3000 /* a predecessor leaves */
#define QUIT_MS      1000 /* to write out after SIGQUIT */
#define ORPHAN_MS    1400 /* after the master's death (DESIGN 11: 1.5 s) */

static struct {
	const struct inherit *in;
	struct event_base *base;
	struct ev_queue queue;
	struct tail *tail;
	struct trace_recv *recv;
	struct trace_flush *flush;
	struct sentry *sentry; /* NULL: none */
	struct event *ev_beat, *ev_quit, *ev_death, *ev_deadline;
	bool leaving; /* out of the loop as soon as all rows are written */
	bool all_workers_gone;
} self;

static void set_deadline(uint64_t ms)
{
	struct timeval tv = {
		(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (event_add(self.ev_deadline, &tv) < 0)
		fatal("cannot set the deadline of the logger");
}

static void leave_if_done(void)
{
	if (self.leaving && trace_flush_is_idle(self.flush) &&
		sentry_is_idle(self.sentry))
		event_base_loopbreak(self.base);
}

static void leave(uint64_t within_ms)
{
	self.leaving = true;
	tail_leave(self.tail);
	set_deadline(within_ms);
	sentry_hurry(self.sentry);
	trace_flush_hurry(self.flush);
	leave_if_done();
}

static void on_rows(void *arg)
{
	(void)arg;
	if (self.queue.spool != NULL)
		spool_tick(self.queue.spool);
	trace_flush_kick(self.flush);
}

static void on_fault(void *arg, struct str body)
{
	struct fault_rec rec;

	(void)arg;
	if (fault_rec_decode(body, &rec) < 0) {
		metric_inc(M_EV_BAD_FRAMES);
		metric_evidence_dropped(EV_SENTRY, EV_DROP_BAD_RECORD, 1);
	} else if (self.sentry == NULL) {
		metric_evidence_dropped(EV_SENTRY, EV_DROP_UNDELIVERED, 1);
	} else {
		sentry_take(self.sentry, &rec, 1);
	}
}

static void on_eof(void *arg)
{
	(void)arg;
	self.all_workers_gone = true;
	log_info("all workers are gone, writing out rows=%llu",
		(unsigned long long)self.queue.rows);
	/* a deadline that runs already is the shorter one */
	if (!event_pending(self.ev_deadline, EV_TIMEOUT, NULL))
		set_deadline(
			(uint64_t)self.in->conf->logger_flush_timeout_s * 1000);
	self.leaving = true;
	tail_leave(self.tail);
	sentry_hurry(self.sentry);
	trace_flush_hurry(self.flush);
	leave_if_done();
}

static void on_idle(void *arg)
{
	(void)arg;
	leave_if_done();
}

static void on_quit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	trace_recv_stop(self.recv);
	leave(QUIT_MS);
}

/* The workers drain now; EOF comes when the last of them has left. */
static void on_death(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_del(self.ev_death);
	set_deadline(ORPHAN_MS);
	trace_flush_hurry(self.flush);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_base_loopbreak(self.base);
}

/* Produced, sent and taken by the logger's own slot; publish_held follows. */
static void adopt_more(unsigned slot, unsigned c, uint64_t rows)
{
	shm_ev_held_add(c, (int64_t)rows);
	metric_add(M_EV_PRODUCED_AUDIT + c, rows);
	shm_ev_sent_add(c, (int64_t)rows);
	shm_ev_taken_set(slot, c, shm_ev_taken(slot, c) + rows);
}

/* Rows here and gone above those taken. */
static int64_t surplus(unsigned slot, unsigned c)
{
	struct spool *s = self.queue.spool;
	uint64_t taken = 0, gone, here = self.queue.own[c];

	if (s != NULL)
		here += spool_rows(s, c);
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		taken += shm_ev_taken(i, c);
	gone = metric_slot(slot, M_EV_STORED_AUDIT + c) +
	       metric_evidence_dropped_slot(slot, c);
	return (int64_t)(here + gone - taken);
}

/* They died with a logger or are damaged, or stand where nobody can read. */
static void count_missing(unsigned c, uint64_t rows)
{
	struct spool *s = self.queue.spool;
	enum evidence_reason why = s && spool_damage(s) > 0
					   ? EV_DROP_SPOOL_DAMAGED
					   : EV_DROP_LOGGER_KILLED;

	if (s != NULL && spool_away(s, c) > 0)
		return;
	metric_evidence_dropped(c, why, rows);
	log_warnx("evidence rows of a killed logger are lost class=%s "
		  "rows=%llu",
		evidence_class_name(c), (unsigned long long)rows);
}

/*
 * Rows that the predecessor had taken and neither stored nor dropped are in
 * the spool.  More of them there: the oldest were counted, and it died before
 * the position passed them; unless there were segments that it could not read
 * and did not count.
 */
static void settle_inheritance(unsigned slot, unsigned c)
{
	struct spool *s = self.queue.spool;
	int64_t more = surplus(slot, c);
	struct spool_row r;

	if (more < 0)
		count_missing(c, (uint64_t)-more);
	else if (metric_slot(slot, M_SPOOL_UNREADABLE) > 0)
		adopt_more(slot, c, (uint64_t)more);
	else
		for (; more > 0 && spool_next(s, c, &r); more--)
			spool_done(s, c, r.pos);
}

/*
 * What is not in the spool, or where it cannot be read.  Those for Sentry are
 * its own (sentry.c).
 */
static void publish_held(unsigned slot)
{
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		uint64_t rows = self.queue.own[c];
		int64_t more = surplus(slot, c);

		if (c == EV_SENTRY)
			continue;
		if (self.queue.spool != NULL && more < 0 &&
			spool_away(self.queue.spool, c) > 0)
			rows += (uint64_t)-more;
		shm_ev_held_set(c, rows);
	}
}

/* Segments can be read again: their rows may be counted as taken, or not. */
static void reclaim(void)
{
	unsigned slot = self.in->slot;
	unsigned back = spool_reclaim(self.queue.spool);

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		int64_t more = back & 1u << c ? surplus(slot, c) : 0;

		if (more > 0)
			adopt_more(slot, c, (uint64_t)more);
		else if (more < 0)
			count_missing(c, (uint64_t)-more);
	}
	publish_held(slot);
	if (back == 0)
		return;
	ev_queue_fill(&self.queue);
	trace_flush_kick(self.flush);
}

/*
 * The first logger of a server finds rows of an earlier server: produced,
 * sent and taken by its own slot, for the counters of this one, and dropped
 * where they are damaged.  The values are absolute, so that dying here does
 * no harm.
 */
static void adopt(unsigned slot, unsigned c)
{
	uint64_t rows = spool_rows(self.queue.spool, c);
	uint64_t lost = spool_lost(self.queue.spool, c);
	uint64_t before = metric_evidence_dropped_slot(slot, c);

	if (lost < before) /* a torn end was cut then */
		lost = before;
	shm_ev_held_add(c, (int64_t)lost); /* until publish_held */
	metric_add(M_EV_PRODUCED_AUDIT + c,
		rows + lost - metric_slot(slot, M_EV_PRODUCED_AUDIT + c));
	shm_ev_sent_add(c, (int64_t)(rows + lost - shm_ev_sent(slot, c)));
	shm_ev_taken_set(slot, c, rows + lost);
	if (lost > before)
		metric_evidence_dropped(
			c, EV_DROP_SPOOL_DAMAGED, lost - before);
	if (rows + lost > 0)
		log_info("rows found in the spool class=%s rows=%llu "
			 "damaged=%llu",
			evidence_class_name(c), (unsigned long long)rows,
			(unsigned long long)lost);
}

static void take_inheritance(unsigned slot)
{
	bool is_first = self.queue.spool != NULL &&
			metric_slot(slot, M_SPOOL_OPENED) == 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		if (is_first)
			adopt(slot, c);
		else
			settle_inheritance(slot, c);
	publish_held(slot);
	shm_ev_held_set(EV_SENTRY, 0);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		if (self.queue.spool == NULL)
			metric_set(M_EV_SPOOLED_AUDIT + c, 0);
	if (self.queue.spool == NULL)
		return;
	metric_inc(M_SPOOL_OPENED);
	spool_trim(self.queue.spool);
	ev_queue_fill(&self.queue);
}

static void publish(void)
{
	uint64_t oldest = ev_queue_oldest_ms(&self.queue);

	if (self.queue.spool != NULL)
		spool_tick(self.queue.spool);
	metric_set(M_EV_LOGGER_ROWS, self.queue.rows);
	metric_set(M_EV_LOGGER_BYTES, self.queue.bytes);
	metric_set(M_EV_LAG_MS, oldest ? clock_mono_ms() - oldest : 0);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	log_settle();
	shm_beat();
	trace_recv_settle(self.recv);
	sentry_look(self.sentry);
	if (self.queue.spool != NULL)
		reclaim();
	publish();
}

/* With all workers gone nobody else will count what they died with. */
static void count_dead_workers(void)
{
	for (unsigned s = SLOT_WORKER_MIN; s <= SLOT_WORKER_MAX; s++)
		for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
			uint64_t made = metric_slot(s, M_EV_PRODUCED_AUDIT + c);
			uint64_t gone = metric_evidence_dropped_slot(s, c) +
					shm_ev_taken(s, c);

			if (made > gone)
				metric_evidence_dropped(
					c, EV_DROP_WORKER_KILLED, made - gone);
		}
}

static void say_where_rows_went(uint64_t left)
{
	uint64_t made = 0, stored = 0, dropped = 0, spooled = 0;

	for (unsigned c = 0; self.queue.spool && c < EV_CLASS_CNT; c++)
		spooled += spool_rows(self.queue.spool, c);
	for (unsigned s = 0; s < SHM_SLOTS_MAX; s++)
		for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
			made += metric_slot(s, M_EV_PRODUCED_AUDIT + c);
			stored += metric_slot(s, M_EV_STORED_AUDIT + c);
			dropped += metric_evidence_dropped_slot(s, c);
		}
	log_info("logger leaves produced=%llu stored=%llu dropped=%llu "
		 "spooled=%llu queued=%llu of_dropped_now=%llu",
		(unsigned long long)made, (unsigned long long)stored,
		(unsigned long long)dropped, (unsigned long long)spooled,
		(unsigned long long)(made - stored - dropped - spooled),
		(unsigned long long)left);
}

static void init_flush(const struct conf *conf)
{
	static char path[CONF_STR_MAX + 32];
	struct trace_flush_conf fc = {
		.app_name = "game-logger",
		.quarantine_path = path,
		.batch_rows = (unsigned)conf->logger_batch_rows,
		.batch_ms = (uint32_t)conf->logger_batch_ms,
		.queue = &self.queue,
		.on_idle = on_idle,
	};
	static struct buf conninfo;

	snprintf(path, sizeof(path), "%s/quarantine.jsonl", conf->state_dir);
	buf_init(&conninfo, 0);
	conf_db_conninfo(conf, &conninfo);
	buf_add_char(&conninfo, '\0');
	fc.conninfo = conninfo.p; /* lives as long as the process */
	self.flush = trace_flush_new(self.base, &fc);
}

/* A spool that cannot be had costs its promise, not the evidence. */
static void init_spool(const struct conf *conf)
{
	static char path[CONF_STR_MAX + 32];
	struct spool_conf sc = {
		.dir = path,
		.bytes_max = (uint64_t)conf->spool_max_bytes,
		.free_min_bytes = (uint64_t)conf->spool_min_free_bytes,
		.fsync_ms = (int)conf->spool_fsync_ms,
		.lock_wait_ms = LOCK_WAIT_MS,
	};
	struct err err;

	signal(SIGXFSZ, SIG_IGN); /* an error of write(2) is enough */
	snprintf(path, sizeof(path), "%s/spool", conf->state_dir);
	self.queue.spool = spool_open(&sc, &err);
	if (self.queue.spool != NULL)
		return;
	if (err.code == ERR_CONFLICT)
		fatal("%s", err.text);
	metric_inc(M_SPOOL_ERRORS);
	log_errorx("evidence is kept in memory only: %s", err.text);
}

static void init_events(void)
{
	static const struct timeval second = {1, 0};

	self.ev_beat = event_new(self.base, -1, EV_PERSIST, on_beat, NULL);
	self.ev_quit = evsignal_new(self.base, SIGQUIT, on_quit, NULL);
	self.ev_deadline = evtimer_new(self.base, on_deadline, NULL);
	self.ev_death = event_new(self.base, self.in->death_fd,
		EV_READ | EV_PERSIST, on_death, NULL);
	if (!self.ev_beat || !self.ev_quit || !self.ev_deadline ||
		!self.ev_death || event_add(self.ev_beat, &second) < 0 ||
		event_add(self.ev_quit, NULL) < 0 ||
		event_add(self.ev_death, NULL) < 0)
		fatal("cannot make the events of the logger");
}

static void init(const struct inherit *in)
{
	struct trace_recv_conf rc = {
		.fds = in->trace_fds,
		.queue = &self.queue,
		.on_fault = on_fault,
		.on_rows = on_rows,
		.on_eof = on_eof,
	};
	struct event_config *ec = event_config_new();

	self.in = in;
	if (ec == NULL || event_config_set_flag(ec,
				  EVENT_BASE_FLAG_NOLOCK |
					  EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST))
		fatal("cannot configure the loop of the logger");
	self.base = event_base_new_with_config(ec);
	event_config_free(ec);
	if (self.base == NULL)
		fatal("cannot make the loop of the logger");
	ev_queue_init(&self.queue, (uint64_t)in->conf->logger_queue_rows);
	init_events();
	init_flush(in->conf);
	init_spool(in->conf);
	take_inheritance(in->slot);
	self.sentry = sentry_new(self.base, in->conf, on_idle, NULL);
	rc.tail = self.tail = tail_new(self.base, in->tail_fd);
	self.recv = trace_recv_new(self.base, &rc);
	shm_beat();
}

void logger_main(const struct inherit *in)
{
	uint64_t left;

	init(in);
	if (write(in->ready_fd, "", 1) != 1)
		log_warn("cannot tell the master that the logger is ready");
	close(in->ready_fd);
	log_info("logger is ready");
	if (event_base_dispatch(self.base) < 0)
		fatal("the loop of the logger failed");
	left = trace_flush_drop_all(self.flush, EV_DROP_SHUTDOWN);
	if (self.all_workers_gone)
		count_dead_workers();
	publish();
	sentry_free(&self.sentry);
	say_where_rows_went(left);
	trace_flush_free(&self.flush);
	trace_recv_free(&self.recv);
	tail_free(&self.tail);
	spool_close(&self.queue.spool);
	event_free(self.ev_beat);
	event_free(self.ev_quit);
	event_free(self.ev_deadline);
	event_free(self.ev_death);
	event_base_free(self.base);
	log_end();
	exit(0);
}
