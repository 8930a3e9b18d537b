/*
 * store_points.h - points as the API reads them back, from the maintained
 * aggregates: one query each, cost by users and tasks, not by awards.
 */
#ifndef STORE_STORE_POINTS_H
#define STORE_STORE_POINTS_H

#include "store/store_op.h"

struct store_points {
	struct str task, user; /* external ids; user.p NULL: task unawarded */
	int64_t points, times;
};

/* One row per (task, user), grouped by task; no row: the game has no task. */
void store_points_of_game(
	struct store_op *op, struct db_pool *db, const struct uuid *game_id);
void store_points_row(
	const struct db_res *res, int row, struct store_points *p_r);

/* Always one row at least; see store_user_points_head. */
void store_points_of_user(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_user);
struct store_user_points {
	int64_t tasks_cnt; /* tasks of the game */
	bool user_exists;
};
void store_user_points_head(
	const struct db_res *res, struct store_user_points *h_r);
/* False when the row carries only the head. */
bool store_user_points_row(
	const struct db_res *res, int row, struct store_points *p_r);

#endif
