/*
 * api_when.h - points in time as callers write them in a query: an ISO 8601
 * date, or date and time, with or without a zone.
 */
#ifndef API_API_WHEN_H
#define API_API_WHEN_H

#include "base/str.h"
#include "json/json_out.h"

struct api_when {
	bool is_set;
	int64_t us;     /* since the epoch; without a zone: as UTC */
	bool has_zone;  /* the text names one */
	int offset_min; /* east of UTC, 0 without a zone */
};

/*
 * "2026-05-09", "2026-05-09T10:00[:00[.123456]][Z|+02:00|+0200|+02]", a blank
 * for the T; a date alone is its midnight.  -1: anything else.
 */
int api_when_parse(struct str s, struct api_when *w_r) MUST_CHECK;
/* The same, or a number of seconds since the epoch. */
int api_when_parse_lax(struct str s, struct api_when *w_r) MUST_CHECK;
/* In the caller's own zone; null when not set. */
void api_when_show(struct json_out *o, const struct api_when *w);

#endif
