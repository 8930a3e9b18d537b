/*
 * store_catalog.h - games, tasks and their params as the API lists and edits
 * them: the SQL and the row <-> struct mapping.
 *
 * Params of a row come as one JSON text made by the database, an array of
 * {"key","value","id"} in creation order, so that a listing is one query.
 * Slices point into the result and live inside the callback only.
 */
#ifndef STORE_STORE_CATALOG_H
#define STORE_STORE_CATALOG_H

#include "store/store_op.h"

struct store_game {
	struct uuid id;
	int64_t created_us, updated_us; /* 0: unknown */
	struct str external_id, strategy_id, platform;
	struct str owner_key, owner_subject; /* p NULL: none */
	struct str params_json;
};

/* The custom strategy that a row names; found is false for a built-in. */
struct store_strategy_ref {
	bool found;
	struct str name, description;
	struct str hash;    /* p NULL: it is that of the program */
	struct str program; /* then; p NULL where an earlier row has it */
	int64_t version;
};

struct store_task {
	struct uuid id;
	int64_t created_us, updated_us;
	struct str external_id, strategy_id, status;
	struct str params_json;
	struct store_strategy_ref custom;
};

/* Params to store: array literals ("{...}"), and the same as params_json. */
struct store_params_in {
	const char *ids;
	const char *keys;
	const char *values;
	struct str json;
};

struct store_game_new {
	struct uuid id;
	struct str external_id, platform, strategy_id;
	struct str key_prefix, subject;
	struct store_params_in params;
};

/* One row: id, created, updated (NULLs when it existed), existing id. */
void store_game_create(struct store_op *op, struct db_pool *db,
	const struct store_game_new *in);
enum store_created { STORE_CREATED, STORE_EXISTS };
enum store_created store_game_created(
	const struct db_res *res, struct store_game *g_r);

/* Owner filter of a listing: everything for an admin. */
struct store_scope {
	bool all;
	struct str key_prefix, subject;
};

struct store_page {
	int64_t page;     /* from 1 */
	int64_t size;     /* -1: all */
	struct str order; /* column, checked by the caller */
	bool descending;
};

/* Rows of the page; column 0 of each row is the total of all pages.  A page
 * past the end gives one row whose id is NULL. */
void store_game_list(struct store_op *op, struct db_pool *db,
	const struct store_scope *scope, struct str like_external,
	struct str like_platform, const struct store_page *page);
int64_t store_list_total(const struct db_res *res);
/* False when the row stands only for the total. */
bool store_game_row(const struct db_res *res, int row, struct store_game *g_r);

/* No row: no such game. */
void store_game_get(
	struct store_op *op, struct db_pool *db, const struct uuid *id);

struct store_game_edit {
	struct uuid id;
	struct str external_id, strategy_id, platform; /* p NULL: unchanged */
	struct store_params_in params; /* those to change, by id */
};
enum store_edited {
	STORE_EDITED,
	STORE_EDIT_GONE,    /* no such game */
	STORE_EDIT_NO_PARAM /* a param is not the game's: nothing was changed */
};
/* SQLSTATE 23505: the external id is another game's. */
void store_game_edit(struct store_op *op, struct db_pool *db,
	const struct store_game_edit *in);
/* The game without its params. */
enum store_edited store_game_edited(
	const struct db_res *res, struct store_game *g_r);
/* With all that hangs on it, in the long lane.  The row is the game as it was,
 * without params; no row: no such game. */
void store_game_delete(
	struct store_op *op, struct db_pool *db, const struct uuid *id);

struct store_task_new {
	struct uuid id;
	struct uuid game_id;
	struct str external_id, strategy_id, key_prefix, subject;
	struct store_params_in params;
};

/* A row when the name is taken: column 0 is the id of what has it. */
void store_game_named(
	struct store_op *op, struct db_pool *db, struct str external_id);
void store_task_named(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, struct str external_id);

/* A task of that external id exists when no row comes back. */
void store_task_create(struct store_op *op, struct db_pool *db,
	const struct store_task_new *in);
void store_task_list(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, const struct store_page *page);
bool store_task_row(const struct db_res *res, int row, struct store_task *t_r);

struct store_task_edit {
	struct uuid task_id, game_id;
	struct str strategy_id; /* p NULL: unchanged */
	struct str status;      /* p NULL: unchanged */
	bool with_params;       /* params is the complete wanted set */
	struct str key_prefix, subject;
	struct store_params_in params; /* ids of new ones are made by caller */
};

/* No row: no such task in the game. */
void store_task_get(struct store_op *op, struct db_pool *db,
	const struct uuid *game_id, const struct uuid *task_id);
void store_task_edit(struct store_op *op, struct db_pool *db,
	const struct store_task_edit *in);

#endif
