/*
 * store_points.h - points as the API reads them back, from the maintained
 * aggregates: one query each, cost by users and tasks, not by awards; and the
 * listings of every award.  What grows with the users is streamed.
 */
#ifndef STORE_STORE_POINTS_H
#define STORE_STORE_POINTS_H

#include "store/store_op.h"

struct store_points {
	struct str task, user; /* external ids; user.p NULL: task unawarded */
	int64_t points, times;
};

/* Rows one by one, one per (task, user), grouped by task; no row: the game has
 * no task. */
void store_points_of_game(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, store_row_cb row_cb);
void store_points_row(
	const struct db_res *res, int row, struct store_points *p_r);

/* Always one row at least; see store_user_points_head. */
void store_points_of_user(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_user);
struct store_user_points {
	int64_t tasks_cnt; /* tasks of the game */
	bool user_exists;
	struct uuid user;
};
void store_user_points_head(
	const struct db_res *res, struct store_user_points *h_r);
/* False when the row carries only the head. */
bool store_user_points_row(
	const struct db_res *res, int row, struct store_points *p_r);

/* As store_points_of_game with one task; no row: no such task. */
void store_points_of_task(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task,
	store_row_cb row_cb);
/* One row, whose user is missing when there is no award; no row: no task. */
void store_points_of_task_user(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task,
	struct str external_user);
/* Id of that user; false: there is no award. */
bool store_task_user(const struct db_res *res, struct uuid *user_r);

/* One award in a listing of all of them, with the sums of its group. */
struct store_award_row {
	struct store_points group;
	bool has_award; /* false: group.user has none, or is missing */
	bool has_points;
	int64_t points;
	struct str case_name, data, description; /* p NULL: null */
	struct str created_json; /* as Postgres' JSON conversion prints it */
};
/*
 * Rows one by one, grouped by (task, user); a task without awards has one row
 * without user.  No row: the game has no task, or there is no such task.
 */
void store_awards_of_game(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, store_row_cb row_cb);
void store_awards_of_task(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task,
	store_row_cb row_cb);
void store_award_row(const struct db_res *row, struct store_award_row *a_r);

#endif
