/*
 * trace_batch.h - the logger's bounded queue: rows by class, the urgent ones
 * (audit, errors) served first, and dropped in the order of their rank.
 *
 * With a spool the rows stand on disk, and the queue is a window on the oldest
 * of each class; rows of one class leave it in order.  A row that the spool
 * did not keep waits in memory only, while there is room.
 *
 * Accounting (shm.h): a row here is counted as taken; it leaves as stored or
 * as dropped, or stays in the spool for a successor.
 */
#ifndef LOGGER_TRACE_BATCH_H
#define LOGGER_TRACE_BATCH_H

#include "base/base.h"
#include "ipc/evidence.h"
#include "logger/trace_row.h"
#include "spool/spool.h"

/* A row in memory, its record behind it. */
struct ev_item {
	struct ev_item *next;
	uint64_t at_ms; /* received, monotonic */
	enum evidence_type type;
	enum evidence_class cls;
	unsigned without;     /* enum trace_ref: refused by foreign keys */
	bool is_bad;          /* cannot be read */
	bool is_old;          /* a predecessor may have stored it */
	struct spool_pos pos; /* segment 0: not in the spool */
	uint32_t len;
	char body[];
};

struct ev_queue {
	struct ev_item *head[EV_CLASS_CNT];
	struct ev_item **tail[EV_CLASS_CNT];
	struct spool *spool; /* NULL: none */
	uint64_t rows_max;   /* of those that are in memory only */
	uint64_t class_bytes[EV_CLASS_CNT]; /* of `bytes` */
	uint64_t own[EV_CLASS_CNT];         /* of `rows`: not in the spool */
	uint64_t rows;  /* waiting here and in the batch being written */
	uint64_t bytes; /* likewise */
	unsigned held;  /* bit t: rows of table t stay here for now */
	uint64_t waiting[TRACE_TABLES];       /* waiting here */
	uint64_t waiting_bytes[TRACE_TABLES]; /* likewise */
	unsigned batches;                     /* taken so far */
};

void ev_queue_init(struct ev_queue *q, uint64_t rows_max);
/* All rows of a frame but those for Sentry, by way of the spool. */
void ev_queue_take(struct ev_queue *q, struct str frame_rows);
/* Reads on in the spool as far as the window is open. */
void ev_queue_fill(struct ev_queue *q);
/* No row is left, in memory or in the spool. */
bool ev_queue_is_empty(const struct ev_queue *q);
/* Copies the row; when full something is dropped and counted. */
void ev_queue_push(struct ev_queue *q, const struct ev_row *row);
/* Receive time of the oldest row that waits; 0 when none does. */
uint64_t ev_queue_oldest_ms(const struct ev_queue *q);

/* Rows that wait and are not held. */
struct ev_ready {
	uint64_t rows, bytes;
	uint64_t oldest_ms;
};
struct ev_ready ev_queue_ready(const struct ev_queue *q);

/* Rows of one table taken from the queue. */
struct ev_batch {
	enum trace_table table;
	struct ev_item **items; /* NULL once stored or dropped */
	unsigned n;
	unsigned cap;
};

/* Most urgent rows of a table that is not held first; returns their number. */
unsigned ev_batch_take(struct ev_batch *b, struct ev_queue *q,
	unsigned rows_max, size_t bytes_max);
/* Rows from lo on go back to where they were taken from. */
void ev_batch_return(struct ev_batch *b, struct ev_queue *q, unsigned lo);
/* The item leaves for good. */
void ev_item_stored(struct ev_queue *q, struct ev_item **item);
void ev_item_dropped(
	struct ev_queue *q, struct ev_item **item, enum evidence_reason why);
/* The item leaves memory only: kept by the spool, or dropped; true: dropped. */
bool ev_item_left(
	struct ev_queue *q, struct ev_item **item, enum evidence_reason why);
/* All that still waits leaves memory so; returns how many were dropped. */
uint64_t ev_queue_drop_all(struct ev_queue *q, enum evidence_reason why);

#endif
