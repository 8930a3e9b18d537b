/*
 * store_metrics.h - how one strategy version has run in a window of time: from
 * the hourly counters of all runs where they cover it, from the stored rows,
 * each with its weight, elsewhere (observability.md 6.4).
 */
#ifndef STORE_STORE_METRICS_H
#define STORE_STORE_METRICS_H

#include "store/store_dashboard.h"

#define STORE_METRICS_SAMPLE 1000 /* newest rows of which values are read */

/* One op of several statements: the caller keeps it with the op. */
struct store_metrics_op {
	struct store_op op;
	struct db_call calls[4];
};

/* rows_only: as the reference, each stored row counting once. */
void store_strategy_metrics(struct store_metrics_op *op, struct db_pool *db,
	struct str strategy_id, const struct store_window *w, bool rows_only);

/* Result 0: what the counters cover; p NULL or false: nothing. */
struct store_coverage {
	bool is_some;
	int64_t from_us, until_us; /* until is excluded; INT64_MAX: no end */
	int64_t flushed_us;        /* when they were last written; 0: never */
	bool has_gap;              /* some counts in it were lost by a crash */
};
void store_coverage_row(const struct db_res *res, struct store_coverage *c_r);

/*
 * Result 1: sums of a status, then the most frequent error codes and cases.
 * Estimates: the weighted sums of the stored rows outside of the coverage.
 */
enum store_metrics_kind {
	STORE_METRICS_STATUS,
	STORE_METRICS_ERROR,
	STORE_METRICS_CASE
};
struct store_metrics_row {
	enum store_metrics_kind kind;
	struct str name; /* p NULL: null */
	double exact;    /* runs counted */
	double rows;     /* rows stored outside */
	double weight;   /* runs they stand for */
	double weight2;  /* sum of squared weights */
	double duration_sum, duration_max, nodes_sum, nodes_max, points_sum;
	double points_var; /* of the points_sum, from sampling */
};
void store_metrics_row(
	const struct db_res *res, int row, struct store_metrics_row *m_r);

/* Results 2 and 3: durations in ms, points; newest first. */
double store_metrics_value(const struct db_res *res, int row);

#endif
