/*
 * http_reply.h - the one way out: status, headers, JSON body.
 *
 * Every function but those of a stream answers the request and ends it: the
 * struct is gone when they return.  They drop the body for HEAD, 204 and 304, use fixed reason
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

/*
 * An answer in pieces, for what is too large to be held in memory.  begin
 * sends the head; from then on the handler's deadline does not apply, but a
 * client that reads nothing for the idle timeout is cut off, and, unless the
 * stream is live, one that is awaited and reads less than 64 kB a second over
 * ten seconds: what feeds the stream is wanted by others.  The request
 * ends with end, or with abort when the rest cannot be had: the client sees
 * that the body is not whole.
 */
enum http_flow {
	HTTP_FLOW_GO,
	HTTP_FLOW_WAIT, /* enough for now: on_ready will tell */
	HTTP_FLOW_GONE  /* nobody reads any more; call end all the same */
};
/* on_ready: the client has read what was sent, or it has gone.  It runs once
 * for each HTTP_FLOW_WAIT, from the loop. */
void http_reply_stream_begin(struct http_req *r, int status, const char *type,
	void (*on_ready)(void *arg), void *arg);
/* Takes the bytes of body (the buf is emptied). */
enum http_flow http_reply_stream_chunk(
	struct http_req *r, struct buf *body) MUST_CHECK;
/* What comes next comes when it comes: on_ready also tells that the client has
 * gone while nothing was waiting, and the answer counts from its head. */
void http_reply_stream_live(struct http_req *r);
/* A last piece, also where on_ready is still awaited; ends the request. */
void http_reply_stream_last(struct http_req *r, struct buf *body);
void http_reply_stream_end(struct http_req *r);
void http_reply_stream_abort(struct http_req *r);

#endif
