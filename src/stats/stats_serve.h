/*
 * stats_serve.h - GET /metrics, as the stats process answers it on its own
 * listener and a worker on the API's when that is configured: who may have
 * it, in which form.
 */
#ifndef STATS_STATS_SERVE_H
#define STATS_STATS_SERVE_H

#include "conf/conf.h"

struct http_req;

/* Once, before the first request. */
void stats_serve_init(const struct conf *conf);
/*
 * A route's handler.  403 for an address that metrics.allow does not have,
 * 401 without metrics.token; both at once when both are set.
 */
void stats_serve(struct http_req *req);

#endif
