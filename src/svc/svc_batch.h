/*
 * svc_batch.h - natural group commit: awards that arrive while a write is on
 * the wire form the next one.  No timer: an idle worker writes at once.
 *
 * A write that fails is sent again in parts until the award that cannot be
 * stored is alone.  When it is unknown whether a write happened, each key is
 * looked up on another connection; what is not there is sent once more, which
 * is safe because the key is unique.
 */
#ifndef SVC_SVC_BATCH_H
#define SVC_SVC_BATCH_H

#include "base/arena.h"
#include "store/store_award.h"

struct app;
struct svc_batch;

enum svc_write_outcome {
	SVC_WRITE_DONE,    /* committed now: out members of award */
	SVC_WRITE_TAKEN,   /* an earlier award holds the key: `stored` */
	SVC_WRITE_REFUSED, /* by the database: sqlstate; nothing is stored */
	SVC_WRITE_LATER    /* database or queue cannot serve, or unknown */
};

struct svc_write {
	/* caller; lives until cb ran */
	struct store_award award;
	struct arena *arena;  /* for `stored` */
	uint64_t deadline_ms; /* monotonic; not begun again after it */
	void (*cb)(struct svc_write *w);
	void *arg;
	/* out */
	enum svc_write_outcome outcome;
	struct store_award_row stored;
	char sqlstate[6];
	/* batcher */
	struct svc_write *next;
	struct svc_batch *batch;
	uint8_t lookups_cnt;
	struct store_op op; /* the look-up */
};

struct svc_batch *svc_batch_new(struct app *app);
/* Only with nothing in hand. */
void svc_batch_free(struct svc_batch **b);
/* cb runs later, once.  -1: the queue is full, cb will not run. */
int svc_batch_submit(struct svc_batch *b, struct svc_write *w) MUST_CHECK;

#endif
