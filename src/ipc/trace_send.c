/*
 * trace_send.c - see trace_send.h.  One per worker process, on its loop.
 *
 * Rows of one turn of the loop are gathered in `out` and leave as one message.
 * While the socket is full, `out` waits and further rows go into rings.  The
 * classes share the limits of three pools: audit rows and requests have one
 * each and take nobody's place.  In that of runs three quarters are open to
 * samples and faults, and an error that finds no room drives out the oldest
 * of these: so samples go before errors.
 *
 * Accounting (shm.h): a row is counted as produced first and then either as
 * dropped or, just before its message is sent, as sent; so a worker may die
 * between any two instructions and the master still knows what it held.
 */
#include "ipc/trace_send.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/ring.h"
#include "shm/shm.h"

#define SYNC_FIRST_MS 1000
#define SYNC_AGAIN_MS 10000
#define LEAVE_WAIT_MS 500 /* for a slow logger, at the very end */

_Static_assert(EV_CLASS_CNT == SHM_EV_CLASSES, "classes of evidence");
_Static_assert(EV_REASON_CNT == SHM_EV_REASONS, "reasons to drop a row");
_Static_assert(EV_DROP_WORKER_KILLED == SHM_EV_WORKER_KILLED, "of these");

enum pool { POOL_AUDIT, POOL_RUNS, POOL_REQUESTS, POOLS };

/* In the order in which they are sent. */
enum ring_no { RING_AUDIT, RING_ERROR, RING_REST, RING_REQUEST, RINGS };

static const struct {
	enum pool pool;
	enum ring_no ring;
} of_class[EV_CLASS_CNT] = {
	[EV_AUDIT] = {POOL_AUDIT, RING_AUDIT},
	[EV_ERROR] = {POOL_RUNS, RING_ERROR},
	[EV_SAMPLE] = {POOL_RUNS, RING_REST},
	[EV_REQUEST] = {POOL_REQUESTS, RING_REQUEST},
	[EV_SENTRY] = {POOL_RUNS, RING_REST},
};

static const enum pool of_ring[RINGS] = {
	POOL_AUDIT, POOL_RUNS, POOL_RUNS, POOL_REQUESTS};

static const enum metric_level levels[POOLS] = {
	L_QUEUE_AUDIT, L_QUEUE_EVIDENCE, L_QUEUE_REQUEST};

struct trace_send {
	struct trace_send_conf conf;
	uint64_t max[POOLS];    /* rows not yet taken by the logger */
	struct event *ev_flush; /* made active once a turn */
	struct event *ev_write; /* the socket takes more */
	struct event *ev_sync;  /* every second */
	struct buf out;         /* the frame being gathered or waiting */
	uint32_t out_cls[EV_CLASS_CNT]; /* its rows */
	uint32_t out_rows;
	bool flush_due; /* ev_flush is active */
	bool blocked;   /* the socket was full, or is gone */
	struct ring ring[RINGS];
	struct buf row;       /* the row being encoded, with its head */
	struct arena arena;   /* to read a row that is driven out */
	uint64_t taken_seen;  /* rows taken at the last tick */
	uint64_t sync_due_ms; /* 0: nothing outstanding */
};

static uint64_t rows_taken(const struct trace_send *t)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += shm_ev_taken(t->conf.slot, c);
	return n;
}

static uint64_t rows_sent(const struct trace_send *t)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += shm_ev_sent(t->conf.slot, c);
	return n;
}

uint64_t trace_send_pending(const struct trace_send *t)
{
	uint64_t n = t->out_rows;

	for (unsigned i = 0; i < RINGS; i++)
		n += t->ring[i].rows_cnt;
	return n;
}

uint64_t trace_send_urgent(const struct trace_send *t)
{
	return t->out_cls[EV_AUDIT] + t->out_cls[EV_ERROR] +
	       t->ring[RING_AUDIT].rows_cnt + t->ring[RING_ERROR].rows_cnt;
}

/* Rows of the pool that the logger has not taken, wherever they are. */
static uint64_t rows_ahead(const struct trace_send *t, enum pool pool)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		uint64_t sent, taken;

		if (of_class[c].pool != pool)
			continue;
		sent = shm_ev_sent(t->conf.slot, c);
		taken = shm_ev_taken(t->conf.slot, c);
		n += t->out_cls[c] + (sent > taken ? sent - taken : 0);
	}
	for (unsigned i = 0; i < RINGS; i++)
		if (of_ring[i] == pool)
			n += t->ring[i].rows_cnt;
	return n;
}

static void drop(struct trace_send *t, const struct ev_row *row,
	enum evidence_reason why)
{
	struct run_rec rec;

	metric_evidence_dropped(row->cls, why, 1);
	shm_ev_held_add(row->cls, -1);
	log_warnx_limited("evidence row dropped class=%s reason=%s",
		evidence_class_name(row->cls), evidence_reason_name(why));
	if (row->type != EV_T_RUN)
		return;
	arena_reset(&t->arena);
	if (run_rec_decode(&t->arena, row->body, &rec) == 0)
		metric_dsl_dropped(
			rec.realm, str_is(rec.strategy_type, "DSL_EXTEND"));
}

static void drop_all(
	struct trace_send *t, struct str rows, enum evidence_reason why)
{
	struct ev_row row;

	while (ev_frame_next(&rows, &row) == 1)
		drop(t, &row, why);
}

static bool drop_oldest(
	struct trace_send *t, struct ring *r, enum evidence_reason why)
{
	struct str rows;

	if (ring_peek(r, &rows) < 0)
		return false;
	drop_all(t, rows, why);
	ring_pop(r);
	return true;
}

static void out_reset(struct trace_send *t)
{
	ev_frame_begin(&t->out);
	memset(t->out_cls, 0, sizeof(t->out_cls));
	t->out_rows = 0;
}

/* A row with its head; false when the frame is full. */
static bool out_add(struct trace_send *t, struct str row)
{
	if (t->out_rows > 0 && t->out.len + row.len > EV_FRAME_BYTES)
		return false;
	buf_add_str(&t->out, row);
	t->out_cls[(unsigned char)row.p[5]]++;
	t->out_rows++;
	return true;
}

static void out_refill(struct trace_send *t)
{
	struct str row;

	for (unsigned i = 0; i < RINGS; i++)
		while (ring_peek(&t->ring[i], &row) == 0) {
			if (!out_add(t, row))
				return;
			ring_pop(&t->ring[i]);
		}
}

/* 0: gone, 1: the socket is full, -1: the message cannot be sent. */
static int out_send(struct trace_send *t)
{
	struct ev_head h = {.slot = t->conf.slot, .rows = t->out_rows};
	ssize_t n;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		h.sent_before[c] = shm_ev_sent(t->conf.slot, c);
		shm_ev_sent_add(c, t->out_cls[c]);
	}
	ev_frame_end(&t->out, &h);
	do
		n = send(t->conf.fd, t->out.p, t->out.len,
			MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		if (n >= 0)
			shm_ev_held_add(c, -(int64_t)t->out_cls[c]);
		else
			shm_ev_sent_add(c, -(int64_t)t->out_cls[c]);
	if (n >= 0)
		return 0;
	return errno == EMSGSIZE ? -1 : 1;
}

static void flush(struct trace_send *t)
{
	while (!t->blocked) {
		int rc;

		out_refill(t);
		if (t->out_rows == 0)
			return;
		rc = out_send(t);
		if (rc > 0) {
			t->blocked = true;
			/* after any other error on_sync tries again: such a
			 * socket may be writable all the time */
			if (errno == EAGAIN)
				event_add(t->ev_write, NULL);
			return;
		}
		if (rc < 0)
			drop_all(t,
				(struct str){t->out.p + EV_HEAD_BYTES,
					t->out.len - EV_HEAD_BYTES},
				EV_DROP_TOO_LARGE);
		out_reset(t);
	}
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct trace_send *t = arg;

	(void)fd;
	(void)what;
	t->flush_due = false;
	flush(t);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct trace_send *t = arg;

	(void)fd;
	(void)what;
	t->blocked = false;
	flush(t);
}

/*
 * A logger that died between reading a message and publishing it leaves a gap
 * which only a later message shows.  A worker with nothing to say sends its
 * counts alone.
 */
static void on_sync(evutil_socket_t fd, short what, void *arg)
{
	struct trace_send *t = arg;
	uint64_t now = clock_mono_ms(), taken = rows_taken(t);

	(void)fd;
	(void)what;
	for (unsigned p = 0; p < POOLS; p++)
		metric_level(levels[p], rows_ahead(t, p));
	if (t->blocked && !event_pending(t->ev_write, EV_WRITE, NULL))
		trace_send_flush(t);
	if (taken == rows_sent(t) || taken != t->taken_seen) {
		t->taken_seen = taken;
		t->sync_due_ms = now + SYNC_FIRST_MS;
		return;
	}
	if (now < t->sync_due_ms || t->blocked || t->out_rows != 0)
		return;
	t->sync_due_ms = now + SYNC_AGAIN_MS;
	(void)out_send(t);
	out_reset(t);
}

struct trace_send *trace_send_new(
	struct event_base *base, const struct trace_send_conf *conf)
{
	static const struct timeval second = {1, 0};
	struct trace_send *t = calloc(1, sizeof(*t));

	if (t == NULL)
		fatal("out of memory in trace sender");
	t->conf = *conf;
	t->max[POOL_AUDIT] = conf->audit_max;
	t->max[POOL_RUNS] = conf->rows_max;
	t->max[POOL_REQUESTS] = conf->requests_max;
	for (unsigned p = 0; p < POOLS; p++)
		if (t->max[p] == 0)
			t->max[p] = 1;
	buf_init(&t->out, 0);
	buf_init(&t->row, 0);
	arena_init(&t->arena, 0);
	ring_init(&t->ring[RING_AUDIT], conf->audit_bytes);
	ring_init(&t->ring[RING_ERROR], conf->ring_bytes / 2);
	ring_init(&t->ring[RING_REST], conf->ring_bytes / 2);
	ring_init(&t->ring[RING_REQUEST], conf->ring_bytes / 2);
	out_reset(t);
	t->ev_flush = event_new(base, -1, 0, on_flush, t);
	t->ev_write = event_new(base, conf->fd, EV_WRITE, on_write, t);
	t->ev_sync = event_new(base, -1, EV_PERSIST, on_sync, t);
	if (!t->ev_flush || !t->ev_write || !t->ev_sync ||
		event_add(t->ev_sync, &second) < 0)
		fatal("cannot make the events of the trace sender");
	(void)out_send(t); /* closes a gap that the predecessor left */
	out_reset(t);
	return t;
}

static bool make_room(struct trace_send *t, enum evidence_class cls)
{
	enum pool pool = of_class[cls].pool;
	uint64_t max = t->max[pool], ahead = rows_ahead(t, pool);

	if (of_class[cls].ring == RING_REST)
		return ahead < max - max / 4;
	return ahead < max ||
	       (cls == EV_ERROR &&
		       drop_oldest(t, &t->ring[RING_REST], EV_DROP_QUEUE_MAX));
}

static bool gather(struct trace_send *t, struct str row)
{
	if (t->blocked)
		return false;
	if (out_add(t, row))
		return true;
	flush(t);
	return !t->blocked && out_add(t, row);
}

/* The row stands in t->row. */
static bool hand_over(
	struct trace_send *t, enum evidence_type type, enum evidence_class cls)
{
	struct str whole = buf_str(&t->row);
	struct ev_row row = {
		type, cls, {whole.p + EV_ROW_HEAD, whole.len - EV_ROW_HEAD}};
	struct ring *ring = &t->ring[of_class[cls].ring];
	enum pool pool = of_class[cls].pool;
	bool taken;

	shm_ev_held_add(cls, 1);
	metric_add(M_EV_PRODUCED_AUDIT + cls, 1);
	if (!make_room(t, cls)) {
		drop(t, &row, EV_DROP_QUEUE_MAX);
		return false;
	}
	taken = gather(t, whole) || ring_push(ring, whole.p, whole.len) == 0;
	if (!taken)
		drop(t, &row, EV_DROP_RING_FULL);
	metric_level(levels[pool], rows_ahead(t, pool));
	if (!t->flush_due && !t->blocked) {
		t->flush_due = true;
		event_active(t->ev_flush, EV_TIMEOUT, 0);
	}
	return taken;
}

bool trace_send_run(struct trace_send *t, enum evidence_class cls,
	const struct run_rec *rec)
{
	size_t begin;

	buf_reset(&t->row);
	begin = ev_row_begin(&t->row, EV_T_RUN, cls);
	run_rec_encode(&t->row, rec);
	ev_row_end(&t->row, begin);
	return hand_over(t, EV_T_RUN, cls);
}

void trace_send_audit(struct trace_send *t, const struct audit_rec *rec)
{
	size_t begin;

	buf_reset(&t->row);
	begin = ev_row_begin(&t->row, EV_T_AUDIT, EV_AUDIT);
	audit_rec_encode(&t->row, rec);
	ev_row_end(&t->row, begin);
	(void)hand_over(t, EV_T_AUDIT, EV_AUDIT);
}

void trace_send_request(struct trace_send *t, const struct request_rec *rec)
{
	size_t begin;

	buf_reset(&t->row);
	begin = ev_row_begin(&t->row, EV_T_REQUEST, EV_REQUEST);
	request_rec_encode(&t->row, rec);
	ev_row_end(&t->row, begin);
	(void)hand_over(t, EV_T_REQUEST, EV_REQUEST);
}

void trace_send_fault(struct trace_send *t, const struct fault_rec *rec)
{
	size_t begin;

	buf_reset(&t->row);
	begin = ev_row_begin(&t->row, EV_T_FAULT, EV_SENTRY);
	fault_rec_encode(&t->row, rec);
	ev_row_end(&t->row, begin);
	(void)hand_over(t, EV_T_FAULT, EV_SENTRY);
}

void trace_send_flush(struct trace_send *t)
{
	t->blocked = false;
	flush(t);
}

void trace_send_free(struct trace_send **tp)
{
	struct trace_send *t = *tp;
	uint64_t until = clock_mono_ms() + LEAVE_WAIT_MS, now;

	if (t == NULL)
		return;
	*tp = NULL;
	for (;;) {
		struct pollfd p = {.fd = t->conf.fd, .events = POLLOUT};

		trace_send_flush(t);
		now = clock_mono_ms();
		if (trace_send_pending(t) == 0 || now >= until)
			break;
		if (poll(&p, 1, (int)(until - now)) <= 0 ||
			(p.revents & (POLLERR | POLLHUP)))
			break;
	}
	drop_all(t,
		(struct str){
			t->out.p + EV_HEAD_BYTES, t->out.len - EV_HEAD_BYTES},
		EV_DROP_SHUTDOWN);
	for (unsigned i = 0; i < RINGS; i++) {
		while (drop_oldest(t, &t->ring[i], EV_DROP_SHUTDOWN))
			;
		ring_fini(&t->ring[i]);
	}
	event_free(t->ev_flush);
	event_free(t->ev_write);
	event_free(t->ev_sync);
	buf_fini(&t->out);
	buf_fini(&t->row);
	arena_fini(&t->arena);
	free(t);
}
