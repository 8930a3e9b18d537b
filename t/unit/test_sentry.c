/* Unit tests of src/sentry: what answers say of rate limits. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "sentry/sentry_limit.h"

#define NOW 5000u /* monotonic milliseconds */

static const struct str absent = {NULL, 0};

/* "error transaction span internal" of those that are held back at `ms`. */
static void blocked(
	const struct sentry_limits *l, uint64_t ms, char *to, size_t size)
{
	size_t n = 0;

	to[0] = '\0';
	for (unsigned c = 0; c < SENTRY_CAT_CNT; c++)
		if (sentry_limits_block(l, c, ms))
			n += (size_t)snprintf(to + n, size - n, "%s%s",
				n ? " " : "", sentry_cat_name(c));
}

#define ALL "error transaction span internal"

Test(limits, of_the_header)
{
	static const struct {
		const char *header;
		uint64_t after_ms; /* then the same are blocked no more */
		const char *blocked;
	} cases[] = {
		{"60:error:key", 60000, "error"},
		{"60:error;transaction:organization:quota", 60000,
			"error transaction"},
		{" 60 : error ; internal : key ", 60000, "error internal"},
		{"60::organization", 60000, ALL},
		{"60:", 60000, ALL},
		{"60", 60000, ALL},
		{"1.5:transaction", 1500, "transaction"},
		{"60:error:key, 60:transaction:key", 60000,
			"error transaction"},
		{"60:transaction:key,2700:default;security:organization", 60000,
			"transaction"},
		{"nonsense, 60:error:key", 60000, "error"},
		{"60:error:key:reason:namespace:more", 60000, "error"},
		/* without meaning */
		{"", 0, ""},
		{",,, ,", 0, ""},
		{"60:default;security;attachment:key", 0, ""},
		{"60:ERROR", 0, ""},
		{"-1:error", 0, ""},
		{"x:error", 0, ""},
		{":error", 0, ""},
		{"nan:error", 0, ""},
		{"inf:error", 0, ""},
		{"0:error", 0, ""},
		{"60;error", 0, ""},
		{"60:;;:key", 0, ""},
		/* a week at most */
		{"1e300:error", 7 * 86400000ull, "error"},
		{"99999999999999999999:error", 7 * 86400000ull, "error"},
	};
	char text[64];

	for (size_t i = 0; i < NELEM(cases); i++) {
		struct sentry_limits l = {0};

		/* whatever the status */
		sentry_limits_hear(
			&l, 200, str_from(cases[i].header), absent, NOW);
		blocked(&l, NOW, text, sizeof(text));
		cr_expect_str_eq(text, cases[i].blocked, "'%s': %s",
			cases[i].header, text);
		if (cases[i].after_ms == 0)
			continue;
		blocked(&l, NOW + cases[i].after_ms - 1, text, sizeof(text));
		cr_expect_str_eq(text, cases[i].blocked, "'%s': %s at the end",
			cases[i].header, text);
		blocked(&l, NOW + cases[i].after_ms, text, sizeof(text));
		cr_expect_str_eq(
			text, "", "'%s': %s then", cases[i].header, text);
	}
}

Test(limits, the_longer_one_counts)
{
	struct sentry_limits l = {0};

	sentry_limits_hear(&l, 200, STR("100:error"), absent, NOW);
	sentry_limits_hear(&l, 200, STR("10:error"), absent, NOW);
	cr_expect(sentry_limits_block(&l, SENTRY_CAT_ERROR, NOW + 99999));
	sentry_limits_hear(&l, 200, STR("200:error"), absent, NOW);
	cr_expect(sentry_limits_block(&l, SENTRY_CAT_ERROR, NOW + 199999));
	cr_expect_not(sentry_limits_block(&l, SENTRY_CAT_TRANSACTION, NOW));
	/* of all of them, beside those of one */
	sentry_limits_hear(&l, 200, STR("10:"), absent, NOW);
	cr_expect(sentry_limits_block(&l, SENTRY_CAT_TRANSACTION, NOW + 9999));
	cr_expect_not(
		sentry_limits_block(&l, SENTRY_CAT_TRANSACTION, NOW + 10000));
	cr_expect(sentry_limits_block(&l, SENTRY_CAT_ERROR, NOW + 10000));
}

/* Milliseconds for which all is held back; exact to one. */
static uint64_t held_ms(
	unsigned status, struct str limits, struct str retry_after)
{
	struct sentry_limits l = {0};

	sentry_limits_hear(&l, status, limits, retry_after, NOW);
	return l.all_until_ms == 0 ? 0 : l.all_until_ms - NOW;
}

Test(limits, of_429_alone)
{
	static const struct {
		const char *retry_after;
		uint64_t ms;
	} cases[] = {
		{"120", 120000},
		{"0", 0},
		{"1.5", 1500},
		{"", 60000},
		{"soon", 60000},
		{"-5", 60000},
		{"nan", 60000},
		{"99999999999", 7 * 86400000ull},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0}, /* is over */
		{"Thu, 01 Jan 2970 00:00:00 GMT", 7 * 86400000ull},
		{"Thu, 01 Jan 2970 00:00:00 GMT and more", 60000},
		{"Thu, 99 Jan 2970 00:00:00 GMT", 60000},
		{"2970-01-01T00:00:00Z", 60000},
	};

	for (size_t i = 0; i < NELEM(cases); i++)
		cr_expect_eq(
			held_ms(429, absent, str_from(cases[i].retry_after)),
			cases[i].ms, "'%s': %llu", cases[i].retry_after,
			(unsigned long long)held_ms(
				429, absent, str_from(cases[i].retry_after)));
	cr_expect_eq(held_ms(429, absent, absent), 60000);
	/* the header of limits goes first, and only 429 asks for a pause */
	cr_expect_eq(held_ms(429, STR("60:error"), STR("120")), 0);
	cr_expect_eq(held_ms(503, absent, STR("120")), 0);
	cr_expect_eq(held_ms(200, absent, STR("120")), 0);
}

Test(limits, of_a_date)
{
	char text[64];
	time_t to = (time_t)(clock_wall_us() / 1000000) + 90;
	struct tm tm;
	uint64_t ms;

	gmtime_r(&to, &tm);
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	ms = held_ms(429, absent, str_from(text));
	cr_expect(ms > 30000 && ms <= 90000, "%llu", (unsigned long long)ms);
}
