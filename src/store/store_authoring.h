/*
 * store_authoring.h - rows of strategydefinition as authors make, list and
 * publish them.  Slices point into the result.
 */
#ifndef STORE_STORE_AUTHORING_H
#define STORE_STORE_AUTHORING_H

#include "store/store_catalog.h"

struct store_definition {
	struct uuid id;
	struct str realm, name, description, type, parent, ast_json, blockly;
	int64_t version;
	struct str status, created_by;
	int64_t created_us, updated_us, published_us; /* 0: null */
	struct str experiment_tag;
};

struct store_definition_new {
	struct uuid id;
	struct str realm, key_prefix, subject, name, description, type, parent;
	struct str ast_text; /* canonical text; p NULL: no program */
	struct str blockly, created_by, experiment_tag;
};

/* No row: the name is taken in the realm. */
void store_definition_create(struct store_op *op, struct db_pool *db,
	const struct store_definition_new *in);
/* status and type: p NULL for any. */
void store_definition_list(struct store_op *op, struct db_pool *db,
	struct str realm, struct str status, struct str type, int64_t limit,
	store_row_cb row_cb);
/* all_realms: an admin key sees every realm. */
void store_definition_get(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id);
/*
 * One transaction under a lock of the family: the draft becomes PUBLISHED,
 * the family's published row ARCHIVED.  Returns the row as it now stands,
 * unchanged when it was not a draft with a program; no row: none visible.
 */
void store_definition_publish(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id);
/* DRAFT or PUBLISHED -> ARCHIVED; no row: none visible. */
void store_definition_archive(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id);
void store_definition_row(
	const struct db_res *res, int row, struct store_definition *d_r);
/* All rows of the family of `id`, newest version first. */
void store_definition_versions(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id,
	store_row_cb row_cb);

/* As create, but a name that is taken is changed until it is free. */
void store_definition_import(struct store_op *op, struct db_pool *db,
	const struct store_definition_new *in);

enum store_rollback {
	STORE_ROLLBACK_DONE,
	STORE_ROLLBACK_MISSING,   /* no such strategy, or no such version */
	STORE_ROLLBACK_PUBLISHED, /* it is the published one already */
	STORE_ROLLBACK_NO_PROGRAM
};
struct store_rollback_op {
	struct store_op op;
	struct db_call calls[2];
};
/*
 * One transaction under the same lock: `version` of the family of `id`
 * becomes PUBLISHED, the published row ARCHIVED, and games and tasks that
 * named that one name the promoted one.  There may be very many of them, so
 * it runs in the long lane, where no award waits for it, and the server ends
 * it after timeout_ms.
 */
void store_definition_rollback(struct store_rollback_op *r, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id,
	int64_t version, uint32_t timeout_ms);
enum store_rollback store_rollback_row(const struct db_reply *rep,
	struct store_definition *d_r, int64_t *games_r, int64_t *tasks_r);

/* Who names a strategy: one row each, games first; one row whose id is NULL
 * when nobody does; no row: no such strategy in the realm. */
struct store_use {
	struct uuid strategy_id;
	struct str name, status;
	int64_t version;
	bool is_none, is_task;
	struct uuid id, game_id;
	struct str external_id, external_game, platform;
};
void store_definition_usage(struct store_op *op, struct db_pool *db,
	struct str realm, bool all_realms, const struct uuid *id);
void store_use_row(const struct db_res *res, int row, struct store_use *u_r);

struct store_definition_edit {
	struct uuid id;
	int64_t known_us; /* updated_at of the row that was checked */
	/* what changes, p NULL: not; id and author of a fork */
	struct store_definition_new to;
};
enum store_definition_edited {
	STORE_DEFINITION_GONE,     /* none visible */
	STORE_DEFINITION_EDITED,   /* in place, or as a new draft */
	STORE_DEFINITION_ARCHIVED, /* not editable */
	STORE_DEFINITION_MOVED,    /* not the row that was checked: again */
	STORE_DEFINITION_TAKEN     /* the name is another family's */
};
/*
 * One transaction under a lock of the family: a draft is changed in place, a
 * published row is kept and its next version made as a draft.
 */
void store_definition_edit(struct store_op *op, struct db_pool *db,
	bool all_realms, const struct store_definition_edit *in);
enum store_definition_edited store_definition_edited(const struct db_res *res);

/* What a game or task may name; one row when it is in either realm. */
struct store_assignable {
	struct str status;
	struct store_strategy_ref ref;
};
void store_definition_assignable(struct store_op *op, struct db_pool *db,
	struct str realm, struct str shared_realm, bool all_realms,
	const struct uuid *id);
void store_assignable_row(
	const struct db_res *res, int row, struct store_assignable *a_r);

#endif
