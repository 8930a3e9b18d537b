/*
 * store_user_awards.c - see store_user_awards.h.  A run that was kept has the
 * id of its award (svc_award.c).
 */
#include "store/store_user_awards.h"

#include <inttypes.h>
#include <stdio.h>

#include "db/db_sync.h"
#include "store/store_trace.h"

/* One row with nothing but NULL for a user without awards, none for one that
 * does not exist. */
static const struct db_stmt stmt_awards = {
	.name = "user_awards",
	.sql = "SELECT p.id::text, " STORE_ISO(
		"p.created_at") ", "
				"p.points::text, p.\"caseName\", "
				"g.\"externalGameId\", "
				"t.\"externalTaskId\", p.\"idempotencyKey\", "
				"p.strategy_id, "
				"d.name, p.strategy_version::text, "
				"p.ast_sha256, "
				"EXISTS (SELECT 1 FROM strategyexecutionlog e "
				"WHERE e.id = p.id), p.data::text "
				"FROM users u LEFT JOIN LATERAL (SELECT * FROM "
				"userpoints q "
				"WHERE q.\"userId\" = u.id "
				"AND ($2::timestamptz IS NULL OR q.created_at "
				">= $2) "
				"AND ($3::timestamptz IS NULL OR q.created_at "
				"< $3) "
				"ORDER BY q.created_at DESC, q.id DESC LIMIT "
				"$4) p "
				"ON true "
				"LEFT JOIN tasks t ON t.id = p.\"taskId\" "
				"LEFT JOIN games g ON g.id = t.\"gameId\" "
				"LEFT JOIN strategydefinition d "
				"ON 'custom:' || d.id::text = p.strategy_id "
				"WHERE u.\"externalUserId\" = $1 "
				"ORDER BY p.created_at DESC, p.id DESC",
	.nparams = 4,
	.types = "t??l",
};

static void read_row(
	const struct db_res *res, int row, struct store_user_award *a)
{
	const char **cols[] = {&a->id, &a->at, &a->points, &a->case_name,
		&a->game, &a->task, &a->key, &a->strategy_id, &a->strategy_name,
		&a->version, &a->ast_sha256, &a->is_kept, &a->data};
	struct str s;

	for (size_t i = 0; i < NELEM(cols); i++)
		*cols[i] = db_row_str(res, row, (int)i, &s) ? s.p : NULL;
}

int store_user_awards(struct db_sync *db, const struct store_award_pick *pick,
	store_user_award_cb cb, void *arg, struct err *err_r)
{
	const struct db_res *res;
	struct store_user_award a;
	char limit[24];
	const struct db_param params[] = {{.p = pick->user}, {.p = pick->since},
		{.p = pick->until}, {.p = limit}};
	int n;

	snprintf(limit, sizeof(limit), "%" PRId64, pick->limit);
	if (db_sync_exec(db, &stmt_awards, params, &res, err_r) < 0)
		return -1;
	n = db_res_rows(res);
	for (int i = 0; i < n; i++) {
		read_row(res, i, &a);
		if (a.id != NULL)
			cb(arg, &a);
	}
	db_sync_res_free(&res);
	if (n == 0)
		return err_set(err_r, ERR_NOT_FOUND, "there is no user %s",
			pick->user);
	return 0;
}
