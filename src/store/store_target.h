/*
 * store_target.h - what an award is aimed at: the game with its owner, the
 * task, and the stored strategy that the task names.  Loaded into a worker's
 * cache (svc_cache.h).
 */
#ifndef STORE_STORE_TARGET_H
#define STORE_STORE_TARGET_H

#include "store/store_op.h"

/* Slices point into the result. */
struct store_target {
	struct str external_game;
	struct str owner_key, owner_subject; /* p NULL: none */
	bool has_task;
	struct uuid task_id;
	struct str strategy_id;
};

/* Game by id and, in it, task by external id. */
void store_target_get(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_task);
/* False: no such game. */
bool store_target_row(const struct db_res *res, struct store_target *t_r);

/* The same by external ids; external_game and strategy_id are not set. */
void store_target_find(struct store_op *op, struct db_pool *db,
	struct str external_game, struct str external_task);
bool store_target_found(const struct db_res *res, struct uuid *game_id_r,
	struct store_target *t_r);

struct store_strategy {
	int32_t version;
	bool is_extend; /* DSL_EXTEND */
	struct str realm, name;
	struct str parent; /* p NULL: none */
	int64_t updated_us;
	bool is_same;        /* as the caller knew it; ast is not sent */
	struct str ast_text; /* JSON; p NULL: no program */
};

/* known_updated_us: what the caller has, or STORE_STRATEGY_UNKNOWN. */
#define STORE_STRATEGY_UNKNOWN (-1)
void store_strategy_get(struct store_op *op, struct db_pool *db,
	const struct uuid *id, int64_t known_updated_us);
/* False: no such strategy. */
bool store_strategy_row(const struct db_res *res, struct store_strategy *s_r);

#endif
