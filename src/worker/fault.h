/*
 * fault.h - what a finished request leaves for Sentry: its failure, and the
 * request itself when it is drawn as a transaction.  Worker process; both
 * functions do nothing while sentry.dsn is not set.
 */
#ifndef WORKER_FAULT_H
#define WORKER_FAULT_H

#include "base/base.h"

struct http_req;

/* Before the reply: keeps what is gone after it. */
void fault_on_answer(struct http_req *req, int status);
void fault_on_done(
	const struct http_req *req, int status, uint64_t duration_ns);

#endif
