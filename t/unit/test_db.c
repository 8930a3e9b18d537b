/*
 * Unit tests of src/db against a real Postgres, made for this run by
 * t/lib/pg-private.  Tests that stop or crash a server make one of their own.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <criterion/options.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/db_array.h"
#include "db/db_pool.h"
#include "db/db_sqlstate.h"
#include "db/db_sync.h"
#include "shm/shm.h"

#define CLUSTER_ENV "TEST_DB_CLUSTER"

/* Runs pg-private; a cluster that cannot be had ends the test. */
static void pg_private(const char *verb, const char *dir)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "%s/t/lib/pg-private %s %s >/dev/null",
		TEST_SRCDIR, verb, dir);
	if (system(cmd) != 0)
		fatal("%s failed", cmd);
}

/* The tests are processes of their own and find the cluster by environment. */
ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	char dir[] = "/tmp/gamed-db.XXXXXX";

	(void)set;
	/* they measure time and share a server */
	criterion_options.jobs = 1;
	if (!mkdtemp(dir))
		fatal("cannot make a temporary directory");
	pg_private("start", dir);
	setenv(CLUSTER_ENV, dir, 1);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	pg_private("clean", getenv(CLUSTER_ENV));
}

static const char *conninfo_of(const char *dir)
{
	static char text[256];

	snprintf(text, sizeof(text),
		"host=%s user=postgres dbname=postgres sslmode=disable", dir);
	return text;
}

static const char *conninfo(void)
{
	return conninfo_of(getenv(CLUSTER_ENV));
}

static struct db_sync *open_sync(void)
{
	struct err err;
	struct db_sync *db = db_sync_open(conninfo(), &err);

	cr_assert_not_null(db, "%s", err.text);
	return db;
}

Test(sqlstate, says_what_to_do)
{
	static const struct {
		const char *state;
		enum db_sqlclass class;
	} cases[] = {{"40001", DB_SQL_RETRY}, {"40P01", DB_SQL_RETRY},
		{"40003", DB_SQL_OTHER}, {"23505", DB_SQL_UNIQUE},
		{"23503", DB_SQL_FOREIGN_KEY}, {"57014", DB_SQL_CANCELLED},
		{"55P03", DB_SQL_LOCKED}, {"57P01", DB_SQL_CONNECTION},
		{"57P03", DB_SQL_CONNECTION}, {"08006", DB_SQL_CONNECTION},
		{"53300", DB_SQL_RESOURCES}, {"22003", DB_SQL_OTHER},
		{"", DB_SQL_OTHER}};

	for (size_t i = 0; i < NELEM(cases); i++)
		cr_expect_eq(db_sqlstate_class(cases[i].state), cases[i].class,
			"%s", cases[i].state);
}

Test(sync, reads_typed_columns_and_null)
{
	static const struct db_stmt stmt = {.name = "typed",
		.sql = "SELECT $1, $2, $3, $4, $5, $6, NULL::int8, "
		       "(extract(epoch FROM '2026-11-25 UTC'::timestamptz)"
		       " * 1000000)::bigint",
		.nparams = 6,
		.types = "utidbl"};
	const struct db_param params[] = {
		{.p = "8c53b140-0000-4abc-8def-0123456789ab"},
		{.p = "h\xc3\xa9", .len = 3, .binary = 1}, {.p = "-7"},
		{.p = "0.1"}, {.p = "t"}, {.p = NULL}};
	struct db_sync *db = open_sync();
	const struct db_res *res;
	char text[UUID_TEXT_LEN + 1];
	struct err err;
	struct uuid u;
	struct str s;
	int64_t i;
	double d;
	bool b;

	cr_assert_eq(
		db_sync_exec(db, &stmt, params, &res, &err), 0, "%s", err.text);
	cr_expect_eq(db_res_rows(res), 1);
	cr_assert(db_row_uuid(res, 0, 0, &u));
	uuid_print(&u, text);
	cr_expect_str_eq(text, params[0].p);
	cr_assert(db_row_str(res, 0, 1, &s));
	cr_expect(str_is(s, "h\xc3\xa9"));
	cr_expect(db_row_i64(res, 0, 2, &i) && i == -7);
	cr_expect(db_row_double(res, 0, 3, &d) && d == 0.1);
	cr_expect(db_row_bool(res, 0, 4, &b) && b);
	cr_expect_not(db_row_i64(res, 0, 5, &i));
	cr_expect_not(db_row_i64(res, 0, 6, &i));
	cr_expect(db_row_time_us(res, 0, 7, &i) && i == 1795564800000000);
	db_sync_res_free(&res);
	cr_expect_null(res);
	db_sync_close(&db);
}

Test(sync, reports_errors_and_rolls_back)
{
	static const struct db_stmt insert = {.name = "ins",
		.sql = "INSERT INTO sync_t SELECT generate_series(1, 3)",
		.nparams = 0,
		.types = ""};
	static const struct db_stmt count = {.name = "cnt",
		.sql = "SELECT count(*) FROM sync_t",
		.nparams = 0,
		.types = ""};
	struct db_sync *db = open_sync();
	const struct db_res *res;
	struct err err;
	int64_t n;

	cr_assert_eq(db_sync_script(db,
			     "CREATE TEMP TABLE sync_t (id int PRIMARY KEY);"
			     "SELECT 1;",
			     &err),
		0);
	cr_assert_eq(db_sync_begin(db, &err), 0);
	cr_assert_eq(db_sync_exec(db, &insert, NULL, &res, &err), 0);
	cr_expect_eq(db_res_affected(res), 3);
	db_sync_res_free(&res);
	cr_expect_eq(db_sync_exec(db, &insert, NULL, NULL, &err), -1);
	cr_expect_eq(err.code, ERR_CONFLICT);
	cr_expect_str_eq(db_sync_sqlstate(db), "23505");
	cr_expect_str_eq(err.text,
		"database: duplicate key value violates unique constraint "
		"\"sync_t_pkey\"");
	cr_expect_eq(db_sync_commit(db, &err), -1, "a failed transaction");
	cr_assert_eq(db_sync_exec(db, &count, NULL, &res, &err), 0);
	cr_expect(db_row_i64(res, 0, 0, &n) && n == 0);
	db_sync_res_free(&res);
	db_sync_close(&db);
}

Test(sync, refused_connection_is_unavailable)
{
	struct err err;
	struct db_sync *db = db_sync_open("host=/nonexistent dbname=x", &err);

	cr_expect_null(db);
	cr_expect_eq(err.code, ERR_UNAVAILABLE);
	cr_expect_null(strchr(err.text, '\n'));
}

/* Compares the server's own text of the array. */
static void expect_array(
	struct db_sync *db, struct db_array *a, char type, const char *want)
{
	char types[2] = {type};
	const struct db_stmt stmt = {
		.name = "a", .sql = "SELECT $1", .nparams = 1, .types = types};
	struct db_param param = db_array_param(a);
	const struct db_res *res;
	struct err err;
	struct str s;

	cr_assert_eq(
		db_sync_exec(db, &stmt, &param, &res, &err), 0, "%s", err.text);
	cr_assert(db_row_str(res, 0, 0, &s));
	cr_expect(str_is(s, want), "%.*s", STR_ARG(s));
	db_sync_res_free(&res);
}

Test(array, numbers_arrive_as_sent)
{
	struct db_sync *db = open_sync();
	struct db_array a = {0};

	db_array_begin(&a, DB_ARRAY_INT8);
	db_array_i64(&a, INT64_MIN);
	db_array_null(&a);
	db_array_i64(&a, INT64_MAX);
	expect_array(
		db, &a, 'L', "{-9223372036854775808,NULL,9223372036854775807}");
	db_array_begin(&a, DB_ARRAY_INT4);
	db_array_i32(&a, -1);
	expect_array(db, &a, 'I', "{-1}");
	db_array_begin(&a, DB_ARRAY_INT2);
	db_array_i16(&a, -300);
	expect_array(db, &a, 'S', "{-300}");
	db_array_begin(&a, DB_ARRAY_FLOAT8);
	db_array_double(&a, 0.1);
	db_array_double(&a, -1e300);
	expect_array(db, &a, 'D', "{0.1,-1e+300}");
	db_array_begin(&a, DB_ARRAY_BOOL);
	db_array_bool(&a, true);
	db_array_bool(&a, false);
	expect_array(db, &a, 'B', "{t,f}");
	db_array_begin(&a, DB_ARRAY_INT4);
	expect_array(db, &a, 'I', "{}");
	db_array_fini(&a);
	db_sync_close(&db);
}

Test(array, texts_and_uuids_arrive_as_sent)
{
	static const char id[] = "8c53b140-0000-4abc-8def-0123456789ab";
	struct db_sync *db = open_sync();
	struct db_array a = {0};
	struct uuid u;

	db_array_begin(&a, DB_ARRAY_TEXT);
	db_array_text(&a, STR("a \"b\", \\ {'}"));
	db_array_text(&a, STR(""));
	db_array_text(&a, (struct str){NULL, 0});
	db_array_text(&a, STR("null"));
	expect_array(
		db, &a, 'T', "{\"a \\\"b\\\", \\\\ {'}\",\"\",NULL,\"null\"}");
	cr_assert_eq(uuid_parse(str_from(id), &u), 0);
	db_array_begin(&a, DB_ARRAY_UUID);
	db_array_uuid(&a, &u);
	db_array_null(&a);
	expect_array(
		db, &a, 'U', "{8c53b140-0000-4abc-8def-0123456789ab,NULL}");
	db_array_fini(&a);
	db_sync_close(&db);
}

/* ---- pool ------------------------------------------------------------------ */

#define STMT(n, p, t, text)                                              \
	{                                                                \
		.name = (n), .sql = (text), .nparams = (p), .types = (t) \
	}

static const struct db_stmt stmt_echo =
	STMT("echo", 1, "i", "SELECT $1, $1 + 1");
static const struct db_stmt stmt_sleep =
	STMT("sleep", 1, "d", "SELECT pg_sleep($1)");
static const struct db_stmt stmt_pid =
	STMT("pid", 0, "", "SELECT pg_backend_pid()");
static const struct db_stmt stmt_bad =
	STMT("bad", 0, "", "SELECT no_such_column");
static const struct db_stmt stmt_divide =
	STMT("divide", 1, "i", "SELECT 1 / $1");
static const struct db_stmt stmt_insert =
	STMT("insert", 1, "i", "INSERT INTO pool_t VALUES ($1)");
static const struct db_stmt stmt_count =
	STMT("count", 0, "", "SELECT count(*) FROM pool_t");

/* A loop, a pool and what its callbacks saw. */
struct rig {
	struct event_base *base;
	struct db_pool *pool;
	unsigned states; /* calls of on_state */
	unsigned forgets, notifies;
	char payload[64];
	int check_rc;
	char check_state[6];
};

/* One job and its answer. */
struct call {
	struct db_job job;
	struct db_call calls[4];
	struct db_param params[4];
	char text[4][16];
	struct rig *rig;
	bool is_done;
	uint64_t done_ms;
	enum db_outcome outcome;
	char sqlstate[6];
	char message[256];
	unsigned res_cnt;
	int64_t value; /* first column of the last result, or -1 */
	unsigned order;
};

static unsigned order;

static void on_reply(struct db_job *job, const struct db_reply *reply)
{
	struct call *c = job->arg;
	struct str s;

	cr_assert_not(c->is_done, "called back twice");
	c->is_done = true;
	c->done_ms = clock_mono_ms();
	c->order = order++;
	c->outcome = reply->outcome;
	c->res_cnt = reply->res_cnt;
	memcpy(c->sqlstate, reply->sqlstate, sizeof(c->sqlstate));
	memcpy(c->message, reply->message, sizeof(c->message));
	c->value = -1;
	if (reply->res_cnt > 0 &&
		db_res_rows(reply->res[reply->res_cnt - 1]) > 0 &&
		db_row_str(reply->res[reply->res_cnt - 1], 0, 0, &s) &&
		s.len > 0)
		(void)db_row_i64(
			reply->res[reply->res_cnt - 1], 0, 0, &c->value);
}

/* Appends a statement with one integer or number, unless it takes none. */
static void call_add(struct call *c, const struct db_stmt *stmt, double v)
{
	unsigned i = c->job.calls_cnt++;

	snprintf(c->text[i], sizeof(c->text[i]), "%g", v);
	c->params[i] = (struct db_param){.p = c->text[i]};
	c->calls[i] = (struct db_call){.stmt = stmt, .params = &c->params[i]};
	c->job.calls = c->calls;
	c->job.cb = on_reply;
	c->job.arg = c;
}

static void submit(struct rig *r, struct call *c, enum db_lane lane,
	const struct db_stmt *stmt, double v)
{
	memset(c, 0, sizeof(*c));
	c->rig = r;
	c->job.lane = lane;
	call_add(c, stmt, v);
	db_pool_submit(r->pool, &c->job);
	cr_assert_not(c->is_done, "called back before submit returned");
}

static void on_state(void *arg, bool healthy)
{
	struct rig *r = arg;

	(void)healthy;
	r->states++;
}

static void on_notify(void *arg, const char *payload)
{
	struct rig *r = arg;

	if (payload) {
		r->notifies++;
		snprintf(r->payload, sizeof(r->payload), "%s", payload);
	} else {
		r->forgets++;
	}
}

static int on_check(void *arg, const struct db_res *res, const char *sqlstate)
{
	struct rig *r = arg;

	memcpy(r->check_state, sqlstate, sizeof(r->check_state));
	cr_expect_eq(res == NULL, sqlstate[0] != '\0');
	return r->check_rc;
}

static struct db_pool_conf defaults(struct rig *r, const char *info)
{
	return (struct db_pool_conf){.conninfo = info,
		.app_name = "test-db",
		.read_conns = 2,
		.write_conns = 1,
		.pipeline_depth = 16,
		.queue_max = 1000,
		.deadline_ms = 5000,
		.statement_timeout_ms = 4000,
		.lock_timeout_ms = 1000,
		.on_notify = on_notify,
		.on_state = on_state,
		.arg = r};
}

static void turn(struct rig *r)
{
	/* wakes the loop when nothing else does */
	struct timeval tv = {.tv_usec = 5000};

	event_base_loopexit(r->base, &tv);
	event_base_dispatch(r->base);
}

/* Runs the loop until the condition holds; 10 s without it is a failure. */
#define RUN_UNTIL(r, cond)                                                    \
	do {                                                                  \
		uint64_t end_ = clock_mono_ms() + 10000;                      \
		while (!(cond)) {                                             \
			cr_assert_lt(clock_mono_ms(), end_, "never: " #cond); \
			turn(r);                                              \
		}                                                             \
	} while (0)

static void rig_open(struct rig *r, const struct db_pool_conf *conf)
{
	struct event_config *cfg = event_config_new();

	log_set_level(LOG_L_ERROR);
	event_config_set_flag(cfg,
		EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	r->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	r->pool = db_pool_new(r->base, conf);
}

static void rig_close(struct rig *r)
{
	db_pool_free(&r->pool);
	event_base_free(r->base);
}

/* On a busy machine a lane that is slow to connect refuses its jobs. */
static void await_up(struct rig *r)
{
	struct db_pool_stats st;

	RUN_UNTIL(r, ({
		db_pool_stats(r->pool, &st);
		st.conns_down == 0;
	}));
}

static void rig_default(struct rig *r)
{
	struct db_pool_conf conf;

	memset(r, 0, sizeof(*r));
	conf = defaults(r, conninfo());
	rig_open(r, &conf);
}

static void run_sql(const char *sql)
{
	struct db_sync *db = open_sync();
	struct err err;

	cr_assert_eq(db_sync_script(db, sql, &err), 0, "%s", err.text);
	db_sync_close(&db);
}

#define ACTIVE                                                          \
	"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' " \
	"AND wait_event = 'PgSleep' AND application_name = "

static int64_t sql_value(const char *sql)
{
	const struct db_stmt stmt = STMT("v", 0, "", sql);
	struct db_sync *db = open_sync();
	const struct db_res *res;
	struct err err;
	int64_t v = -1;

	cr_assert_eq(
		db_sync_exec(db, &stmt, NULL, &res, &err), 0, "%s", err.text);
	cr_expect(db_row_i64(res, 0, 0, &v));
	db_sync_res_free(&res);
	db_sync_close(&db);
	return v;
}

Test(pool, answers_while_still_connecting, .timeout = 30)
{
	struct rig r;
	struct call a, b;
	struct db_pool_stats st;

	rig_default(&r);
	cr_expect_not(db_pool_healthy(r.pool));
	cr_expect_not(db_pool_write_idle(r.pool));
	submit(&r, &a, DB_LANE_READ, &stmt_echo, 41);
	submit(&r, &b, DB_LANE_WRITE, &stmt_echo, 42);
	RUN_UNTIL(&r, a.is_done && b.is_done);
	cr_expect_eq(a.outcome, DB_OK);
	cr_expect_eq(a.value, 41);
	cr_expect_eq(a.res_cnt, 1);
	cr_expect_eq(b.value, 42);
	RUN_UNTIL(&r, r.states == 1);
	cr_expect(db_pool_healthy(r.pool));
	cr_expect(db_pool_write_idle(r.pool));
	db_pool_stats(r.pool, &st);
	cr_expect_eq(st.queued + st.in_flight + st.conns_busy, 0);
	rig_close(&r);
}

Test(pool, a_job_is_all_or_nothing, .timeout = 30)
{
	struct rig r;
	struct call good = {0}, bad = {0}, late = {0}, count;

	run_sql("DROP TABLE IF EXISTS pool_t; CREATE TABLE pool_t (id int "
		"CONSTRAINT pool_u UNIQUE DEFERRABLE INITIALLY DEFERRED)");
	rig_default(&r);
	good.job.lane = bad.job.lane = late.job.lane = DB_LANE_WRITE;
	call_add(&good, &stmt_insert, 1);
	call_add(&good, &stmt_insert, 2);
	call_add(&good, &stmt_count, 0);
	db_pool_submit(r.pool, &good.job);
	call_add(&bad, &stmt_insert, 3);
	call_add(&bad, &stmt_divide, 0);
	call_add(&bad, &stmt_insert, 4);
	db_pool_submit(r.pool, &bad.job);
	/* refused by the commit only */
	call_add(&late, &stmt_insert, 1);
	db_pool_submit(r.pool, &late.job);
	submit(&r, &count, DB_LANE_WRITE, &stmt_count, 0);
	RUN_UNTIL(&r, count.is_done);
	cr_expect_eq(good.outcome, DB_OK);
	cr_expect_eq(good.res_cnt, 3);
	cr_expect_eq(good.value, 2, "sees its own rows");
	cr_expect_eq(bad.outcome, DB_SQL_ERROR);
	cr_expect_str_eq(bad.sqlstate, "22012");
	cr_expect_str_eq(bad.message, "division by zero");
	cr_expect_eq(bad.res_cnt, 0);
	cr_expect_eq(late.outcome, DB_SQL_ERROR);
	cr_expect_str_eq(late.sqlstate, "23505");
	cr_expect_eq(count.value, 2);
	rig_close(&r);
}

Test(pool, pipelined_answers_keep_their_order, .timeout = 30)
{
	enum { JOBS = 500 };
	static struct call c[JOBS];
	struct rig r;
	struct db_pool_conf conf;
	unsigned errors = 0;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.read_conns = 1;
	conf.pipeline_depth = 64;
	rig_open(&r, &conf);
	await_up(&r);
	for (int i = 0; i < JOBS; i++)
		/* every seventh fails, and its neighbours must not notice */
		submit(&r, &c[i], DB_LANE_READ,
			i % 7 == 3 ? &stmt_divide : &stmt_echo,
			i % 7 == 3 ? 0 : i);
	RUN_UNTIL(&r, c[JOBS - 1].is_done);
	for (int i = 0; i < JOBS; i++) {
		cr_assert(c[i].is_done);
		cr_expect_eq(c[i].order, (unsigned)i);
		if (i % 7 == 3)
			errors += c[i].outcome == DB_SQL_ERROR;
		else
			cr_expect_eq(c[i].value, i);
	}
	cr_expect_eq(errors, (JOBS + 3) / 7);
	rig_close(&r);
}

/* ---- rows one by one ------------------------------------------------------- */

static const struct db_stmt stmt_series = STMT("series", 1, "i",
	"SELECT i, repeat('x', 500) FROM generate_series(1, $1) i");
static const struct db_stmt stmt_series_bad = STMT("series_bad", 1, "i",
	"SELECT i / (i - $1) * 0 + i FROM generate_series(1, $1) i");
static const struct db_stmt stmt_series_slow = STMT("series_slow", 1, "d",
	"SELECT i, pg_sleep(CASE i WHEN 2 THEN $1 ELSE 0 END) "
	"FROM generate_series(1, 2) i");

/* A job of the long lane that counts what it gets. */
struct stream {
	struct call call;
	struct rig *rig;
	unsigned rows;
	unsigned pause_every;  /* 0: never */
	unsigned cancel_after; /* 0: never */
	bool in_order;
};

static void on_row(struct db_job *job, const struct db_res *row)
{
	struct stream *s = job->arg;
	int64_t i = 0;

	cr_assert_eq(db_res_rows(row), 1);
	cr_assert_not(job->is_paused, "a row while paused");
	cr_assert_not(s->call.is_done);
	s->rows++;
	s->in_order &= db_row_i64(row, 0, 0, &i) && i == s->rows;
	if (s->pause_every && s->rows % s->pause_every == 0)
		db_job_pause(job);
	if (s->rows == s->cancel_after)
		db_job_cancel(job);
}

static void on_stream_end(struct db_job *job, const struct db_reply *reply)
{
	struct stream *s = job->arg;

	job->arg = &s->call;
	on_reply(job, reply);
}

static void stream_submit(
	struct rig *r, struct stream *s, const struct db_stmt *stmt, double v)
{
	call_add(&s->call, stmt, v);
	s->in_order = true;
	s->call.job.lane = DB_LANE_LONG;
	s->call.job.on_row = on_row;
	s->call.job.cb = on_stream_end;
	s->call.job.arg = s;
	db_pool_submit(r->pool, &s->call.job);
}

static void rig_long(struct rig *r, unsigned conns)
{
	struct db_pool_conf conf;

	memset(r, 0, sizeof(*r));
	conf = defaults(r, conninfo());
	conf.long_conns = conns;
	conf.statement_timeout_ms = 200;
	rig_open(r, &conf);
	await_up(r);
}

Test(rows, come_in_order_with_pauses, .timeout = 30)
{
	static const unsigned pauses[] = {0, 1, 7, 100};
	struct rig r;

	rig_long(&r, 1);
	for (size_t i = 0; i < NELEM(pauses); i++) {
		struct stream s = {.pause_every = pauses[i]};
		struct call other;

		stream_submit(&r, &s, &stmt_series, 300);
		submit(&r, &other, DB_LANE_READ, &stmt_echo, 5);
		RUN_UNTIL(&r, ({
			db_job_resume(&s.call.job);
			s.call.is_done;
		}));
		cr_expect_eq(s.call.outcome, DB_OK, "%s", s.call.message);
		cr_expect_eq(s.rows, 300);
		cr_expect(s.in_order);
		cr_expect_eq(s.call.res_cnt, 1);
		RUN_UNTIL(&r, other.is_done);
		cr_expect_eq(other.value, 5);
	}
	rig_close(&r);
}

#define WRITING                                                     \
	"SELECT count(*) FROM pg_stat_activity WHERE wait_event = " \
	"'ClientWrite' AND application_name = 'test-db'"

Test(rows, the_server_waits_for_a_paused_reader, .timeout = 30)
{
	struct rig r;
	struct stream s = {.pause_every = 10}, next = {0};
	struct db_pool_stats st;
	uint64_t start;

	rig_long(&r, 1);
	/* 50 MB: more than any buffer on the way */
	stream_submit(&r, &s, &stmt_series, 100000);
	RUN_UNTIL(&r, s.rows == 10 && sql_value(WRITING) == 1);
	/* longer than statement_timeout, and than its own deadline */
	s.call.job.deadline_ms = 100;
	start = clock_mono_ms();
	while (clock_mono_ms() - start < 400)
		turn(&r);
	cr_expect_eq(s.rows, 10);
	cr_expect_not(s.call.is_done);
	/* the lane has one connection: the next one waits */
	stream_submit(&r, &next, &stmt_series, 10);
	db_pool_stats(r.pool, &st);
	cr_expect_eq(st.queued, 1);
	s.call.job.deadline_ms = 5000;
	s.pause_every = 0;
	db_job_resume(&s.call.job);
	RUN_UNTIL(&r, s.call.is_done && next.call.is_done);
	cr_expect_eq(s.call.outcome, DB_OK);
	cr_expect_eq(s.rows, 100000);
	cr_expect(s.in_order);
	cr_expect_eq(next.rows, 10);
	rig_close(&r);
}

Test(rows, a_failure_comes_after_the_rows, .timeout = 30)
{
	struct rig r;
	struct stream bad = {0}, slow = {0}, lost = {.pause_every = 5},
		      after = {0};

	rig_long(&r, 1);
	stream_submit(&r, &bad, &stmt_series_bad, 2000);
	RUN_UNTIL(&r, bad.call.is_done);
	cr_expect_eq(bad.call.outcome, DB_SQL_ERROR);
	cr_expect_str_eq(bad.call.sqlstate, "22012");
	cr_expect_eq(bad.rows, 1999);
	slow.call.job.deadline_ms = 200;
	stream_submit(&r, &slow, &stmt_series_slow, 20);
	RUN_UNTIL(&r, slow.call.is_done);
	cr_expect_eq(slow.call.outcome, DB_TIMEOUT);
	await_up(&r);
	stream_submit(&r, &lost, &stmt_series, 100000);
	RUN_UNTIL(&r, lost.rows == 5);
	run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
		"WHERE wait_event = 'ClientWrite'");
	lost.pause_every = 0;
	db_job_resume(&lost.call.job);
	RUN_UNTIL(&r, lost.call.is_done);
	cr_expect_eq(lost.call.outcome, DB_LOST);
	cr_expect(lost.in_order, "no row twice");
	await_up(&r);
	stream_submit(&r, &after, &stmt_series, 3);
	RUN_UNTIL(&r, after.call.is_done);
	cr_expect_eq(after.call.outcome, DB_OK);
	rig_close(&r);
}

Test(rows, a_cancelled_job_is_told_so, .timeout = 30)
{
	struct rig r;
	struct stream now = {.cancel_after = 10}, later = {.pause_every = 5},
		      waiting = {0};

	rig_long(&r, 1);
	stream_submit(&r, &now, &stmt_series, 100000);
	RUN_UNTIL(&r, now.call.is_done);
	cr_expect_eq(now.rows, 10);
	cr_expect_eq(now.call.outcome, DB_LOST);
	await_up(&r);
	stream_submit(&r, &later, &stmt_series, 100000);
	RUN_UNTIL(&r, later.rows == 5);
	db_job_cancel(&later.call.job);
	cr_expect_not(later.call.is_done, "called back inside cancel");
	await_up(&r);
	stream_submit(&r, &waiting, &stmt_series, 2);
	RUN_UNTIL(&r, later.call.is_done && waiting.call.is_done);
	cr_expect_eq(later.rows, 5);
	cr_expect_eq(later.call.outcome, DB_LOST);
	cr_expect_eq(waiting.rows, 2);
	/* freed with one in hand */
	memset(&later, 0, sizeof(later));
	later.pause_every = 5;
	await_up(&r);
	stream_submit(&r, &later, &stmt_series, 100000);
	RUN_UNTIL(&r, later.rows == 5);
	rig_close(&r);
	cr_expect_eq(later.call.outcome, DB_LOST);
}

Test(rows, a_pool_without_the_lane_refuses, .timeout = 30)
{
	struct rig r;
	struct stream s = {0};

	rig_long(&r, 0);
	stream_submit(&r, &s, &stmt_series, 1);
	RUN_UNTIL(&r, s.call.is_done);
	cr_expect_eq(s.call.outcome, DB_UNAVAILABLE);
	rig_close(&r);
}

Test(pool, a_statement_that_cannot_be_prepared_says_why, .timeout = 30)
{
	struct rig r;
	struct call a, b, c;

	rig_default(&r);
	submit(&r, &a, DB_LANE_WRITE, &stmt_bad, 0);
	submit(&r, &b, DB_LANE_WRITE, &stmt_bad, 0);
	submit(&r, &c, DB_LANE_WRITE, &stmt_echo, 5);
	RUN_UNTIL(&r, c.is_done);
	cr_expect_eq(a.outcome, DB_SQL_ERROR);
	cr_expect_str_eq(a.sqlstate, "42703");
	cr_expect_str_eq(b.sqlstate, "42703");
	cr_expect_eq(c.value, 5);
	rig_close(&r);
}

Test(pool, a_late_statement_costs_its_connection_only, .timeout = 30)
{
	struct rig r;
	struct call slow = {0}, same, after;
	struct db_pool_conf conf;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.read_conns = 1;
	rig_open(&r, &conf);
	slow.job.lane = DB_LANE_READ;
	slow.job.deadline_ms = 200;
	call_add(&slow, &stmt_sleep, 30);
	db_pool_submit(r.pool, &slow.job);
	/* waits behind it in the pipeline and is sent again */
	submit(&r, &same, DB_LANE_READ, &stmt_echo, 7);
	RUN_UNTIL(&r, slow.is_done);
	cr_expect_eq(slow.outcome, DB_TIMEOUT);
	RUN_UNTIL(&r, same.is_done);
	cr_expect_eq(same.outcome, DB_OK);
	cr_expect_eq(same.value, 7);
	submit(&r, &after, DB_LANE_READ, &stmt_echo, 8);
	RUN_UNTIL(&r, after.is_done);
	cr_expect_eq(after.value, 8);
	rig_close(&r);
}

Test(pool, statement_timeout_is_set, .timeout = 30)
{
	struct rig r;
	struct call a;
	struct db_pool_conf conf;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.statement_timeout_ms = 50;
	rig_open(&r, &conf);
	submit(&r, &a, DB_LANE_WRITE, &stmt_sleep, 30);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.outcome, DB_SQL_ERROR);
	cr_expect_str_eq(a.sqlstate, "57014");
	rig_close(&r);
}

Test(pool, a_killed_backend_loses_writes_and_repeats_reads, .timeout = 30)
{
	/* sleeps until killed_t has a row: once */
	static const struct db_stmt nap = STMT("nap", 0, "",
		"SELECT 6, pg_sleep(30 * (count(*) = 0)::int) FROM killed_t");
	struct rig r;
	struct call w, rd, pid;
	struct db_pool_conf conf;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.app_name = "test-killed";
	run_sql("DROP TABLE IF EXISTS killed_t; CREATE TABLE killed_t (id "
		"int)");
	rig_open(&r, &conf);
	submit(&r, &pid, DB_LANE_WRITE, &stmt_pid, 0);
	RUN_UNTIL(&r, pid.is_done && db_pool_healthy(r.pool));
	submit(&r, &w, DB_LANE_WRITE, &stmt_sleep, 30);
	submit(&r, &rd, DB_LANE_READ, &nap, 0);
	RUN_UNTIL(&r, sql_value(ACTIVE "'test-killed'") == 2);
	run_sql("INSERT INTO killed_t VALUES (1)");
	run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
		"WHERE application_name = 'test-killed' AND state = 'active'");
	RUN_UNTIL(&r, w.is_done && rd.is_done);
	cr_expect_eq(w.outcome, DB_LOST);
	cr_expect_neq(w.message[0], '\0');
	cr_expect_eq(rd.outcome, DB_OK, "%s", rd.message);
	cr_expect_eq(rd.value, 6);
	RUN_UNTIL(&r, db_pool_write_idle(r.pool));
	submit(&r, &w, DB_LANE_WRITE, &stmt_pid, 0);
	RUN_UNTIL(&r, w.is_done);
	cr_expect_eq(w.outcome, DB_OK);
	cr_expect_neq(w.value, pid.value);
	rig_close(&r);
}

Test(pool, a_full_queue_answers_at_once, .timeout = 30)
{
	struct rig r;
	struct call c[4];
	struct db_pool_conf conf;
	struct db_pool_stats st;
	uint64_t start;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.queue_max = 2;
	rig_open(&r, &conf);
	RUN_UNTIL(&r, db_pool_healthy(r.pool));
	for (int i = 0; i < 3; i++)
		submit(&r, &c[i], DB_LANE_WRITE, &stmt_sleep, 0.3);
	cr_expect_not(db_pool_write_idle(r.pool));
	start = clock_mono_ms();
	submit(&r, &c[3], DB_LANE_WRITE, &stmt_echo, 1);
	db_pool_stats(r.pool, &st);
	cr_expect_eq(st.queued, 2);
	cr_expect_eq(st.in_flight, 1);
	RUN_UNTIL(&r, c[3].is_done);
	cr_expect_eq(c[3].outcome, DB_UNAVAILABLE);
	cr_expect_lt(c[3].done_ms - start, 100);
	RUN_UNTIL(&r, c[2].is_done);
	cr_expect_eq(c[2].outcome, DB_OK);
	rig_close(&r);
}

Test(pool, a_job_that_waits_too_long_was_never_sent, .timeout = 30)
{
	struct rig r;
	struct call slow, late = {0};

	rig_default(&r);
	RUN_UNTIL(&r, db_pool_healthy(r.pool));
	submit(&r, &slow, DB_LANE_WRITE, &stmt_sleep, 0.5);
	late.job.lane = DB_LANE_WRITE;
	late.job.deadline_ms = 50;
	call_add(&late, &stmt_echo, 1);
	db_pool_submit(r.pool, &late.job);
	RUN_UNTIL(&r, late.is_done);
	cr_expect_not(slow.is_done);
	cr_expect_eq(late.outcome, DB_UNAVAILABLE);
	RUN_UNTIL(&r, slow.is_done);
	cr_expect_eq(slow.outcome, DB_OK);
	rig_close(&r);
}

Test(pool, notifications_arrive_and_a_new_listener_forgets, .timeout = 30)
{
	struct rig r;
	struct db_pool_conf conf;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.app_name = "test-notify";
	conf.listen_channel = "Odd \"name\"";
	rig_open(&r, &conf);
	RUN_UNTIL(&r, r.forgets == 1);
	run_sql("SELECT pg_notify('Odd \"name\"', 'game:1')");
	RUN_UNTIL(&r, r.notifies == 1);
	cr_expect_str_eq(r.payload, "game:1");
	run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
		"WHERE application_name = 'test-notify'");
	RUN_UNTIL(&r, r.forgets == 2);
	run_sql("NOTIFY \"Odd \"\"name\"\"\", 'again'");
	RUN_UNTIL(&r, r.notifies == 2);
	cr_expect_str_eq(r.payload, "again");
	rig_close(&r);
}

Test(pool, the_session_is_as_configured, .timeout = 30)
{
	static const struct db_stmt show = STMT("show", 0, "",
		"SELECT (current_setting('TimeZone') = 'UTC' AND "
		"current_setting('lock_timeout') = '1s' AND "
		"current_setting('idle_in_transaction_session_timeout') = "
		"'5s' AND current_setting('gamed.shard') = '3' AND "
		"current_setting('plan_cache_mode') = 'force_generic_plan' "
		"AND current_setting('application_name') = 'test-db')::int");
	struct rig r;
	struct call a;
	struct db_pool_conf conf;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.shard = 19;
	conf.session_sql = "SET plan_cache_mode TO force_generic_plan";
	rig_open(&r, &conf);
	submit(&r, &a, DB_LANE_WRITE, &show, 0);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.value, 1);
	rig_close(&r);
}

Test(pool, a_refused_check_keeps_the_database_away, .timeout = 30)
{
	struct rig r;
	struct call a;
	struct db_pool_conf conf;

	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo());
	conf.check_sql = "SELECT version FROM no_such_table";
	conf.on_check = on_check;
	r.check_rc = -1;
	rig_open(&r, &conf);
	submit(&r, &a, DB_LANE_READ, &stmt_echo, 1);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.outcome, DB_UNAVAILABLE);
	cr_expect_str_eq(r.check_state, DB_SQLSTATE_UNDEFINED_TABLE);
	cr_expect_not(db_pool_healthy(r.pool));
	r.check_rc = 0;
	RUN_UNTIL(&r, db_pool_healthy(r.pool));
	submit(&r, &a, DB_LANE_READ, &stmt_echo, 1);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.outcome, DB_OK);
	rig_close(&r);
}

static void on_reply_chain(struct db_job *job, const struct db_reply *reply)
{
	struct call *c = job->arg;
	int64_t v;

	cr_assert_eq(reply->outcome, DB_OK);
	cr_assert(db_row_i64(reply->res[0], 0, 1, &v));
	snprintf(c->text[0], sizeof(c->text[0]), "%lld", (long long)v);
	if (v < 100)
		db_pool_submit(c->rig->pool, job);
	else
		c->is_done = true;
}

Test(pool, a_callback_may_submit, .timeout = 30)
{
	struct rig r;
	struct call c = {0};

	rig_default(&r);
	c.rig = &r;
	call_add(&c, &stmt_echo, 0);
	c.job.cb = on_reply_chain;
	c.job.lane = DB_LANE_WRITE;
	db_pool_submit(r.pool, &c.job);
	RUN_UNTIL(&r, c.is_done);
	rig_close(&r);
}

static void on_reply_free(struct db_job *job, const struct db_reply *reply)
{
	struct call *c = job->arg;
	int64_t v;

	c->outcome = reply->outcome;
	db_pool_free(&c->rig->pool);
	cr_expect(db_row_i64(reply->res[0], 0, 0, &v) && v == 9);
	c->is_done = true;
}

Test(pool, a_callback_may_free_the_pool, .timeout = 30)
{
	struct rig r;
	struct call c = {0}, sent, waiting[20], more;

	rig_default(&r);
	RUN_UNTIL(&r, db_pool_healthy(r.pool));
	c.rig = &r;
	call_add(&c, &stmt_echo, 9);
	c.job.cb = on_reply_free;
	db_pool_submit(r.pool, &c.job);
	submit(&r, &sent, DB_LANE_WRITE, &stmt_sleep, 30);
	submit(&r, &more, DB_LANE_WRITE, &stmt_echo, 1);
	for (size_t i = 0; i < NELEM(waiting); i++)
		submit(&r, &waiting[i], DB_LANE_READ, &stmt_echo, 1);
	RUN_UNTIL(&r, c.is_done);
	cr_expect_null(r.pool);
	cr_expect_eq(c.outcome, DB_OK);
	cr_expect(sent.is_done && sent.outcome == DB_LOST);
	cr_expect(more.is_done && more.outcome == DB_UNAVAILABLE);
	for (size_t i = 0; i < NELEM(waiting); i++)
		cr_expect(waiting[i].is_done);
	rig_close(&r);
}

Test(pool, large_values_pass_in_both_directions, .timeout = 30)
{
	static const struct db_stmt twice =
		STMT("twice", 1, "t", "SELECT length($1), $1 || $1");
	enum { BYTES = 1000 * 1000, JOBS = 8 };
	static struct call c[JOBS];
	struct rig r;
	char *text = malloc(BYTES);

	cr_assert_not_null(text);
	memset(text, 'x', BYTES);
	rig_default(&r);
	for (int i = 0; i < JOBS; i++) {
		call_add(&c[i], &twice, 0);
		c[i].params[0] =
			(struct db_param){.p = text, .len = BYTES, .binary = 1};
		db_pool_submit(r.pool, &c[i].job);
	}
	for (int i = 0; i < JOBS; i++) {
		RUN_UNTIL(&r, c[i].is_done);
		cr_expect_eq(c[i].outcome, DB_OK);
		cr_expect_eq(c[i].value, BYTES);
	}
	rig_close(&r);
	free(text);
}

Test(pool, a_plan_out_of_date_costs_one_answer, .timeout = 30)
{
	static const struct db_stmt all =
		STMT("all", 0, "", "SELECT * FROM stale_t");
	struct rig r;
	struct call a;

	run_sql("DROP TABLE IF EXISTS stale_t; CREATE TABLE stale_t AS "
		"SELECT 5 AS id");
	rig_default(&r);
	submit(&r, &a, DB_LANE_WRITE, &all, 0);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.value, 5);
	run_sql("ALTER TABLE stale_t ALTER id TYPE text");
	submit(&r, &a, DB_LANE_WRITE, &all, 0);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.outcome, DB_SQL_ERROR);
	cr_expect_str_eq(a.sqlstate, DB_SQLSTATE_NOT_SUPPORTED);
	submit(&r, &a, DB_LANE_WRITE, &all, 0);
	RUN_UNTIL(&r, a.is_done);
	cr_expect_eq(a.outcome, DB_OK, "%s", a.message);
	rig_close(&r);
}

/* ---- servers that are not well --------------------------------------------- */

static struct db_pool_conf bad_server(
	struct rig *r, char *dir, struct sockaddr_un *addr_r)
{
	cr_assert_not_null(mkdtemp(dir));
	*addr_r = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(addr_r->sun_path, sizeof(addr_r->sun_path), "%s/.s.PGSQL.5432",
		dir);
	memset(r, 0, sizeof(*r));
	return defaults(r, conninfo_of(dir));
}

static void remove_bad_server(const char *dir, const struct sockaddr_un *addr)
{
	unlink(addr->sun_path);
	rmdir(dir);
}

Test(pool, a_silent_server_is_refused_after_a_moment, .timeout = 30)
{
	char dir[] = "/tmp/gamed-db.XXXXXX";
	struct sockaddr_un addr;
	struct rig r;
	struct call c;
	struct db_pool_conf conf = bad_server(&r, dir, &addr);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	uint64_t start = clock_mono_ms();

	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 16), 0);
	rig_open(&r, &conf);
	submit(&r, &c, DB_LANE_WRITE, &stmt_echo, 1);
	RUN_UNTIL(&r, c.is_done);
	cr_expect_eq(c.outcome, DB_UNAVAILABLE);
	cr_expect_geq(c.done_ms - start, 95);
	cr_expect_lt(c.done_ms - start, 1000);
	rig_close(&r);
	close(fd);
	remove_bad_server(dir, &addr);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd,
	struct sockaddr *sa, int len, void *arg)
{
	unsigned *accepts = arg;

	(void)l;
	(void)sa;
	(void)len;
	(*accepts)++;
	close(fd);
}

Test(pool, one_connection_tries_while_all_are_down, .timeout = 30)
{
	char dir[] = "/tmp/gamed-db.XXXXXX";
	struct sockaddr_un addr;
	struct rig r;
	struct db_pool_conf conf = bad_server(&r, dir, &addr);
	struct evconnlistener *l;
	unsigned accepts = 0;
	uint64_t start;

	conf.read_conns = 8;
	rig_open(&r, &conf);
	l = evconnlistener_new_bind(r.base, on_accept, &accepts,
		LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)&addr,
		sizeof(addr));
	cr_assert_not_null(l);
	start = clock_mono_ms();
	while (clock_mono_ms() - start < 1000)
		turn(&r);
	/* at 0, 100, 300 and 700 ms, give or take the jitter */
	cr_expect_geq(accepts, 3);
	cr_expect_leq(accepts, 5, "%u attempts", accepts);
	evconnlistener_free(l);
	rig_close(&r);
	remove_bad_server(dir, &addr);
}

Test(pool, a_server_that_stops_and_returns, .timeout = 60)
{
	char dir[] = "/tmp/gamed-db.XXXXXX";
	struct rig r;
	struct call w, c;
	struct db_pool_conf conf;
	uint64_t start;

	cr_assert_not_null(mkdtemp(dir));
	pg_private("start", dir);
	memset(&r, 0, sizeof(r));
	conf = defaults(&r, conninfo_of(dir));
	rig_open(&r, &conf);
	RUN_UNTIL(&r, r.states == 1);
	submit(&r, &w, DB_LANE_WRITE, &stmt_sleep, 30);
	pg_private("stop", dir);
	RUN_UNTIL(&r, w.is_done && r.states == 2);
	cr_expect_eq(w.outcome, DB_LOST);
	cr_expect_not(db_pool_healthy(r.pool));
	for (int i = 0; i < 2; i++) {
		start = clock_mono_ms();
		submit(&r, &c, i ? DB_LANE_WRITE : DB_LANE_READ, &stmt_echo, 1);
		RUN_UNTIL(&r, c.is_done);
		cr_expect_eq(c.outcome, DB_UNAVAILABLE);
		cr_expect_lt(c.done_ms - start, 100);
		cr_expect_neq(c.message[0], '\0');
	}
	pg_private("start", dir);
	RUN_UNTIL(&r, r.states == 3);
	submit(&r, &c, DB_LANE_WRITE, &stmt_echo, 3);
	RUN_UNTIL(&r, c.is_done);
	cr_expect_eq(c.value, 3);
	rig_close(&r);
	pg_private("clean", dir);
}

/* Of the lanes that share one server, one has the only connection allowed. */
Test(pool, a_lane_that_cannot_connect_refuses_alone, .timeout = 60)
{
	char text[256];
	struct rig r;
	struct call c[DB_LANES];
	struct db_pool_conf conf;
	struct db_pool_stats st;
	uint64_t start;
	unsigned ok_cnt = 0;

	run_sql("CREATE ROLE test_limited LOGIN CONNECTION LIMIT 1");
	snprintf(text, sizeof(text),
		"host=%s user=test_limited dbname=postgres sslmode=disable",
		getenv(CLUSTER_ENV));
	memset(&r, 0, sizeof(r));
	conf = defaults(&r, text);
	conf.read_conns = conf.write_conns = conf.long_conns = 1;
	rig_open(&r, &conf);
	RUN_UNTIL(&r, ({
		db_pool_stats(r.pool, &st);
		st.conns_down == 2 && metric_slot(0, M_DB_CONNECTS_FAILED) > 0;
	}));
	start = clock_mono_ms();
	for (unsigned i = 0; i < DB_LANES; i++)
		submit(&r, &c[i], (enum db_lane)i, &stmt_echo, 1);
	for (unsigned i = 0; i < DB_LANES; i++) {
		RUN_UNTIL(&r, c[i].is_done);
		ok_cnt += c[i].outcome == DB_OK;
		if (c[i].outcome == DB_OK)
			continue;
		cr_expect_eq(c[i].outcome, DB_UNAVAILABLE, "lane %u", i);
		cr_expect_lt(c[i].done_ms - start, 1000, "lane %u", i);
	}
	cr_expect_eq(ok_cnt, 1);
	cr_expect_neq(c[DB_LANE_LONG].outcome, DB_OK, "the last to get one");
	cr_expect_not(db_pool_healthy(r.pool));
	run_sql("ALTER ROLE test_limited CONNECTION LIMIT -1");
	await_up(&r);
	for (unsigned i = 0; i < DB_LANES; i++)
		submit(&r, &c[i], (enum db_lane)i, &stmt_echo, 1);
	for (unsigned i = 0; i < DB_LANES; i++) {
		RUN_UNTIL(&r, c[i].is_done);
		cr_expect_eq(c[i].outcome, DB_OK, "lane %u", i);
	}
	rig_close(&r);
}
