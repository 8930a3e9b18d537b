/* stats_rates.c - see stats_rates.h. */
#include "stats/stats_rates.h"

uint64_t stats_requests(const struct metric_totals *t)
{
	uint64_t cnt = 0;

	for (unsigned i = 0; i < SHM_HIGHR_BUCKETS; i++)
		cnt += t->highr[i];
	return cnt;
}

void stats_rates_add(
	struct stats_rates *r, const struct metric_totals *t, uint64_t now_ms)
{
	unsigned i = r->next;

	r->ring[i].at_ms = now_ms;
	r->ring[i].requests = stats_requests(t);
	r->ring[i].awards = t->plain[M_AWARDS];
	r->next = (i + 1) % STATS_RATES_CNT;
	if (r->cnt < STATS_RATES_CNT)
		r->cnt++;
}

void stats_rates_get(const struct stats_rates *r, double *requests_r,
	double *awards_r, double *window_s_r)
{
	unsigned newest = (r->next + STATS_RATES_CNT - 1) % STATS_RATES_CNT;
	unsigned oldest =
		(r->next + STATS_RATES_CNT - r->cnt) % STATS_RATES_CNT;
	double s;

	*requests_r = *awards_r = *window_s_r = 0;
	if (r->cnt < 2)
		return;
	s = (double)(r->ring[newest].at_ms - r->ring[oldest].at_ms) / 1e3;
	if (s <= 0)
		return;
	*window_s_r = s;
	*requests_r =
		(double)(r->ring[newest].requests - r->ring[oldest].requests) /
		s;
	*awards_r =
		(double)(r->ring[newest].awards - r->ring[oldest].awards) / s;
}
