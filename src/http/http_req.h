/*
 * http_req.h - one request in hand.
 *
 * Owns the arena of everything the request makes; it dies in one reset when
 * the handler has answered.  A handler answers exactly once, now or later
 * from another callback on the loop (http_reply.h); after that the struct
 * must not be touched.  A client that went away is noticed at the reply only;
 * the handler runs to its end as if nothing had happened.  When the handler's
 * deadline passes the client gets 504 and `ev` becomes NULL, but the struct
 * stays until the handler answers; so what a handler needs of headers and
 * body bytes later it copies at the start.
 */
#ifndef HTTP_HTTP_REQ_H
#define HTTP_HTTP_REQ_H

#include <sys/queue.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "http/http_route.h"
#include "json/json_val.h"

struct http_server;
struct http_conn;
struct evhttp_request;

#define HTTP_QUERY_MAX       16
#define HTTP_CORRELATION_MAX 255

struct http_query {
	struct str name;  /* decoded */
	struct str value; /* decoded */
};

/* An answer in pieces (http_reply.h). */
struct http_stream {
	bool is_on;
	bool is_waiting; /* the producer was told to wait */
	bool is_live;    /* http_reply_stream_live */
	int status;
	size_t bytes;        /* of the body, so far */
	uint64_t begin_ns;   /* monotonic, the head was sent */
	unsigned late_ticks; /* it waited for the client, since the last look */
	int64_t read_bytes;  /* by the client, at the last look */
	void (*on_ready)(void *arg);
	void *arg;
};

struct http_req {
	struct arena arena;
	struct http_server *server;
	void *app;                 /* context given to http_server_new */
	struct evhttp_request *ev; /* NULL once answered */
	struct http_conn *conn;    /* NULL once answered or gone */
	const char *method;
	const struct http_route *route; /* NULL: no route matched */
	struct str path;                /* raw, without query, in the arena */
	struct str query_text;          /* raw, without the mark */
	struct str captures[HTTP_CAPTURES_MAX]; /* decoded path parameters */
	struct http_query query[HTTP_QUERY_MAX];
	unsigned query_cnt;
	struct str body; /* as received; gone when `ev` is */
	struct jv json;  /* parsed body; set by the api layer */
	bool has_json;
	bool correlation_given; /* the id came from the client */
	char correlation_id[HTTP_CORRELATION_MAX + 1]; /* or srv-<uuid> */
	char peer[64]; /* address of the socket's other end */
	uint16_t peer_port;
	char version[8];        /* of HTTP: "1.1" */
	uint64_t start_ns;      /* monotonic, request read */
	uint64_t request_bytes; /* of the body */
	/* for the access line and for Sentry, set by handlers */
	struct clock_span auth_span, read_span, eval_span, write_span;
	const char *log_strategy; /* in the arena, may be NULL */
	const char *log_case;
	int64_t log_version; /* of the strategy; 0: none of its own */
	int64_t log_points;
	bool has_log_points;
	bool has_user_id;
	struct uuid user_id; /* of the end user it is about, where looked up */
	struct http_stream stream;
	void *auth;            /* struct auth_principal, in the arena */
	void *audit;           /* of api_audit.c, in the arena; may be NULL */
	void *fault;           /* of fault.c, in the arena; may be NULL */
	struct str error_json; /* `detail` of the answer; p NULL: none */
	TAILQ_ENTRY(http_req) entry; /* requests in hand, oldest first */
};

/* Header value, trimmed; .p NULL when absent or after the deadline. */
struct str http_req_header(const struct http_req *r, const char *name);
/* All of them, as they came; none after the deadline. */
void http_req_each_header(const struct http_req *r,
	void (*fn)(void *arg, const char *name, const char *value), void *arg);
/* First query parameter of that name; .p NULL when absent. */
struct str http_req_query(const struct http_req *r, const char *name);
/* Captured path parameter by its name in the template. */
struct str http_req_capture(const struct http_req *r, const char *name);

#endif
