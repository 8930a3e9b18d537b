/*
 * svc_sample.h - which successful runs leave a row, and for how many each of
 * them stands, so that sums over rows estimate sums over runs without bias.
 */
#ifndef SVC_SVC_SAMPLE_H
#define SVC_SVC_SAMPLE_H

#include "base/base.h"

/* rate 0..1 of all successes; draw is uniform in [0, 1). */
static inline bool svc_sample_keeps(double rate, double draw)
{
	return draw < rate;
}

/* Of a row that was kept at this rate: 1 / probability. */
static inline double svc_sample_weight(double rate)
{
	return rate < 1 ? 1 / rate : 1;
}

#endif
