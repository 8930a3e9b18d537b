/*
 * sql_help.h - databases that have the schema, in the test's own Postgres.
 */
#ifndef UNIT_SQL_HELP_H
#define UNIT_SQL_HELP_H

#include "cluster_help.h"
#include "db/db_sync.h"
#include "store/store_admin.h"

static inline struct db_sync *open_db(const char *name)
{
	char text[256];
	struct err err;
	struct db_sync *db;

	snprintf(text, sizeof(text),
		"host=%s user=postgres dbname=%s sslmode=disable",
		getenv(CLUSTER_ENV), name);
	db = db_sync_open(text, &err);
	cr_assert_not_null(db, "%s", err.text);
	return db;
}

static inline void script(struct db_sync *db, const char *sql)
{
	struct err err;

	cr_assert_eq(db_sync_script(db, sql, &err), 0, "%s: %s", sql, err.text);
}

static inline int64_t number(struct db_sync *db, const char *sql)
{
	struct db_stmt stmt = {.name = "number", .sql = sql, .types = ""};
	const struct db_res *res;
	struct err err;
	int64_t v = INT64_MIN;

	cr_assert_eq(db_sync_exec(db, &stmt, NULL, &res, &err), 0, "%s: %s",
		sql, err.text);
	cr_assert_eq(db_res_rows(res), 1, "%s", sql);
	(void)db_row_i64(res, 0, 0, &v);
	db_sync_res_free(&res);
	return v;
}

static inline void count_step(void *arg, const struct store_migration *m)
{
	(void)m;
	++*(int *)arg;
}

#define FIXTURE                                                                \
	"INSERT INTO apikey (id, \"apiKey\", \"apiKeyHash\", active) VALUES "  \
	"(gen_random_uuid(), 'gme_live_unittest', 'h', true);"                 \
	"INSERT INTO games (id, \"externalGameId\") VALUES "                   \
	"('00000000-0000-4000-8000-00000000000a', 'g');"                       \
	"INSERT INTO tasks (id, \"externalTaskId\", \"gameId\", "              \
	"\"strategyId\", status) SELECT ('00000000-0000-4000-8000-0000000000'" \
	" || lpad(i::text, 2, '0'))::uuid, 't' || i, "                         \
	"'00000000-0000-4000-8000-00000000000a', 'default', 'open' "           \
	"FROM generate_series(1, 4) i"

/* A database with the schema, a game, an API key and tasks 1 to 4. */
static inline struct db_sync *make_db(const char *name)
{
	struct store_migration_list list;
	struct db_sync *db = open_db("postgres");
	char sql[64];
	struct err err;
	int64_t partitions;
	int steps = 0;

	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
	script(db, sql);
	db_sync_close(&db);
	db = open_db(name);
	cr_assert_eq(store_migration_list(TEST_SRCDIR "/sql", &list, &err), 0,
		"%s", err.text);
	cr_assert_eq(store_migrate(db, TEST_SRCDIR "/sql", &list, count_step,
			     &steps, &partitions, &err),
		0, "%s", err.text);
	cr_assert_eq(steps, (int)list.cnt);
	cr_assert_eq(partitions, 12);
	store_migration_list_free(&list);
	script(db, FIXTURE);
	return db;
}

#endif
