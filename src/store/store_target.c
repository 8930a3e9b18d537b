/* store_target.c - see store_target.h.  Runs in workers. */
#include "store/store_target.h"

#include "store/store_ast.h"
#include "store/store_award_sql.h"

static const struct db_stmt stmt_target = {
	.name = "target_get",
	.sql = "SELECT g.\"externalGameId\", g.\"apiKey_used\", "
	       "g.oauth_user_id, t.id, t.\"strategyId\" "
	       "FROM public.games g LEFT JOIN public.tasks t "
	       "ON t.\"gameId\" = g.id AND t.\"externalTaskId\" = $2 "
	       /* an adopted database may hold the pair twice */
	       "WHERE g.id = $1 ORDER BY t.created_at LIMIT 1",
	.nparams = 2,
	.types = "ut",
};

static const struct db_stmt stmt_find = {
	.name = "target_find",
	.sql = "SELECT g.id, g.\"apiKey_used\", g.oauth_user_id, t.id "
	       "FROM public.games g LEFT JOIN public.tasks t "
	       "ON t.\"gameId\" = g.id AND t.\"externalTaskId\" = $2 "
	       "WHERE g.\"externalGameId\" = $1 ORDER BY t.created_at LIMIT 1",
	.nparams = 2,
	.types = "tt",
};

static const struct db_stmt stmt_strategy = {
	.name = "strategy_get",
	.sql = "SELECT version, type = 'DSL_EXTEND', \"realmId\", name, "
	       "\"parentStrategyId\", us, us IS NOT DISTINCT FROM $2, "
	       "CASE WHEN us IS DISTINCT FROM $2 THEN " STORE_AST_D " END "
	       "FROM (SELECT *, " SQL_US(
		       "updated_at") " AS us "
				     "FROM public.strategydefinition WHERE id "
				     "= $1) d",
	.nparams = 2,
	.types = "ul",
};

void store_target_get(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task)
{
	store_op_uuid(op, game_id);
	store_op_text(op, external_task);
	store_op_run(op, db, DB_LANE_READ, &stmt_target);
}

static struct str row_str(const struct db_res *res, int col)
{
	struct str s;

	return db_row_str(res, 0, col, &s) ? s : (struct str){NULL, 0};
}

bool store_target_row(const struct db_res *res, struct store_target *t_r)
{
	if (db_res_rows(res) == 0)
		return false;
	t_r->external_game = row_str(res, 0);
	t_r->owner_key = row_str(res, 1);
	t_r->owner_subject = row_str(res, 2);
	t_r->has_task = db_row_uuid(res, 0, 3, &t_r->task_id);
	t_r->strategy_id = row_str(res, 4);
	return true;
}

void store_target_find(struct store_op *op, struct db_pool *db,
	struct str external_game, struct str external_task)
{
	store_op_text(op, external_game);
	store_op_text(op, external_task);
	store_op_run(op, db, DB_LANE_READ, &stmt_find);
}

bool store_target_found(const struct db_res *res, struct uuid *game_id_r,
	struct store_target *t_r)
{
	if (db_res_rows(res) == 0)
		return false;
	memset(t_r, 0, sizeof(*t_r));
	(void)db_row_uuid(res, 0, 0, game_id_r);
	t_r->owner_key = row_str(res, 1);
	t_r->owner_subject = row_str(res, 2);
	t_r->has_task = db_row_uuid(res, 0, 3, &t_r->task_id);
	return true;
}

void store_strategy_get(struct store_op *op, struct db_pool *db,
	const struct uuid *id, int64_t known_updated_us)
{
	store_op_uuid(op, id);
	store_op_int(op, known_updated_us);
	store_op_run(op, db, DB_LANE_READ, &stmt_strategy);
}

bool store_strategy_row(const struct db_res *res, struct store_strategy *s_r)
{
	int64_t version = 1;

	if (db_res_rows(res) == 0)
		return false;
	(void)db_row_i64(res, 0, 0, &version);
	s_r->version = (int32_t)version;
	s_r->is_extend = false;
	(void)db_row_bool(res, 0, 1, &s_r->is_extend);
	s_r->realm = row_str(res, 2);
	s_r->name = row_str(res, 3);
	s_r->parent = row_str(res, 4);
	s_r->updated_us = STORE_STRATEGY_UNKNOWN;
	(void)db_row_i64(res, 0, 5, &s_r->updated_us);
	s_r->is_same = false;
	(void)db_row_bool(res, 0, 6, &s_r->is_same);
	s_r->ast_text = row_str(res, 7);
	return true;
}
