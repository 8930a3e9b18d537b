/* trace_flush.c - see trace_flush.h.  Logger process. */
#include "logger/trace_flush.h"

#include <event2/event.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "dsl/dsl_error.h"
#include "ipc/run_rec.h"
#include "json/json_out.h"
#include "logger/copy_conn.h"
#include "shm/shm.h"

#define BATCH_BYTES    (4u * 1024 * 1024)
#define JOB_MS         30000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

/* Halving 2^n rows leaves at most n + 1 ranges waiting. */
#define RANGES_MAX 40

enum state {
	FL_WAITING, /* for rows, their age, or the connection */
	FL_SENDING, /* a job is on the wire */
	FL_BACKOFF  /* the server was at fault; the timer runs */
};

struct range {
	unsigned lo, hi; /* rows of the batch, hi not included */
	bool staged;     /* an earlier try may have stored them */
};

/* A batch and the COPY text of rows of it. */
struct load {
	struct ev_batch batch;
	struct buf lines;
	unsigned lines_rows; /* rows in lines */
};

/* A table that cannot be written to, while the others can. */
struct hold {
	uint64_t until_ms; /* while the queue holds its rows */
	uint32_t backoff_ms;
};

struct trace_flush {
	struct trace_flush_conf conf;
	struct copy_conn *conn;
	struct event *ev_timer;
	enum state state;
	bool hurry;
	uint32_t backoff_ms;
	struct hold holds[TRACE_TABLES];
	struct load loads[2];
	struct load *now;  /* being written */
	struct load *next; /* made ready meanwhile; empty when batch.n is 0 */
	struct range ranges[RANGES_MAX]; /* of `now`, last one first */
	unsigned ranges_cnt;
	bool is_built;        /* the lines of the range on top are made */
	struct trace_row row; /* scratch */
};

static struct range *top(struct trace_flush *f)
{
	return &f->ranges[f->ranges_cnt - 1];
}

static void set_timer(struct trace_flush *f, uint64_t ms)
{
	struct timeval tv = {
		(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (event_add(f->ev_timer, &tv) < 0)
		fatal("cannot set the timer of the logger");
}

/* ---- quarantine --------------------------------------------------------- */

static void quarantine_line(struct buf *out, const struct trace_row *row,
	const struct copy_reply *why)
{
	struct json_out o;

	json_out_init(&o, out);
	json_out_obj(&o);
	json_out_key(&o, "at");
	json_out_time(&o, clock_wall_us(), CLOCK_TS_Z);
	json_out_kv_cstr(&o, "table", trace_table_name(row->table));
	json_out_kv_cstr(&o, "sqlstate", why->sqlstate);
	json_out_kv_cstr(&o, "reason", why->message);
	json_out_key(&o, "row");
	trace_row_json(row, out);
	buf_add_str(out, STR("}\n"));
}

/* The line or nothing: a part of it would spoil the next one, too. */
static int append_line(int fd, struct str line)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char last = '\n';
	ssize_t n;

	if (end < 0)
		return -1;
	/* a process was killed while it wrote */
	if (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n' &&
		write(fd, "\n", 1) != 1)
		return -1;
	end = lseek(fd, 0, SEEK_END);
	errno = ENOSPC; /* what a short write means */
	n = write(fd, line.p, line.len);
	if (n == (ssize_t)line.len)
		return 0;
	if (n > 0 && ftruncate(fd, end) < 0)
		log_warn("cannot cut a part of a line off the quarantine file");
	return -1;
}

/* The file holds personal data: mode 0600. */
static int quarantine(struct trace_flush *f, const struct ev_item *it,
	const struct copy_reply *why)
{
	struct buf line;
	int fd, rc = -1;

	if (trace_row_read(&f->row, it->type, (struct str){it->body, it->len},
		    it->without) < 0)
		return -1;
	buf_init(&line, 0);
	quarantine_line(&line, &f->row, why);
	fd = open(f->conf.quarantine_path,
		O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		rc = append_line(fd, buf_str(&line));
	if (rc < 0)
		log_warnx_limited("row refused by the database and lost, "
				  "cannot write to %s: %s: %s %s",
			f->conf.quarantine_path, strerror(errno), why->sqlstate,
			why->message);
	if (fd >= 0)
		close(fd);
	buf_fini(&line);
	return rc;
}

/* Refused for good. */
static void put_aside(struct trace_flush *f, struct ev_item **it,
	const struct copy_reply *why)
{
	if (quarantine(f, *it, why) == 0) {
		log_warnx_limited("row refused by the database, kept in %s: "
				  "%s %s",
			f->conf.quarantine_path, why->sqlstate, why->message);
		ev_item_dropped(f->conf.queue, it, EV_DROP_DB_REJECTED);
		return;
	}
	ev_item_dropped(f->conf.queue, it, EV_DROP_QUARANTINE_FAILED);
}

/* ---- one range ---------------------------------------------------------- */

/* The COPY text of a range; rows that cannot be read leave here. */
static void build_lines(
	struct trace_flush *f, struct load *l, unsigned lo, unsigned hi)
{
	buf_reset(&l->lines);
	l->lines_rows = 0;
	for (unsigned i = lo; i < hi; i++) {
		struct ev_item **it = &l->batch.items[i];

		if (*it == NULL)
			continue;
		if (trace_row_read(&f->row, (*it)->type,
			    (struct str){(*it)->body, (*it)->len},
			    (*it)->without) < 0 ||
			f->row.table != l->batch.table) {
			/* rows of its class leave in order: range_stored */
			(*it)->is_bad = true;
			continue;
		}
		trace_row_copy(&f->row, &l->lines);
		l->lines_rows++;
	}
}

/* Positions go to disk when all rows of the range are counted. */
static void range_left(struct trace_flush *f)
{
	f->ranges_cnt--;
	if (f->conf.queue->spool != NULL) {
		spool_trim(f->conf.queue->spool);
		ev_queue_fill(f->conf.queue);
	}
}

/* For the exemplars of the metrics: the row can be looked up from now on. */
static void note_stored(const struct ev_item *it)
{
	static const char *const statuses[SHM_DSL_STATUSES] = {
		[DSL_STATUS_OK] = "ok",
		[DSL_STATUS_ERROR] = "error",
		[DSL_STATUS_TIMEOUT] = "timeout",
		[DSL_STATUS_LIMIT] = "limit",
	};
	struct run_rec rec;

	if (it->type != EV_T_RUN ||
		run_rec_decode_head((struct str){it->body, it->len}, &rec) < 0)
		return;
	for (unsigned s = 0; s < NELEM(statuses); s++)
		if (str_is(rec.status, statuses[s]))
			metric_dsl_stored(rec.realm,
				str_is(rec.strategy_type, "DSL_EXTEND"), s,
				rec.duration_ns, &rec.id);
}

static void range_stored(struct trace_flush *f)
{
	for (unsigned i = top(f)->lo; i < top(f)->hi; i++) {
		struct ev_item **it = &f->now->batch.items[i];

		if (*it == NULL)
			continue;
		if ((*it)->is_bad)
			ev_item_dropped(f->conf.queue, it, EV_DROP_BAD_RECORD);
		else {
			note_stored(*it);
			ev_item_stored(f->conf.queue, it);
		}
	}
	range_left(f);
	f->backoff_ms = BACKOFF_MIN_MS;
	f->holds[f->now->batch.table].backoff_ms = BACKOFF_MIN_MS;
}

/* Empties the column that a foreign key refused; false: it is empty. */
static bool drop_ref(const struct trace_flush *f, struct ev_item *it,
	const struct copy_reply *why)
{
	unsigned before = it->without;

	if (strcmp(why->sqlstate, "23503") == 0)
		it->without |=
			trace_table_refs(f->now->batch.table, why->constraint);
	return it->without != before;
}

/* Halves the range; a row that stands alone goes to quarantine. */
static void range_refused(struct trace_flush *f, const struct copy_reply *why)
{
	struct range r = *top(f);
	unsigned mid = r.lo + (r.hi - r.lo) / 2;
	struct ev_item **it = &f->now->batch.items[r.lo];

	if (r.hi - r.lo > 1) {
		*top(f) = (struct range){mid, r.hi, r.staged};
		f->ranges[f->ranges_cnt++] =
			(struct range){r.lo, mid, r.staged};
		return;
	}
	if (*it != NULL && drop_ref(f, *it, why))
		return; /* and once more */
	if (*it != NULL)
		put_aside(f, it, why);
	range_left(f);
}

/* ---- tables that wait ---------------------------------------------------- */

static uint32_t doubled(uint32_t ms)
{
	return ms * 2 < BACKOFF_MAX_MS ? ms * 2 : BACKOFF_MAX_MS;
}

/* What was taken of the table goes back to the queue, in its order. */
static void hold_table(struct trace_flush *f, const struct copy_reply *why)
{
	enum trace_table t = f->now->batch.table;
	struct hold *h = &f->holds[t];
	unsigned lo = top(f)->lo;

	log_warnx_limited("rows for the table %s wait until it is mended, the "
			  "database says: %s %s",
		trace_table_name(t), why->sqlstate, why->message);
	/* those whose answer was lost may be there */
	for (unsigned r = 0; r < f->ranges_cnt; r++)
		for (unsigned i = f->ranges[r].lo; i < f->ranges[r].hi; i++)
			if (f->now->batch.items[i] != NULL)
				f->now->batch.items[i]->is_old |=
					f->ranges[r].staged;
	if (f->next->batch.n > 0 && f->next->batch.table == t)
		ev_batch_return(&f->next->batch, f->conf.queue, 0);
	ev_batch_return(&f->now->batch, f->conf.queue, lo);
	f->ranges_cnt = 0;
	f->conf.queue->held |= 1u << t;
	h->until_ms = clock_mono_ms() + h->backoff_ms;
	h->backoff_ms = doubled(h->backoff_ms);
}

static void let_go(struct trace_flush *f)
{
	uint64_t now_ms = clock_mono_ms();

	for (unsigned t = 0; t < TRACE_TABLES; t++)
		if (f->holds[t].until_ms <= now_ms)
			f->conf.queue->held &= ~(1u << t);
}

/* Milliseconds until a table is tried again; UINT64_MAX: none is held. */
static uint64_t held_for(const struct trace_flush *f)
{
	uint64_t now_ms = clock_mono_ms(), first = UINT64_MAX;

	for (unsigned t = 0; t < TRACE_TABLES; t++)
		if (f->conf.queue->held & 1u << t &&
			f->holds[t].until_ms < first)
			first = f->holds[t].until_ms;
	if (first == UINT64_MAX)
		return first;
	return first > now_ms ? first - now_ms : 0;
}

/* ---- the machine -------------------------------------------------------- */

/* Milliseconds until the queue is worth a batch; 0: now. */
static uint64_t patience(const struct trace_flush *f, const struct ev_ready *r)
{
	uint64_t age = clock_mono_ms() - r->oldest_ms;

	if (f->hurry || r->rows >= f->conf.batch_rows ||
		r->bytes >= BATCH_BYTES || age >= f->conf.batch_ms)
		return 0;
	return f->conf.batch_ms - age;
}

/* A predecessor may have stored rows of it. */
static bool is_old(const struct ev_batch *b)
{
	for (unsigned i = 0; i < b->n; i++)
		if (b->items[i] != NULL && b->items[i]->is_old)
			return true;
	return false;
}

static void take_batch(struct trace_flush *f, struct load *l)
{
	ev_batch_take(
		&l->batch, f->conf.queue, f->conf.batch_rows, BATCH_BYTES);
	build_lines(f, l, 0, l->batch.n);
}

/* While a batch is on the wire the processor is free to make the next. */
static void prepare_next(struct trace_flush *f)
{
	struct ev_ready r;

	let_go(f);
	r = ev_queue_ready(f->conf.queue);
	if (f->next->batch.n == 0 && r.rows > 0 && patience(f, &r) == 0)
		take_batch(f, f->next);
}

/* False: nothing is worth a batch now, the timer runs if anything waits. */
static bool take_next(struct trace_flush *f)
{
	uint64_t wait_ms = UINT64_MAX, held_ms;
	struct ev_ready r;

	let_go(f);
	held_ms = held_for(f);
	r = ev_queue_ready(f->conf.queue);
	if (r.rows > 0)
		wait_ms = patience(f, &r);
	if (wait_ms == 0) {
		take_batch(f, f->next);
		return true;
	}
	if (held_ms < wait_ms)
		wait_ms = held_ms;
	if (wait_ms < UINT64_MAX)
		set_timer(f, wait_ms);
	else
		f->conf.on_idle(f->conf.arg);
	return false;
}

/* A range to send stands on top; false when there is nothing to do now. */
static bool next_range(struct trace_flush *f)
{
	struct load *done = f->now;

	if (f->ranges_cnt > 0)
		return true;
	done->batch.n = 0;
	if (f->next->batch.n == 0 && !take_next(f))
		return false;
	f->now = f->next;
	f->next = done;
	f->ranges[0] =
		(struct range){0, f->now->batch.n, is_old(&f->now->batch)};
	f->ranges_cnt = 1;
	f->is_built = true;
	return true;
}

void trace_flush_kick(struct trace_flush *f)
{
	struct copy_job job;

	while (f->state == FL_WAITING && copy_conn_is_ready(f->conn) &&
		next_range(f)) {
		struct load *l = f->now;

		if (!f->is_built)
			build_lines(f, l, top(f)->lo, top(f)->hi);
		f->is_built = false;
		if (l->lines_rows == 0) {
			range_stored(f); /* bad ones only */
			continue;
		}
		job = (struct copy_job){
			.table = trace_table_name(l->batch.table),
			.columns = trace_table_columns(l->batch.table),
			.lines = buf_str(&l->lines),
			.staged = top(f)->staged,
		};
		f->state = FL_SENDING;
		copy_conn_send(f->conn, &job);
	}
	if (f->state == FL_SENDING)
		prepare_next(f);
}

static void on_done(void *arg, const struct copy_reply *reply)
{
	struct trace_flush *f = arg;

	f->state = FL_WAITING;
	switch (reply->outcome) {
	case COPY_STORED:
		metric_inc(M_EV_BATCHES);
		range_stored(f);
		break;
	case COPY_REFUSED:
		metric_inc(M_EV_BATCHES_REFUSED);
		range_refused(f, reply);
		break;
	case COPY_NO_TABLE:
		hold_table(f, reply);
		break;
	case COPY_FAILED:
		log_warnx_limited("evidence waits, the database says: %s %s",
			reply->sqlstate, reply->message);
		f->state = FL_BACKOFF;
		set_timer(f, f->backoff_ms);
		f->backoff_ms = doubled(f->backoff_ms);
		break;
	case COPY_LOST:
		metric_inc(M_EV_BATCHES_LOST);
		top(f)->staged = true;
		break;
	}
	trace_flush_kick(f);
}

static void on_ready(void *arg)
{
	trace_flush_kick(arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct trace_flush *f = arg;

	(void)fd;
	(void)what;
	if (f->state == FL_BACKOFF)
		f->state = FL_WAITING;
	trace_flush_kick(f);
}

/* ---- interface ---------------------------------------------------------- */

struct trace_flush *trace_flush_new(
	struct event_base *base, const struct trace_flush_conf *conf)
{
	struct trace_flush *f = calloc(1, sizeof(*f));
	struct copy_conn_conf cc = {
		.conninfo = conf->conninfo,
		.app_name = conf->app_name,
		.deadline_ms = JOB_MS,
		.on_ready = on_ready,
		.on_done = on_done,
		.arg = f,
	};

	if (f == NULL)
		fatal("out of memory in the logger");
	f->conf = *conf;
	f->backoff_ms = BACKOFF_MIN_MS;
	for (unsigned t = 0; t < TRACE_TABLES; t++)
		f->holds[t].backoff_ms = BACKOFF_MIN_MS;
	trace_row_init(&f->row);
	f->now = &f->loads[0];
	f->next = &f->loads[1];
	for (size_t i = 0; i < NELEM(f->loads); i++)
		buf_init(&f->loads[i].lines, 0);
	f->ev_timer = evtimer_new(base, on_timer, f);
	if (f->ev_timer == NULL)
		fatal("cannot make the timer of the logger");
	f->conn = copy_conn_new(base, &cc);
	return f;
}

void trace_flush_hurry(struct trace_flush *f)
{
	f->hurry = true;
	trace_flush_kick(f);
}

bool trace_flush_is_idle(const struct trace_flush *f)
{
	return ev_queue_is_empty(f->conf.queue);
}

uint64_t trace_flush_drop_all(struct trace_flush *f, enum evidence_reason why)
{
	uint64_t n = ev_queue_drop_all(f->conf.queue, why);

	for (size_t k = 0; k < NELEM(f->loads); k++) {
		struct ev_batch *b = &f->loads[k].batch;

		for (unsigned i = 0; i < b->n; i++)
			if (b->items[i] != NULL)
				n += ev_item_left(
					f->conf.queue, &b->items[i], why);
		b->n = 0;
	}
	f->ranges_cnt = 0;
	return n;
}

void trace_flush_free(struct trace_flush **fp)
{
	struct trace_flush *f = *fp;

	if (f == NULL)
		return;
	*fp = NULL;
	copy_conn_free(&f->conn);
	event_free(f->ev_timer);
	trace_row_fini(&f->row);
	for (size_t i = 0; i < NELEM(f->loads); i++) {
		buf_fini(&f->loads[i].lines);
		free(f->loads[i].batch.items);
	}
	free(f);
}
