/* store_evidence.c - see store_evidence.h.  Runs in gamectl. */
#include "store/store_evidence.h"

#include "db/db_sync.h"

/* JSON columns arrive as text: read as jsonb they would be JSON strings. */
static const struct db_stmt run_row = {.name = "reinject_run",
	.nparams = 1,
	.types = "t",
	.sql = "INSERT INTO strategyexecutionlog ("
	       "id, created_at, updated_at, \"strategyId\", "
	       "\"strategyVersion\", \"strategyType\", \"realmId\", "
	       "\"externalGameId\", \"externalTaskId\", \"externalUserId\", "
	       "status, \"errorCode\", points, \"caseName\", "
	       "\"durationMs\", \"nodesExecuted\", trace, sampled, "
	       "\"parentStrategyId\", notes, data, fields, weight, "
	       "reason, correlation_id, ast_sha256 "
	       ") SELECT "
	       "id, created_at, updated_at, \"strategyId\", "
	       "\"strategyVersion\", \"strategyType\", \"realmId\", "
	       "\"externalGameId\", \"externalTaskId\", \"externalUserId\", "
	       "status, \"errorCode\", points, \"caseName\", "
	       "\"durationMs\", \"nodesExecuted\", trace::jsonb, sampled, "
	       "\"parentStrategyId\", notes, data::jsonb, "
	       "fields::jsonb, weight, reason, correlation_id, "
	       "ast_sha256 "
	       "FROM jsonb_to_record($1::jsonb) AS r("
	       "id uuid, created_at timestamptz, "
	       "updated_at timestamptz, \"strategyId\" text, "
	       "\"strategyVersion\" int, \"strategyType\" text, "
	       "\"realmId\" text, \"externalGameId\" text, "
	       "\"externalTaskId\" text, \"externalUserId\" text, "
	       "status text, \"errorCode\" text, points numeric, "
	       "\"caseName\" text, \"durationMs\" numeric, "
	       "\"nodesExecuted\" int, trace text, sampled bool, "
	       "\"parentStrategyId\" text, notes text, data text, "
	       "fields text, weight float8, reason text, "
	       "correlation_id text, ast_sha256 text "
	       ") ON CONFLICT DO NOTHING"};

static const struct db_stmt log_row = {.name = "reinject_log",
	.nparams = 1,
	.types = "t",
	.sql = "INSERT INTO logs ("
	       "id, created_at, updated_at, \"apiKey_used\", "
	       "oauth_user_id, log_level, message, module, details "
	       ") SELECT "
	       "id, created_at, updated_at, \"apiKey_used\", "
	       "oauth_user_id, log_level, message, module, "
	       "details::json "
	       "FROM jsonb_to_record($1::jsonb) AS r("
	       "id uuid, created_at timestamptz, "
	       "updated_at timestamptz, \"apiKey_used\" text, "
	       "oauth_user_id text, log_level text, message text, "
	       "module text, details text "
	       ") ON CONFLICT DO NOTHING"};

static const struct db_stmt request_row = {.name = "reinject_request",
	.nparams = 1,
	.types = "t",
	.sql = "INSERT INTO apirequests ("
	       "id, created_at, updated_at, \"apiKey_used\", \"userId\", "
	       "endpoint, \"statusCode\", \"responseTimeMS\", "
	       "\"requestType\", oauth_user_id, duration_ms, weight, "
	       "correlation_id "
	       ") SELECT "
	       "id, created_at, updated_at, \"apiKey_used\", \"userId\", "
	       "endpoint, \"statusCode\", \"responseTimeMS\", "
	       "\"requestType\", oauth_user_id, duration_ms, weight, "
	       "correlation_id "
	       "FROM jsonb_to_record($1::jsonb) AS r("
	       "id uuid, created_at timestamptz, "
	       "updated_at timestamptz, \"apiKey_used\" text, "
	       "\"userId\" uuid, endpoint text, \"statusCode\" int, "
	       "\"responseTimeMS\" int, \"requestType\" text, "
	       "oauth_user_id text, duration_ms float8, weight float8, "
	       "correlation_id text "
	       ") ON CONFLICT DO NOTHING"};

static const struct {
	const char *table;
	const struct db_stmt *stmt;
} inserts[] = {
	{"strategyexecutionlog", &run_row},
	{"logs", &log_row},
	{"apirequests", &request_row},
};

static const struct db_stmt *insert_of(struct str table)
{
	for (size_t i = 0; i < NELEM(inserts); i++)
		if (str_is(table, inserts[i].table))
			return inserts[i].stmt;
	return NULL;
}

int store_evidence_reinject(struct db_sync *db, struct str table,
	const char *row_json, struct err *err_r)
{
	const struct db_param p = {.p = row_json};
	const struct db_stmt *stmt = insert_of(table);
	const struct db_res *res;
	int64_t n;

	if (stmt == NULL)
		return err_set(err_r, ERR_INVALID,
			"no evidence belongs into a table %.*s",
			STR_ARG(table));
	if (db_sync_exec(db, stmt, &p, &res, err_r) < 0)
		return -1;
	n = db_res_affected(res);
	db_sync_res_free(&res);
	return n > 0;
}
