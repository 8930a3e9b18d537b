/* sentry_limit.c - see sentry_limit.h.  Logger process. */
#define _GNU_SOURCE /* timegm, strptime */
#include "sentry/sentry_limit.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/num.h"

enum { RETRY_DEFAULT_S = 60, RETRY_MAX_S = 86400 * 7 };

const char *sentry_cat_name(enum sentry_cat c)
{
	static const char *const names[SENTRY_CAT_CNT] = {
		"error", "transaction", "span", "internal"};

	return names[c];
}

bool sentry_limits_block(
	const struct sentry_limits *l, enum sentry_cat c, uint64_t now_ms)
{
	return now_ms < l->all_until_ms || now_ms < l->until_ms[c];
}

static void extend(uint64_t *until_ms, uint64_t to_ms)
{
	if (to_ms > *until_ms)
		*until_ms = to_ms;
}

/* Eats up to the next `by`, or all. */
static struct str cut(struct str *rest, char by)
{
	const char *end = rest->len ? memchr(rest->p, by, rest->len) : NULL;
	struct str part = {rest->p, end ? (size_t)(end - rest->p) : rest->len};

	rest->p += part.len + (end != NULL);
	rest->len -= part.len + (end != NULL);
	return str_trim(part);
}

/* Seconds, with a fraction perhaps; -1: unreadable. */
static double seconds_of(struct str s)
{
	double v;

	if (num_parse_double(s, &v) < 0 || v < 0)
		return -1;
	return v > RETRY_MAX_S ? RETRY_MAX_S : v;
}

static void hear_one(struct sentry_limits *l, struct str limit, uint64_t now_ms)
{
	double s = seconds_of(cut(&limit, ':'));
	struct str cats = cut(&limit, ':');
	uint64_t to_ms;

	if (s < 0)
		return;
	to_ms = now_ms + (uint64_t)(s * 1000);
	if (cats.len == 0)
		extend(&l->all_until_ms, to_ms);
	while (cats.len > 0) {
		struct str name = cut(&cats, ';');

		for (unsigned c = 0; c < SENTRY_CAT_CNT; c++)
			if (str_is(name, sentry_cat_name(c)))
				extend(&l->until_ms[c], to_ms);
	}
}

/* Retry-After: seconds or an HTTP date. */
static double retry_seconds(struct str v)
{
	char text[64];
	struct tm tm = {0};
	double s = seconds_of(v);
	const char *end;

	if (s >= 0)
		return s;
	snprintf(text, sizeof(text), "%.*s", STR_ARG(v));
	end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (end == NULL || *end != '\0')
		return RETRY_DEFAULT_S;
	s = (double)timegm(&tm) - (double)clock_wall_us() / 1e6;
	if (s < 0)
		return 0;
	return s > RETRY_MAX_S ? RETRY_MAX_S : s;
}

void sentry_limits_hear(struct sentry_limits *l, unsigned status,
	struct str rate_limits, struct str retry_after, uint64_t now_ms)
{
	double s = RETRY_DEFAULT_S;

	while (rate_limits.len > 0)
		hear_one(l, cut(&rate_limits, ','), now_ms);
	if (rate_limits.p != NULL || status != 429)
		return;
	if (retry_after.p != NULL)
		s = retry_seconds(retry_after);
	extend(&l->all_until_ms, now_ms + (uint64_t)(s * 1000));
}
