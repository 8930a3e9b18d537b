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

void store_points_of_game(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, store_row_cb row_cb)
{
	store_op_uuid(op, game_id);
	store_op_stream(op, db, &points_of_game, row_cb);
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
	       "u.id, p.task, $2::text, p.points_sum, p.n "
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
	(void)db_row_i64(res, 0, 0, &h_r->tasks_cnt);
	h_r->user_exists = db_row_uuid(res, 0, 1, &h_r->user);
}

bool store_user_points_row(
	const struct db_res *res, int row, struct store_points *p_r)
{
	read_row(res, row, 2, p_r);
	return p_r->task.p != NULL;
}

static const struct db_stmt points_of_task = {.name = "points_of_task",
	.nparams = 2,
	.types = "ut",
	.sql = "select t.\"externalTaskId\", s.\"externalUserId\", "
	       "a.points_sum, a.n from tasks t "
	       "left join gamed.agg_user_task a on a.task_id = t.id and a.n > "
	       "0 "
	       "left join users s on s.id = a.user_id "
	       "where t.\"gameId\" = $1 and t.\"externalTaskId\" = $2 "
	       "order by s.\"externalUserId\""};

void store_points_of_task(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task,
	store_row_cb row_cb)
{
	store_op_uuid(op, game_id);
	store_op_text(op, external_task);
	store_op_stream(op, db, &points_of_task, row_cb);
}

static const struct db_stmt points_of_task_user = {
	.name = "points_of_task_user",
	.nparams = 3,
	.types = "utt",
	.sql = "select t.\"externalTaskId\", p.\"externalUserId\", "
	       "p.points_sum, p.n, p.id from tasks t "
	       "left join (select u.\"externalUserId\", u.id, a.task_id, "
	       "a.points_sum, a.n from users u "
	       "join gamed.agg_user_task a on a.user_id = u.id and a.n > 0 "
	       "where u.\"externalUserId\" = $3) p on p.task_id = t.id "
	       "where t.\"gameId\" = $1 and t.\"externalTaskId\" = $2"};

void store_points_of_task_user(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task,
	struct str external_user)
{
	store_op_uuid(op, game_id);
	store_op_text(op, external_task);
	store_op_text(op, external_user);
	store_op_run(op, db, DB_LANE_READ, &points_of_task_user);
}

bool store_task_user(const struct db_res *res, struct uuid *user_r)
{
	return db_row_uuid(res, 0, 4, user_r);
}

/*
 * The groups are put in order and their awards looked up one group after the
 * other, by index: OFFSET 0 keeps it so.  That starts at once and holds no
 * award, where a sort would read all of them first.
 */
#define AWARDS_OF(columns, tasks)                                           \
	"select k.task, k.\"user\", k.points_sum, k.n, p.id is not null, "  \
	"p.points::bigint, p.\"caseName\", "                                \
	"to_json(p.created_at)::text" columns                               \
	" from (select t.id as task_id, t.\"externalTaskId\" as "           \
	"task, s.\"externalUserId\" as \"user\", a.user_id, "               \
	"a.points_sum, a.n from tasks t "                                   \
	"left join gamed.agg_user_task a on a.task_id = t.id and a.n > 0 "  \
	"left join users s on s.id = a.user_id where " tasks                \
	" order by t.created_at, t.id, s.\"externalUserId\", a.user_id) k " \
	"left join lateral (select x.id, x.points, x.\"caseName\", "        \
	"x.created_at, x.data, x.description from userpoints x "            \
	"where x.\"taskId\" = k.task_id and x.\"userId\" = k.user_id "      \
	"order by x.created_at offset 0) p on true"

static const struct db_stmt awards_of_game = {.name = "awards_of_game",
	.nparams = 1,
	.types = "u",
	.sql = AWARDS_OF(", null::text, null::text", "t.\"gameId\" = $1")};

void store_awards_of_game(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, store_row_cb row_cb)
{
	store_op_uuid(op, game_id);
	store_op_stream(op, db, &awards_of_game, row_cb);
}

static const struct db_stmt awards_of_task = {.name = "awards_of_task",
	.nparams = 2,
	.types = "ut",
	.sql = AWARDS_OF(", p.data::text, p.description",
		"t.\"gameId\" = $1 and t.\"externalTaskId\" = $2")};

void store_awards_of_task(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task,
	store_row_cb row_cb)
{
	store_op_uuid(op, game_id);
	store_op_text(op, external_task);
	store_op_stream(op, db, &awards_of_task, row_cb);
}

static struct str text_at(const struct db_res *res, int col)
{
	struct str s;

	return db_row_str(res, 0, col, &s) ? s : (struct str){NULL, 0};
}

void store_award_row(const struct db_res *row, struct store_award_row *a_r)
{
	read_row(row, 0, 0, &a_r->group);
	a_r->has_award = false;
	(void)db_row_bool(row, 0, 4, &a_r->has_award);
	a_r->has_points = db_row_i64(row, 0, 5, &a_r->points);
	a_r->case_name = text_at(row, 6);
	a_r->created_json = text_at(row, 7);
	a_r->data = text_at(row, 8);
	a_r->description = text_at(row, 9);
}
