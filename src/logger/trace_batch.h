/*
 * trace_batch.h - the logger's bounded queue: rows by class, the urgent ones
 * (audit, errors) served first and dropped last.
 *
 * Accounting (shm.h): a row here is counted as taken; it leaves as stored or
 * as dropped, never otherwise.
 */
#ifndef LOGGER_TRACE_BATCH_H
#define LOGGER_TRACE_BATCH_H

#include "base/base.h"
#include "ipc/evidence.h"
#include "logger/trace_row.h"

/* A row in memory, its record behind it. */
struct ev_item {
	struct ev_item *next;
	uint64_t at_ms; /* received, monotonic */
	enum evidence_type type;
	enum evidence_class cls;
	bool without_caller; /* its foreign keys were refused */
	uint32_t len;
	char body[];
};

struct ev_queue {
	struct ev_item *head[EV_CLASS_CNT];
	struct ev_item **tail[EV_CLASS_CNT];
	uint64_t rows_max;
	uint64_t rows;    /* waiting here and in the batch being written */
	uint64_t bytes;   /* likewise */
	uint64_t waiting; /* waiting here */
	uint64_t waiting_bytes; /* likewise */
};

void ev_queue_init(struct ev_queue *q, uint64_t rows_max);
/* Copies the row; when full something is dropped and counted. */
void ev_queue_push(struct ev_queue *q, const struct ev_row *row);
/* Receive time of the oldest row that waits; 0 when none does. */
uint64_t ev_queue_oldest_ms(const struct ev_queue *q);

/* Rows of one table taken from the queue. */
struct ev_batch {
	enum trace_table table;
	struct ev_item **items; /* NULL once stored or dropped */
	unsigned n;
	unsigned cap;
};

/* Most urgent rows first; returns their number. */
unsigned ev_batch_take(struct ev_batch *b, struct ev_queue *q,
	unsigned rows_max, size_t bytes_max);
/* The item leaves for good. */
void ev_item_stored(struct ev_queue *q, struct ev_item **item);
void ev_item_dropped(
	struct ev_queue *q, struct ev_item **item, enum evidence_reason why);
/* Drops everything that still waits; returns how many rows. */
uint64_t ev_queue_drop_all(struct ev_queue *q, enum evidence_reason why);

#endif
