/* store_authoring.c - see store_authoring.h. Runs in workers. */
#include "store/store_authoring.h"

#include "db/db_row.h"
#include "store/store_ast.h"

#define US(col) "(extract(epoch from " col ") * 1000000)::bigint"

#define COLUMNS(d)                                                             \
	d ".id, " d ".\"realmId\", " d ".name, " d ".description, " d          \
	  ".type, " d ".\"parentStrategyId\", " STORE_AST(                     \
		  d) ", " d ".\"blocklyXml\", " d ".version::bigint, " d       \
		     ".status, " d ".\"createdBy\", " US(d                     \
			     ".created_at") ", " US(d ".updated_at") ", " US(d \
			     ".\"publishedAt\"") ", " d ".\"experimentTag\""

static void get_text(
	const struct db_res *res, int row, int col, struct str *s_r)
{
	if (!db_row_str(res, row, col, s_r))
		*s_r = (struct str){NULL, 0};
}

static void get_time(const struct db_res *res, int row, int col, int64_t *us_r)
{
	if (!db_row_time_us(res, row, col, us_r))
		*us_r = 0;
}

/* The columns of COLUMNS, the first of which is `at`. */
static void get_definition(
	const struct db_res *res, int row, int at, struct store_definition *d_r)
{
	memset(d_r, 0, sizeof(*d_r));
	(void)db_row_uuid(res, row, at, &d_r->id);
	get_text(res, row, at + 1, &d_r->realm);
	get_text(res, row, at + 2, &d_r->name);
	get_text(res, row, at + 3, &d_r->description);
	get_text(res, row, at + 4, &d_r->type);
	get_text(res, row, at + 5, &d_r->parent);
	get_text(res, row, at + 6, &d_r->ast_json);
	get_text(res, row, at + 7, &d_r->blockly);
	(void)db_row_i64(res, row, at + 8, &d_r->version);
	get_text(res, row, at + 9, &d_r->status);
	get_text(res, row, at + 10, &d_r->created_by);
	get_time(res, row, at + 11, &d_r->created_us);
	get_time(res, row, at + 12, &d_r->updated_us);
	get_time(res, row, at + 13, &d_r->published_us);
	get_text(res, row, at + 14, &d_r->experiment_tag);
}

void store_definition_row(
	const struct db_res *res, int row, struct store_definition *d_r)
{
	get_definition(res, row, 0, d_r);
}

static const struct db_stmt definition_create = {.name = "definition_create",
	.nparams = 12,
	.types = "uttttttttttt",
	.sql = "with lock as (select pg_advisory_xact_lock(hashtextextended("
	       "'strategy:' || $2 || ':' || $5, 0))), "
	       "ins as (insert into strategydefinition as d (id, created_at, "
	       "updated_at, \"realmId\", \"apiKey_used\", oauth_user_id, name, "
	       "description, type, \"parentStrategyId\", \"astJson\", "
	       "ast_text, \"blocklyXml\", \"createdBy\", \"experimentTag\", "
	       "version, status) "
	       "select $1, clock_timestamp(), clock_timestamp(), $2, $3, $4, "
	       "$5, $6, $7, $8, $9::jsonb, $9, $10, $11, $12, 1, 'DRAFT' "
	       "from lock where not exists (select 1 from strategydefinition x "
	       "where x.\"realmId\" = $2 and x.name = $5) "
	       "on conflict (\"realmId\", name, version) do nothing "
	       "returning d.*) select " COLUMNS("ins") " from ins"};

/* The parameters of create and import. */
static void bind_new(struct store_op *op, const struct store_definition_new *in)
{
	store_op_uuid(op, &in->id);
	store_op_text(op, in->realm);
	store_op_text(op, in->key_prefix);
	store_op_text(op, in->subject);
	store_op_text(op, in->name);
	store_op_text(op, in->description);
	store_op_text(op, in->type);
	store_op_text(op, in->parent);
	store_op_text(op, in->ast_text);
	store_op_text(op, in->blockly);
	store_op_text(op, in->created_by);
	store_op_text(op, in->experiment_tag);
}

void store_definition_create(struct store_op *op, struct db_pool *db,
	const struct store_definition_new *in)
{
	bind_new(op, in);
	store_op_run(op, db, DB_LANE_WRITE, &definition_create);
}

static const struct db_stmt definition_import = {.name = "definition_import",
	.nparams = 12,
	.types = "uttttttttttt",
	.sql = "select " COLUMNS(
		"d") " from gamed.import_strategy($1, $2, $3, "
		     "$4, $5, $6, $7, $8, $9, $10, $11, $12) d"};

void store_definition_import(struct store_op *op, struct db_pool *db,
	const struct store_definition_new *in)
{
	bind_new(op, in);
	store_op_run(op, db, DB_LANE_WRITE, &definition_import);
}

static const struct db_stmt definition_list = {.name = "definition_list",
	.nparams = 4,
	.types = "tttl",
	.sql = "select " COLUMNS(
		"d") " from strategydefinition d "
		     "where d.\"realmId\" = $1 and ($2 is null or d.status = "
		     "$2) "
		     "and ($3 is null or d.type = $3) "
		     "order by d.name, d.version desc limit $4"};

void store_definition_list(struct store_op *op, struct db_pool *db,
	struct str realm, struct str status, struct str type, int64_t limit,
	store_row_cb row_cb)
{
	store_op_text(op, realm);
	store_op_text(op, status);
	store_op_text(op, type);
	store_op_int(op, limit);
	store_op_stream(op, db, &definition_list, row_cb);
}

static const struct db_stmt definition_get = {.name = "definition_get",
	.nparams = 3,
	.types = "tbu",
	.sql = "select " COLUMNS(
		"d") " from strategydefinition d "
		     "where d.id = $3 and ($2 or d.\"realmId\" = $1)"};

void store_definition_get(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id)
{
	store_op_text(op, realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_run(op, db, DB_LANE_READ, &definition_get);
}

/*
 * gamed.publish_strategy locks the family, archives the published row and
 * publishes the draft in that order, so that the partial unique index on
 * published rows is never in the way.
 */
static const struct db_stmt definition_publish = {.name = "definition_publish",
	.nparams = 3,
	.types = "tbu",
	.sql = "select " COLUMNS(
		"d") " from gamed.publish_strategy($1, $2, $3) d"};

void store_definition_publish(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id)
{
	store_op_text(op, realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_run(op, db, DB_LANE_WRITE, &definition_publish);
}

static const struct db_stmt definition_archive = {.name = "definition_archive",
	.nparams = 3,
	.types = "tbu",
	.sql = "select " COLUMNS(
		"d") " from gamed.archive_strategy($1, $2, $3) d"};

void store_definition_archive(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id)
{
	store_op_text(op, realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_run(op, db, DB_LANE_WRITE, &definition_archive);
}

static const struct db_stmt definition_edit = {.name = "definition_edit",
	.nparams = 15,
	.types = "tbulutttttttttt",
	.sql = "select " COLUMNS("(e.def)") ", e.outcome "
					    "from gamed.edit_strategy($1, $2, "
					    "$3, $4, $5, $6, $7, $8, $9, "
					    "$10, $11, $12, $13, $14, $15) e"};

void store_definition_edit(struct store_op *op, struct db_pool *db,
	bool all_realms, const struct store_definition_edit *in)
{
	store_op_text(op, in->to.realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, &in->id);
	store_op_int(op, in->known_us);
	store_op_uuid(op, &in->to.id);
	store_op_text(op, in->to.name);
	store_op_text(op, in->to.description);
	store_op_text(op, in->to.type);
	store_op_text(op, in->to.parent);
	store_op_text(op, in->to.ast_text);
	store_op_text(op, in->to.blockly);
	store_op_text(op, in->to.experiment_tag);
	store_op_text(op, in->to.created_by);
	store_op_text(op, in->to.key_prefix);
	store_op_text(op, in->to.subject);
	store_op_run(op, db, DB_LANE_WRITE, &definition_edit);
}

enum store_definition_edited store_definition_edited(const struct db_res *res)
{
	struct str outcome = {NULL, 0};

	if (db_res_rows(res) == 0)
		return STORE_DEFINITION_GONE;
	get_text(res, 0, 15, &outcome);
	if (str_is(outcome, "archived"))
		return STORE_DEFINITION_ARCHIVED;
	if (str_is(outcome, "moved"))
		return STORE_DEFINITION_MOVED;
	if (str_is(outcome, "taken"))
		return STORE_DEFINITION_TAKEN;
	return STORE_DEFINITION_EDITED;
}

static const struct db_stmt definition_assignable = {
	.name = "definition_assignable",
	.nparams = 4,
	.types = "ttbu",
	.sql = "select d.status, d.name, d.description, "
	       "d.version::bigint, " STORE_HASH_D
	       ", case when d.ast_text is null then " STORE_AST_D
	       " end from strategydefinition d where d.id = $4 "
	       "and ($3 or d.\"realmId\" = $1 or d.\"realmId\" = $2)"};

void store_definition_assignable(struct store_op *op, struct db_pool *db,
	struct str realm, struct str shared_realm, bool all_realms,
	const struct uuid *id)
{
	store_op_text(op, realm);
	store_op_text(op, shared_realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_run(op, db, DB_LANE_READ, &definition_assignable);
}

void store_assignable_row(
	const struct db_res *res, int row, struct store_assignable *a_r)
{
	get_text(res, row, 0, &a_r->status);
	a_r->ref.found = true;
	get_text(res, row, 1, &a_r->ref.name);
	get_text(res, row, 2, &a_r->ref.description);
	a_r->ref.version = 0;
	(void)db_row_i64(res, row, 3, &a_r->ref.version);
	get_text(res, row, 4, &a_r->ref.hash);
	get_text(res, row, 5, &a_r->ref.program);
}

static const struct db_stmt definition_versions = {
	.name = "definition_versions",
	.nparams = 3,
	.types = "tbu",
	.sql = "select " COLUMNS(
		"d") " from strategydefinition o "
		     "join strategydefinition d on d.\"realmId\" = "
		     "o.\"realmId\" "
		     "and d.name = o.name where o.id = $3 and ($2 or "
		     "o.\"realmId\" = $1) order by d.version desc"};

void store_definition_versions(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id,
	store_row_cb row_cb)
{
	store_op_text(op, realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_stream(op, db, &definition_versions, row_cb);
}

/* Till the end of the transaction; counts from the next statement. */
static const struct db_stmt rollback_timeout = {.name = "rollback_timeout",
	.nparams = 1,
	.types = "l",
	.sql = "select set_config('statement_timeout', $1::text, true)"};

static const struct db_stmt definition_rollback = {
	.name = "definition_rollback",
	.nparams = 4,
	.types = "tbul",
	.sql = "select r.outcome, r.games_moved, r.tasks_moved, " COLUMNS(
		"(r.promoted)") " from gamed.rollback_strategy($1, $2, $3, $4) "
				"r"};

void store_definition_rollback(struct store_rollback_op *r, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id,
	int64_t version, uint32_t timeout_ms)
{
	struct store_op *op = &r->op;

	store_op_int(op, timeout_ms);
	store_op_text(op, realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_int(op, version);
	r->calls[0] = (struct db_call){
		.stmt = &rollback_timeout, .params = op->params};
	r->calls[1] = (struct db_call){.stmt = &definition_rollback,
		.params = op->params + rollback_timeout.nparams};
	/* a little more: the server's answer is the better one */
	op->deadline_ms = timeout_ms + timeout_ms / 10;
	store_op_run_calls(op, db, DB_LANE_LONG, r->calls, NELEM(r->calls));
}

enum store_rollback store_rollback_row(const struct db_reply *rep,
	struct store_definition *d_r, int64_t *games_r, int64_t *tasks_r)
{
	const struct db_res *res = rep->res[1];
	static const char *const words[] = {[STORE_ROLLBACK_DONE] = "done",
		[STORE_ROLLBACK_MISSING] = "missing",
		[STORE_ROLLBACK_PUBLISHED] = "published",
		[STORE_ROLLBACK_NO_PROGRAM] = "no_program"};
	struct str word;

	get_text(res, 0, 0, &word);
	*games_r = *tasks_r = 0;
	(void)db_row_i64(res, 0, 1, games_r);
	(void)db_row_i64(res, 0, 2, tasks_r);
	get_definition(res, 0, 3, d_r);
	for (unsigned i = 0; i < NELEM(words); i++)
		if (str_is(word, words[i]))
			return (enum store_rollback)i;
	return STORE_ROLLBACK_MISSING;
}

static const struct db_stmt definition_usage = {.name = "definition_usage",
	.nparams = 3,
	.types = "tbu",
	.sql = "select d.id, d.name, d.version::bigint, d.status, u.is_task, "
	       "u.id, u.ext, u.game_id, u.game_ext, u.platform "
	       "from strategydefinition d left join lateral ("
	       "select false, g.id, g.\"externalGameId\", g.id, "
	       "g.\"externalGameId\", g.platform from games g "
	       "where g.\"strategyId\" = 'custom:' || d.id "
	       "union all select true, t.id, t.\"externalTaskId\", g.id, "
	       "g.\"externalGameId\", g.platform from tasks t "
	       "join games g on g.id = t.\"gameId\" "
	       "where t.\"strategyId\" = 'custom:' || d.id) "
	       "u (is_task, id, ext, game_id, game_ext, platform) on true "
	       "where d.id = $3 and ($2 or d.\"realmId\" = $1) "
	       "order by u.is_task, u.game_ext, u.ext"};

void store_definition_usage(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id)
{
	store_op_text(op, realm);
	store_op_bool(op, all_realms);
	store_op_uuid(op, id);
	store_op_run(op, db, DB_LANE_READ, &definition_usage);
}

void store_use_row(const struct db_res *res, int row, struct store_use *u_r)
{
	memset(u_r, 0, sizeof(*u_r));
	(void)db_row_uuid(res, row, 0, &u_r->strategy_id);
	get_text(res, row, 1, &u_r->name);
	(void)db_row_i64(res, row, 2, &u_r->version);
	get_text(res, row, 3, &u_r->status);
	u_r->is_none = !db_row_bool(res, row, 4, &u_r->is_task);
	(void)db_row_uuid(res, row, 5, &u_r->id);
	get_text(res, row, 6, &u_r->external_id);
	(void)db_row_uuid(res, row, 7, &u_r->game_id);
	get_text(res, row, 8, &u_r->external_game);
	get_text(res, row, 9, &u_r->platform);
}
