/* store_points.c - see store_points.h. Runs in workers. */
#include "store/store_points.h"

#include "db/db_row.h"

static const struct db_stmt points_of_game = {.name = "points_of_game",
	.nparams = 1,
	.types = "u",
	.sql = "select t.\"externalTaskId\", s.\"externalUserId\", "
	       "a.points_sum, a.n from tasks t "
	       "left join gamed.agg_user_task a on a.task_id = t.id and a.n > "
	       "0 "
	       "left join users s on s.id = a.user_id "
	       "where t.\"gameId\" = $1 "
	       "order by t.created_at, t.id, s.\"externalUserId\""};

void store_points_of_game(
	struct store_op *op, struct db_pool *db, const struct uuid *game_id)
{
	store_op_uuid(op, game_id);
	store_op_run(op, db, DB_LANE_READ, &points_of_game);
}

static void read_row(
	const struct db_res *res, int row, int col, struct store_points *p)
{
	p->task = (struct str){NULL, 0};
	p->user = (struct str){NULL, 0};
	p->points = 0;
	p->times = 0;
	(void)db_row_str(res, row, col, &p->task);
	if (!db_row_str(res, row, col + 1, &p->user))
		return;
	(void)db_row_i64(res, row, col + 2, &p->points);
	(void)db_row_i64(res, row, col + 3, &p->times);
}

void store_points_row(
	const struct db_res *res, int row, struct store_points *p_r)
{
	read_row(res, row, 0, p_r);
}

static const struct db_stmt points_of_user = {.name = "points_of_user",
	.nparams = 2,
	.types = "ut",
	.sql = "select (select count(*) from tasks where \"gameId\" = $1), "
	       "u.id is not null, p.task, $2::text, p.points_sum, p.n "
	       "from (select 1) one "
	       "left join users u on u.\"externalUserId\" = $2 "
	       "left join lateral (select t.\"externalTaskId\" as task, "
	       "a.points_sum, a.n, t.created_at, t.id "
	       "from tasks t join gamed.agg_user_task a on a.task_id = t.id "
	       "and a.user_id = u.id and a.n > 0 "
	       "where t.\"gameId\" = $1) p on true "
	       "order by p.created_at, p.id"};

void store_points_of_user(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_user)
{
	store_op_uuid(op, game_id);
	store_op_text(op, external_user);
	store_op_run(op, db, DB_LANE_READ, &points_of_user);
}

void store_user_points_head(
	const struct db_res *res, struct store_user_points *h_r)
{
	h_r->tasks_cnt = 0;
	h_r->user_exists = false;
	(void)db_row_i64(res, 0, 0, &h_r->tasks_cnt);
	(void)db_row_bool(res, 0, 1, &h_r->user_exists);
}

bool store_user_points_row(
	const struct db_res *res, int row, struct store_points *p_r)
{
	read_row(res, row, 2, p_r);
	return p_r->task.p != NULL;
}
