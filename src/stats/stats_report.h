/*
 * stats_report.h - the answers of the admin socket: one command, JSON lines.
 *
 *	status	lines of kind server, process, rates, queues, evidence
 *	top	those and, with counters that only grow, lines of kind strategy
 *		(each stored version that has had runs) and pipeline
 *	ledger	one line a class: produced = stored + spooled + queued +
 *		dropped, and the drops by reason
 *	metrics	the exposition as GET /metrics gives it
 */
#ifndef STATS_STATS_REPORT_H
#define STATS_STATS_REPORT_H

#include "base/str.h"
#include "stats/stats_rates.h"

struct stats_report {
	const struct metric_totals *totals; /* read just now */
	const struct stats_rates *rates;
	bool has_db; /* notices of changed objects are heard */
};

/* -1: there is no such command; out holds an error line then. */
int stats_report(struct buf *out, struct str command,
	const struct stats_report *r) MUST_CHECK;

#endif
