/*
 * Unit tests of src/db against a real Postgres, made for this run by
 * t/lib/pg-private.  Tests that stop or crash a server make one of their own.
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "db/db_array.h"
#include "db/db_sqlstate.h"
#include "db/db_sync.h"

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
