/* store_program.c - see store_program.h. */
#include "store/store_program.h"

#include "db/db_sync.h"
#include "store/store_ast.h"

#define COLUMNS                                                          \
	"select d.id::text, d.name, d.version::text, d.status, d.type, " \
	"d.\"parentStrategyId\", " STORE_AST_D " from "

static const struct db_stmt stmt_read = {.name = "program_read",
	.sql = COLUMNS "strategydefinition d where d.id = $1",
	.nparams = 1,
	.types = "u"};
static const struct db_stmt stmt_publish = {.name = "program_publish",
	.sql = COLUMNS "gamed.publish_strategy('', true, $1) d",
	.nparams = 1,
	.types = "u"};

static const char *text(const struct db_res *res, int col)
{
	struct str s;

	return db_row_str(res, 0, col, &s) ? s.p : NULL;
}

static int run(struct db_sync *db, const struct db_stmt *stmt, const char *id,
	store_program_cb cb, void *arg, int *rc_r, struct err *err_r)
{
	const struct db_param param = {.p = id};
	const struct db_res *res;
	struct store_program p;

	if (db_sync_exec(db, stmt, &param, &res, err_r) < 0)
		return -1;
	if (db_res_rows(res) == 0) {
		db_sync_res_free(&res);
		return err_set(
			err_r, ERR_NOT_FOUND, "strategy %s does not exist", id);
	}
	p = (struct store_program){text(res, 0), text(res, 1), text(res, 2),
		text(res, 3), text(res, 4), text(res, 5), text(res, 6)};
	*rc_r = cb(arg, &p);
	db_sync_res_free(&res);
	return 0;
}

int store_program_read(struct db_sync *db, const char *id, store_program_cb cb,
	void *arg, int *rc_r, struct err *err_r)
{
	return run(db, &stmt_read, id, cb, arg, rc_r, err_r);
}

int store_program_publish(struct db_sync *db, const char *id,
	store_program_cb cb, void *arg, int *rc_r, struct err *err_r)
{
	return run(db, &stmt_publish, id, cb, arg, rc_r, err_r);
}
