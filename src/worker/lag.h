/*
 * lag.h - how late a worker's loop comes to what is due: a timer of its own
 * that looks at the clock.  A stall of LAG_EACH_MS and more is always seen.
 */
#ifndef WORKER_LAG_H
#define WORKER_LAG_H

struct event_base;

#define LAG_EACH_MS 50

/* Once; until the process ends. */
void lag_watch(struct event_base *base);

#endif
