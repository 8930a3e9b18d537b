/*
 * api_figures.h - what is worked out of counts and samples: percentiles and
 * histograms as the reference has them, and how far a figure can be trusted.
 * Every interval is one of 95 %.
 */
#ifndef API_API_FIGURES_H
#define API_API_FIGURES_H

#include "json/json_out.h"
#include "store/store_metrics.h"

struct api_interval {
	double low, high;
};

/* Values of the stored rows, ascending. */
struct api_sample {
	double *v;
	size_t n;
};

/* Interpolated as NumPy does; 0 of none.  p from 0 to 1. */
double api_percentile(const struct api_sample *s, double p);
/* Where the percentile of the population may be; false: cannot be said. */
bool api_percentile_interval(
	const struct api_sample *s, double p, struct api_interval *i_r);
double api_variance(const struct api_sample *s);

/* Arrays of {"label","upperBound","count"}. */
void api_show_durations(struct json_out *o, const struct api_sample *s);
void api_show_points(struct json_out *o, const struct api_sample *s);

/*
 * Runs that so many kept rows stand for; never below the rows themselves.
 * Rows of weight 1 stand for themselves.
 */
struct api_interval api_count_interval(
	double rows, double weight, double weight2);
/* b - a of two shares, k of n each, by Agresti and Caffo. */
struct api_interval api_share_difference(
	double k_a, double n_a, double k_b, double n_b);
/* b - a of two means with the variances of the means. */
struct api_interval api_mean_difference(
	double mean_a, double var_a, double mean_b, double var_b);

#endif
