/*
 * http_server.h - evhttp on an inherited listening socket (STYLE 7,
 * hardening H5 to H9, H11, H12).
 *
 * Life: new (base made after fork) -> start_accepting -> drain (stops accepting,
 * closes idle connections, finishes what is in hand) -> on_drained.  The
 * evhttp object is never freed with requests in hand; the process exits.
 */
#ifndef HTTP_HTTP_SERVER_H
#define HTTP_HTTP_SERVER_H

#include "base/base.h"
#include "http/http_route.h"

struct event_base;
struct http_req;
struct http_server;

struct http_server_conf {
	int listen_fd; /* not owned, nonblocking */
	const struct http_route *routes;
	size_t routes_cnt;
	size_t max_body_bytes; /* ordinary routes */
	size_t max_strategy_bytes;
	size_t max_header_bytes;
	unsigned max_connections;
	unsigned idle_timeout_s;     /* keep-alive idle and slow reads */
	uint32_t handler_timeout_ms; /* request in hand to reply, then 504 */
	/* Runs for each routed request: reads the body, authenticates, then
	 * calls req->route->handler. */
	void (*dispatch)(struct http_req *req);
	/* The handler answers, whether or not the client still waits: before
	 * the reply is sent; 500 for a stream that breaks off. May be NULL. */
	void (*on_answer)(struct http_req *req, int status);
	/* After each reply, routed or not: metrics and access line. */
	void (*on_done)(struct http_req *req, int status, size_t bytes);
	/* Take another connection?  Asked before each; while the answer is no
	 * it is asked again every few milliseconds.  NULL: always. */
	bool (*may_accept)(void *app, unsigned my_connections);
	/* The number of open connections changed; NULL: not told. */
	void (*on_connections)(void *app, unsigned connections);
	void *app;
};

struct http_server *http_server_new(
	struct event_base *base, const struct http_server_conf *conf);
/* A new server accepts from here on. */
void http_server_start_accepting(struct http_server *s);
/* Stops accepting now, keeps what is open. */
void http_server_stop_accepting(struct http_server *s);
/* Stops accepting; on_drained runs from the loop when every connection is
 * gone and every handler has answered, also those whose client has left.  The
 * caller has the deadline. */
void http_server_drain(
	struct http_server *s, void (*on_drained)(void *arg), void *arg);
unsigned http_server_connections(const struct http_server *s);
unsigned http_server_in_hand(const struct http_server *s);

#endif
