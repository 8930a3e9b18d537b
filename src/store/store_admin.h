/*
 * store_admin.h - what gamectl does to the database, over one blocking
 * connection: migrations, API keys, the check of the books.  Never linked
 * into a worker's request path.
 */
#ifndef STORE_STORE_ADMIN_H
#define STORE_STORE_ADMIN_H

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

struct db_sync;

/* ---- migrations ---- */

#define STORE_MIGRATION_NAME_MAX 64

struct store_migration {
	int version;
	char name[STORE_MIGRATION_NAME_MAX]; /* file name */
};

struct store_migration_list {
	struct store_migration *v; /* ascending, without gaps, from 1 */
	unsigned cnt;
};

/*
 * The files NNNN_name.sql of dir.  An error unless they go from 1 to
 * SCHEMA_VERSION.
 */
int store_migration_list(const char *dir, struct store_migration_list *l_r,
	struct err *err_r) MUST_CHECK;
void store_migration_list_free(struct store_migration_list *l);

/* 0 when the database holds nothing of ours. */
int store_schema_version(
	struct db_sync *db, int64_t *version_r, struct err *err_r) MUST_CHECK;

typedef void (*store_migrated_cb)(void *arg, const struct store_migration *m);

/*
 * Applies what is missing, each file in a transaction of its own, then makes
 * the partitions of this month and the next.  Holds an advisory lock
 * throughout: a second one waits and then finds nothing to do.  cb runs after
 * each commit.
 */
int store_migrate(struct db_sync *db, const char *dir,
	const struct store_migration_list *l, store_migrated_cb cb, void *arg,
	int64_t *partitions_r, struct err *err_r) MUST_CHECK;

/* ---- API keys ---- */

#define STORE_APIKEY_PREFIX_LEN 17 /* gme_live_ and 8 */
#define STORE_APIKEY_LEN        (STORE_APIKEY_PREFIX_LEN + 1 + 32)

struct store_new_apikey {
	char prefix[STORE_APIKEY_PREFIX_LEN + 1];
	char key[STORE_APIKEY_LEN + 1]; /* the plaintext, stored nowhere */
};

/*
 * Making and revoking a key leave their rows in the audit table, in the same
 * transaction.  description may be NULL.
 */
int store_apikey_create(struct db_sync *db, const char *client,
	const char *description, bool admin, struct store_new_apikey *k_r,
	struct err *err_r) MUST_CHECK;

/* Members are NULL where the column is. */
struct store_apikey {
	const char *prefix;
	const char *client;
	const char *description;
	const char *created_at; /* ISO 8601, UTC */
	bool active;
	bool admin;
};

typedef void (*store_apikey_cb)(void *arg, const struct store_apikey *k);

/* Oldest first; the key lives as long as the call of cb. */
int store_apikey_list(struct db_sync *db, store_apikey_cb cb, void *arg,
	struct err *err_r) MUST_CHECK;
/* was_active_r: false when the key had been revoked before. */
int store_apikey_revoke(struct db_sync *db, const char *prefix,
	bool *was_active_r, struct err *err_r) MUST_CHECK;

/* ---- the books ---- */

/*
 * One thing that does not agree:
 *   wallet     a user's balance; a wallet (id) without user
 *   ledger     a user's rows, or as many of some points; a row (id) without
 *              wallet or of an unknown type
 *   award      one (id) without user, or unlike the ledger row of its id
 *   user_task, task: an aggregate
 */
struct store_difference {
	const char *kind;
	const char *user; /* external user id, or NULL */
	const char *task; /* task id, or NULL */
	const char *id;   /* of the row where it is one, or NULL */
	const char *expected;
	const char *found;
};

struct store_books {
	int64_t users;
	int64_t awards;
	int64_t ledger_rows;
	int64_t differences;
};

typedef void (*store_difference_cb)(
	void *arg, const struct store_difference *d);

/*
 * Compares wallets, ledger and aggregates with the awards, in one snapshot,
 * so that it may run beside a busy server.  Rows come one at a time.
 */
int store_verify_points(struct db_sync *db, store_difference_cb cb, void *arg,
	struct store_books *b_r, struct err *err_r) MUST_CHECK;

#endif
