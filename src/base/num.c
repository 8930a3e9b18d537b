/* num.c - see num.h. */
#include "base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int num_parse_u64(struct str s, uint64_t *v_r)
{
	uint64_t v = 0;

	if (s.len == 0)
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		unsigned d = (unsigned char)s.p[i] - '0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return -1;
		v = v * 10 + d;
	}
	*v_r = v;
	return 0;
}

int num_parse_i64(struct str s, int64_t *v_r)
{
	bool neg = false;
	uint64_t u;

	if (s.len > 0 && (s.p[0] == '-' || s.p[0] == '+')) {
		neg = s.p[0] == '-';
		s.p++;
		s.len--;
	}
	if (num_parse_u64(s, &u) < 0)
		return -1;
	if (neg) {
		if (u > (uint64_t)INT64_MAX + 1)
			return -1;
		*v_r = u == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)u;
		return 0;
	}
	if (u > INT64_MAX)
		return -1;
	*v_r = (int64_t)u;
	return 0;
}

int num_parse_double(struct str s, double *v_r)
{
	char tmp[512];
	char *end;
	double v;

	if (s.len == 0 || s.len >= sizeof(tmp))
		return -1;
	for (size_t i = 0; i < s.len; i++)
		if (strchr("0123456789+-.eE", s.p[i]) == NULL || s.p[i] == '\0')
			return -1;
	memcpy(tmp, s.p, s.len);
	tmp[s.len] = '\0';
	errno = 0;
	v = strtod(tmp, &end);
	if (*end != '\0' || !isfinite(v))
		return -1;
	*v_r = v;
	return 0;
}

/*
 * The same of a number with few decimals, as most are: n / 10^k, rounded once,
 * is v.  Below 10^15 no other decimal of 15 digits or less reads as v, so it
 * is the shortest.  0: v is no such number.
 */
static int few_digits(double v, char digits[20], int *exp10_r)
{
	static const double power[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6};
	uint64_t n;
	int cnt = 0, k = 0;

	for (;; k++) {
		if (k == (int)NELEM(power) || v * power[k] >= 1e15)
			return 0;
		n = (uint64_t)(v * power[k] + 0.5);
		if ((double)n / power[k] == v)
			break;
	}
	for (uint64_t rest = n; rest > 0; rest /= 10)
		cnt++;
	*exp10_r = cnt - 1 - k;
	for (int i = cnt; i-- > 0; n /= 10)
		digits[i] = (char)('0' + n % 10);
	while (cnt > 1 && digits[cnt - 1] == '0')
		cnt--;
	return cnt;
}

/* Digits and decimal exponent of the shortest round-trip form of |v| > 0. */
static int shortest_digits(double v, char digits[20], int *exp10_r)
{
	char tmp[40];

	for (int prec = 0; prec <= 16; prec++) {
		int n = 0;

		snprintf(tmp, sizeof(tmp), "%.*e", prec, v);
		if (prec < 16 && strtod(tmp, NULL) != v)
			continue;
		for (const char *p = tmp; *p != 'e'; p++)
			if (*p != '.')
				digits[n++] = *p;
		*exp10_r = (int)strtol(strchr(tmp, 'e') + 1, NULL, 10);
		while (n > 1 && digits[n - 1] == '0')
			n--;
		return n;
	}
	return 0;
}

size_t num_print_double(double v, char out[NUM_DOUBLE_MAX])
{
	char digits[20] = {0};
	int n, exp10 = 0, len = 0;

	if (signbit(v)) {
		out[len++] = '-';
		v = -v;
	}
	if (v == 0) {
		memcpy(out + len, "0.0", 4);
		return (size_t)len + 3;
	}
	n = few_digits(v, digits, &exp10);
	if (n == 0)
		n = shortest_digits(v, digits, &exp10);
	if (exp10 < -4 || exp10 >= 16) {
		out[len++] = digits[0];
		if (n > 1) {
			out[len++] = '.';
			memcpy(out + len, digits + 1, (size_t)n - 1);
			len += n - 1;
		}
		return (size_t)len + (size_t)snprintf(out + len,
					     NUM_DOUBLE_MAX - (size_t)len,
					     "e%+03d", exp10);
	}
	if (exp10 < 0) {
		out[len++] = '0';
		out[len++] = '.';
		for (int i = -1; i > exp10; i--)
			out[len++] = '0';
		memcpy(out + len, digits, (size_t)n);
		len += n;
	} else {
		for (int i = 0; i <= exp10; i++)
			out[len++] = i < n ? digits[i] : '0';
		out[len++] = '.';
		if (n <= exp10 + 1)
			out[len++] = '0';
		for (int i = exp10 + 1; i < n; i++)
			out[len++] = digits[i];
	}
	out[len] = '\0';
	return (size_t)len;
}
