/* http_reply.c - see http_reply.h. Runs in workers. */
#include "http/http_reply.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdarg.h>
#include <stdio.h>

#include "http/http_priv.h"
#include "json/json_out.h"

void http_reply_header(struct http_req *r, const char *name, const char *value)
{
	assert(strpbrk(value, "\r\n") == NULL);
	if (r->ev != NULL)
		evhttp_add_header(
			evhttp_request_get_output_headers(r->ev), name, value);
}

/* No body goes out for these, whatever the handler made (H11). */
static bool wants_body(const struct http_req *r, int status)
{
	return strcmp(r->method, "HEAD") != 0 && status != 204 && status != 304;
}

void http_reply_text(
	struct http_req *r, int status, const char *type, struct str body)
{
	char len[24];

	if (r->ev == NULL) {
		http_server_finish(r, status);
		return;
	}
	if (type != NULL)
		http_reply_header(r, "Content-Type", type);
	snprintf(len, sizeof(len), "%zu", body.len);
	http_reply_header(r, "Content-Length", len);
	if (wants_body(r, status) && body.len > 0)
		evbuffer_add(r->server->out, body.p, body.len);
	http_server_finish(r, status);
}

void http_reply_json(struct http_req *r, int status, struct buf *body)
{
	http_reply_text(r, status, "application/json", buf_str(body));
	buf_reset(body);
}

void http_reply_detail(struct http_req *r, int status, struct str json)
{
	struct json_out o;
	struct buf b;

	r->error_json.p = arena_strndup(&r->arena, json.p, json.len);
	r->error_json.len = r->error_json.p != NULL ? json.len : 0;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "detail");
	json_out_raw(&o, json);
	json_out_obj_end(&o);
	http_reply_json(r, status, &b);
	buf_fini(&b);
}

void http_reply_error(struct http_req *r, int status, const char *fmt, ...)
{
	char text[512];
	struct json_out o;
	struct buf b;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_cstr(&o, text);
	http_reply_detail(r, status, buf_str(&b));
	buf_fini(&b);
}

void http_reply_unavailable(
	struct http_req *r, int retry_after_s, const char *why)
{
	char secs[16];

	snprintf(secs, sizeof(secs), "%d", retry_after_s);
	http_reply_header(r, "Retry-After", secs);
	http_reply_error(r, 503, "%s", why);
}

void http_reply_stream_begin(struct http_req *r, int status, const char *type,
	void (*on_ready)(void *arg), void *arg)
{
	assert(!r->stream.is_on);
	r->stream = (struct http_stream){.is_on = true,
		.status = status,
		.begin_ns = clock_mono_ns(),
		.on_ready = on_ready,
		.arg = arg};
	http_reply_header(r, "Content-Type", type);
	if (r->ev != NULL)
		http_server_stream_begin(r);
}

enum http_flow http_reply_stream_chunk(struct http_req *r, struct buf *body)
{
	enum http_flow flow;

	assert(r->stream.is_on && !r->stream.is_waiting);
	flow = http_server_stream_chunk(r, buf_str(body));
	buf_reset(body);
	return flow;
}

void http_reply_stream_live(struct http_req *r)
{
	assert(r->stream.is_on);
	r->stream.is_live = true;
}

void http_reply_stream_last(struct http_req *r, struct buf *body)
{
	assert(r->stream.is_on);
	r->stream.is_waiting = false;
	(void)!http_server_stream_chunk(r, buf_str(body));
	buf_reset(body);
	http_server_stream_end(r);
}

void http_reply_stream_end(struct http_req *r)
{
	assert(r->stream.is_on);
	http_server_stream_end(r);
}

void http_reply_stream_abort(struct http_req *r)
{
	assert(r->stream.is_on);
	http_server_stream_abort(r);
}

void http_reply_redirect(struct http_req *r, const char *location)
{
	http_reply_header(r, "Location", location);
	http_reply_text(r, 307, NULL, STR(""));
}
