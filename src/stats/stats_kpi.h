/*
 * stats_kpi.h - what the stats process writes down by the clock: counters of
 * requests by the minute, samples and gaps of uptime, the daily figures; and
 * what it deletes (observability.md 5.2).  One statement at a time; what
 * fails is tried again, and counters lose nothing meanwhile.
 */
#ifndef STATS_STATS_KPI_H
#define STATS_STATS_KPI_H

#include "conf/conf.h"
#include "shm/metric_read.h"

struct db_pool;
struct event_base;
struct inherit;
struct stats_kpi;

/* totals is read at each tick; it and `in` outlive the object. */
struct stats_kpi *stats_kpi_new(struct event_base *base, struct db_pool *db,
	const struct inherit *in, const struct metric_totals *totals);
/* Once a second, after the totals were read. */
void stats_kpi_tick(struct stats_kpi *k, uint64_t now_ms);
/*
 * Writes the counters a last time and that the stop was wanted; on_done runs
 * once, soon, whether or not that succeeded.  No ticks after this.
 */
void stats_kpi_stop(struct stats_kpi *k, void (*on_done)(void *arg), void *arg);

#endif
