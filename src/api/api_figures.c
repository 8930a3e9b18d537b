/* api_figures.c - see api_figures.h. Runs in workers. */
#include "api/api_figures.h"

#include <math.h>
#include <stdio.h>

#define Z    1.959963984540054 /* of 95 %, two-sided */
#define BINS 10

double api_percentile(const struct api_sample *s, double p)
{
	double k, f;
	size_t i;

	if (s->n == 0)
		return 0;
	k = (double)(s->n - 1) * p;
	f = floor(k);
	i = (size_t)f;
	if (i + 1 >= s->n)
		return s->v[s->n - 1];
	return s->v[i] + (s->v[i + 1] - s->v[i]) * (k - f);
}

/* By the ranks between which a binomial count of smaller values falls. */
bool api_percentile_interval(
	const struct api_sample *s, double p, struct api_interval *i_r)
{
	double n = (double)s->n;
	double half = Z * sqrt(n * p * (1 - p));
	double low = floor(n * p - half), high = ceil(n * p + half) + 1;

	if (low < 1 || high > n)
		return false;
	i_r->low = s->v[(size_t)low - 1];
	i_r->high = s->v[(size_t)high - 1];
	return true;
}

double api_variance(const struct api_sample *s)
{
	double mean = 0, sum = 0;

	if (s->n < 2)
		return 0;
	for (size_t i = 0; i < s->n; i++)
		mean += s->v[i] / (double)s->n;
	for (size_t i = 0; i < s->n; i++)
		sum += (s->v[i] - mean) * (s->v[i] - mean);
	return sum / (double)(s->n - 1);
}

static void show_bin(
	struct json_out *o, const char *label, const double *bound, size_t cnt)
{
	json_out_obj(o);
	json_out_kv_cstr(o, "label", label);
	json_out_key(o, "upperBound");
	if (bound != NULL)
		json_out_float(o, *bound);
	else
		json_out_null(o);
	json_out_kv_int(o, "count", (int64_t)cnt);
	json_out_obj_end(o);
}

void api_show_durations(struct json_out *o, const struct api_sample *s)
{
	static const double edge[] = {
		5, 10, 25, 50, 100, 150, 200, 250, 500, 1000, 2500, 5000};
	char label[32];
	size_t at = 0;

	json_out_arr(o);
	for (size_t i = 0; i < NELEM(edge); i++) {
		size_t from = at;

		while (at < s->n && s->v[at] <= edge[i])
			at++;
		snprintf(label, sizeof(label), "\u2264%gms", edge[i]);
		show_bin(o, label, &edge[i], at - from);
	}
	show_bin(o, ">5000ms", NULL, s->n - at);
	json_out_arr_end(o);
}

void api_show_points(struct json_out *o, const struct api_sample *s)
{
	double min = s->n ? s->v[0] : 0, max = s->n ? s->v[s->n - 1] : 0;
	double width = (max - min) / BINS;
	size_t cnt[BINS] = {0};
	char label[64];

	json_out_arr(o);
	/* a width that vanishes beside its bounds makes no bins */
	if (s->n == 0 || width <= 0) {
		snprintf(label, sizeof(label), "%g", max);
		show_bin(o, label, &max, s->n);
		json_out_arr_end(o);
		return;
	}
	for (size_t i = 0; i < s->n; i++) {
		double bin = floor((s->v[i] - min) / width);

		cnt[bin < BINS - 1 ? (size_t)bin : BINS - 1]++;
	}
	for (size_t i = 0; i < BINS; i++) {
		double upper = min + width * (double)(i + 1);

		snprintf(label, sizeof(label), "%g\u2013%g",
			min + width * (double)i, upper);
		show_bin(o, label, &upper, cnt[i]);
	}
	json_out_arr_end(o);
}

/*
 * The score interval of a Poisson count, as wide as what was not kept: the
 * rows stand for themselves, so the share 1 - 1/w of the variance is left.
 */
struct api_interval api_count_interval(
	double rows, double weight, double weight2)
{
	struct api_interval i = {weight, weight};
	double mean, k, open, half;

	if (rows <= 0 || weight2 <= weight)
		return i;
	mean = weight2 / weight;
	k = weight / mean;
	open = 1 - 1 / mean;
	half = Z * sqrt(k * open + Z * Z / 4 * open * open);
	i.low = fmax(rows, mean * (k + Z * Z / 2 * open - half));
	i.high = mean * (k + Z * Z / 2 * open + half);
	return i;
}

struct api_interval api_mean_difference(
	double mean_a, double var_a, double mean_b, double var_b)
{
	double half = Z * sqrt(var_a + var_b);

	return (struct api_interval){
		mean_b - mean_a - half, mean_b - mean_a + half};
}

struct api_interval api_share_difference(
	double k_a, double n_a, double k_b, double n_b)
{
	double a = (k_a + 1) / (n_a + 2), b = (k_b + 1) / (n_b + 2);

	return api_mean_difference(
		a, a * (1 - a) / (n_a + 2), b, b * (1 - b) / (n_b + 2));
}
