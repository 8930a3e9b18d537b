/* store_catalog.c - see store_catalog.h. Runs in workers. */
#include "store/store_catalog.h"

#include "db/db_row.h"
#include "store/store_ast.h"

#define US(col) "(extract(epoch from " col ") * 1000000)::bigint"

#define GAME_COLUMNS                                                          \
	"g.id, " US("g.created_at") ", " US(                                  \
		"g.updated_at") ", "                                          \
				"g.\"externalGameId\", g.\"strategyId\", "    \
				"g.platform, "                                \
				"g.\"apiKey_used\", g.oauth_user_id, "        \
				"(select "                                    \
				"coalesce(json_agg(json_build_object('key', " \
				"p.key, "                                     \
				"'value', p.value, 'id', p.id) order by "     \
				"p.created_at, p.id), '[]') "                 \
				"from gamesparams p where p.\"gameId\" = "    \
				"g.id)::text"

#define TASK_COLUMNS                                                          \
	"t.id, " US("t.created_at") ", " US(                                  \
		"t.updated_at") ", "                                          \
				"t.\"externalTaskId\", t.\"strategyId\", "    \
				"t.status, "                                  \
				"(select "                                    \
				"coalesce(json_agg(json_build_object('key', " \
				"p.key, "                                     \
				"'value', p.value, 'id', p.id) order by "     \
				"p.created_at, p.id), '[]') "                 \
				"from tasksparams p where p.\"taskId\" = "    \
				"t.id)::text, "                               \
				"d.id is not null, d.name, d.description, "   \
				"d.version::bigint, " STORE_HASH_D

/* Joins the strategy that a task names, when it is a stored one. */
#define TASK_STRATEGY                                       \
	" left join strategydefinition d on d.id = case "   \
	"when t.\"strategyId\" ~ '^custom:[0-9a-f-]{36}$' " \
	"then substr(t.\"strategyId\", 8)::uuid end "

static struct str text_at(const struct db_res *res, int row, int col)
{
	struct str s = {NULL, 0};

	if (!db_row_str(res, row, col, &s))
		s.p = NULL;
	return s;
}

static int64_t time_at(const struct db_res *res, int row, int col)
{
	int64_t us = 0;

	return db_row_time_us(res, row, col, &us) ? us : 0;
}

static void game_columns(
	const struct db_res *res, int row, int col, struct store_game *g)
{
	g->created_us = time_at(res, row, col + 1);
	g->updated_us = time_at(res, row, col + 2);
	g->external_id = text_at(res, row, col + 3);
	g->strategy_id = text_at(res, row, col + 4);
	g->platform = text_at(res, row, col + 5);
	g->owner_key = text_at(res, row, col + 6);
	g->owner_subject = text_at(res, row, col + 7);
	g->params_json = text_at(res, row, col + 8);
}

bool store_game_row(const struct db_res *res, int row, struct store_game *g_r)
{
	if (!db_row_uuid(res, row, 1, &g_r->id))
		return false;
	game_columns(res, row, 1, g_r);
	return true;
}

bool store_task_row(const struct db_res *res, int row, struct store_task *t_r)
{
	if (!db_row_uuid(res, row, 1, &t_r->id))
		return false;
	t_r->created_us = time_at(res, row, 2);
	t_r->updated_us = time_at(res, row, 3);
	t_r->external_id = text_at(res, row, 4);
	t_r->strategy_id = text_at(res, row, 5);
	t_r->status = text_at(res, row, 6);
	t_r->params_json = text_at(res, row, 7);
	t_r->custom = (struct store_strategy_ref){.found = false};
	(void)db_row_bool(res, row, 8, &t_r->custom.found);
	t_r->custom.name = text_at(res, row, 9);
	t_r->custom.description = text_at(res, row, 10);
	(void)db_row_i64(res, row, 11, &t_r->custom.version);
	t_r->custom.hash = text_at(res, row, 12);
	t_r->custom.program = text_at(res, row, 13);
	return true;
}

int64_t store_list_total(const struct db_res *res)
{
	int64_t total = 0;

	if (db_res_rows(res) == 0 || !db_row_i64(res, 0, 0, &total))
		return 0;
	return total;
}

static const struct db_stmt game_create = {.name = "game_create",
	.nparams = 9,
	.types = "utttttTTT",
	.sql = "with ins as (insert into games (id, created_at, updated_at, "
	       "\"externalGameId\", \"strategyId\", platform, "
	       "\"apiKey_used\", oauth_user_id) "
	       "values ($1, clock_timestamp(), clock_timestamp(), $2, $3, $4, "
	       "$5, $6) on conflict (\"externalGameId\") do nothing "
	       "returning id, created_at, updated_at), "
	       "par as (insert into gamesparams (id, created_at, updated_at, "
	       "key, value, \"gameId\", \"apiKey_used\", oauth_user_id) "
	       "select p.id::uuid, clock_timestamp(), clock_timestamp(), "
	       "p.key, p.value, ins.id, $5, $6 from ins, "
	       "unnest($7, $8, $9) as p(id, key, value)) "
	       "select i.id, " US("i.created_at") ", " US(
		       "i.updated_at") ", g.id from (select 1) one "
				       "left join ins i on true "
				       "left join games g on "
				       "g.\"externalGameId\" = $2"};

void store_game_create(struct store_op *op, struct db_pool *db,
	const struct store_game_new *in)
{
	store_op_uuid(op, &in->id);
	store_op_text(op, in->external_id);
	store_op_text(op, in->strategy_id);
	store_op_text(op, in->platform);
	store_op_text(op, in->key_prefix);
	store_op_text(op, in->subject);
	store_op_literal(op, in->params.ids);
	store_op_literal(op, in->params.keys);
	store_op_literal(op, in->params.values);
	store_op_run(op, db, DB_LANE_WRITE, &game_create);
}

enum store_created store_game_created(
	const struct db_res *res, struct store_game *g_r)
{
	if (db_row_uuid(res, 0, 0, &g_r->id)) {
		g_r->created_us = time_at(res, 0, 1);
		g_r->updated_us = time_at(res, 0, 2);
		return STORE_CREATED;
	}
	if (!db_row_uuid(res, 0, 3, &g_r->id))
		memset(&g_r->id, 0, sizeof(g_r->id));
	return STORE_EXISTS;
}

/* The page's order is chosen by number, so that no SQL is put together. */
#define ORDER_BY(n, dir, col) \
	"case when $" n " = '" col "' and " dir " then k.\"" col "\" end"
#define GAME_ORDER(dir, word)                                  \
	ORDER_BY("6", dir, "id")                               \
	word ", " ORDER_BY("6", dir, "created_at") word        \
		", " ORDER_BY("6", dir, "updated_at") word     \
		", " ORDER_BY("6", dir, "externalGameId") word \
		", " ORDER_BY("6", dir, "strategyId") word     \
		", " ORDER_BY("6", dir, "platform") word       \
		", " ORDER_BY("6", dir, "apiKey_used") word    \
		", " ORDER_BY("6", dir, "oauth_user_id") word
#define TASK_ORDER(dir, word)                                  \
	ORDER_BY("2", dir, "id")                               \
	word ", " ORDER_BY("2", dir, "created_at") word        \
		", " ORDER_BY("2", dir, "updated_at") word     \
		", " ORDER_BY("2", dir, "externalTaskId") word \
		", " ORDER_BY("2", dir, "gameId") word         \
		", " ORDER_BY("2", dir, "strategyId") word     \
		", " ORDER_BY("2", dir, "status") word         \
		", " ORDER_BY("2", dir, "apiKey_used") word    \
		", " ORDER_BY("2", dir, "oauth_user_id") word

static const struct db_stmt game_list = {.name = "game_list",
	.nparams = 9,
	.types = "btttttbll",
	.sql = "with k as materialized (select * from games "
	       "where ($1 or \"apiKey_used\" = $2 or oauth_user_id = $3) "
	       "and ($4 = '' or \"externalGameId\" like '%' || $4 || '%') "
	       "and ($5 = '' or platform like '%' || $5 || '%')), "
	       "page as (select k.id, row_number() over (order by " GAME_ORDER(
		       "$7", " desc") ", " GAME_ORDER("not $7",
		       "") ", k.id) as pos from k order by pos offset $8 limit "
			   "$9) "
			   "select (select count(*) from k), " GAME_COLUMNS
			   " from (select 1) one left join page on true "
			   "left join games g on g.id = page.id order by "
			   "page.pos"};

static void bind_page(struct store_op *op, const struct store_page *page)
{
	store_op_text(op, page->order);
	store_op_bool(op, page->descending);
	store_op_int(op, page->size < 0 ? 0 : (page->page - 1) * page->size);
	if (page->size < 0)
		store_op_null(op);
	else
		store_op_int(op, page->size);
}

void store_game_list(struct store_op *op, struct db_pool *db,
	const struct store_scope *scope, struct str like_external,
	struct str like_platform, const struct store_page *page)
{
	store_op_bool(op, scope->all);
	store_op_text(op, scope->key_prefix);
	store_op_text(op, scope->subject);
	store_op_text(op, like_external);
	store_op_text(op, like_platform);
	bind_page(op, page);
	store_op_run(op, db, DB_LANE_READ, &game_list);
}

static const struct db_stmt game_get = {.name = "game_get",
	.nparams = 1,
	.types = "u",
	.sql = "select 1::bigint, " GAME_COLUMNS
	       " from games g where g.id = $1"};

void store_game_get(
	struct store_op *op, struct db_pool *db, const struct uuid *id)
{
	store_op_uuid(op, id);
	store_op_run(op, db, DB_LANE_READ, &game_get);
}

/* As GAME_COLUMNS, for a game whose params are not wanted. */
#define BARE_GAME(g)                                                   \
	g ".id, " US(g ".created_at") ", " US(                         \
		g ".updated_at") ", " g ".\"externalGameId\", " g      \
				 ".\"strategyId\", " g ".platform, " g \
				 ".\"apiKey_used\", " g                \
				 ".oauth_user_id, '[]'::text"

static const struct db_stmt game_edit = {.name = "game_edit",
	.nparams = 7,
	.types = "utttTTT",
	.sql = "with want as (select p.id::uuid as id, p.key, p.value "
	       "from unnest($5, $6, $7) as p(id, key, value)), "
	       "miss as (select 1 from want w where not exists (select 1 from "
	       "gamesparams x where x.id = w.id and x.\"gameId\" = $1)), "
	       "upd as (update games set "
	       "\"externalGameId\" = coalesce($2, \"externalGameId\"), "
	       "\"strategyId\" = coalesce($3, \"strategyId\"), "
	       "platform = coalesce($4, platform), "
	       "updated_at = clock_timestamp() "
	       "where id = $1 and not exists (select 1 from miss) "
	       "returning *), "
	       "par as (update gamesparams p set key = w.key, "
	       "value = w.value, updated_at = clock_timestamp() "
	       "from want w, upd where p.id = w.id and p.\"gameId\" = upd.id) "
	       "select (select count(*) from miss), " BARE_GAME(
		       "upd") " from (select 1) one left join upd on true"};

void store_game_edit(struct store_op *op, struct db_pool *db,
	const struct store_game_edit *in)
{
	store_op_uuid(op, &in->id);
	store_op_text(op, in->external_id);
	store_op_text(op, in->strategy_id);
	store_op_text(op, in->platform);
	store_op_literal(op, in->params.ids);
	store_op_literal(op, in->params.keys);
	store_op_literal(op, in->params.values);
	store_op_run(op, db, DB_LANE_WRITE, &game_edit);
}

enum store_edited store_game_edited(
	const struct db_res *res, struct store_game *g_r)
{
	if (store_game_row(res, 0, g_r))
		return STORE_EDITED;
	return store_list_total(res) > 0 ? STORE_EDIT_NO_PARAM
					 : STORE_EDIT_GONE;
}

static const struct db_stmt game_delete = {.name = "game_delete",
	.nparams = 1,
	.types = "u",
	.sql = "select 1::bigint, " BARE_GAME(
		"g") " from gamed.delete_game($1) g"};

void store_game_delete(
	struct store_op *op, struct db_pool *db, const struct uuid *id)
{
	store_op_uuid(op, id);
	store_op_run_long(op, db, &game_delete);
}

static const struct db_stmt game_named = {.name = "game_named",
	.nparams = 1,
	.types = "t",
	.sql = "select id from games where \"externalGameId\" = $1"};

void store_game_named(
	struct store_op *op, struct db_pool *db, struct str external_id)
{
	store_op_text(op, external_id);
	store_op_run(op, db, DB_LANE_READ, &game_named);
}

static const struct db_stmt task_named = {.name = "task_named",
	.nparams = 2,
	.types = "ut",
	.sql = "select id from tasks where \"gameId\" = $1 "
	       "and \"externalTaskId\" = $2"};

void store_task_named(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_id)
{
	store_op_uuid(op, game_id);
	store_op_text(op, external_id);
	store_op_run(op, db, DB_LANE_READ, &task_named);
}

static const struct db_stmt task_create = {.name = "task_create",
	.nparams = 9,
	.types = "uutttTTTt",
	.sql = "with ins as (insert into tasks (id, created_at, updated_at, "
	       "\"externalTaskId\", \"gameId\", \"strategyId\", status, "
	       "\"apiKey_used\") values ($1, clock_timestamp(), "
	       "clock_timestamp(), $3, $2, $4, 'open', $5) "
	       "on conflict (\"gameId\", \"externalTaskId\") do nothing "
	       "returning id, created_at, updated_at), "
	       "par as (insert into tasksparams (id, created_at, updated_at, "
	       "key, value, \"taskId\", \"apiKey_used\", oauth_user_id) "
	       "select p.id::uuid, clock_timestamp(), clock_timestamp(), "
	       "p.key, p.value, ins.id, $5, $9 from ins, "
	       "unnest($6, $7, $8) as p(id, key, value)) "
	       "select 1::bigint, id, " US("created_at") ", " US(
		       "updated_at") ", $3::text, $4::text, 'open'::text, "
				     "'[]'::text, false, "
				     "null::text, null::text, null::bigint, "
				     "null::text, null::text from ins"};

void store_task_create(struct store_op *op, struct db_pool *db,
	const struct store_task_new *in)
{
	store_op_uuid(op, &in->id);
	store_op_uuid(op, &in->game_id);
	store_op_text(op, in->external_id);
	store_op_text(op, in->strategy_id);
	store_op_text(op, in->key_prefix);
	store_op_literal(op, in->params.ids);
	store_op_literal(op, in->params.keys);
	store_op_literal(op, in->params.values);
	store_op_text(op, in->subject);
	store_op_run(op, db, DB_LANE_WRITE, &task_create);
}

static const struct db_stmt task_list = {.name = "task_list",
	.nparams = 5,
	.types = "utbll",
	.sql = "with k as materialized (select * from tasks "
	       "where \"gameId\" = $1), "
	       "page as (select k.id, row_number() over (order by " TASK_ORDER(
		       "$3", " desc") ", " TASK_ORDER("not $3",
		       "") ", k.id) as pos from k order by pos offset $4 limit "
			   "$5) "
			   "select (select count(*) from k), " TASK_COLUMNS
			   ", case when d.ast_text is null and row_number() "
			   "over (partition by d.id order by page.pos) = 1 "
			   "then " STORE_AST_D " end from (select 1) one "
			   "left join page on true "
			   "left join tasks t on t.id = page.id" TASK_STRATEGY
			   "order by page.pos"};

void store_task_list(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, const struct store_page *page)
{
	store_op_uuid(op, game_id);
	bind_page(op, page);
	store_op_run(op, db, DB_LANE_READ, &task_list);
}

static const struct db_stmt task_get = {.name = "task_get",
	.nparams = 2,
	.types = "uu",
	.sql = "select 1::bigint, " TASK_COLUMNS ", null::text "
	       "from tasks t" TASK_STRATEGY
	       "where t.id = $2 and t.\"gameId\" = $1"};

void store_task_get(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, const struct uuid *task_id)
{
	store_op_uuid(op, game_id);
	store_op_uuid(op, task_id);
	store_op_run(op, db, DB_LANE_READ, &task_get);
}

/*
 * The wanted params are matched by id: a row of this task with that id is
 * updated, others are inserted, and what is not wanted goes.  A known id of
 * another task is not touched: it counts as unknown and gets a new id, and so
 * does an id that is sent once more.
 */
static const struct db_stmt task_edit = {.name = "task_edit",
	.nparams = 10,
	.types = "uuttbttTTT",
	.sql = "with upd as (update tasks set "
	       "\"strategyId\" = coalesce($3, \"strategyId\"), "
	       "status = coalesce($4, status), updated_at = clock_timestamp() "
	       "where id = $2 and \"gameId\" = $1 "
	       "returning id, created_at, updated_at, \"externalTaskId\", "
	       "\"strategyId\", status), "
	       "want as materialized (select case when row_number() over "
	       "(partition by p.id order by p.pos) = 1 then p.id::uuid "
	       "else gen_random_uuid() end as id, p.key, p.value, p.pos "
	       "from unnest($8, $9, $10) with ordinality "
	       "as p(id, key, value, pos) where $5), "
	       "gone as (delete from tasksparams p using upd where $5 "
	       "and p.\"taskId\" = upd.id "
	       "and p.id not in (select id from want)), "
	       "kept as (update tasksparams p set key = w.key, "
	       "value = w.value, updated_at = clock_timestamp() "
	       "from want w, upd where p.id = w.id and p.\"taskId\" = upd.id "
	       "returning p.id), "
	       "made as (insert into tasksparams (id, created_at, updated_at, "
	       "key, value, \"taskId\", \"apiKey_used\", oauth_user_id) "
	       "select case when exists (select 1 from tasksparams x "
	       "where x.id = w.id) then gen_random_uuid() else w.id end, "
	       "clock_timestamp(), clock_timestamp(), w.key, w.value, upd.id, "
	       "$6, $7 from want w, upd where not exists (select 1 from "
	       "tasksparams p where p.id = w.id and p.\"taskId\" = upd.id) "
	       "order by w.pos) "
	       "select 1::bigint, id, " US("created_at") ", " US(
		       "updated_at") ", \"externalTaskId\", \"strategyId\", "
				     "status, '[]'::text, "
				     "false, null::text, null::text, "
				     "null::bigint, null::text, null::text "
				     "from upd"};

void store_task_edit(struct store_op *op, struct db_pool *db,
	const struct store_task_edit *in)
{
	store_op_uuid(op, &in->game_id);
	store_op_uuid(op, &in->task_id);
	store_op_text(op, in->strategy_id);
	store_op_text(op, in->status);
	store_op_bool(op, in->with_params);
	store_op_text(op, in->key_prefix);
	store_op_text(op, in->subject);
	store_op_literal(op, in->params.ids);
	store_op_literal(op, in->params.keys);
	store_op_literal(op, in->params.values);
	store_op_run(op, db, DB_LANE_WRITE, &task_edit);
}
