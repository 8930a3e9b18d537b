/*
 * store_runs.h - kept runs of one custom strategy, for the API.  Whoever sees
 * the strategy sees its runs, whichever game they scored.
 */
#ifndef STORE_STORE_RUNS_H
#define STORE_STORE_RUNS_H

#include "store/store_op.h"

#define STORE_RUNS_MAX 200 /* rows of one page */

/* Place of a run in the order of the listing: newest first. */
struct store_runs_mark {
	int64_t created_us;
	struct uuid id;
};

/* Texts with p NULL, and has_... false: any. */
struct store_runs_filter {
	struct str realm;
	bool all_realms;
	struct uuid strategy;
	struct str status, case_name, user, correlation_id;
	bool has_since, has_until; /* both bounds are inclusive */
	int64_t since_us, until_us;
	bool has_after; /* those behind the mark only */
	struct store_runs_mark after;
	int64_t limit; /* and one more, which shows that there is more */
};

/* What f points to must live until the callback ran.  No row: the strategy
 * does not exist or is not visible. */
void store_runs_list(struct store_op *op, struct db_pool *db,
	const struct store_runs_filter *f);
/* The same of one run; no row as well when it is none of the strategy's. */
void store_runs_get(struct store_op *op, struct db_pool *db, struct str realm,
	bool all_realms, const struct uuid *strategy, const struct uuid *run);

/* Texts live as long as the result; p NULL: SQL NULL. */
struct store_run {
	struct store_runs_mark mark;
	struct str strategy_id;
	int64_t version;
	struct str type, game, task, user;
	struct str status, error_code;
	struct str points; /* a JSON number */
	struct str case_name;
	struct str duration_ms; /* a JSON number */
	int64_t nodes;
	struct str reason;
	struct str weight; /* a JSON number; NULL: the reference's row */
	struct str correlation_id, notes;
	/* of store_run_whole_row only; the last three are JSON */
	struct str parent, ast_sha256, data, fields, trace;
};

/* A row of store_runs_list.  False: the strategy has no such run. */
bool store_run_row(const struct db_res *res, int row, struct store_run *run_r);
/* The row of store_runs_get. */
bool store_run_whole_row(const struct db_res *res, struct store_run *run_r);

#endif
