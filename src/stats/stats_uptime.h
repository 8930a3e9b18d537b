/*
 * stats_uptime.h - asks the server's own health check over its listening
 * socket by the clock, as a caller would.
 */
#ifndef STATS_STATS_UPTIME_H
#define STATS_STATS_UPTIME_H

#include "conf/conf.h"

struct event_base;
struct stats_uptime;

/* answered: status 200 within 5 s of at_us (wall). */
typedef void (*stats_uptime_cb)(void *arg, int64_t at_us, bool answered);

/* NULL when the API's port is not known (handed over by a supervisor). */
struct stats_uptime *stats_uptime_new(struct event_base *base,
	const struct conf *conf, stats_uptime_cb cb, void *arg);
/* Once a second. */
void stats_uptime_tick(struct stats_uptime *u, uint64_t now_ms);

#endif
