/* http_priv.h - what the files of src/http share among themselves. */
#ifndef HTTP_HTTP_PRIV_H
#define HTTP_HTTP_PRIV_H

#include "http/http_reply.h"
#include "http/http_req.h"
#include "http/http_server.h"

struct bufferevent;
struct evbuffer;
struct event;
struct evconnlistener;
struct evhttp;
struct evhttp_connection;

/*
 * One accepted connection.  Found again through evhttp's callback argument a
 * moment after the accept; freed when evhttp frees its side.  The byte-level
 * gate (hardening H1) will keep its state here.
 */
struct http_conn {
	struct http_server *server;
	struct bufferevent *bev;
	struct evhttp_connection *ev; /* NULL until adopted */
	int fd;                       /* its place in by_fd */
	struct http_req *req;         /* in hand, NULL when idle */
	uint64_t idle_since_ms;       /* monotonic; accept or last reply */
	TAILQ_ENTRY(http_conn) entry;
};

struct http_server {
	struct http_server *next; /* of the process */
	struct event_base *base;
	struct http_server_conf conf;
	struct http_router *router;
	struct evhttp *evhttp;
	struct evconnlistener *listener;
	struct event *adopt_ev;  /* this turn: adopt fresh connections */
	struct event *accept_ev; /* timer: accept again */
	struct event *tick_ev;   /* timer: deadlines of handlers, drain */
	struct evbuffer *out;    /* body of the reply being sent */
	TAILQ_HEAD(, http_conn) fresh, conns;
	TAILQ_HEAD(, http_req) in_hand;
	TAILQ_HEAD(, http_req) spare; /* kept for the next requests */
	struct http_conn **by_fd;     /* adopted connections, owned */
	size_t by_fd_cnt;             /* entries of by_fd */
	unsigned conns_cnt, in_hand_cnt, spare_cnt;
	uint64_t large_bytes; /* of large bodies since memory was given back */
	bool is_full; /* had all its connections, too few have gone since */
	bool draining;
	void (*on_drained)(void *arg);
	void *drained_arg;
};

/* Sends status and s->out, ends the request's evhttp side and frees it. */
void http_server_finish(struct http_req *r, int status);
/* The stream functions of http_reply.h; begin needs r->ev. */
void http_server_stream_begin(struct http_req *r);
enum http_flow http_server_stream_chunk(struct http_req *r, struct str bytes);
void http_server_stream_end(struct http_req *r);
void http_server_stream_abort(struct http_req *r);
/* Parses path and query of the target; status of a refusal, 0 when fine. */
int http_req_parse_target(struct http_req *r, struct str target);
/* Without blanks and control bytes: such texts may go into a header, and evhttp
 * lets a CR without LF pass in a target (H3). */
bool http_is_plain(struct str s);
/* The Connection header lists `close`; evhttp knows it alone only (H11). */
bool http_req_wants_close(const struct http_req *r);
/* Takes or makes the correlation id; -1 when it was made because the client's
 * is not legal. */
int http_req_correlate(struct http_req *r);

#endif
