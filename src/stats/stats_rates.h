/*
 * stats_rates.h - what happened per second over the last ten seconds: a ring
 * of totals, one entry a second.  Used by the stats process.
 */
#ifndef STATS_STATS_RATES_H
#define STATS_STATS_RATES_H

#include "shm/metric_read.h"

#define STATS_RATES_CNT 11

struct stats_rates {
	struct {
		uint64_t at_ms; /* monotonic */
		uint64_t requests, awards;
	} ring[STATS_RATES_CNT];
	unsigned next, cnt;
};

/* Requests that a route took. */
uint64_t stats_requests(const struct metric_totals *t);
void stats_rates_add(
	struct stats_rates *r, const struct metric_totals *t, uint64_t now_ms);
/* Both are 0 until a second has passed. */
void stats_rates_get(const struct stats_rates *r, double *requests_r,
	double *awards_r, double *window_s_r);

#endif
