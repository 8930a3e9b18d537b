/*
 * trace_recv.c - see trace_recv.h.  Logger process.
 *
 * `taken` in shared memory moves before anything is counted as stored or
 * dropped: a logger that dies at any instruction leaves its rows as taken and
 * neither, which is what its successor counts as lost.  Only what one
 * recv(2) held is not known then; the worker's next message shows it as a
 * gap in the sequence (trace_send.c sends one for that purpose).
 */
#include "logger/trace_recv.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "ipc/evidence.h"
#include "logger/tail.h"
#include "logger/trace_batch.h"

#define MESSAGE_MAX      (EV_FRAME_BYTES + EV_ROW_MAX)
#define MESSAGES_A_ROUND 32 /* of one worker, then the others' turn */

struct pair {
	struct trace_recv *recv;
	unsigned slot;
	int fd;
	struct event *ev;
};

struct trace_recv {
	struct trace_recv_conf conf;
	struct pair pairs[SHM_SLOTS_MAX];
	unsigned open_cnt;
	char message[MESSAGE_MAX];
};

static void pair_close(struct pair *p)
{
	if (p->ev != NULL)
		event_free(p->ev);
	p->ev = NULL;
}

/* Rows that the slot sent and nobody ever read. */
static void count_gap(unsigned slot, unsigned cls, uint64_t sent_before)
{
	uint64_t taken = shm_ev_taken(slot, cls);

	if (sent_before <= taken)
		return;
	shm_ev_held_add(cls, (int64_t)(sent_before - taken));
	shm_ev_taken_set(slot, cls, sent_before);
	metric_evidence_dropped(
		cls, EV_DROP_LOGGER_KILLED, sent_before - taken);
	shm_ev_held_add(cls, -(int64_t)(sent_before - taken));
	log_warnx("evidence rows were lost on their way slot=%u class=%s "
		  "rows=%llu",
		slot, evidence_class_name(cls),
		(unsigned long long)(sent_before - taken));
}

/* They go neither to the spool nor to Postgres. */
static void take_faults(struct trace_recv *r, struct str rest)
{
	struct ev_row row;

	while (ev_frame_next(&rest, &row) == 1) {
		if (row.cls != EV_SENTRY)
			continue;
		r->conf.on_fault(r->conf.arg, row.body);
	}
}

static void take_rows(struct pair *p, const struct ev_head *h, struct str rest)
{
	struct str ahead = rest;
	uint64_t cnt[EV_CLASS_CNT] = {0};
	struct ev_row row;
	int rc;

	while ((rc = ev_frame_next(&ahead, &row)) == 1)
		cnt[row.cls]++;
	if (rc < 0) /* the unreadable rest shows as a gap later */
		metric_inc(M_EV_BAD_FRAMES);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		count_gap(p->slot, c, h->sent_before[c]);
		shm_ev_held_add(c, (int64_t)cnt[c]);
		shm_ev_taken_set(p->slot, c, h->sent_before[c] + cnt[c]);
	}
	ev_queue_take(p->recv->conf.queue, rest);
	tail_take(p->recv->conf.tail, rest);
	if (cnt[EV_SENTRY] > 0)
		take_faults(p->recv, rest);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		shm_ev_held_add(c, -(int64_t)cnt[c]);
}

static void take_message(struct pair *p, size_t len)
{
	struct ev_head h;
	struct str rest;

	if (len > MESSAGE_MAX ||
		ev_frame_open((struct str){p->recv->message, len}, &h, &rest) <
			0 ||
		h.slot != p->slot) {
		metric_inc(M_EV_BAD_FRAMES);
		log_warnx_limited(
			"message of a worker cannot be read slot=%u bytes=%zu",
			p->slot, len);
		return;
	}
	take_rows(p, &h, rest);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct pair *p = arg;
	struct trace_recv *r = p->recv;
	ssize_t n = 0;
	bool ended;

	(void)what;
	for (int i = 0; i < MESSAGES_A_ROUND; i++) {
		/* MSG_TRUNC: the true length of a message that is too long */
		n = recv(fd, r->message, sizeof(r->message),
			MSG_DONTWAIT | MSG_TRUNC);
		if (n <= 0)
			break;
		take_message(p, (size_t)n);
	}
	/* before on_rows, which leaves another errno */
	ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR &&
				  errno != ENOMEM && errno != ENOBUFS);
	r->conf.on_rows(r->conf.arg);
	if (!ended)
		return;
	pair_close(p);
	if (--r->open_cnt == 0)
		r->conf.on_eof(r->conf.arg);
}

/* Nothing to read, and no successor of the dead that may have sent since. */
static void settle_slot(struct pair *p)
{
	uint32_t buried = shm_ev_buried(p->slot);
	uint64_t sent[EV_CLASS_CNT];
	char byte;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		sent[c] = shm_ev_sent(p->slot, c);
	if (buried == 0 || shm_ev_buried(p->slot) != buried ||
		recv(p->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
		errno != EAGAIN)
		return;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		count_gap(p->slot, c, sent[c]);
}

void trace_recv_settle(struct trace_recv *r)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		if (r->pairs[i].ev != NULL)
			settle_slot(&r->pairs[i]);
}

struct trace_recv *trace_recv_new(
	struct event_base *base, const struct trace_recv_conf *conf)
{
	struct trace_recv *r = calloc(1, sizeof(*r));

	if (r == NULL)
		fatal("out of memory in the logger");
	r->conf = *conf;
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		struct pair *p = &r->pairs[i];

		if (conf->fds[i] < 0)
			continue;
		*p = (struct pair){r, i, conf->fds[i], NULL};
		p->ev = event_new(
			base, p->fd, EV_READ | EV_PERSIST, on_readable, p);
		if (p->ev == NULL || event_add(p->ev, NULL) < 0)
			fatal("cannot watch the trace socket of slot %u", i);
		r->open_cnt++;
	}
	return r;
}

void trace_recv_stop(struct trace_recv *r)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		pair_close(&r->pairs[i]);
}

void trace_recv_free(struct trace_recv **rp)
{
	if (*rp == NULL)
		return;
	trace_recv_stop(*rp);
	free(*rp);
	*rp = NULL;
}
