/*
 * clock.h - monotonic and wall time.  Durations and deadlines use the
 * monotonic clock only; wall time is for stamps (hardening F8).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/base.h"
#include "base/str.h"

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
/* Microseconds since 1970-01-01 UTC. */
int64_t clock_wall_us(void);

/* A step: since when, and how long it took.  Monotonic. */
struct clock_span {
	uint64_t start_ns;
	uint64_t ns; /* 0: not done */
};

void clock_span_begin(struct clock_span *s);
void clock_span_end(struct clock_span *s);

#define CLOCK_TEXT_MAX 40

enum clock_form {
	CLOCK_TS_Z,   /* 2026-11-23T00:42:00.929601Z, no fraction when zero */
	CLOCK_TS_SP,  /* 2026-11-23 00:43:23.640637+00:00 */
	CLOCK_TS_ISO, /* 2026-11-23T00:43:23.555030+00:00 */
	CLOCK_TS_MS   /* 2026-11-23T00:43:23.555Z, for log lines */
};

/* Prints microseconds since the epoch, UTC; returns the length. */
size_t clock_print(
	int64_t wall_us, enum clock_form form, char out[CLOCK_TEXT_MAX]);

#endif
