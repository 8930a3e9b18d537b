/* store_authoring.c - see store_authoring.h. Runs in workers. */
#include "store/store_authoring.h"

#include "db/db_row.h"

#define US(col) "(extract(epoch from " col ") * 1000000)::bigint"

/* The canonical text keeps number kinds that jsonb loses (dsl.md 20). */
#define COLUMNS(d)                                                            \
	d ".id, " d ".\"realmId\", " d ".name, " d ".description, " d         \
	  ".type, " d ".\"parentStrategyId\", "                               \
	  "coalesce(" d ".ast_text, nullif(" d ".\"astJson\", 'null')::text)" \
	  ", " d ".\"blocklyXml\", " d ".version::bigint, " d ".status, " d   \
	  ".\"createdBy\", " US(d ".created_at") ", " US(                     \
		  d ".updated_at") ", " US(d                                  \
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

void store_definition_row(
	const struct db_res *res, int row, struct store_definition *d_r)
{
	memset(d_r, 0, sizeof(*d_r));
	(void)db_row_uuid(res, row, 0, &d_r->id);
	get_text(res, row, 1, &d_r->realm);
	get_text(res, row, 2, &d_r->name);
	get_text(res, row, 3, &d_r->description);
	get_text(res, row, 4, &d_r->type);
	get_text(res, row, 5, &d_r->parent);
	get_text(res, row, 6, &d_r->ast_json);
	get_text(res, row, 7, &d_r->blockly);
	(void)db_row_i64(res, row, 8, &d_r->version);
	get_text(res, row, 9, &d_r->status);
	get_text(res, row, 10, &d_r->created_by);
	get_time(res, row, 11, &d_r->created_us);
	get_time(res, row, 12, &d_r->updated_us);
	get_time(res, row, 13, &d_r->published_us);
	get_text(res, row, 14, &d_r->experiment_tag);
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

void store_definition_create(struct store_op *op, struct db_pool *db,
	const struct store_definition_new *in)
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
	store_op_run(op, db, DB_LANE_WRITE, &definition_create);
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
	struct str realm, struct str status, struct str type, int64_t limit)
{
	store_op_text(op, realm);
	store_op_text(op, status);
	store_op_text(op, type);
	store_op_int(op, limit);
	store_op_run(op, db, DB_LANE_READ, &definition_list);
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
	.sql = "select d.status, d.name, d.description, d.version::bigint, "
	       "encode(sha256(convert_to(coalesce(d.ast_text, '{}'), 'UTF8')), "
	       "'hex') from strategydefinition d where d.id = $4 "
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
}
