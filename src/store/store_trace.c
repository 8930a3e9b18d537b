/* store_trace.c - see store_trace.h. */
#include "store/store_trace.h"

#include "db/db_sync.h"
#include "store/store_ast.h"

#define SELECT_RUN                                                           \
	"SELECT e.id::text, " STORE_ISO(                                     \
		"e.created_at") ", e.\"strategyId\", "                       \
				"d.name, e.\"strategyVersion\"::text, "      \
				"e.\"strategyType\", "                       \
				"e.\"realmId\", e.\"externalGameId\", "      \
				"e.\"externalTaskId\", "                     \
				"e.\"externalUserId\", e.status, "           \
				"e.\"errorCode\", e.points::text, "          \
				"e.\"caseName\", e.\"durationMs\"::text, "   \
				"e.\"nodesExecuted\"::text, e.reason, "      \
				"e.weight::text, "                           \
				"e.correlation_id, e.ast_sha256, e.notes, "  \
				"e.trace::text, "                            \
				"e.data::text, e.fields::text, " STORE_AST_D \
				" "                                          \
				"FROM strategyexecutionlog e LEFT JOIN "     \
				"strategydefinition d "                      \
				"ON d.id::text = e.\"strategyId\" "

static const struct db_stmt stmts[] = {
	[STORE_TRACE_BY_ID] = {.name = "trace_by_id",
		.sql = SELECT_RUN "WHERE e.id = $1",
		.nparams = 1,
		.types = "u"},
	[STORE_TRACE_LAST] = {.name = "trace_last",
		.sql = SELECT_RUN "ORDER BY e.created_at DESC, e.id DESC "
				  "LIMIT 1",
		.types = ""},
	[STORE_TRACE_LAST_FAILED] = {.name = "trace_last_failed",
		.sql = SELECT_RUN "WHERE e.status <> 'ok' "
				  "OR e.reason = 'refused' "
				  "ORDER BY e.created_at DESC, e.id DESC "
				  "LIMIT 1",
		.types = ""},
};

static const char *text(const struct db_res *res, int col)
{
	struct str s;

	return db_row_str(res, 0, col, &s) ? s.p : NULL;
}

static void read_row(const struct db_res *res, struct store_trace *t)
{
	const char **cols[] = {&t->id, &t->at, &t->strategy_id,
		&t->strategy_name, &t->version, &t->type, &t->realm, &t->game,
		&t->task, &t->user, &t->status, &t->error_code, &t->points,
		&t->case_name, &t->duration_ms, &t->nodes, &t->reason,
		&t->weight, &t->correlation_id, &t->ast_sha256, &t->notes,
		&t->trace, &t->data, &t->fields, &t->ast};

	for (size_t i = 0; i < NELEM(cols); i++)
		*cols[i] = text(res, (int)i);
}

int store_trace_read(struct db_sync *db, enum store_trace_pick pick,
	const char *id, store_trace_cb cb, void *arg, int *rc_r,
	struct err *err_r)
{
	const struct db_param param = {.p = id};
	const struct db_res *res;
	struct store_trace t;

	if (db_sync_exec(db, &stmts[pick], &param, &res, err_r) < 0)
		return -1;
	if (db_res_rows(res) == 0) {
		db_sync_res_free(&res);
		return err_set(err_r, ERR_NOT_FOUND, "no run%s%s was kept",
			pick == STORE_TRACE_BY_ID         ? " "
			: pick == STORE_TRACE_LAST_FAILED ? " that failed"
							  : "",
			pick == STORE_TRACE_BY_ID ? id : "");
	}
	read_row(res, &t);
	*rc_r = cb(arg, &t);
	db_sync_res_free(&res);
	return 0;
}
