/* api_when.c - see api_when.h. Runs in workers. */
#include "api/api_when.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/num.h"

#define US_PER_S     1000000LL
#define UNIX_MAX_S   253402300799LL /* end of the year 9999 */
#define UNIX_MIN_S   (-62135596800LL)
#define FRACTION_MAX 9 /* digits that are read; a microsecond has 6 */

/* Takes n digits; -1 when there are not so many. */
static int take_digits(struct str *s, size_t n, int *v_r)
{
	int v = 0;

	if (s->len < n)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s->p[i]))
			return -1;
		v = v * 10 + (s->p[i] - '0');
	}
	s->p += n;
	s->len -= n;
	*v_r = v;
	return 0;
}

static bool take_char(struct str *s, char c)
{
	if (s->len == 0 || s->p[0] != c)
		return false;
	s->p++;
	s->len--;
	return true;
}

static int days_in(int year, int month)
{
	static const int days[] = {
		31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

static int take_date(struct str *s, struct tm *tm)
{
	int year, month, day;

	if (take_digits(s, 4, &year) < 0 || !take_char(s, '-') ||
		take_digits(s, 2, &month) < 0 || !take_char(s, '-') ||
		take_digits(s, 2, &day) < 0)
		return -1;
	if (year < 1 || month < 1 || month > 12 || day < 1 ||
		day > days_in(year, month))
		return -1;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return 0;
}

static int take_fraction(struct str *s, int64_t *us_r)
{
	int64_t unit = US_PER_S / 10;
	int digits = 0, d;

	while (s->len > 0 && isdigit((unsigned char)s->p[0])) {
		if (++digits > FRACTION_MAX || take_digits(s, 1, &d) < 0)
			return -1;
		*us_r += d * unit;
		unit /= 10;
	}
	return digits > 0 ? 0 : -1;
}

static int take_time(struct str *s, struct tm *tm, int64_t *us_r)
{
	if (take_digits(s, 2, &tm->tm_hour) < 0 || !take_char(s, ':') ||
		take_digits(s, 2, &tm->tm_min) < 0)
		return -1;
	if (take_char(s, ':') && take_digits(s, 2, &tm->tm_sec) < 0)
		return -1;
	if (take_char(s, '.') && take_fraction(s, us_r) < 0)
		return -1;
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60 ? 0 : -1;
}

static int take_zone(struct str *s, struct api_when *w)
{
	int hours, minutes = 0;
	bool west;

	if (s->len == 0)
		return 0;
	w->has_zone = true;
	if (take_char(s, 'Z'))
		return 0;
	west = take_char(s, '-');
	if ((!west && !take_char(s, '+')) || take_digits(s, 2, &hours) < 0)
		return -1;
	(void)take_char(s, ':');
	if (s->len > 0 && take_digits(s, 2, &minutes) < 0)
		return -1;
	if (hours > 23 || minutes > 59)
		return -1;
	w->offset_min = (hours * 60 + minutes) * (west ? -1 : 1);
	return 0;
}

int api_when_parse(struct str s, struct api_when *w_r)
{
	struct api_when w = {.is_set = true};
	struct tm tm;
	int64_t us = 0;

	memset(&tm, 0, sizeof(tm));
	if (take_date(&s, &tm) < 0)
		return -1;
	if (s.len > 0) {
		if (!take_char(&s, 'T') && !take_char(&s, ' '))
			return -1;
		if (take_time(&s, &tm, &us) < 0 || take_zone(&s, &w) < 0 ||
			s.len > 0)
			return -1;
	}
	w.us = ((int64_t)timegm(&tm) - w.offset_min * 60LL) * US_PER_S + us;
	*w_r = w;
	return 0;
}

int api_when_parse_lax(struct str s, struct api_when *w_r)
{
	int64_t seconds;

	if (num_parse_i64(s, &seconds) < 0)
		return api_when_parse(s, w_r);
	if (seconds < UNIX_MIN_S || seconds > UNIX_MAX_S)
		return -1;
	*w_r = (struct api_when){
		.is_set = true, .us = seconds * US_PER_S, .has_zone = true};
	return 0;
}

void api_when_show(struct json_out *o, const struct api_when *w)
{
	char text[CLOCK_TEXT_MAX + 8];
	size_t n;

	if (!w->is_set) {
		json_out_null(o);
		return;
	}
	n = clock_print(
		w->us + w->offset_min * 60 * US_PER_S, CLOCK_TS_Z, text);
	if (!w->has_zone)
		text[n - 1] = '\0';
	else if (w->offset_min != 0)
		snprintf(text + n - 1, sizeof(text) - n + 1, "%c%02d:%02d",
			w->offset_min < 0 ? '-' : '+', abs(w->offset_min) / 60,
			abs(w->offset_min) % 60);
	json_out_cstr(o, text);
}
