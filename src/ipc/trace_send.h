/*
 * trace_send.h - worker side of the evidence path: records gathered during a
 * turn of the loop, one SOCK_SEQPACKET message, never blocking; behind a full
 * socket a bounded ring; behind that, drop and count by class and reason.
 * Samples are dropped before errors; audit rows and requests have queues of
 * their own.
 */
#ifndef IPC_TRACE_SEND_H
#define IPC_TRACE_SEND_H

#include "base/base.h"
#include "ipc/audit_rec.h"
#include "ipc/fault_rec.h"
#include "ipc/request_rec.h"
#include "ipc/run_rec.h"

struct event_base;
struct trace_send;

struct trace_send_conf {
	int fd; /* worker's end of the pair, nonblocking */
	unsigned slot;
	uint64_t rows_max;  /* runs not yet taken by the logger */
	uint64_t audit_max; /* the same of audit rows, which have their own */
	uint64_t requests_max; /* and of requests, which have theirs */
	size_t ring_bytes;     /* of the other classes, together */
	size_t audit_bytes;    /* of audit rows */
};

struct trace_send *trace_send_new(
	struct event_base *base, const struct trace_send_conf *conf);
/* Copies the record; counts it as produced and, when there is no room, as
 * dropped.  False: it was dropped. */
bool trace_send_run(struct trace_send *t, enum evidence_class cls,
	const struct run_rec *rec);
void trace_send_audit(struct trace_send *t, const struct audit_rec *rec);
void trace_send_request(struct trace_send *t, const struct request_rec *rec);
void trace_send_fault(struct trace_send *t, const struct fault_rec *rec);
/* Rows accepted but not yet written to the socket. */
uint64_t trace_send_pending(const struct trace_send *t);
/* Audit rows and errors among them. */
uint64_t trace_send_urgent(const struct trace_send *t);
/* Tries to write everything now; used at the end of a drain. */
void trace_send_flush(struct trace_send *t);
void trace_send_free(struct trace_send **t);

#endif
