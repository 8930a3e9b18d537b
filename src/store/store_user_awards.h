/*
 * store_user_awards.h - the awards of one user with what decided them, for
 * gamectl: over a blocking connection, never in a worker.
 */
#ifndef STORE_STORE_USER_AWARDS_H
#define STORE_STORE_USER_AWARDS_H

#include "base/base.h"
#include "base/err.h"

struct db_sync;

/* Which awards: those of `user` made in [since, until), newest first. */
struct store_award_pick {
	const char *user;  /* externalUserId */
	const char *since; /* a time as Postgres reads it, UTC; NULL: any */
	const char *until;
	int64_t limit;
};

/* Text of the columns; NULL where the column is. */
struct store_user_award {
	const char *id;
	const char *at; /* ISO 8601, UTC */
	const char *points;
	const char *case_name;
	const char *game, *task; /* external ids */
	const char *key;         /* Idempotency-Key */
	const char *strategy_id;
	const char *strategy_name; /* NULL: a built-in, or gone */
	const char *version;       /* NULL: a built-in */
	const char *ast_sha256;
	const char *is_kept; /* "t": the run with the award's id is there */
	const char *data;    /* JSON, as awarded */
};

typedef void (*store_user_award_cb)(void *arg, const struct store_user_award *);

/* The row lives as long as the call of cb.  ERR_NOT_FOUND when there is no
 * such user; a user without awards is no error. */
int store_user_awards(struct db_sync *db, const struct store_award_pick *pick,
	store_user_award_cb cb, void *arg, struct err *err_r) MUST_CHECK;

#endif
