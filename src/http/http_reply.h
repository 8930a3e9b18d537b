/*
 * http_reply.h - the one way out: status, headers, JSON body.
 *
 * Every function answers the request and ends it: the struct is gone when
 * they return.  They drop the body for HEAD, 204 and 304, use fixed reason
 * phrases, add nosniff and X-Correlation-ID, and record the HTTP metrics and
 * the access line (hardening H11).
 */
#ifndef HTTP_HTTP_REPLY_H
#define HTTP_HTTP_REPLY_H

#include "base/str.h"
#include "json/json_val.h"

struct http_req;

/* Adds a response header; value must be free of control bytes (asserted
 * against CR and LF, percent-encoded by the caller if it is user data). */
void http_reply_header(struct http_req *r, const char *name, const char *value);

/* application/json; takes the bytes of body (the buf is emptied). */
void http_reply_json(struct http_req *r, int status, struct buf *body);
/* text/plain or another type. */
void http_reply_text(
	struct http_req *r, int status, const char *type, struct str body);
/* {"detail": <sentence>} */
void http_reply_error(struct http_req *r, int status, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* {"detail": <json>}, text is JSON already */
void http_reply_detail(struct http_req *r, int status, struct str json);
/* 503 with Retry-After: seconds. */
void http_reply_unavailable(
	struct http_req *r, int retry_after_s, const char *why);
/* Redirect 307, empty body. */
void http_reply_redirect(struct http_req *r, const char *location);

#endif
