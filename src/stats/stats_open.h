/*
 * stats_open.h - the exposition as OpenMetrics 1.0.0 (observability.md 1.1
 * and 1.2), for whoever asks for it.
 */
#ifndef STATS_STATS_OPEN_H
#define STATS_STATS_OPEN_H

#include "base/str.h"

/* Whether the header Accept (p NULL: none) lists it. */
bool stats_open_is_wanted(struct str accept);
/* Appends the classic text, which may have exemplars already; everything in it
 * counts since created_us of wall time. */
void stats_open_add(struct buf *out, struct str classic, uint64_t created_us);

#endif
