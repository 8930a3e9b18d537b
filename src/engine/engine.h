/*
 * engine.h - built-in strategies, and the values that any strategy may read
 * of one event (dsl.md 9, 17, 18).
 *
 * The caller fetches the analytics named by engine_needs or
 * dsl_program_needs and hands them over; nothing here waits or allocates
 * except from the arena of the caller.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/arena.h"
#include "base/err.h"
#include "dsl/dsl_run.h"

struct engine_ids {
	struct str game; /* externalGameId */
	struct str task; /* externalTaskId */
	struct str user; /* externalUserId */
};

/* What the database knows, before the award being scored. */
struct engine_analytics {
	int64_t task_count;  /* awards on the task */
	int64_t user_count;  /* the user's awards on the task */
	int64_t user_recent; /* the same within the last 300 s */
	int64_t recent;      /* the same within engine_needs.window_us */
	/* of engine_needs.game; means are floats, or the int -1 without rows */
	int64_t game_user_count; /* the user's awards in the game */
	struct jv game_minutes;  /* mean of data.minutes above 0 in the game */
	struct jv game_user_minutes; /* the same of the user's awards */
	/* seconds: float, or the int -1 or 0 of dsl.md 17 without rows */
	struct jv user_avg;
	struct jv all_avg;
	struct jv last_diff;
	struct jv new_last_diff;
};

/*
 * Paths of what built-ins read and no program can: names for mocks only.
 */
#define ENGINE_GAME_USER_COUNT   "game.user_measurements_count"
#define ENGINE_GAME_MINUTES      "game.avg_minutes"
#define ENGINE_GAME_USER_MINUTES "game.user_avg_minutes"

/* An analytics table as for a user and a task without any award. */
void engine_analytics_init(struct engine_analytics *an);

/*
 * Puts the analytics among mocks (path -> value; may be NULL) in place of what
 * was read, for the parent of an EXTEND as well as for the program; a value
 * that the database could not give either is left to the program alone.  A
 * count may be any number that is whole: 5.0 is 5, true is 1.
 */
void engine_analytics_mock(struct engine_analytics *an, const struct jv *mocks);

/* A mock that is not what a built-in reads: a count or a number. */
struct engine_mock_fault {
	const char *path;
	const struct jv *got;
	bool is_mean; /* any number; else a whole one from 0 on */
};
#define ENGINE_MOCK_FAULTS_MAX 11
struct engine_needs;
/* The faults among the mocks of what is needed; how many there are. */
unsigned engine_mock_faults(const struct engine_needs *n,
	const struct jv *mocks,
	struct engine_mock_fault faults_r[ENGINE_MOCK_FAULTS_MAX]);

/* True for the path of a field or of one of the names above. */
bool engine_is_mock(struct str path);

/* One event as a strategy sees it. */
struct engine_event {
	struct engine_ids ids;
	const struct jv *data; /* object; NULL or null: {} */
	const struct engine_analytics *an;
};

/* Value of a field that is not parent.*; null for those. */
struct jv engine_field_value(enum dsl_field f,
	const struct engine_analytics *an, const struct engine_ids *ids,
	const struct jv *data, struct str key);
/*
 * Fills out[i] for every field slot of prog.  parent may be NULL; then
 * set[i] of parent.* is 0.  set may be NULL.
 */
void engine_fill_fields(const struct dsl_program *prog,
	const struct engine_event *ev, const struct dsl_parent_result *parent,
	struct jv *out, uint8_t *set);

struct engine_builtin; /* static, one per id */

/* NULL when there is no such built-in; ids are case-sensitive. */
const struct engine_builtin *engine_find(struct str id);
/* In the order of the API's list (by id); NULL past the end. */
const struct engine_builtin *engine_at(unsigned i);

struct engine_info {
	const char *id;
	const char *name;
	const char *description;
	const char *version;
	const char *hash_version; /* 64 hex digits, stable per version */
	const char *variables;    /* JSON object: name -> default */
	bool can_score;           /* false: listed only */
};

const struct engine_info *engine_info(const struct engine_builtin *b);
/* How it decides, for dsl_tree_walk_text; static. */
const char *engine_flow(const struct engine_builtin *b);

/* What a stored strategy can be; ends in NULL. */
extern const char *const engine_types[];
/*
 * The parent rules of api-endpoints.md 20, in their order: ERR_NOT_FOUND for
 * a built-in that there is not, else ERR_INVALID.  Without a parent: empty.
 */
int engine_check_parent(
	struct str type, struct str parent, struct err *err_r) MUST_CHECK;

/* What must be read before a strategy runs. */
struct engine_needs {
	uint32_t fields;   /* 1 << enum dsl_field, those of engine_analytics */
	bool recent;       /* also `recent`, within window_us */
	bool game;         /* also game_*; of `recent` only whether it is 0 */
	int64_t window_us; /* 0 and above */
};

/* Adds what b needs with these variables (as in engine_score). */
void engine_needs(const struct engine_builtin *b, const struct jv *vars,
	struct engine_needs *needs);

/* What a built-in asked for, in the order in which it asks. */
enum engine_read {
	ENGINE_R_TASK_COUNT,
	ENGINE_R_USER_COUNT,
	ENGINE_R_USER_AVG,
	ENGINE_R_ALL_AVG,
	ENGINE_R_LAST_DIFF,
	ENGINE_R_NEW_LAST_DIFF,
	ENGINE_R_RECENT,
	ENGINE_R_TASK_PARAMS,
	ENGINE_R_HAS_RECENT,
	ENGINE_R_GAME_USER_COUNT,
	ENGINE_R_GAME_MINUTES,
	ENGINE_R_GAME_USER_MINUTES,
	ENGINE_R_CNT
};

/*
 * What a built-in got when it asked, under the path by which a mock gives it
 * the same; false for what no analytics hold.
 */
bool engine_read_value(enum engine_read r, const struct engine_analytics *an,
	struct str *path_r, struct jv *value_r);

struct engine_result {
	struct jv points;
	struct str case_name; /* static or in the arena */
	uint32_t reads;       /* 1 << enum engine_read; on failure too */
};

/*
 * Runs a built-in.  vars overrides variables for this call (an object of
 * variable_* members; NULL or null: defaults, unknown names are ignored).
 * On failure err_r is typed and the result is undefined.
 */
enum dsl_status engine_score(const struct engine_builtin *b,
	const struct engine_event *ev, const struct jv *vars,
	struct engine_result *res_r, struct dsl_error *err_r) MUST_CHECK;

enum engine_verdict {
	ENGINE_AWARD,
	ENGINE_REFUSED,    /* the strategy said -1, the case is the reason */
	ENGINE_UNSTORABLE, /* err_r: DSL_NO_CASE, DSL_POINTS_NOT_STORABLE */
	ENGINE_NO_NUMBER   /* a fault of ours or of a built-in */
};
/*
 * What a result is worth (api.md 11.13, DESIGN 11).  An award's points are in
 * *points_r; case_name may be empty.
 */
enum engine_verdict engine_judge(const struct jv *points, struct str case_name,
	int32_t *points_r, struct dsl_error *err_r) MUST_CHECK;

#endif
