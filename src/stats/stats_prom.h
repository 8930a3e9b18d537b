/*
 * stats_prom.h - the shared block as Prometheus text 0.0.4 or OpenMetrics
 * 1.0.0 (observability.md 1.1 to 1.6).  Nothing of the stats process is in it:
 * a worker that serves /metrics on the API listener calls it too.
 */
#ifndef STATS_STATS_PROM_H
#define STATS_STATS_PROM_H

#include "base/str.h"
#include "http/http_route.h"
#include "shm/metric_read.h"

#define STATS_PROM_TYPE "text/plain; version=0.0.4; charset=utf-8"

#define STATS_OPEN_TYPE \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Exemplars are no part of text 0.0.4: with them it is for stats_open_add. */
enum stats_form { STATS_CLASSIC, STATS_WITH_EXEMPLARS };

/* Reads all slots now and appends the exposition of the API's routes. */
void stats_render(struct buf *out);
/* The same for a scrape, as OpenMetrics 1.0.0 when the header Accept (p NULL:
 * none) lists it; returns the content type, static. */
const char *stats_render_for(struct buf *out, struct str accept);
/* The same from totals that were read, of any route table. */
void stats_prom_print(struct buf *out, const struct metric_totals *t,
	const struct http_route *routes, unsigned routes_cnt,
	enum stats_form form);

#endif
