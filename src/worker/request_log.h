/*
 * request_log.h - a row of `apirequests` for a request that was answered
 * (observability.md 5.2): of every route but probes, or of a sample of them.
 * Worker process.
 */
#ifndef WORKER_REQUEST_LOG_H
#define WORKER_REQUEST_LOG_H

#include "base/base.h"

struct http_req;

void request_log_on_done(
	const struct http_req *req, int status, uint64_t duration_ns);

#endif
