/*
 * store_admin.c - migrations, API keys and the check of the books, over one
 * blocking connection.  gamectl runs it; a worker must not.
 */
#include "store/store_admin.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sha256.h"
#include "base/uuid.h"
#include "db/db_sync.h"
#include "store/store_schema.h"

#define FILE_MAX_BYTES (4U << 20)

/* A statement and its parameters, all in text form. */
static int query(struct db_sync *db, const struct db_stmt *stmt,
	const char *const *params, const struct db_res **res_r,
	struct err *err_r)
{
	struct db_param p[DB_PARAMS_MAX] = {0};

	for (int i = 0; i < stmt->nparams; i++)
		p[i].p = params[i];
	return db_sync_exec(db, stmt, p, res_r, err_r);
}

/* NUL-terminated, inside the result; NULL for SQL NULL. */
static const char *text(const struct db_res *res, int row, int col)
{
	struct str s;

	return db_row_str(res, row, col, &s) ? s.p : NULL;
}

/* ---- migrations ---- */

/* NNNN_name.sql; 0 when the name is another. */
static int migration_number(const char *name)
{
	size_t len = strlen(name);

	if (len < 10 || len >= STORE_MIGRATION_NAME_MAX || name[4] != '_' ||
		strcmp(name + len - 4, ".sql") != 0 ||
		strspn(name, "0123456789") < 4)
		return 0;
	return (name[0] - '0') * 1000 + (name[1] - '0') * 100 +
	       (name[2] - '0') * 10 + (name[3] - '0');
}

static int by_version(const void *a, const void *b)
{
	const struct store_migration *x = a, *y = b;

	return (x->version > y->version) - (x->version < y->version);
}

static int check_sequence(const char *dir, const struct store_migration_list *l,
	struct err *err_r)
{
	for (unsigned i = 0; i < l->cnt; i++)
		if (l->v[i].version != (int)i + 1)
			return err_set(err_r, ERR_INVALID,
				"%s: found %s where version %u belongs", dir,
				l->v[i].name, i + 1);
	if (l->cnt != SCHEMA_VERSION)
		return err_set(err_r, ERR_INVALID,
			"%s: holds %u migrations, this program needs %d", dir,
			l->cnt, SCHEMA_VERSION);
	return 0;
}

int store_migration_list(
	const char *dir, struct store_migration_list *l_r, struct err *err_r)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int version;

	l_r->v = NULL;
	l_r->cnt = 0;
	if (!d)
		return err_set_errno(err_r, "cannot read %s", dir);
	while ((e = readdir(d)) != NULL) {
		struct store_migration *m;

		version = migration_number(e->d_name);
		if (version == 0)
			continue;
		l_r->v = realloc(l_r->v, (l_r->cnt + 1) * sizeof(*l_r->v));
		if (!l_r->v)
			fatal("out of memory");
		m = &l_r->v[l_r->cnt++];
		m->version = version;
		snprintf(m->name, sizeof(m->name), "%s", e->d_name);
	}
	closedir(d);
	if (l_r->cnt > 0)
		qsort(l_r->v, l_r->cnt, sizeof(*l_r->v), by_version);
	if (check_sequence(dir, l_r, err_r) < 0) {
		store_migration_list_free(l_r);
		return -1;
	}
	return 0;
}

void store_migration_list_free(struct store_migration_list *l)
{
	free(l->v);
	l->v = NULL;
	l->cnt = 0;
}

int store_schema_version(
	struct db_sync *db, int64_t *version_r, struct err *err_r)
{
	static const struct db_stmt stmt = {.name = "schema_version",
		.sql = SCHEMA_VERSION_SQL,
		.types = ""};
	const struct db_res *res;

	*version_r = 0;
	if (db_sync_exec(db, &stmt, NULL, &res, err_r) < 0) {
		if (strcmp(db_sync_sqlstate(db), SCHEMA_MISSING_SQLSTATE) == 0)
			return 0;
		return -1;
	}
	(void)db_row_i64(res, 0, 0, version_r);
	db_sync_res_free(&res);
	return 0;
}

static int read_file(const char *path, struct buf *b, struct err *err_r)
{
	FILE *f = fopen(path, "re");
	size_t n;
	int rc = -1;

	if (!f)
		return err_set_errno(err_r, "cannot read %s", path);
	do {
		char *p = buf_reserve(b, 65536);

		n = p ? fread(p, 1, 65536, f) : 0;
		b->len += n;
	} while (n > 0);
	if (ferror(f))
		(void)err_set_errno(err_r, "cannot read %s", path);
	else if (b->overflow || memchr(b->p, '\0', b->len))
		(void)err_set(err_r, ERR_INVALID, "%s: not an SQL file", path);
	else
		rc = 0;
	fclose(f);
	buf_add_char(b, '\0');
	return rc;
}

/*
 * In a database of version 0 nothing may bear a name of ours: to go on would
 * stop half-way, or mix our tables with another program's.
 */
static int refuse_foreign_tables(struct db_sync *db, struct err *err_r)
{
	static const char sql[] =
		"SELECT current_database(), "
		"string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname) "
		"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
		"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (n.nspname = "
		"'gamed' OR n.nspname = 'public' AND c.relname IN ('apikey', "
		"'oauthusers', 'users', 'games', 'gamesparams', 'tasks', "
		"'tasksparams', 'userpoints', 'useractions', 'usergameconfig', "
		"'wallet', 'wallettransactions', 'logs', "
		"'abuse_limit_counter', "
		"'exportauditlog', 'strategydefinition', "
		"'strategyexecutionlog', 'kpimetrics', 'apirequests', "
		"'uptimelogs', 'alembic_version'))";
	static const struct db_stmt stmt = {
		.name = "foreign_tables", .sql = sql, .types = ""};
	const struct db_res *res;
	struct str name, tables;
	int rc = 0;

	if (db_sync_exec(db, &stmt, NULL, &res, err_r) < 0)
		return -1;
	if (db_row_str(res, 0, 1, &tables) && db_row_str(res, 0, 0, &name))
		rc = err_set(err_r, ERR_CONFLICT,
			"database %.*s holds tables of another program (%.*s): "
			"migrate makes its tables in a database without them",
			STR_ARG(name), STR_ARG(tables));
	db_sync_res_free(&res);
	return rc;
}

static int apply(struct db_sync *db, const char *dir,
	const struct store_migration *m, struct err *err_r)
{
	static const struct db_stmt done = {.name = "schema_applied",
		.sql = "INSERT INTO gamed.schema_version (version, name) "
		       "VALUES ($1, $2)",
		.nparams = 2,
		.types = "it"};
	char path[4096], version[16];
	const char *params[] = {version, m->name};
	struct err why;
	struct buf sql;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, m->name);
	snprintf(version, sizeof(version), "%d", m->version);
	buf_init(&sql, FILE_MAX_BYTES);
	if (read_file(path, &sql, &why) < 0 || db_sync_begin(db, &why) < 0 ||
		db_sync_script(db, sql.p, &why) < 0 ||
		query(db, &done, params, NULL, &why) < 0 ||
		db_sync_commit(db, &why) < 0) {
		db_sync_rollback(db);
		rc = err_set(err_r, why.code, "%s: %s", m->name, why.text);
	}
	buf_fini(&sql);
	return rc;
}

static int migrate_locked(struct db_sync *db, const char *dir,
	const struct store_migration_list *l, store_migrated_cb cb, void *arg,
	int64_t *partitions_r, struct err *err_r)
{
	static const struct db_stmt partition = {.name = "make_partition",
		.sql = "SELECT gamed.make_partition(1)",
		.types = ""};
	const struct db_res *res;
	int64_t version;

	if (store_schema_version(db, &version, err_r) < 0)
		return -1;
	if (version > SCHEMA_VERSION)
		return err_set(err_r, ERR_CONFLICT, SCHEMA_NEWER_FMT,
			(long long)version, SCHEMA_VERSION);
	if (version == 0 && refuse_foreign_tables(db, err_r) < 0)
		return -1;
	for (unsigned i = (unsigned)version; i < l->cnt; i++) {
		if (apply(db, dir, &l->v[i], err_r) < 0)
			return -1;
		cb(arg, &l->v[i]);
	}
	for (;; ++*partitions_r) {
		struct str name;
		bool is_made;

		if (db_sync_exec(db, &partition, NULL, &res, err_r) < 0)
			return -1;
		is_made = db_row_str(res, 0, 0, &name);
		db_sync_res_free(&res);
		if (!is_made)
			return 0;
	}
}

int store_migrate(struct db_sync *db, const char *dir,
	const struct store_migration_list *l, store_migrated_cb cb, void *arg,
	int64_t *partitions_r, struct err *err_r)
{
	static const char lock[] =
		"SET search_path = public; SET lock_timeout = 0; "
		"SET statement_timeout = 0; "
		"SELECT pg_advisory_lock(hashtext('gamed.migrate'))";
	struct err ignored;
	int rc;

	*partitions_r = 0;
	if (db_sync_script(db, lock, err_r) < 0)
		return -1;
	rc = migrate_locked(db, dir, l, cb, arg, partitions_r, err_r);
	(void)!db_sync_script(db,
		"SELECT pg_advisory_unlock(hashtext('gamed.migrate'))",
		&ignored);
	return rc;
}

/* ---- API keys ---- */

/* len is a multiple of 3, so that no padding is needed. */
static void base64url(const uint8_t *in, size_t len, char *out)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz0123456789-_";

	for (; len >= 3; len -= 3, in += 3) {
		*out++ = digit[in[0] >> 2];
		*out++ = digit[(in[0] & 3) << 4 | in[1] >> 4];
		*out++ = digit[(in[1] & 15) << 2 | in[2] >> 6];
		*out++ = digit[in[2] & 63];
	}
	*out = '\0';
}

static void make_key(struct store_new_apikey *k)
{
	uint8_t rnd[6 + 24];
	char name[8 + 1], secret[32 + 1];

	rnd_bytes(rnd, sizeof(rnd));
	base64url(rnd, 6, name);
	base64url(rnd + 6, 24, secret);
	snprintf(k->prefix, sizeof(k->prefix), "gme_live_%s", name);
	snprintf(k->key, sizeof(k->key), "%s.%s", k->prefix, secret);
}

int store_apikey_create(struct db_sync *db, const char *client,
	const char *description, bool admin, struct store_new_apikey *k_r,
	struct err *err_r)
{
	static const char sql[] =
		"WITH k AS (INSERT INTO public.apikey (id, created_at, "
		"updated_at, \"apiKey\", client, description, active, "
		"\"createdBy\", \"apiKeyHash\") VALUES ($1, now(), "
		"now(), $2, $3, $4, true, 'gamectl', $5) "
		"ON CONFLICT DO NOTHING RETURNING \"apiKey\"), "
		"a AS (INSERT INTO gamed.admin_key (prefix) "
		"SELECT \"apiKey\" FROM k WHERE $6), "
		"d AS (SELECT \"apiKey\", json_build_object('client', "
		"$3::text, 'description', $4::text) AS said FROM k), "
		"l AS (INSERT INTO public.logs (id, created_at, updated_at, "
		"log_level, module, message, details) "
		"SELECT gen_random_uuid(), now(), now(), 'INFO', 'api_key', "
		"'Creating API key', said FROM d UNION ALL "
		/* stands behind the first by its time */
		"SELECT gen_random_uuid(), now() + interval '1 microsecond', "
		"now(), 'SUCCESS', 'api_key', 'API key created successfully', "
		"json_build_object('client', $3::text, 'description', "
		"$4::text, 'apiKey', \"apiKey\") FROM d) "
		"SELECT count(*) FROM k";
	static const struct db_stmt stmt = {.name = "apikey_create",
		.sql = sql,
		.nparams = 6,
		.types = "uttttb"};
	char id[UUID_TEXT_LEN + 1], hash[SHA256_HEX_LEN + 1];
	const char *params[] = {
		id, k_r->prefix, client, description, hash, admin ? "t" : "f"};
	const struct db_res *res;
	struct uuid u;
	int64_t made = 0;

	do {
		make_key(k_r);
		uuid_make_v7(&u);
		uuid_print(&u, id);
		sha256_hex(str_from(k_r->key), hash);
		if (query(db, &stmt, params, &res, err_r) < 0)
			return -1;
		(void)db_row_i64(res, 0, 0, &made);
		db_sync_res_free(&res);
	} while (made == 0);
	return 0;
}

int store_apikey_list(
	struct db_sync *db, store_apikey_cb cb, void *arg, struct err *err_r)
{
	static const char sql[] =
		"SELECT k.\"apiKey\", k.client, k.description, "
		"to_char(k.created_at AT TIME ZONE 'UTC', "
		"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
		"coalesce(k.active, false), a.prefix IS NOT NULL "
		"FROM public.apikey k "
		"LEFT JOIN gamed.admin_key a ON a.prefix = k.\"apiKey\" "
		"ORDER BY k.created_at NULLS FIRST, k.id";
	static const struct db_stmt stmt = {
		.name = "apikey_list", .sql = sql, .types = ""};
	const struct db_res *res;
	struct store_apikey k;

	if (db_sync_exec(db, &stmt, NULL, &res, err_r) < 0)
		return -1;
	for (int i = 0; i < db_res_rows(res); i++) {
		k.prefix = text(res, i, 0);
		k.client = text(res, i, 1);
		k.description = text(res, i, 2);
		k.created_at = text(res, i, 3);
		(void)db_row_bool(res, i, 4, &k.active);
		(void)db_row_bool(res, i, 5, &k.admin);
		cb(arg, &k);
	}
	db_sync_res_free(&res);
	return 0;
}

int store_apikey_revoke(struct db_sync *db, const char *prefix,
	bool *was_active_r, struct err *err_r)
{
	/* FOR UPDATE, so that of two revocations one finds it active. */
	static const char sql[] =
		"WITH k AS (SELECT id, coalesce(active, false) AS active "
		"FROM public.apikey WHERE \"apiKey\" = $1 FOR UPDATE), "
		"r AS (UPDATE public.apikey a SET active = false, "
		"updated_at = now() FROM k WHERE a.id = k.id AND k.active), "
		"l AS (INSERT INTO public.logs (id, created_at, updated_at, "
		"log_level, module, message, details) "
		"SELECT gen_random_uuid(), now(), now(), 'SUCCESS', "
		"'api_key', 'API key revoked successfully', "
		"json_build_object('prefix', $1) FROM k) "
		"SELECT active FROM k";
	static const struct db_stmt stmt = {.name = "apikey_revoke",
		.sql = sql,
		.nparams = 1,
		.types = "t"};
	const struct db_res *res;
	int rc = 0;

	if (query(db, &stmt, &prefix, &res, err_r) < 0)
		return -1;
	if (db_res_rows(res) == 0)
		rc = err_set(
			err_r, ERR_NOT_FOUND, "there is no API key %s", prefix);
	else
		(void)db_row_bool(res, 0, 0, was_active_r);
	db_sync_res_free(&res);
	return rc;
}

/* ---- the books ---- */

#define BOOKS_CURSOR "DECLARE books NO SCROLL CURSOR FOR "

/* Every cursor returns kind, user, task, id, expected, found. */
static const char *const books_sql[] = {
	/*
	 * By user: wallet = awards - conversions, ledger = awards.  Awards that
	 * went with their task are known by number and sum only, so among the
	 * rows of some points the ledger may have more, but never fewer, than
	 * there are awards.
	 */
	BOOKS_CURSOR
	"WITH heap AS (SELECT user_id, points, "
	"count(*) FILTER (WHERE what = 'award') AS n, "
	"count(*) FILTER (WHERE what = 'AssignPoints') AS entry_n, "
	"count(*) FILTER (WHERE what = 'ConvertPointsToCoins') AS spent_n "
	"FROM (SELECT \"userId\", points, 'award' FROM public.userpoints "
	"WHERE \"userId\" IS NOT NULL UNION ALL "
	"SELECT w.\"userId\", t.points, t.\"transactionType\" "
	"FROM public.wallettransactions t "
	"JOIN public.wallet w ON w.id = t.\"walletId\" "
	"WHERE t.\"transactionType\" IN ('AssignPoints', "
	"'ConvertPointsToCoins')) q (user_id, points, what) GROUP BY 1, 2), "
	"total AS (SELECT user_id, sum(n) AS n, sum(n * points) AS points, "
	"sum(entry_n) AS entry_n, sum(entry_n * points) AS entry_points, "
	"sum(spent_n * points) AS spent FROM heap GROUP BY 1), "
	"book AS (SELECT u.id, u.\"externalUserId\" AS ext, "
	"coalesce(w.\"pointsBalance\", 0) AS balance, "
	"coalesce(t.n, 0) + coalesce(r.n, 0) AS n, "
	"coalesce(t.points, 0) + coalesce(r.points_sum, 0) AS points, "
	"coalesce(t.entry_n, 0) AS entry_n, "
	"coalesce(t.entry_points, 0) AS entry_points, "
	"coalesce(t.spent, 0) AS spent FROM public.users u "
	"LEFT JOIN public.wallet w ON w.\"userId\" = u.id "
	"LEFT JOIN total t ON t.user_id = u.id "
	"LEFT JOIN gamed.removed_awards r ON r.user_id = u.id) "
	"SELECT v.kind, b.ext, NULL, NULL, v.expected, v.found FROM book b, "
	"LATERAL (VALUES ('wallet', format('%s points', b.points - b.spent), "
	"format('%s points', b.balance), "
	"abs(b.balance - (b.points - b.spent)::float8) > 1e-6), "
	"('ledger', format('%s rows, %s points', b.n, b.points), "
	"format('%s rows, %s points', b.entry_n, b.entry_points), "
	"b.n <> b.entry_n OR b.points <> b.entry_points)) "
	"AS v (kind, expected, found, bad) WHERE v.bad "
	"UNION ALL SELECT 'ledger', b.ext, NULL, NULL, "
	"format('%s rows of %s points', h.n, coalesce(h.points::text, 'no')), "
	"format('%s rows', h.entry_n) "
	"FROM heap h JOIN book b ON b.id = h.user_id WHERE h.n > h.entry_n "
	"AND b.n = b.entry_n AND b.points = b.entry_points "
	"UNION ALL SELECT 'wallet', NULL, NULL, w.id::text, 'a user', "
	"format('user %s, who does not exist', w.\"userId\") "
	"FROM public.wallet w LEFT JOIN public.users u ON u.id = w.\"userId\" "
	"WHERE u.id IS NULL",

	/*
	 * By row.  An award of ours and its ledger row have one id; those that
	 * the reference wrote have two and nothing that relates them.
	 */
	BOOKS_CURSOR
	"SELECT v.kind, coalesce(u.\"externalUserId\", "
	"x.\"externalUserId\"), p.\"taskId\", coalesce(p.id, t.id), "
	"v.expected, v.found FROM public.userpoints p "
	"FULL JOIN public.wallettransactions t ON t.id = p.id "
	"LEFT JOIN public.users u ON u.id = p.\"userId\" "
	"LEFT JOIN public.wallet w ON w.id = t.\"walletId\" "
	"LEFT JOIN public.users x ON x.id = w.\"userId\", "
	"LATERAL (VALUES ('award', 'a user', coalesce('user ' || "
	"p.\"userId\" || ', who does not exist', 'none'), "
	"p.id IS NOT NULL AND u.id IS NULL), "
	"('ledger', 'a wallet', coalesce('wallet ' || t.\"walletId\" || "
	"', which does not exist', 'none'), "
	"t.id IS NOT NULL AND w.id IS NULL), "
	"('ledger', 'AssignPoints or ConvertPointsToCoins', "
	"coalesce(t.\"transactionType\", 'no type'), "
	"t.id IS NOT NULL AND (t.\"transactionType\" IN ('AssignPoints', "
	"'ConvertPointsToCoins')) IS NOT TRUE), "
	"('award', format('AssignPoints of %s points for user %s', "
	"coalesce(p.points::text, 'no'), p.\"userId\"), "
	"format('%s of %s points for user %s', t.\"transactionType\", "
	"coalesce(t.points::text, 'no'), w.\"userId\"), "
	"p.id = t.id AND (t.\"transactionType\" = 'ConvertPointsToCoins' OR "
	"p.points IS DISTINCT FROM t.points OR p.\"userId\" <> w.\"userId\"))) "
	"AS v (kind, expected, found, bad) WHERE v.bad",

	BOOKS_CURSOR
	"WITH want AS (SELECT \"taskId\" AS t, \"userId\" AS u, count(*) AS n, "
	"count(points) AS pn, coalesce(sum(points), 0) AS ps, "
	"min(created_at) AS f, max(created_at) AS l, "
	"(array_agg(created_at ORDER BY created_at DESC) "
	"FILTER (WHERE created_at IS NOT NULL))[2] AS p, count(m) AS mn, "
	"coalesce(sum(m), 0) AS ms FROM (SELECT \"taskId\", \"userId\", "
	"points, "
	"created_at, gamed.minutes_of(data) AS m FROM public.userpoints "
	"WHERE \"taskId\" IS NOT NULL AND \"userId\" IS NOT NULL) q "
	"GROUP BY 1, 2) "
	"SELECT 'user_task', us.\"externalUserId\", coalesce(w.t, a.t), "
	"NULL, to_jsonb(w) - 't' - 'u', to_jsonb(a) - 't' - 'u' FROM want w "
	"FULL JOIN (SELECT task_id AS t, user_id AS u, n, points_n AS pn, "
	"points_sum AS ps, first_at AS f, last_at AS l, prev_at AS p, "
	"minutes_n AS mn, minutes_sum AS ms FROM gamed.agg_user_task) a "
	"ON a.t = w.t AND a.u = w.u "
	"LEFT JOIN public.users us ON us.id = coalesce(w.u, a.u) "
	"WHERE (w.n, w.pn, w.ps, w.f, w.l, w.p, w.mn) IS DISTINCT FROM "
	"(a.n, a.pn, a.ps, a.f, a.l, a.p, a.mn) "
	"OR abs(w.ms - a.ms) > 1e-9 * greatest(w.ms, 1)",

	BOOKS_CURSOR
	"WITH want AS (SELECT \"taskId\" AS t, count(*) AS n, "
	"count(points) AS pn, coalesce(sum(points), 0) AS ps, "
	"min(created_at) AS f, max(created_at) AS l, count(m) AS mn, "
	"coalesce(sum(m), 0) AS ms FROM (SELECT \"taskId\", points, "
	"created_at, gamed.minutes_of(data) AS m FROM public.userpoints "
	"WHERE \"taskId\" IS NOT NULL AND \"userId\" IS NOT NULL) q GROUP BY "
	"1) "
	"SELECT 'task', NULL, coalesce(w.t, a.t), NULL, to_jsonb(w) - 't', "
	"to_jsonb(a) - 't' FROM want w "
	"FULL JOIN (SELECT task_id AS t, sum(n)::bigint AS n, "
	"sum(points_n)::bigint AS pn, sum(points_sum)::bigint AS ps, "
	"min(first_at) AS f, max(last_at) AS l, sum(minutes_n)::bigint AS mn, "
	"sum(minutes_sum) AS ms FROM gamed.agg_task GROUP BY 1) a ON a.t = w.t "
	"WHERE (w.n, w.pn, w.ps, w.f, w.l, w.mn) IS DISTINCT FROM "
	"(a.n, a.pn, a.ps, a.f, a.l, a.mn) "
	"OR abs(w.ms - a.ms) > 1e-9 * greatest(w.ms, 1)",
};

static int count_books(
	struct db_sync *db, struct store_books *b_r, struct err *err_r)
{
	static const struct db_stmt stmt = {.name = "books_size",
		.sql = "SELECT (SELECT count(*) FROM public.users), "
		       "(SELECT count(*) FROM public.userpoints), "
		       "(SELECT count(*) FROM public.wallettransactions)",
		.types = ""};
	const struct db_res *res;

	if (db_sync_exec(db, &stmt, NULL, &res, err_r) < 0)
		return -1;
	(void)db_row_i64(res, 0, 0, &b_r->users);
	(void)db_row_i64(res, 0, 1, &b_r->awards);
	(void)db_row_i64(res, 0, 2, &b_r->ledger_rows);
	db_sync_res_free(&res);
	return 0;
}

/* Reads one cursor to its end, some hundred rows at a time. */
static int report_differences(struct db_sync *db, const char *cursor_sql,
	store_difference_cb cb, void *arg, struct store_books *b,
	struct err *err_r)
{
	static const struct db_stmt fetch = {.name = "books_fetch",
		.sql = "FETCH 500 FROM books",
		.types = ""};
	const struct db_res *res;
	struct store_difference d;
	int rows;

	if (db_sync_script(db, cursor_sql, err_r) < 0)
		return -1;
	do {
		if (db_sync_exec(db, &fetch, NULL, &res, err_r) < 0)
			return -1;
		rows = db_res_rows(res);
		for (int i = 0; i < rows; i++) {
			d.kind = text(res, i, 0);
			d.user = text(res, i, 1);
			d.task = text(res, i, 2);
			d.id = text(res, i, 3);
			d.expected = text(res, i, 4);
			d.found = text(res, i, 5);
			cb(arg, &d);
		}
		b->differences += rows;
		db_sync_res_free(&res);
	} while (rows > 0);
	return db_sync_script(db, "CLOSE books", err_r);
}

int store_verify_points(struct db_sync *db, store_difference_cb cb, void *arg,
	struct store_books *b_r, struct err *err_r)
{
	int rc = -1;

	memset(b_r, 0, sizeof(*b_r));
	if (db_sync_script(db,
		    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
		    "SET LOCAL statement_timeout = 0",
		    err_r) < 0 ||
		count_books(db, b_r, err_r) < 0)
		goto out;
	for (size_t i = 0; i < NELEM(books_sql); i++)
		if (report_differences(db, books_sql[i], cb, arg, b_r, err_r) <
			0)
			goto out;
	rc = 0;
out:
	db_sync_rollback(db);
	return rc;
}
