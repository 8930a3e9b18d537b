/*
 * store_dashboard.h - counts of the whole installation by day, week of the
 * month or month, in UTC (observability.md 6.2, 6.3).
 */
#ifndef STORE_STORE_DASHBOARD_H
#define STORE_STORE_DASHBOARD_H

#include "store/store_op.h"

/* What is counted: both bounds are inclusive. */
struct store_window {
	bool has_from, has_until;
	int64_t from_us, until_us;
};

/* group is day, week or month; it must live until the callback ran. */
void store_dashboard_summary(struct store_op *op, struct db_pool *db,
	struct str group, const struct store_window *w);
/* By series, then in the order of time; a count each. */
struct store_bucket {
	struct str series; /* new_users, games_opened, ... */
	struct str label;
	int64_t cnt;
};
void store_bucket_row(
	const struct db_res *res, int row, struct store_bucket *b_r);

void store_dashboard_logs(struct store_op *op, struct db_pool *db,
	struct str group, const struct store_window *w);
/* A bucket with any row of the audit table, in the order of time. */
struct store_log_bucket {
	struct str label;
	int64_t info, success, error;
};
void store_log_bucket_row(
	const struct db_res *res, int row, struct store_log_bucket *b_r);

#endif
