/* trace_batch.c - see trace_batch.h.  Logger process. */
#include "logger/trace_batch.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/shm.h"

/* logger_queue_rows bounds small rows; this bounds the memory of large ones. */
#define QUEUE_BYTES_MAX (256u * 1024 * 1024)

/* Of one class in memory, while the spool has the rest. */
#define WINDOW_BYTES (8u * 1024 * 1024)

/* Of the window, given up at once for rows of a higher rank. */
#define GIVE_BYTES (64u * 1024)

/* One batch of so many is of the rows that wait longest. */
#define FAIR_EVERY 8

void ev_queue_init(struct ev_queue *q, uint64_t rows_max)
{
	memset(q, 0, sizeof(*q));
	q->rows_max = rows_max;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		q->tail[c] = &q->head[c];
}

static size_t item_bytes(const struct ev_item *it)
{
	return sizeof(*it) + it->len;
}

static struct ev_item *item_new(const struct ev_row *row)
{
	struct ev_item *it = malloc(sizeof(*it) + row->body.len);

	if (it == NULL)
		fatal("out of memory for an evidence row of %zu bytes",
			row->body.len);
	it->next = NULL;
	it->at_ms = clock_mono_ms();
	it->type = row->type;
	it->cls = row->cls;
	it->without = 0;
	it->is_bad = false;
	it->is_old = false;
	it->pos = (struct spool_pos){0, 0};
	it->len = (uint32_t)row->body.len;
	memcpy(it->body, row->body.p, row->body.len);
	return it;
}

static void item_leave(struct ev_queue *q, struct ev_item **item)
{
	metric_level(L_QUEUE_LOGGER, --q->rows);
	q->bytes -= item_bytes(*item);
	q->class_bytes[(*item)->cls] -= item_bytes(*item);
	q->own[(*item)->cls] -= (*item)->pos.segment == 0;
	free(*item);
	*item = NULL;
}

/* Counted; the spool may forget it. */
static void item_done(struct ev_queue *q, struct ev_item **item)
{
	if ((*item)->pos.segment != 0)
		spool_done(q->spool, (*item)->cls, (*item)->pos);
	else
		shm_ev_held_add((*item)->cls, -1);
	item_leave(q, item);
}

void ev_item_stored(struct ev_queue *q, struct ev_item **item)
{
	metric_add(M_EV_STORED_AUDIT + (*item)->cls, 1);
	item_done(q, item);
}

void ev_item_dropped(
	struct ev_queue *q, struct ev_item **item, enum evidence_reason why)
{
	metric_evidence_dropped((*item)->cls, why, 1);
	log_warnx_limited("evidence row dropped class=%s reason=%s",
		evidence_class_name((*item)->cls), evidence_reason_name(why));
	item_done(q, item);
}

bool ev_item_left(
	struct ev_queue *q, struct ev_item **item, enum evidence_reason why)
{
	if ((*item)->pos.segment == 0) {
		ev_item_dropped(q, item, why);
		return true;
	}
	item_leave(q, item);
	return false;
}

/* The item that *at, a link of the class's list, leads to. */
static struct ev_item *take_out(
	struct ev_queue *q, enum evidence_class c, struct ev_item **at)
{
	struct ev_item *it = *at;

	*at = it->next;
	if (it->next == NULL)
		q->tail[c] = at;
	q->waiting[trace_table_of(c)]--;
	q->waiting_bytes[trace_table_of(c)] -= item_bytes(it);
	return it;
}

static struct ev_item *pop(struct ev_queue *q, enum evidence_class c)
{
	return q->head[c] != NULL ? take_out(q, c, &q->head[c]) : NULL;
}

static enum evidence_reason no_room(const struct ev_queue *q)
{
	return q->spool ? EV_DROP_SPOOL_FULL : EV_DROP_LOGGER_QUEUE;
}

/* A row of a lower rank; false: there is none. */
static bool drive_one_out(struct ev_queue *q, enum evidence_class cls)
{
	for (unsigned r = 0; r < evidence_rank(cls); r++) {
		enum evidence_class c = evidence_of_rank(r);
		struct ev_item **at = &q->head[c], *it;

		/* those in the spool cost memory only for a while */
		if (q->own[c] == 0)
			continue;
		while (*at != NULL && (*at)->pos.segment != 0)
			at = &(*at)->next;
		if (*at == NULL) /* in a batch */
			continue;
		it = take_out(q, c, at);
		ev_item_dropped(q, &it, no_room(q));
		return true;
	}
	return false;
}

static bool is_full(const struct ev_queue *q, size_t more)
{
	uint64_t own = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		own += q->own[c];
	return own >= q->rows_max || q->bytes + more > QUEUE_BYTES_MAX;
}

static void item_enter(struct ev_queue *q, const struct ev_item *it)
{
	if (it->pos.segment == 0)
		shm_ev_held_add(it->cls, 1);
	metric_level(L_QUEUE_LOGGER, ++q->rows);
	q->bytes += item_bytes(it);
	q->class_bytes[it->cls] += item_bytes(it);
	q->own[it->cls] += it->pos.segment == 0;
}

static void item_wait(struct ev_queue *q, struct ev_item *it)
{
	q->waiting[trace_table_of(it->cls)]++;
	q->waiting_bytes[trace_table_of(it->cls)] += item_bytes(it);
	it->next = NULL;
	*q->tail[it->cls] = it;
	q->tail[it->cls] = &it->next;
}

void ev_queue_push(struct ev_queue *q, const struct ev_row *row)
{
	struct ev_item *it = item_new(row);
	bool full;

	while ((full = is_full(q, item_bytes(it))) &&
		drive_one_out(q, row->cls))
		;
	item_enter(q, it);
	if (full)
		ev_item_dropped(q, &it, no_room(q));
	else
		item_wait(q, it);
}

static struct spool_pos begin_of(const struct ev_item *it)
{
	return (struct spool_pos){
		it->pos.segment, it->pos.end - SPOOL_REC_HEAD - it->len};
}

/* In the newest GIVE_BYTES of a segment. */
static bool is_near(struct spool_pos pos, struct spool_pos newest)
{
	return pos.segment == newest.segment &&
	       newest.end - pos.end < GIVE_BYTES;
}

/* Newest rows of the window leave memory, so that the spool may drop them;
 * false: there are none. */
static bool window_back(struct ev_queue *q, enum evidence_class c)
{
	struct ev_item **from = &q->head[c];
	struct spool_pos begin, newest = {0, 0};
	uint32_t rows = 0, old_end = 0;

	for (struct ev_item *it = q->head[c]; it != NULL; it = it->next)
		if (it->pos.segment != 0)
			newest = it->pos;
	if (newest.segment == 0)
		return false;
	while (!is_near((*from)->pos, newest))
		from = &(*from)->next;
	begin = begin_of(*from);
	while (*from != NULL) {
		struct ev_item *it;

		if ((*from)->pos.segment == 0) {
			from = &(*from)->next;
			continue;
		}
		it = take_out(q, c, from);
		rows++;
		if (it->is_old)
			old_end = it->pos.end;
		item_leave(q, &it);
	}
	spool_put_back(q->spool, c, begin, rows, old_end);
	return true;
}

/* Of a rank below that of a class in the set. */
static bool make_room(struct ev_queue *q, unsigned classes)
{
	unsigned top = EV_CLASS_CNT;

	while (top > 0 && !(classes & 1u << evidence_of_rank(top - 1)))
		top--;
	for (unsigned r = 0; r + 1 < top; r++)
		if (window_back(q, evidence_of_rank(r)))
			return true;
	return false;
}

/* Bit c of the result: those of class c are not in the spool. */
static unsigned spool_take(struct ev_queue *q, struct str frame_rows)
{
	unsigned not_kept = ~(1u << EV_SENTRY);

	do {
		struct str rest = frame_rows;
		struct ev_row row;

		while (ev_frame_next(&rest, &row) == 1)
			if (not_kept & 1u << row.cls)
				spool_add(q->spool, &row);
		not_kept = spool_commit(q->spool);
	} while (not_kept != 0 && spool_wants_room(q->spool) &&
		 make_room(q, not_kept));
	return not_kept;
}

void ev_queue_take(struct ev_queue *q, struct str frame_rows)
{
	unsigned not_kept = ~0u;
	struct str rest = frame_rows;
	struct ev_row row;

	if (q->spool != NULL)
		not_kept = spool_take(q, frame_rows);
	while (not_kept != 0 && ev_frame_next(&rest, &row) == 1)
		if (row.cls != EV_SENTRY && not_kept & 1u << row.cls)
			ev_queue_push(q, &row);
	ev_queue_fill(q);
}

static uint64_t received_ms(const struct spool_rec *rec)
{
	uint64_t wall_ms = (uint64_t)clock_wall_us() / 1000;
	uint64_t mono_ms = clock_mono_ms();
	uint64_t age_ms = wall_ms > rec->at_ms ? wall_ms - rec->at_ms : 0;

	return mono_ms > age_ms ? mono_ms - age_ms : 1;
}

void ev_queue_fill(struct ev_queue *q)
{
	struct spool_row r;

	for (unsigned c = 0; q->spool != NULL && c < EV_CLASS_CNT; c++)
		while (q->class_bytes[c] < WINDOW_BYTES &&
			spool_next(q->spool, c, &r)) {
			struct ev_item *it = item_new(&r.rec.row);

			it->at_ms = received_ms(&r.rec);
			it->is_old = r.is_old;
			it->pos = r.pos;
			item_enter(q, it);
			item_wait(q, it);
		}
}

bool ev_queue_is_empty(const struct ev_queue *q)
{
	bool empty = q->rows == 0;

	for (unsigned c = 0; q->spool != NULL && c < EV_CLASS_CNT; c++)
		empty &= spool_rows(q->spool, c) == 0;
	return empty;
}

uint64_t ev_queue_oldest_ms(const struct ev_queue *q)
{
	uint64_t oldest = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		if (q->head[c] != NULL &&
			(oldest == 0 || q->head[c]->at_ms < oldest))
			oldest = q->head[c]->at_ms;
	return oldest;
}

static bool is_held(const struct ev_queue *q, enum trace_table t)
{
	return q->held & 1u << t;
}

struct ev_ready ev_queue_ready(const struct ev_queue *q)
{
	struct ev_ready r = {0, 0, 0};

	for (unsigned t = 0; t < TRACE_TABLES; t++)
		if (!is_held(q, t)) {
			r.rows += q->waiting[t];
			r.bytes += q->waiting_bytes[t];
		}
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		const struct ev_item *it = q->head[c];

		if (it != NULL && !is_held(q, trace_table_of(c)) &&
			(r.oldest_ms == 0 || it->at_ms < r.oldest_ms))
			r.oldest_ms = it->at_ms;
	}
	return r;
}

/* Urgent rows by their age, then the others by their rank. */
static bool goes_before(const struct ev_item *a, const struct ev_item *b)
{
	bool a_urgent = evidence_is_urgent(a->cls);

	if (a_urgent != evidence_is_urgent(b->cls))
		return a_urgent;
	if (!a_urgent)
		return evidence_rank(a->cls) > evidence_rank(b->cls);
	return a->at_ms < b->at_ms;
}

/* Table whose turn it is. */
static enum trace_table next_table(struct ev_queue *q)
{
	bool by_age = ++q->batches % FAIR_EVERY == 0;
	const struct ev_item *first = NULL;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		const struct ev_item *it = q->head[c];

		if (it == NULL || is_held(q, trace_table_of(c)))
			continue;
		if (first == NULL || (by_age ? it->at_ms < first->at_ms
					     : goes_before(it, first)))
			first = it;
	}
	return trace_table_of(first != NULL ? first->cls : EV_ERROR);
}

static void batch_add(struct ev_batch *b, struct ev_item *it)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 64;
		b->items = realloc(b->items, b->cap * sizeof(*b->items));
		if (b->items == NULL)
			fatal("out of memory for a batch of %u rows", b->cap);
	}
	b->items[b->n++] = it;
}

unsigned ev_batch_take(struct ev_batch *b, struct ev_queue *q,
	unsigned rows_max, size_t bytes_max)
{
	size_t bytes = 0;

	b->n = 0;
	b->table = next_table(q);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		if (trace_table_of(c) != b->table)
			continue;
		while (q->head[c] != NULL && b->n < rows_max &&
			bytes < bytes_max) {
			bytes += item_bytes(q->head[c]);
			batch_add(b, pop(q, c));
		}
	}
	return b->n;
}

static void item_return(struct ev_queue *q, struct ev_item *it)
{
	q->waiting[trace_table_of(it->cls)]++;
	q->waiting_bytes[trace_table_of(it->cls)] += item_bytes(it);
	it->next = q->head[it->cls];
	q->head[it->cls] = it;
	if (it->next == NULL)
		q->tail[it->cls] = &it->next;
}

void ev_batch_return(struct ev_batch *b, struct ev_queue *q, unsigned lo)
{
	for (unsigned i = b->n; i-- > lo;)
		if (b->items[i] != NULL)
			item_return(q, b->items[i]);
	b->n = 0;
}

uint64_t ev_queue_drop_all(struct ev_queue *q, enum evidence_reason why)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct ev_item *it;

		while ((it = pop(q, c)) != NULL)
			n += ev_item_left(q, &it, why);
	}
	return n;
}
