/* store_dashboard.c - see store_dashboard.h. Runs in workers. */
#include "store/store_dashboard.h"

#include "db/db_row.h"

#define AT "(created_at at time zone 'UTC')"

/* Labels of the reference: weeks and months have no year. */
#define LABEL                                                         \
	"case $1 when 'day' then coalesce(to_char(" AT                \
	", 'YYYY-MM-DD \"00:00:00+00:00\"'), 'None') "                \
	"when 'month' then coalesce(to_char(" AT ", 'MM'), 'None') "  \
	"else coalesce('week_' || (extract(day from " AT              \
	")::int + 6) / 7 || '_' || extract(month from " AT ")::int, " \
	"'unknown_week') end"

/* Weeks by month, then by number; what has no date comes last. */
#define IN_ORDER                                                        \
	"case when $1 = 'week' then nullif(split_part(label, '_', 3), " \
	"'')::int else 0 end nulls last, label"

/* Microseconds as they are: a double of seconds would lose the last one. */
#define WHEN(p) "'epoch'::timestamptz + " p " * interval '1 microsecond'"
#define IN_WINDOW                                     \
	"($2::bigint is null or created_at >= " WHEN( \
		"$2") ") and "                        \
		      "($3::bigint is null or created_at <= " WHEN("$3") ")"

#define SERIES(pos, name, table, count)                             \
	"select " pos " as pos, '" name "' as series, " LABEL       \
	" as label, " count " as n from " table " where " IN_WINDOW \
	" group by 3 "

static const struct db_stmt summary = {.name = "dashboard_summary",
	.nparams = 3,
	.types = "tll",
	.sql = "select series, label, n from (" SERIES(
		"1", "new_users", "users", "count(*)") "union all " SERIES("2",
		"games_opened", "games", "count(*)") "union all " SERIES("3",
		"points_earned", "userpoints",
		"coalesce(sum(points), 0)::bigint") "union all " SERIES("4",
		"actions_performed", "useractions",
		"count(*)") ") q order by pos, " IN_ORDER};

static void bind(
	struct store_op *op, struct str group, const struct store_window *w)
{
	store_op_text(op, group);
	if (w->has_from)
		store_op_int(op, w->from_us);
	else
		store_op_null(op);
	if (w->has_until)
		store_op_int(op, w->until_us);
	else
		store_op_null(op);
}

void store_dashboard_summary(struct store_op *op, struct db_pool *db,
	struct str group, const struct store_window *w)
{
	bind(op, group, w);
	store_op_run_long(op, db, &summary);
}

void store_bucket_row(
	const struct db_res *res, int row, struct store_bucket *b_r)
{
	memset(b_r, 0, sizeof(*b_r));
	(void)db_row_str(res, row, 0, &b_r->series);
	(void)db_row_str(res, row, 1, &b_r->label);
	(void)db_row_i64(res, row, 2, &b_r->cnt);
}

static const struct db_stmt logs = {.name = "dashboard_logs",
	.nparams = 3,
	.types = "tll",
	.sql = "select label, info, success, error from (select " LABEL
	       " as label, count(*) filter (where log_level = 'INFO') as info, "
	       "count(*) filter (where log_level = 'SUCCESS') as success, "
	       "count(*) filter (where log_level = 'ERROR') as error "
	       "from logs where " IN_WINDOW
	       " group by 1) q order by " IN_ORDER};

void store_dashboard_logs(struct store_op *op, struct db_pool *db,
	struct str group, const struct store_window *w)
{
	bind(op, group, w);
	store_op_run_long(op, db, &logs);
}

void store_log_bucket_row(
	const struct db_res *res, int row, struct store_log_bucket *b_r)
{
	memset(b_r, 0, sizeof(*b_r));
	(void)db_row_str(res, row, 0, &b_r->label);
	(void)db_row_i64(res, row, 1, &b_r->info);
	(void)db_row_i64(res, row, 2, &b_r->success);
	(void)db_row_i64(res, row, 3, &b_r->error);
}
