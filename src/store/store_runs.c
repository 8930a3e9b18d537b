/* store_runs.c - see store_runs.h.  Runs in workers. */
#include "store/store_runs.h"

#define WHEN(p) "'epoch'::timestamptz + " p " * interval '1 microsecond'"
#define AT_US   "(date_part('epoch', e.created_at) * 1e6)::bigint"
#define STRATEGY                                                      \
	"from strategydefinition d left join lateral (select * from " \
	"strategyexecutionlog l where l.\"strategyId\" = d.id::text "
#define VISIBLE ") e on true where d.id = $1 and ($2 or d.\"realmId\" = $3) "
#define COLUMNS                                                              \
	"e.id, " AT_US ", e.\"strategyId\", e.\"strategyVersion\"::bigint, " \
	"e.\"strategyType\", e.\"externalGameId\", e.\"externalTaskId\", "   \
	"e.\"externalUserId\", e.status, e.\"errorCode\", e.points::text, "  \
	"e.\"caseName\", e.\"durationMs\"::text, "                           \
	"e.\"nodesExecuted\"::bigint, e.reason, e.weight::text, "            \
	"e.correlation_id, e.notes"

static const struct db_stmt list = {.name = "runs_list",
	.nparams = 12,
	.types = "ubtttttlllul",
	.sql = "select " COLUMNS " " STRATEGY
	       "and ($4::text is null or l.status = $4) "
	       "and ($5::text is null or l.\"caseName\" = $5) "
	       "and ($6::text is null or l.\"externalUserId\" = $6) "
	       "and ($7::text is null or l.correlation_id = $7) "
	       "and ($8::bigint is null or l.created_at >= " WHEN(
		       "$8") ") "
			     "and ($9::bigint is null or l.created_at <= " WHEN(
				     "$9") ") "
					   "and ($10::bigint is null or "
					   "(l.created_at, l.id) < "
					   "(" WHEN("$10") ", $11::uuid)) "
							   "order by "
							   "l.created_at desc, "
							   "l.id desc limit "
							   "$12" VISIBLE
							   "order by "
							   "e.created_at desc, "
							   "e.id desc"};

static const struct db_stmt get = {.name = "runs_get",
	.nparams = 4,
	.types = "ubtu",
	.sql = "select " COLUMNS ", e.\"parentStrategyId\", e.ast_sha256, "
	       "e.data::text, e.fields::text, e.trace::text " STRATEGY
	       "and l.id = $4 limit 1" VISIBLE};

static void bind_int(struct store_op *op, bool is_set, int64_t v)
{
	if (is_set)
		store_op_int(op, v);
	else
		store_op_null(op);
}

static void bind_scope(struct store_op *op, const struct uuid *strategy,
	bool all_realms, struct str realm)
{
	store_op_uuid(op, strategy);
	store_op_bool(op, all_realms);
	store_op_text(op, realm);
}

void store_runs_list(struct store_op *op, struct db_pool *db,
	const struct store_runs_filter *f)
{
	bind_scope(op, &f->strategy, f->all_realms, f->realm);
	store_op_text(op, f->status);
	store_op_text(op, f->case_name);
	store_op_text(op, f->user);
	store_op_text(op, f->correlation_id);
	bind_int(op, f->has_since, f->since_us);
	bind_int(op, f->has_until, f->until_us);
	bind_int(op, f->has_after, f->after.created_us);
	if (f->has_after)
		store_op_uuid(op, &f->after.id);
	else
		store_op_null(op);
	store_op_int(op, f->limit + 1);
	store_op_run(op, db, DB_LANE_READ, &list);
}

void store_runs_get(struct store_op *op, struct db_pool *db, struct str realm,
	bool all_realms, const struct uuid *strategy, const struct uuid *run)
{
	bind_scope(op, strategy, all_realms, realm);
	store_op_uuid(op, run);
	store_op_run(op, db, DB_LANE_READ, &get);
}

static struct str text(const struct db_res *res, int row, int col)
{
	struct str s;

	return db_row_str(res, row, col, &s) ? s : (struct str){NULL, 0};
}

bool store_run_row(const struct db_res *res, int row, struct store_run *run_r)
{
	*run_r = (struct store_run){.status = {NULL, 0}};
	if (!db_row_uuid(res, row, 0, &run_r->mark.id))
		return false;
	(void)db_row_i64(res, row, 1, &run_r->mark.created_us);
	run_r->strategy_id = text(res, row, 2);
	(void)db_row_i64(res, row, 3, &run_r->version);
	run_r->type = text(res, row, 4);
	run_r->game = text(res, row, 5);
	run_r->task = text(res, row, 6);
	run_r->user = text(res, row, 7);
	run_r->status = text(res, row, 8);
	run_r->error_code = text(res, row, 9);
	run_r->points = text(res, row, 10);
	run_r->case_name = text(res, row, 11);
	run_r->duration_ms = text(res, row, 12);
	(void)db_row_i64(res, row, 13, &run_r->nodes);
	run_r->reason = text(res, row, 14);
	run_r->weight = text(res, row, 15);
	run_r->correlation_id = text(res, row, 16);
	run_r->notes = text(res, row, 17);
	return true;
}

bool store_run_whole_row(const struct db_res *res, struct store_run *run_r)
{
	if (!store_run_row(res, 0, run_r))
		return false;
	run_r->parent = text(res, 0, 18);
	run_r->ast_sha256 = text(res, 0, 19);
	run_r->data = text(res, 0, 20);
	run_r->fields = text(res, 0, 21);
	run_r->trace = text(res, 0, 22);
	return true;
}
