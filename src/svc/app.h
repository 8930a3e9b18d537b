/*
 * app.h - what one worker process is: the context that every request sees
 * as http_req->app.
 *
 * Made by worker_main before the first connection is accepted, lives until
 * the process ends, changed by the worker's own loop only.  Services take it
 * as their first argument; they own the parts that carry their name.
 */
#ifndef SVC_APP_H
#define SVC_APP_H

#include "base/arena.h"
#include "base/base.h"

struct auth;
struct conf;
struct db_pool;
struct event_base;
struct http_req;
struct http_server;
struct shm;
struct svc_batch;
struct svc_cache;
struct svc_evidence;
struct svc_ping;
struct trace_send;

struct app {
	const struct conf *conf; /* of this generation, never changes */
	struct event_base *base;
	struct shm *shm;
	unsigned slot; /* in the shared block; also the database's shard */
	struct db_pool *db;
	struct trace_send *trace;
	struct http_server *server;
	struct auth *auth;             /* keys already checked */
	struct svc_cache *cache;       /* games, tasks, strategies */
	struct svc_batch *batch;       /* awards on their way */
	struct svc_evidence *evidence; /* sampler and trace buffer */
	struct svc_ping *ping;         /* does the database answer */
	struct arena run; /* of one evaluation; reset before each */
	uint64_t boot_ms; /* wall time the server started, milliseconds */
	bool draining;    /* no new work; /readyz says so */
	/* Answers GET /metrics; NULL: it is not served here. */
	void (*serve_metrics)(struct http_req *req);
};

#endif
