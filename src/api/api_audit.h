/*
 * api_audit.h - the audit trail: rows of the table `logs`, one a step
 * (observability.md 2.2, 2.3).
 *
 * What an endpoint writes stands in the one table of api_audit.c, by method
 * and template: a row when the request has been understood, before the work,
 * and one when it was done or has failed.  Handlers add only what neither
 * path, query nor body says, with api_audit_note.  Callers that are not let
 * in, validation faults and rate limits leave no row.
 *
 * Rows go to the logger (trace_send.h): no call here waits, fails, or
 * changes an answer.  Runs in workers.
 */
#ifndef API_API_AUDIT_H
#define API_API_AUDIT_H

#include "base/uuid.h"
#include "http/http_req.h"

/* The caller is known, the body is an object: the handler comes next. */
void api_audit_start(struct http_req *req);
/* Validation found nothing: the first row is written, once. */
void api_audit_begin(struct http_req *req);
/* No row is written (any more): validation answered 422, or the request leaves
 * nothing behind. */
void api_audit_skip(struct http_req *req);
/* The handler has answered; status 500 also for a stream that broke off. */
void api_audit_end(struct http_req *req, int status);

/* A value for a key of the details: it wins over path, query and body.  The
 * key is a literal; texts are copied.  Ignored once the request has ended. */
void api_audit_note(struct http_req *req, const char *key, struct str val);
void api_audit_note_int(struct http_req *req, const char *key, int64_t val);
void api_audit_note_uuid(
	struct http_req *req, const char *key, const struct uuid *val);
/* JSON already, trusted. */
void api_audit_note_json(struct http_req *req, const char *key, struct str val);

/* One more row, beside those of the table; keys as there. */
void api_audit_say(struct http_req *req, const char *level, const char *module,
	const char *message, const char *keys);

#endif
