/*
 * svc_award.h - one award from its event to its stored row (DESIGN 3, 7;
 * api.md 7, 11): target, strategy, read, evaluate, check, write.
 *
 * The struct and every text in it live in the request's arena.  `done` runs
 * exactly once, perhaps before svc_award_start returns; after it the struct
 * is not touched any more.
 */
#ifndef SVC_SVC_AWARD_H
#define SVC_SVC_AWARD_H

#include "base/clock.h"
#include "engine/engine_custom.h"
#include "svc/svc_batch.h"
#include "svc/svc_cache.h"

struct app;

#define SVC_KEY_BYTES_MAX 255 /* of external ids and idempotency keys */

struct svc_caller {
	struct str key_prefix; /* p NULL: no API key */
	struct str subject;    /* p NULL: no token */
	bool is_admin;
};

enum svc_award_result {
	SVC_AWARD_STORED,
	SVC_AWARD_REPLAYED,  /* an earlier award holds the key */
	SVC_AWARD_SIMULATED, /* scored, nothing written */
	/* without an award: */
	SVC_AWARD_KEY_TOO_LONG,
	SVC_AWARD_NO_GAME,
	SVC_AWARD_NOT_OWNER,
	SVC_AWARD_NO_TASK,
	SVC_AWARD_NO_STRATEGY,
	SVC_AWARD_BAD_USER,   /* unknown, and its id is no slug */
	SVC_AWARD_RUN_ERROR,  /* detail, node_id */
	SVC_AWARD_RUN_LIMIT,  /* the same, limit or time-out */
	SVC_AWARD_REFUSED,    /* the strategy said -1: case_name */
	SVC_AWARD_UNSTORABLE, /* the result cannot be stored: err */
	SVC_AWARD_UNEXPECTED, /* a fault of ours or of a built-in */
	SVC_AWARD_DB_REFUSED, /* sqlstate */
	SVC_AWARD_UNAVAILABLE /* ask again later */
};

enum svc_award_state {
	AWARD_TARGET,
	AWARD_STRATEGY,
	AWARD_READ,
	AWARD_EVALUATE,
	AWARD_LOOK_UP, /* of the key, after a run that gave no award */
	AWARD_WRITE,
	AWARD_DONE
};

struct svc_award {
	/* in */
	struct app *app;
	struct arena *arena;
	struct svc_caller caller;
	struct uuid game_id;
	struct str task; /* external id, as user */
	struct str user;
	const struct jv *data; /* object; NULL or null: {} */
	bool is_simulated;
	struct str correlation_id;
	const char *method, *handler; /* of the request, for reports */
	bool correlation_given;       /* by the client */
	struct str header_key;        /* p NULL: none */
	void (*done)(struct svc_award *a);
	void *arg;

	/* out */
	enum svc_award_result result;
	int32_t points;
	struct str case_name;
	bool made_user;
	bool has_user_id;
	struct uuid user_id; /* of `user`, where it was looked up */
	int64_t created_us;
	struct dsl_error err; /* code, params, message, node_id */
	struct str strategy;  /* as the task names it; p NULL: not reached */
	char sqlstate[6];
	bool is_kept; /* the run was: its row is trace_id */
	struct uuid trace_id;
	struct clock_span read_span, eval_span, write_span;

	/* inner */
	enum svc_award_state state;
	uint64_t deadline_ms, run_start_ns;
	uint64_t run_deadline_ns; /* of the run and its reading; 0: none */
	struct jv full_data;      /* completed with correlationId and eventId */
	struct str key;           /* effective idempotency key */
	bool key_is_ours;         /* nobody else can know it */
	bool key_looked_up;
	enum svc_award_result run_result; /* while the key is looked up */
	struct svc_target *target;
	struct svc_strategy *strategy_def; /* NULL: a built-in */
	const struct engine_builtin *builtin;
	struct engine_needs needs;
	struct engine_analytics analytics;
	struct svc_wait wait;
	struct store_op op;
	struct store_more *more; /* NULL: not asked */
	struct svc_write write;
};

/* The key that makes two awards one: the first text that is not blank among
 * eventId, idempotencyKey and correlationId of the data, completed by the
 * headers.  Of `data`, `header_key` and `correlation_id` alone. */
struct str svc_award_key(const struct svc_award *a);
void svc_award_start(struct svc_award *a);

/* 3 to 60 of A-Z a-z 0-9 _ - (api.md 2). */
bool svc_is_slug(struct str s);
/* May the caller see and change what that owner owns? */
bool svc_owns(const struct svc_caller *c, struct str owner_key,
	struct str owner_subject);

#endif
