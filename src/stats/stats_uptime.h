/*
 * stats_uptime.h - asks the server's own health check, which asks the
 * database, over its listening socket by the clock, as a caller would.
 */
#ifndef STATS_STATS_UPTIME_H
#define STATS_STATS_UPTIME_H

#include "base/base.h"

struct event_base;
struct stats_uptime;

/* answered: status 200 within 5 s of at_us (wall). */
typedef void (*stats_uptime_cb)(void *arg, int64_t at_us, bool answered);

/* Where the socket is bound, which need not be what the settings say. */
struct stats_uptime_conf {
	const char *address;
	unsigned port; /* 0: not known */
	uint64_t sample_s;
	stats_uptime_cb cb;
	void *arg;
};
/* NULL when the port is not known. */
struct stats_uptime *stats_uptime_new(
	struct event_base *base, const struct stats_uptime_conf *conf);
/* Once a second. */
void stats_uptime_tick(struct stats_uptime *u, uint64_t now_ms);

#endif
