/* store_metrics.c - see store_metrics.h. Runs in workers. */
#include "store/store_metrics.h"

#include "db/db_row.h"

#define WHEN(p) "('epoch'::timestamptz + " p " * interval '1 microsecond')"
#define US(t)   "(extract(epoch from " t ") * 1000000)::bigint"

/*
 * The whole hours inside the window since the first server with counters
 * started.  Its first hour counts from the start, not from the full hour.
 */
#define COVERAGE                                                               \
	"select lo, hi from (select case when $2::bigint is null or "          \
	"f.boot >= " WHEN("$2") " then f.boot else date_trunc('hour', " WHEN(  \
		"$2") " + interval '3599.999999 seconds') end as lo, "         \
		      "case when $3::bigint is null or " WHEN(                 \
			      "$3") " >= now() "                               \
				    "then 'infinity' else "                    \
				    "date_trunc('hour', " WHEN(                \
					    "$3") " + interval '1 "            \
						  "microsecond') end as hi "   \
						  "from (select " WHEN(        \
							  "min(boot)") " as "  \
								       "boot " \
								       "from " \
								       "gamed" \
								       ".stra" \
								       "tegy_" \
								       "hour)" \
								       " f "   \
								       "where" \
								       " f."   \
								       "boot " \
								       "is "   \
								       "not "  \
								       "null " \
								       "and "  \
								       "not "  \
								       "$4::"  \
								       "boole" \
								       "an) "  \
								       "q "    \
								       "where" \
								       " lo "  \
								       "< hi"

#define LO      US("lo")
#define HI      US("hi")
#define FLUSHED US("(" LAST_FLUSH ")")
#define LAST_FLUSH                                    \
	"select max(last_done) from gamed.job_state " \
	"where job like 'strategy_hour:%'"

static const struct db_stmt coverage = {.name = "metrics_coverage",
	.nparams = 4,
	.types = "tllb",
	.sql = "select " LO ", case when hi < 'infinity' then " HI
	       " end, " FLUSHED ", exists (select 1 from gamed.strategy_gap l "
	       "where l.to_at > lo and l.from_at < hi) "
	       "from (" COVERAGE ") c where $1::text is not null"};

/* What is no number, or none of a double, counts as nothing. */
#define NUMBER(c) "case when abs(" c ") < 1e300 then " c " end::float8"

#define IN_WINDOW(t)                \
	"($2::bigint is null or " t \
	" >= " WHEN("$2") ") and "  \
			  "($3::bigint is null or " t " <= " WHEN("$3") ")"

#define ROW_MS     NUMBER("\"durationMs\"")
#define ROW_POINTS NUMBER("points")
#define ROW_IN     IN_WINDOW("created_at")
/*
 * Where no counters are, and where they lost some runs.  A row does not say
 * whose it is: where another server counted in the same hour it may be one
 * that is counted, and is left out.
 */
#define ROW_UNCOUNTED                                             \
	"(not exists (select 1 from c where created_at >= c.lo "  \
	"and created_at < c.hi) or exists (select 1 from "        \
	"gamed.strategy_gap l where created_at >= l.from_at "     \
	"and created_at < l.to_at and not exists (select 1 from " \
	"gamed.strategy_hour o where o.strategy_id = $1 "         \
	"and o.hour = date_trunc('hour', created_at) "            \
	"and o.server <> l.server)))"

/* The counters know nulls from empty texts by a column or by their place. */
#define GROUPS                                                               \
	"with c as materialized (" COVERAGE "), g as materialized ("         \
	"select h.status, nullif(h.error_code, '') as code, "                \
	"case when not h.case_is_null then h.case_name end as cas, "         \
	"sum(h.runs)::float8 as exact, 0::float8 as rows, 0::float8 as w, "  \
	"0::float8 as w2, sum(h.duration_ms_sum) as dur, "                   \
	"max(h.duration_ms_max) as dur_max, sum(h.nodes_sum)::float8 as "    \
	"nodes, max(h.nodes_max)::float8 as nodes_max, "                     \
	"sum(h.points_sum) as pts, 0::float8 as pts_var "                    \
	"from gamed.strategy_hour h, c where h.strategy_id = $1 "            \
	"and h.hour >= date_trunc('hour', c.lo) and h.hour < c.hi "          \
	"group by 1, 2, 3 union all "                                        \
	"select status, \"errorCode\", \"caseName\", 0, count(*), sum(w), "  \
	"sum(w * w), sum(w * dur), max(dur), sum(w * nodes), max(nodes), "   \
	"coalesce(sum(w * pts), 0), "                                        \
	"coalesce(sum(w * (w - 1) * pts * pts), 0) from ("                   \
	"select status, \"errorCode\", \"caseName\", "                       \
	"case when $4 then 1 else greatest(coalesce(weight, 1), 1) end "     \
	"as w, " ROW_MS " as dur, \"nodesExecuted\"::float8 as nodes, "      \
	"" ROW_POINTS " as pts from strategyexecutionlog "                   \
	"where \"strategyId\" = $1 and " ROW_IN " and " ROW_UNCOUNTED ") r " \
	"group by 1, 2, 3) "

#define SUMS                                                               \
	"sum(exact), sum(rows), sum(w), sum(w2), sum(dur), max(dur_max), " \
	"sum(nodes), max(nodes_max), sum(pts), sum(pts_var)"
#define TOP "order by sum(exact + w) desc, 2 nulls last limit 10"

static const struct db_stmt groups = {.name = "metrics_groups",
	.nparams = 4,
	.types = "tllb",
	.sql = GROUPS "select 0::bigint, status, " SUMS
		      " from g group by 2 union all "
		      "(select 1, code, " SUMS " from g where code is not null "
		      "group by 2 " TOP ") union all "
		      "(select 2, cas, " SUMS " from g group by 2 " TOP ")"};

#define SAMPLE(column, where)                                                \
	"select " NUMBER(column) " from strategyexecutionlog "               \
				 "where \"strategyId\" = $1 and " IN_WINDOW( \
					 "created_at") where                 \
		" order by created_at desc nulls last limit 1000"

static const struct db_stmt durations = {.name = "metrics_durations",
	.nparams = 3,
	.types = "tll",
	.sql = SAMPLE("\"durationMs\"", "")};

static const struct db_stmt points = {.name = "metrics_points",
	.nparams = 3,
	.types = "tll",
	.sql = SAMPLE("points", " and abs(points) < 1e300")};

static void bind_time(struct store_op *op, bool has, int64_t us)
{
	if (has)
		store_op_int(op, us);
	else
		store_op_null(op);
}

void store_strategy_metrics(struct store_metrics_op *op, struct db_pool *db,
	struct str strategy_id, const struct store_window *w, bool rows_only)
{
	static const struct db_stmt *const stmts[] = {
		&coverage, &groups, &durations, &points};

	store_op_text(&op->op, strategy_id);
	bind_time(&op->op, w->has_from, w->from_us);
	bind_time(&op->op, w->has_until, w->until_us);
	store_op_bool(&op->op, rows_only);
	for (size_t i = 0; i < NELEM(stmts); i++)
		op->calls[i] = (struct db_call){
			.stmt = stmts[i], .params = op->op.params};
	store_op_run_calls(&op->op, db, DB_LANE_LONG, op->calls, NELEM(stmts));
}

void store_coverage_row(const struct db_res *res, struct store_coverage *c_r)
{
	memset(c_r, 0, sizeof(*c_r));
	c_r->is_some = db_res_rows(res) > 0;
	if (!c_r->is_some)
		return;
	(void)db_row_i64(res, 0, 0, &c_r->from_us);
	if (!db_row_i64(res, 0, 1, &c_r->until_us))
		c_r->until_us = INT64_MAX;
	(void)db_row_i64(res, 0, 2, &c_r->flushed_us);
	(void)db_row_bool(res, 0, 3, &c_r->has_gap);
}

void store_metrics_row(
	const struct db_res *res, int row, struct store_metrics_row *m_r)
{
	double *const sums[] = {&m_r->exact, &m_r->rows, &m_r->weight,
		&m_r->weight2, &m_r->duration_sum, &m_r->duration_max,
		&m_r->nodes_sum, &m_r->nodes_max, &m_r->points_sum,
		&m_r->points_var};
	int64_t kind = 0;

	memset(m_r, 0, sizeof(*m_r));
	(void)db_row_i64(res, row, 0, &kind);
	m_r->kind = (enum store_metrics_kind)kind;
	(void)db_row_str(res, row, 1, &m_r->name);
	for (size_t i = 0; i < NELEM(sums); i++)
		(void)db_row_double(res, row, 2 + (int)i, sums[i]);
}

double store_metrics_value(const struct db_res *res, int row)
{
	double v = 0;

	(void)db_row_double(res, row, 0, &v);
	return v;
}
