/*
 * sentry.h - errors, crashes and transactions on their way to Sentry
 * (observability.md 3).  Logger process only; nothing here waits.
 *
 * Faults are gathered by fingerprint: the first of a group is sent at once,
 * the next event of the group comes sentry.group_interval_s later and carries
 * how many there were.  Up to SENTRY_QUEUE_MAX envelopes wait; one that finds
 * no room, or falls under a rate limit, is counted and told to Sentry in a
 * client report.
 *
 * What a worker sent is a row of evidence: it is held here (shm.h) until the
 * envelope that it went into is answered, and then counted as stored, or as
 * dropped when it was not taken.
 */
#ifndef SENTRY_SENTRY_H
#define SENTRY_SENTRY_H

#include "conf/conf.h"
#include "ipc/fault_rec.h"

#define SENTRY_QUEUE_MAX  100
#define SENTRY_GROUPS_MAX 256
#define SENTRY_LEAVE_MS   2000 /* to send what waits, at the end */

struct event_base;
struct sentry;

/* NULL when sentry.dsn is not set.  on_idle: nothing is left to be sent. */
struct sentry *sentry_new(struct event_base *base, const struct conf *conf,
	void (*on_idle)(void *arg), void *arg);
/* All functions take a NULL sentry and do nothing then. */
void sentry_take(struct sentry *s, const struct fault_rec *rec, uint64_t cnt);
/* Looks at the shared block: who died, what was dropped. Every second. */
void sentry_look(struct sentry *s);
/* Sends what is held back, and gives up SENTRY_LEAVE_MS later. */
void sentry_hurry(struct sentry *s);
bool sentry_is_idle(const struct sentry *s);
void sentry_free(struct sentry **s);

#endif
