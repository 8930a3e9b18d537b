/* store_kpi.c - see store_kpi.h.  Runs in the stats process and in gamectl. */
#include "store/store_kpi.h"

#include <stdio.h>

#include "db/db_sync.h"

#define WHEN(p) "('epoch'::timestamptz + " p " * interval '1 microsecond')"

static void bind_array(struct store_op *op, struct db_array *a)
{
	store_op_null(op);
	op->params[op->params_cnt - 1] = db_array_param(a);
}

static void bind_server(struct store_op *op, const struct store_server *s)
{
	store_op_text(op, s->name);
	store_op_int(op, (int64_t)s->boot_us);
}

void store_requests_begin(struct store_requests *r)
{
	db_array_begin(&r->handler, DB_ARRAY_TEXT);
	db_array_begin(&r->method, DB_ARRAY_TEXT);
	db_array_begin(&r->status, DB_ARRAY_INT2);
	db_array_begin(&r->cnt, DB_ARRAY_INT8);
	db_array_begin(&r->latency_ms, DB_ARRAY_FLOAT8);
	db_array_begin(&r->buckets, DB_ARRAY_INT8);
}

void store_requests_add(struct store_requests *r, struct str handler,
	struct str method, int status, uint64_t cnt, double latency_ms)
{
	db_array_text(&r->handler, handler);
	db_array_text(&r->method, method);
	db_array_i16(&r->status, (int16_t)status);
	db_array_i64(&r->cnt, (int64_t)cnt);
	db_array_double(&r->latency_ms, latency_ms);
}

static const struct db_stmt requests_flush = {.name = "requests_flush",
	.nparams = 9,
	.types = "tllTTSLDL",
	.sql = "select gamed.flush_requests($1, $2, " WHEN(
		"$3") ", $4, $5, $6, $7, $8, $9)"};

void store_requests_flush(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t minute_us,
	struct store_requests *r)
{
	bind_server(op, server);
	store_op_int(op, minute_us);
	bind_array(op, &r->handler);
	bind_array(op, &r->method);
	bind_array(op, &r->status);
	bind_array(op, &r->cnt);
	bind_array(op, &r->latency_ms);
	bind_array(op, &r->buckets);
	store_op_run(op, db, DB_LANE_WRITE, &requests_flush);
}

static const struct db_stmt strategies_flush = {.name = "strategies_flush",
	.nparams = 6,
	.types = "tlljjb",
	.sql = "select gamed.flush_strategies($1, $2, " WHEN(
		"$3") ", $4, $5, $6)"};

void store_strategies_flush(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t hour_us, const char *series,
	const char *arms, bool is_last)
{
	bind_server(op, server);
	store_op_int(op, hour_us);
	store_op_literal(op, series);
	store_op_literal(op, arms);
	store_op_bool(op, is_last);
	store_op_run(op, db, DB_LANE_WRITE, &strategies_flush);
}

static const struct db_stmt catch_up = {.name = "kpi_catch_up",
	.nparams = 0,
	.types = "",
	.sql = "select gamed.kpi_catch_up()::text"};

void store_kpi_catch_up(struct store_op *op, struct db_pool *db)
{
	store_op_run(op, db, DB_LANE_WRITE, &catch_up);
}

static const struct db_stmt beat = {.name = "uptime_beat",
	.nparams = 3,
	.types = "tlb",
	.sql = "select gamed.uptime_beat($1, $2, $3)"};

void store_uptime_beat(struct store_op *op, struct db_pool *db,
	const struct store_server *server, bool is_stopping)
{
	bind_server(op, server);
	store_op_bool(op, is_stopping);
	store_op_run(op, db, DB_LANE_WRITE, &beat);
}

static const struct db_stmt stopped = {.name = "uptime_stopped",
	.nparams = 3,
	.types = "tll",
	.sql = "update gamed.job_state set last_done = "
	       "greatest(last_done, " WHEN(
		       "$3") "), cursor = cursor || '{\"stopped\": true}' "
			     "where job = 'uptime:' || $1 "
			     "and (cursor ->> 'boot')::bigint = $2"};

void store_uptime_stopped(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t at_us)
{
	bind_server(op, server);
	store_op_int(op, at_us);
	store_op_run(op, db, DB_LANE_WRITE, &stopped);
}

/* A sample whose answer was lost is sent again with the same time. */
static const struct db_stmt sample = {.name = "uptime_sample",
	.nparams = 3,
	.types = "tlb",
	.sql = "insert into uptimelogs (id, created_at, updated_at, status) "
	       "select md5($1 || ':' || $2)::uuid, " WHEN(
		       "$2") ", now(), "
			     "case when $3 then 'healthy' else 'unhealthy' end "
			     "on conflict do nothing"};

void store_uptime_sample(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t at_us, bool healthy)
{
	store_op_text(op, server->name);
	store_op_int(op, at_us);
	store_op_bool(op, healthy);
	store_op_run(op, db, DB_LANE_WRITE, &sample);
}

static const struct db_stmt expired = {.name = "drop_expired",
	.nparams = 2,
	.types = "TI",
	.sql = "select gamed.drop_expired($1, $2)"};

#define ACTIVE_USER_DAYS 400

void store_drop_expired(struct store_op *op, struct db_pool *db,
	const struct store_retention *r, struct store_expiry *e)
{
	const struct {
		const char *table;
		int64_t days;
	} list[] = {{"public.logs", r->logs},
		{"public.apirequests", r->api_requests},
		{"public.strategyexecutionlog", r->traces},
		{"public.uptimelogs", r->uptime},
		{"gamed.request_minute", r->request_minutes},
		{"gamed.active_user_day", ACTIVE_USER_DAYS}};

	db_array_begin(&e->tables, DB_ARRAY_TEXT);
	db_array_begin(&e->days, DB_ARRAY_INT4);
	for (size_t i = 0; i < NELEM(list); i++) {
		db_array_text(&e->tables, str_from(list[i].table));
		db_array_i32(&e->days, (int32_t)list[i].days);
	}
	bind_array(op, &e->tables);
	bind_array(op, &e->days);
	store_op_run(op, db, DB_LANE_WRITE, &expired);
}

static const struct db_stmt rollup_day = {.name = "kpi_rollup",
	.nparams = 1,
	.types = "t",
	.sql = "select $1::date::text from gamed.kpi_rollup($1::date)"};

int store_kpi_rollup(struct db_sync *db, const char *day,
	char day_r[STORE_DAY_MAX], struct err *err_r)
{
	const struct db_param p = {.p = day};
	const struct db_res *res;
	struct str s;

	day_r[0] = '\0';
	if (db_sync_exec(db, day ? &rollup_day : &catch_up, day ? &p : NULL,
		    &res, err_r) < 0)
		return -1;
	if (db_row_str(res, 0, 0, &s))
		snprintf(day_r, STORE_DAY_MAX, "%.*s", STR_ARG(s));
	db_sync_res_free(&res);
	return 0;
}
