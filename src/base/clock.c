/* clock.c - see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000u;
}

int64_t clock_wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void clock_span_begin(struct clock_span *s)
{
	*s = (struct clock_span){.start_ns = clock_mono_ns()};
}

void clock_span_end(struct clock_span *s)
{
	s->ns = clock_mono_ns() - s->start_ns;
}

size_t clock_print(
	int64_t wall_us, enum clock_form form, char out[CLOCK_TEXT_MAX])
{
	int64_t us = wall_us % 1000000;
	time_t sec = (time_t)(wall_us / 1000000);
	struct tm tm;
	size_t n;

	if (us < 0) {
		us += 1000000;
		sec--;
	}
	gmtime_r(&sec, &tm);
	n = strftime(out, CLOCK_TEXT_MAX,
		form == CLOCK_TS_SP ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%dT%H:%M:%S",
		&tm);
	if (form == CLOCK_TS_MS)
		n += (size_t)snprintf(
			out + n, CLOCK_TEXT_MAX - n, ".%03d", (int)(us / 1000));
	else if (us != 0)
		n += (size_t)snprintf(
			out + n, CLOCK_TEXT_MAX - n, ".%06d", (int)us);
	n += (size_t)snprintf(out + n, CLOCK_TEXT_MAX - n, "%s",
		form == CLOCK_TS_Z || form == CLOCK_TS_MS ? "Z" : "+00:00");
	return n;
}
