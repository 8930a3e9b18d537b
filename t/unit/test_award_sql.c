/*
 * Unit tests of store_award_sql.h and store_admin.c against a real Postgres,
 * made for this run by t/lib/pg-private; each test has a database of its own.
 */
#include <sys/wait.h>

#include "db/db_array.h"
#include "sql_help.h"
#include "store/store_award_sql.h"

#define BATCH_MAX 64

/* ---- batches ---- */

struct award {
	const char *user;
	int task;
	const char *key;
	int points;
	const char *data;
	/* out */
	bool inserted;
	bool made_user;
	int64_t created_us;
};

#define ARRAYS 12

static const enum db_array_type array_types[ARRAYS] = {DB_ARRAY_UUID,
	DB_ARRAY_UUID, DB_ARRAY_TEXT, DB_ARRAY_UUID, DB_ARRAY_INT4,
	DB_ARRAY_TEXT, DB_ARRAY_TEXT, DB_ARRAY_TEXT, DB_ARRAY_TEXT,
	DB_ARRAY_TEXT, DB_ARRAY_INT4, DB_ARRAY_TEXT};

static void put(struct db_array *a, const struct award *w)
{
	struct uuid id, task = {{0}};

	uuid_make_v7(&id);
	task.b[6] = 0x40;
	task.b[8] = 0x80;
	task.b[15] = (uint8_t)w->task;
	db_array_uuid(&a[0], &id);
	db_array_uuid(&a[1], &id);
	db_array_text(&a[2], str_from(w->user));
	db_array_uuid(&a[3], &task);
	db_array_i32(&a[4], w->points);
	db_array_text(&a[5], str_from("case"));
	db_array_text(&a[6], str_from(w->key));
	db_array_text(&a[7], str_from(w->data));
	db_array_text(&a[8], str_from("gme_live_unittest"));
	db_array_text(&a[9], str_from("default"));
	db_array_null(&a[10]);
	db_array_text(&a[11], str_from(NULL));
}

/* 0, or -1 with the SQLSTATE in the connection. */
static int award(struct db_sync *db, struct award *w, int cnt)
{
	static const struct db_stmt stmt = {.name = "award",
		.sql = STORE_AWARD_SQL,
		.nparams = sizeof(STORE_AWARD_TYPES) - 1,
		.types = STORE_AWARD_TYPES};
	struct db_array a[ARRAYS] = {0};
	struct db_param params[ARRAYS + 1];
	const struct db_res *res;
	struct err err;
	int64_t ord;
	int rc;

	for (int i = 0; i < ARRAYS; i++)
		db_array_begin(&a[i], array_types[i]);
	for (int i = 0; i < cnt; i++)
		put(a, &w[i]);
	for (int i = 0; i < ARRAYS; i++)
		params[i] = db_array_param(&a[i]);
	params[ARRAYS] = (struct db_param){.p = "100"};
	rc = db_sync_exec(db, &stmt, params, &res, &err);
	for (int i = 0; i < ARRAYS; i++)
		db_array_fini(&a[i]);
	if (rc < 0)
		return -1;
	cr_assert_eq(db_res_rows(res), cnt);
	for (int i = 0; i < cnt; i++) {
		struct award *to;

		cr_assert(db_row_i64(res, i, 0, &ord));
		to = &w[ord - 1];
		cr_assert(db_row_bool(res, i, 1, &to->inserted));
		cr_assert(db_row_bool(res, i, 2, &to->made_user));
		cr_assert_eq(
			db_row_i64(res, i, 3, &to->created_us), to->inserted);
	}
	db_sync_res_free(&res);
	return 0;
}

static void tell(void *arg, const struct store_difference *d)
{
	(void)arg;
	fprintf(stderr, "%s user=%s task=%s id=%s: expected %s, found %s\n",
		d->kind, d->user, d->task, d->id, d->expected, d->found);
}

static int64_t differences(struct db_sync *db)
{
	struct store_books books;
	struct err err;

	cr_assert_eq(store_verify_points(db, tell, NULL, &books, &err), 0, "%s",
		err.text);
	return books.differences;
}

Test(award, makes_users_wallets_and_ledger)
{
	struct db_sync *db = make_db("makes");
	struct award w[] = {
		{.user = "b",
			.task = 1,
			.key = "k1",
			.points = 5,
			.data = "{\"minutes\": 3}"},
		{.user = "a", .task = 1, .key = "k1", .points = 7},
		{.user = "b",
			.task = 2,
			.key = "k1",
			.points = -2,
			.data = "{}"},
	};

	cr_assert_eq(award(db, w, 3), 0, "%s", db_sync_sqlstate(db));
	for (int i = 0; i < 3; i++)
		cr_assert(w[i].inserted);
	cr_assert(w[0].made_user && w[1].made_user && !w[2].made_user);
	cr_assert_neq(w[0].created_us, w[2].created_us);
	cr_assert_eq(number(db, "SELECT count(*) FROM users WHERE "
				"\"apiKey_used\" = 'gme_live_unittest'"),
		2);
	cr_assert_eq(
		number(db, "SELECT \"pointsBalance\"::bigint FROM wallet w "
			   "JOIN users u ON u.id = w.\"userId\" "
			   "WHERE \"externalUserId\" = 'b' AND "
			   "\"coinsBalance\" = 0 AND "
			   "\"conversionRate\" = 100"),
		3);
	cr_assert_eq(number(db, "SELECT count(*) FROM userpoints p "
				"JOIN wallettransactions t ON t.id = p.id "
				"AND t.points = p.points AND t.coins = 0 AND "
				"t.data IS NOT DISTINCT FROM p.data AND "
				"t.\"transactionType\" = 'AssignPoints' AND "
				"t.\"appliedConversionRate\" = 0 AND "
				"p.description = 'Points assigned by GAME'"),
		3);
	cr_assert_eq(differences(db), 0);
	db_sync_close(&db);
}

Test(award, one_key_awards_once)
{
	struct db_sync *db = make_db("once");
	struct award w[] = {
		{.user = "a", .task = 1, .key = "k", .points = 5},
		{.user = "a", .task = 1, .key = "k", .points = 9},
		{.user = "a", .task = 2, .key = "k", .points = 1},
	};

	cr_assert_eq(award(db, w, 3), 0);
	cr_assert(w[0].inserted && !w[1].inserted && w[2].inserted);
	cr_assert(w[0].made_user && !w[1].made_user);
	cr_assert_eq(award(db, w, 3), 0);
	for (int i = 0; i < 3; i++)
		cr_assert(!w[i].inserted && !w[i].made_user);
	cr_assert_eq(
		number(db, "SELECT \"pointsBalance\"::bigint FROM wallet"), 6);
	cr_assert_eq(differences(db), 0);
	db_sync_close(&db);
}

Test(award, of_an_unknown_task_stores_nothing)
{
	struct db_sync *db = make_db("unknown");
	struct award w[] = {
		{.user = "a", .task = 1, .key = "k", .points = 5},
		{.user = "b", .task = 77, .key = "k", .points = 9},
	};

	cr_assert_eq(award(db, w, 2), -1);
	cr_assert_str_eq(db_sync_sqlstate(db), "23503");
	cr_assert_eq(number(db, "SELECT (SELECT count(*) FROM users) + "
				"(SELECT count(*) FROM gamed.agg_task)"),
		0);
	db_sync_close(&db);
}

/* Batches that share users, tasks and keys, in every order. */
static void race(int start_fd, unsigned seed, int batches)
{
	struct db_sync *db = open_db("race");
	static char users[BATCH_MAX][24], keys[BATCH_MAX][24];
	struct award w[BATCH_MAX];
	int inserted = 0;
	char c, sql[96];

	(void)!read(start_fd, &c, 1); /* EOF starts all at once */
	for (int b = 0; b < batches; b++) {
		for (int i = 0; i < BATCH_MAX; i++) {
			/* new users in every fourth round only: making them
			 * puts the writers in a queue */
			snprintf(users[i], sizeof(users[i]), "u%d-%d",
				b % 4 ? 0 : b, rand_r(&seed) % 3);
			snprintf(keys[i], sizeof(keys[i]), "k%d-%d", b,
				rand_r(&seed) % 8);
			w[i] = (struct award){.user = users[i],
				.key = keys[i],
				.task = 1 + rand_r(&seed) % 4,
				.points = rand_r(&seed) % 100,
				.data = "{\"minutes\": \"1.5\"}"};
		}
		if (award(db, w, BATCH_MAX) < 0) {
			fprintf(stderr, "batch failed: %s\n",
				db_sync_sqlstate(db));
			_exit(1);
		}
		for (int i = 0; i < BATCH_MAX; i++)
			inserted += w[i].inserted;
	}
	snprintf(sql, sizeof(sql), "INSERT INTO won VALUES (%d)", inserted);
	script(db, sql);
	db_sync_close(&db);
	_exit(0);
}

Test(award, batches_that_cross_neither_deadlock_nor_double)
{
	struct db_sync *db = make_db("race");
	int status, start[2];

	script(db, "CREATE TABLE won (n int)");
	cr_assert_eq(pipe(start), 0);
	for (unsigned i = 0; i < 4; i++)
		if (fork() == 0) {
			close(start[1]);
			race(start[0], i + 1, 40);
		}
	close(start[1]);
	close(start[0]);
	for (int i = 0; i < 4; i++) {
		cr_assert_geq(wait(&status), 0);
		cr_assert_eq(status, 0);
	}
	cr_assert_gt(number(db, "SELECT count(*) FROM userpoints"), 1000);
	cr_assert_eq(number(db, "SELECT sum(n) FROM won"),
		number(db, "SELECT count(*) FROM userpoints"));
	cr_assert_eq(differences(db), 0);
	db_sync_close(&db);
}

/* ---- the read ---- */

static const struct db_res *score(
	struct db_sync *db, const char *user, const char *key)
{
	static const struct db_stmt stmt = {.name = "score",
		.sql = STORE_SCORE_READ_SQL,
		.nparams = 5,
		.types = STORE_SCORE_READ_TYPES};
	struct db_param p[] = {{.p = "00000000-0000-4000-8000-000000000001"},
		{.p = user}, {.p = key}, {.p = "t"}, {.p = "300"}};
	const struct db_res *res;
	struct err err;

	cr_assert_eq(db_sync_exec(db, &stmt, p, &res, &err), 0, "%s", err.text);
	cr_assert_eq(db_res_rows(res), 1);
	return res;
}

static int64_t col(const struct db_res *res, int c)
{
	int64_t v;

	return db_row_i64(res, 0, c, &v) ? v : INT64_MIN;
}

Test(score, reads_what_the_awards_left)
{
	struct db_sync *db = make_db("score");
	struct award w[] = {
		{.user = "a", .task = 1, .key = "k1", .points = 5},
		{.user = "a", .task = 1, .key = "k2", .points = 6},
		{.user = "b", .task = 1, .key = "k1", .points = 7},
		{.user = "a", .task = 1, .key = "k3", .points = 8},
	};
	const struct db_res *res = score(db, "a", "k1");
	struct uuid id;

	cr_assert(!db_row_uuid(res, 0, 0, &id));
	cr_assert_eq(col(res, 5), 0);
	cr_assert_eq(col(res, 10), 0);
	cr_assert_eq(col(res, 13), 0);
	db_sync_res_free(&res);

	for (int i = 0; i < 4; i++)
		cr_assert_eq(award(db, &w[i], 1), 0);
	res = score(db, "a", "k2");
	cr_assert(db_row_uuid(res, 0, 0, &id));
	cr_assert(db_row_uuid(res, 0, 1, &id));
	cr_assert_eq(col(res, 2), 6);
	cr_assert_eq(col(res, 4), w[1].created_us);
	cr_assert_eq(col(res, 5), 3);
	cr_assert_eq(col(res, 6), w[0].created_us);
	cr_assert_eq(col(res, 7), w[3].created_us);
	cr_assert_eq(col(res, 8), w[1].created_us);
	cr_assert_eq(col(res, 9), col(res, 14) - w[3].created_us);
	cr_assert_gt(col(res, 9), 0);
	cr_assert_eq(col(res, 10), 4);
	cr_assert_eq(col(res, 11), w[0].created_us);
	cr_assert_eq(col(res, 12), w[3].created_us);
	cr_assert_eq(col(res, 13), 3);
	db_sync_res_free(&res);

	res = score(db, "b", NULL);
	cr_assert(!db_row_uuid(res, 0, 1, &id));
	cr_assert_eq(col(res, 5), 1);
	cr_assert_eq(col(res, 8), INT64_MIN);
	db_sync_res_free(&res);
	db_sync_close(&db);
}

/* Rows that the plan of a read looked at in vain. */
static int64_t wasted(struct db_sync *db, const struct db_stmt *stmt,
	const struct db_param *params)
{
	static const char mark[] = "Rows Removed by Filter: ";
	const struct db_res *res;
	struct err err;
	struct str line;
	int64_t sum = 0;

	cr_assert_eq(
		db_sync_exec(db, stmt, params, &res, &err), 0, "%s", err.text);
	for (int i = 0; i < db_res_rows(res); i++) {
		const char *at;

		cr_assert(db_row_str(res, i, 0, &line));
		at = strstr(line.p, mark);
		if (at)
			sum += strtol(at + sizeof(mark) - 1, NULL, 10);
	}
	db_sync_res_free(&res);
	return sum;
}

#define MANY_AWARDS                                                    \
	"INSERT INTO userpoints (id, created_at, points, \"userId\", " \
	"\"taskId\", \"idempotencyKey\") SELECT gen_random_uuid(), "   \
	"now() - i * interval '1 minute', i, u.id, t.id, 'k' || i "    \
	"FROM users u, tasks t, "

Test(score, finds_a_key_among_many_awards)
{
	static const struct db_stmt reads[] = {
		{.name = "score",
			.sql = "EXPLAIN (ANALYZE) " STORE_SCORE_READ_SQL,
			.nparams = 5,
			.types = STORE_SCORE_READ_TYPES},
		{.name = "replay",
			.sql = "EXPLAIN (ANALYZE) " STORE_AWARD_REPLAY_SQL,
			.nparams = 3,
			.types = STORE_AWARD_REPLAY_TYPES},
	};
	const struct db_param p[] = {
		{.p = "00000000-0000-4000-8000-000000000001"}, {.p = "a"},
		{.p = "k1500"}, {.p = "t"}, {.p = "300"}};
	struct db_sync *db = make_db("many");
	const struct db_res *res;

	/* statistics that know nothing of the one busy user */
	script(db,
		"SET plan_cache_mode = force_generic_plan;"
		"INSERT INTO users (id, \"externalUserId\") SELECT "
		"gen_random_uuid(), CASE i WHEN 1 THEN 'a' ELSE 'u' || i END "
		"FROM generate_series(1, 2000) i;" MANY_AWARDS
		"generate_series(0, 0) i; ANALYZE;" MANY_AWARDS
		"generate_series(1, 3000) i WHERE u.\"externalUserId\" = 'a'");
	for (size_t i = 0; i < NELEM(reads); i++)
		cr_assert_lt(
			wasted(db, &reads[i], p), 100, "%s", reads[i].name);
	res = score(db, "a", "k1500");
	cr_assert_eq(col(res, 2), 1500);
	db_sync_res_free(&res);
	db_sync_close(&db);
}
