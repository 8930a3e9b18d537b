/*
 * trace_recv.h - the logger's ends of the trace pairs: reads frames, counts
 * what was taken and what never arrived, and hands rows to the queue.
 */
#ifndef LOGGER_TRACE_RECV_H
#define LOGGER_TRACE_RECV_H

#include "base/base.h"
#include "shm/shm.h"

struct ev_queue;
struct event_base;
struct tail;
struct trace_recv;

struct trace_recv_conf {
	const int *fds; /* SHM_SLOTS_MAX, by slot; -1: none */
	struct ev_queue *queue;
	struct tail *tail; /* NULL: none */
	/* A row for Sentry, which no table has: to be held or counted. */
	void (*on_fault)(void *arg, struct str body);
	void (*on_rows)(void *arg); /* the queue has grown */
	void (*on_eof)(void *arg);  /* the last pair has ended */
	void *arg;
};

struct trace_recv *trace_recv_new(
	struct event_base *base, const struct trace_recv_conf *conf);
/* Counts what workers that are dead sent and nobody will ever read. */
void trace_recv_settle(struct trace_recv *r);
/* Reads no more; what is left waits in the sockets for a successor. */
void trace_recv_stop(struct trace_recv *r);
void trace_recv_free(struct trace_recv **r);

#endif
