/*
 * sentry_limit.h - until when Sentry wants to hear nothing of a category
 * (observability.md 3.3).  Times are monotonic milliseconds.
 */
#ifndef SENTRY_SENTRY_LIMIT_H
#define SENTRY_SENTRY_LIMIT_H

#include "base/str.h"

enum sentry_cat {
	SENTRY_CAT_ERROR,
	SENTRY_CAT_TRANSACTION,
	SENTRY_CAT_SPAN,     /* inside of transactions; never sent alone */
	SENTRY_CAT_INTERNAL, /* client reports */
	SENTRY_CAT_CNT
};

struct sentry_limits {
	uint64_t until_ms[SENTRY_CAT_CNT];
	uint64_t all_until_ms;
};

const char *sentry_cat_name(enum sentry_cat c);
bool sentry_limits_block(
	const struct sentry_limits *l, enum sentry_cat c, uint64_t now_ms);
/*
 * What an answer says: the two headers, p NULL where absent.  A limit never
 * shortens one that runs.
 */
void sentry_limits_hear(struct sentry_limits *l, unsigned status,
	struct str rate_limits, struct str retry_after, uint64_t now_ms);

#endif
