/*
 * engine_custom.h - one scoring of a stored strategy (dsl.md 14 to 16):
 * DSL_FULL is one phase, DSL_EXTEND is pre, the built-in parent and post.
 *
 * The one implementation, for awards, for simulations and for gamectl.  Does
 * no I/O: engine_custom_needs says beforehand what the event must carry.
 */
#ifndef ENGINE_ENGINE_CUSTOM_H
#define ENGINE_ENGINE_CUSTOM_H

#include "engine/engine.h"

/* A stored strategy as the engine sees it. */
struct engine_strategy {
	const struct dsl_program *prog;
	bool is_extend;
	struct str parent; /* id of a built-in, of an EXTEND */
};

void engine_custom_needs(
	const struct engine_strategy *s, struct engine_needs *needs_r);

/* The faults (engine.h) among the mocks of what the parent of s reads; a
 * program takes a mock of any kind. */
unsigned engine_custom_mock_faults(const struct engine_strategy *s,
	const struct jv *mocks,
	struct engine_mock_fault faults_r[ENGINE_MOCK_FAULTS_MAX]);

enum engine_phase_kind {
	ENGINE_PHASE_FULL,
	ENGINE_PHASE_PRE,
	ENGINE_PHASE_PARENT,
	ENGINE_PHASE_POST
};
#define ENGINE_PHASES_MAX 3

struct engine_phase {
	enum engine_phase_kind kind;
	bool failed; /* then only fields and nodes, or data and reads, count */
	/* by slot of the program; NULL: the parent, or never resolved */
	const struct jv *fields;
	const uint8_t *fields_set;
	int nodes; /* steps */
	/* its entries of the trace; the parent's would stand at trace_from */
	uint32_t trace_from, trace_to;
	struct jv points;
	struct jv case_name;
	struct jv callback_data; /* object; not of the parent */
	struct jv working_data;  /* object; of the parent: what it was given */
	bool vetoed;
	uint32_t reads; /* of the parent: 1 << enum engine_read */
};

struct engine_custom {
	/* in */
	struct engine_strategy strategy;
	const struct engine_event *ev;
	const struct dsl_limits *lim; /* of each phase */
	uint64_t deadline_ns;         /* of the whole run, monotonic; 0: none */
	const struct jv *mocks;       /* path -> value, first; may be NULL */
	struct arena *arena;          /* results live here */
	struct dsl_trace *trace;      /* of all phases; may be NULL */
	uint8_t *arms; /* as in struct dsl_run, of all phases; may be NULL */
	/* out */
	struct jv points;        /* after a failure null, as the next two */
	struct jv case_name;     /* string or null */
	struct jv callback_data; /* object, may be empty; or null */
	struct dsl_error err;    /* when the status is not ok */
	struct engine_phase phases[ENGINE_PHASES_MAX];
	unsigned phases_cnt;
};

/* The event's data is not changed. */
enum dsl_status engine_custom_score(struct engine_custom *c) MUST_CHECK;
/* The result of a run whose time went by before it could start. */
enum dsl_status engine_custom_timeout(struct engine_custom *c);

#endif
