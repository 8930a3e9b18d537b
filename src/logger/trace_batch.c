/* trace_batch.c - see trace_batch.h.  Logger process. */
#include "logger/trace_batch.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/shm.h"

/* logger_queue_rows bounds small rows; this bounds the memory of large ones. */
#define QUEUE_BYTES_MAX (256u * 1024 * 1024)

/* In the order in which they are driven out. */
static const enum evidence_class expendable[] = {
	EV_SAMPLE, EV_REQUEST, EV_SENTRY};

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
	it->without_caller = false;
	it->len = (uint32_t)row->body.len;
	memcpy(it->body, row->body.p, row->body.len);
	return it;
}

static void item_leave(struct ev_queue *q, struct ev_item **item)
{
	q->rows--;
	q->bytes -= item_bytes(*item);
	free(*item);
	*item = NULL;
}

void ev_item_stored(struct ev_queue *q, struct ev_item **item)
{
	metric_add(M_EV_STORED_AUDIT + (*item)->cls, 1);
	item_leave(q, item);
}

void ev_item_dropped(
	struct ev_queue *q, struct ev_item **item, enum evidence_reason why)
{
	metric_evidence_dropped((*item)->cls, why, 1);
	log_warnx_limited("evidence row dropped class=%s reason=%s",
		evidence_class_name((*item)->cls), evidence_reason_name(why));
	item_leave(q, item);
}

static struct ev_item *pop(struct ev_queue *q, enum evidence_class c)
{
	struct ev_item *it = q->head[c];

	if (it == NULL)
		return NULL;
	q->head[c] = it->next;
	if (q->head[c] == NULL)
		q->tail[c] = &q->head[c];
	q->waiting--;
	q->waiting_bytes -= item_bytes(it);
	return it;
}

static bool drive_one_out(struct ev_queue *q)
{
	for (size_t i = 0; i < NELEM(expendable); i++) {
		struct ev_item *it = pop(q, expendable[i]);

		if (it == NULL)
			continue;
		ev_item_dropped(q, &it, EV_DROP_LOGGER_QUEUE);
		return true;
	}
	return false;
}

static bool is_full(const struct ev_queue *q, size_t more)
{
	return q->rows >= q->rows_max || q->bytes + more > QUEUE_BYTES_MAX;
}

void ev_queue_push(struct ev_queue *q, const struct ev_row *row)
{
	struct ev_item *it = item_new(row);
	size_t bytes = item_bytes(it);
	bool urgent = evidence_is_urgent(row->cls), full;

	while ((full = is_full(q, bytes)) && urgent && drive_one_out(q))
		;
	q->rows++;
	q->bytes += bytes;
	if (full) {
		ev_item_dropped(q, &it, EV_DROP_LOGGER_QUEUE);
		return;
	}
	q->waiting++;
	q->waiting_bytes += bytes;
	*q->tail[it->cls] = it;
	q->tail[it->cls] = &it->next;
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

/* Table whose turn it is: of the urgent rows the oldest decides. */
static enum trace_table next_table(const struct ev_queue *q)
{
	const struct ev_item *a = q->head[EV_AUDIT], *e = q->head[EV_ERROR];

	if (a != NULL && (e == NULL || a->at_ms <= e->at_ms))
		return TRACE_LOGS;
	return TRACE_RUNS;
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

uint64_t ev_queue_drop_all(struct ev_queue *q, enum evidence_reason why)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		struct ev_item *it;

		while ((it = pop(q, c)) != NULL) {
			ev_item_dropped(q, &it, why);
			n++;
		}
	}
	return n;
}
