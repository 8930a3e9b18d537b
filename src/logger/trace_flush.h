/*
 * trace_flush.h - moves rows from the queue into Postgres, batch by batch.
 *
 * A batch that Postgres refuses is halved until the bad row stands alone and
 * goes to the quarantine file; one whose outcome is unknown is sent again in
 * a way that stores nothing twice.  No row leaves uncounted.
 */
#ifndef LOGGER_TRACE_FLUSH_H
#define LOGGER_TRACE_FLUSH_H

#include "base/base.h"
#include "logger/trace_batch.h"

struct event_base;
struct trace_flush;

struct trace_flush_conf {
	const char *conninfo;
	const char *app_name;
	const char *quarantine_path; /* JSON lines, appended */
	unsigned batch_rows;
	uint32_t batch_ms;
	struct ev_queue *queue;
	void (*on_idle)(void *arg); /* queue and batch are empty */
	void *arg;
};

struct trace_flush *trace_flush_new(
	struct event_base *base, const struct trace_flush_conf *conf);
/* The queue has grown. */
void trace_flush_kick(struct trace_flush *f);
/* From now on nothing waits for company. */
void trace_flush_hurry(struct trace_flush *f);
bool trace_flush_is_idle(const struct trace_flush *f);
/* What it still holds leaves memory; returns how many rows were dropped. */
uint64_t trace_flush_drop_all(struct trace_flush *f, enum evidence_reason why);
void trace_flush_free(struct trace_flush **f);

#endif
