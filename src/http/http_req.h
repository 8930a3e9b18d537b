/*
 * http_req.h - one request in hand.
 *
 * Owns the arena of everything the request makes; it dies in one reset when
 * the reply has been handed to evhttp.  A handler answers exactly once, now
 * or later from another callback on the loop (http_reply.h); after that the
 * struct must not be touched.  A client that went away is noticed at the
 * reply only; the handler runs to its end as if nothing had happened.
 */
#ifndef HTTP_HTTP_REQ_H
#define HTTP_HTTP_REQ_H

#include "base/arena.h"
#include "http/http_route.h"
#include "json/json_in.h"

struct http_server;
struct evhttp_request;

#define HTTP_QUERY_MAX 16

enum http_state {
	HTTP_REQ_READY,   /* handed to the handler */
	HTTP_REQ_ANSWERED /* reply given to evhttp */
};

struct http_query {
	struct str name;  /* decoded */
	struct str value; /* decoded */
};

struct http_req {
	struct arena arena;
	struct http_server *server;
	void *app;                 /* context given to http_server_new */
	struct evhttp_request *ev; /* NULL once answered */
	enum http_state state;
	const char *method;
	const struct http_route *route;
	struct str path;                        /* raw, without query */
	struct str captures[HTTP_CAPTURES_MAX]; /* decoded path parameters */
	struct http_query query[HTTP_QUERY_MAX];
	unsigned query_cnt;
	struct str body; /* bytes as received, in evhttp's buffer */
	struct jv json;  /* parsed body; set by the api layer */
	bool has_json;
	struct str correlation_id; /* header value or srv-<uuid> */
	bool correlation_given;    /* it came from the client */
	char peer[64];             /* address of the socket's other end */
	uint16_t peer_port;
	uint64_t start_ns; /* monotonic, head parsed */
	uint64_t auth_ns, read_ns, eval_ns, write_ns; /* for the access line */
	const char *log_strategy; /* for the access line, arena, may be NULL */
	const char *log_case;
	int64_t log_points;
	bool has_log_points;
	void *auth; /* struct auth_principal of the api layer */
	struct http_req *next, **prevp; /* list of requests in hand */
};

/* Header value, trimmed; .p NULL when absent. */
struct str http_req_header(const struct http_req *r, const char *name);
/* First query parameter of that name; .p NULL when absent. */
struct str http_req_query(const struct http_req *r, const char *name);
/* Captured path parameter by its name in the template. */
struct str http_req_capture(const struct http_req *r, const char *name);

#endif
