/*
 * store_award.h - the award path's own statements: the read that scoring
 * needs, the write of a batch of awards, and the look-up of a stored award by
 * its key.  The texts and their rules are in store_award_sql.h.
 */
#ifndef STORE_STORE_AWARD_H
#define STORE_STORE_AWARD_H

#include "base/arena.h"
#include "db/db_array.h"
#include "store/store_op.h"

#define STORE_AWARDS_MAX      64  /* in one statement */
#define STORE_RECENT_S        300 /* "recent" of dsl.md 17, seconds */
#define STORE_TIME_NONE       INT64_MIN
#define STORE_VERSION_BUILTIN (-1)

/* An award as it is stored. */
struct store_award_row {
	struct uuid id;
	int32_t points;
	struct str case_name; /* in the arena given */
	int64_t created_us;
};

/* What scoring reads: one row, before the award. */
struct store_score {
	bool user_known;
	struct uuid user;              /* when known */
	bool key_taken;                /* then `stored` is the award */
	struct store_award_row stored; /* of the idempotency key */
	int64_t user_cnt;              /* the user's awards on the task */
	int64_t user_first_us, user_last_us, user_prev_us;
	int64_t user_age_us; /* now - user_last_us */
	int64_t user_recent_cnt;
	int64_t task_cnt; /* awards on the task */
	int64_t task_first_us, task_last_us;
};

/* Absent times are STORE_TIME_NONE.  key.p NULL: no look-up. */
void store_score_read(struct store_op *op, struct db_pool *db,
	const struct uuid *task_id, struct str user, struct str key,
	bool with_recent);
/*
 * What some built-ins ask besides (dsl.md 17, the second table), read in the
 * same round trip.  All zero before its use; lives as long as the op.
 */
struct store_more {
	/* in */
	struct uuid game_id;
	bool with_game;    /* the minutes; of the window only whether any */
	int64_t window_us; /* which awards of the user on the task count */
	/* inner */
	struct store_op op;
	struct db_call calls[2];
	/* out, by store_more_row */
	int64_t window_cnt;
	int64_t user_cnt; /* the user's awards in the game */
	int64_t minutes_n, user_minutes_n;
	double minutes_sum, user_minutes_sum;
};

/* As store_score_read; the second result of the reply is for `more`. */
void store_score_read_more(struct store_op *op, struct db_pool *db,
	const struct uuid *task_id, struct str user, struct str key,
	bool with_recent, struct store_more *more);
void store_more_row(const struct db_res *res, struct store_more *more);
void store_score_row(
	struct arena *a, const struct db_res *res, struct store_score *s_r);

/* The award that holds a key. */
void store_award_find(struct store_op *op, struct db_pool *db,
	const struct uuid *task_id, struct str user, struct str key);
/* False: nobody holds it. */
bool store_award_found(struct arena *a, const struct db_res *res,
	struct store_award_row *row_r);

/* One award to be written; texts live until the write's callback ran. */
struct store_award {
	struct uuid id;     /* of the award and its ledger row */
	struct uuid new_id; /* for the user and the wallet, if missing */
	struct uuid task_id;
	struct str user; /* external id */
	struct str key;  /* effective idempotency key */
	struct str case_name;
	struct str data_json;
	struct str key_prefix;    /* of the caller; p NULL: none */
	struct str strategy_id;   /* as the task names it */
	struct str ast_sha256;    /* p NULL: built-in */
	int32_t strategy_version; /* STORE_VERSION_BUILTIN */
	int32_t points;
	/* out */
	bool is_written; /* false: the key is taken */
	bool made_user;
	bool has_user_id;
	struct uuid user_id;
	int64_t created_us;
};

#define STORE_AWARD_ARRAYS 12

/* A write on its way, all zero before its first use; keeps its memory from
 * one batch to the next. */
struct store_award_write {
	struct db_job job; /* arg is the caller's */
	struct db_call calls[2];
	struct db_param params[STORE_AWARD_ARRAYS + 1];
	struct db_param lock_param;
	struct db_array arrays[STORE_AWARD_ARRAYS];
	char rate[STORE_NUM_MAX], lock_timeout[STORE_NUM_MAX];
};

void store_award_write_fini(struct store_award_write *w);
/* Gives back buffers that a large batch made larger than that. */
void store_award_write_shrink(struct store_award_write *w, size_t keep_bytes);
/* 1 to STORE_AWARDS_MAX awards; all are stored or none.  lock_timeout_ms 0:
 * the session's. */
void store_award_write(struct store_award_write *w, struct db_pool *db,
	struct store_award *const *awards, unsigned cnt,
	int64_t conversion_rate, unsigned lock_timeout_ms, db_job_cb cb,
	void *arg);
/* Sets the out members of the awards from the write's reply. */
void store_award_written(const struct db_reply *rep,
	struct store_award *const *awards, unsigned cnt);

#endif
