/*
 * svc_simulate.h - one run of a strategy that leaves nothing behind: the
 * pipeline of an award (needs, read, engine_custom), without its write, its
 * metrics and its evidence (dsl.md 16).
 *
 * The struct lives in the request's arena.  `done` runs exactly once, perhaps
 * before svc_simulate returns; results and trace are valid inside it only.
 */
#ifndef SVC_SVC_SIMULATE_H
#define SVC_SVC_SIMULATE_H

#include "auth/auth.h"
#include "engine/engine_custom.h"
#include "store/store_op.h"
#include "svc/svc_fields.h"

struct app;

enum svc_simulated {
	SVC_SIMULATED_OK,        /* run.points, case_name, callback_data */
	SVC_SIMULATED_FAILED,    /* run.err */
	SVC_SIMULATED_BAD_MOCKS, /* faults */
	SVC_SIMULATED_FOREIGN,   /* would read the numbers of another's game */
	SVC_SIMULATED_NO_DB      /* `reply` tells */
};

struct svc_simulation {
	/* in */
	struct app *app;
	struct arena *arena;
	const struct auth_principal *who;
	struct engine_strategy strategy; /* prog: held by the caller */
	struct engine_ids ids;           /* need not exist */
	const struct jv *data;           /* object; NULL or null: {} */
	const struct jv *mocks;          /* path -> value; may be NULL */
	void (*done)(struct svc_simulation *s, enum svc_simulated res);
	void *arg;

	/* out */
	struct engine_custom run;
	struct dsl_trace trace; /* whole */
	const struct db_reply *reply;
	struct engine_mock_fault faults[ENGINE_MOCK_FAULTS_MAX];
	unsigned faults_cnt;

	/* inner */
	struct engine_needs needs;
	struct engine_analytics analytics;
	struct engine_event ev;
	struct svc_subject subject;
	struct store_more *more;
	struct store_op op;
	struct dsl_limits lim;
	uint64_t deadline_ns;
};

void svc_simulate(struct svc_simulation *s);

#endif
