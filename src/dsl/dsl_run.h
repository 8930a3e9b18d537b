/*
 * dsl_run.h - the strategy language as the layers above use it: check a
 * program, compile it once, run it many times.
 *
 * A compiled program is one heap block, immutable, counted by reference and
 * owned by whoever holds a reference; it keeps copies of all text it needs.
 * A run allocates only from the arena it is given (string results, callback
 * lists) and from the caller's trace buffer.  No I/O anywhere in dsl/.
 */
#ifndef DSL_DSL_RUN_H
#define DSL_DSL_RUN_H

#include "base/arena.h"
#include "dsl/dsl_error.h"
#include "json/json_val.h"

struct dsl_limits {
	int max_nodes;           /* DSL_MAX_NODES */
	int max_depth;           /* DSL_MAX_DEPTH */
	int timeout_ms;          /* DSL_EXECUTION_TIMEOUT_MS, 0: none */
	size_t max_string_bytes; /* DSL_MAX_STRING_BYTES */
};

extern const struct dsl_limits dsl_limits_default;

/* Of text that a run may write into callback data and working data together,
 * and of the arena it works in (dsl.md 21, value_too_large). */
#define DSL_OUT_BYTES_MAX ((size_t)1 << 20)

/*
 * dsl.md section 6.  On success *norm_r is the AST with all ids filled in
 * (parts without change may be shared with `ast`).
 */
int dsl_check(struct arena *a, const struct jv *ast,
	const struct dsl_limits *lim, struct jv *norm_r,
	struct dsl_error *err_r) MUST_CHECK;

/* Canonical text and hash of section 20; null counts as {}. */
void dsl_canon(struct buf *out, const struct jv *ast);
void dsl_hash(const struct jv *ast, char hex[65]);

enum dsl_field {
	DSL_F_GAME,          /* externalGameId */
	DSL_F_TASK,          /* externalTaskId */
	DSL_F_USER,          /* externalUserId */
	DSL_F_USER_COUNT,    /* user.measurements_count */
	DSL_F_USER_RECENT,   /* user.recent_measurements_count */
	DSL_F_TASK_COUNT,    /* task.measurements_count */
	DSL_F_USER_AVG,      /* user.avg_time */
	DSL_F_ALL_AVG,       /* all.avg_time */
	DSL_F_LAST_DIFF,     /* user.last_window_diff */
	DSL_F_NEW_LAST_DIFF, /* user.new_last_window_diff */
	DSL_F_PARENT_POINTS,
	DSL_F_PARENT_CASE,
	DSL_F_DATA, /* data.KEY */
	DSL_F_CNT
};

struct dsl_field_ref {
	enum dsl_field field;
	struct str path; /* whole path */
	struct str key;  /* of data.KEY */
};

struct dsl_program;

/* From a checked, normalised AST. Never fails for one. */
struct dsl_program *dsl_compile(const struct jv *norm);
/*
 * From what is stored as a program: null is none (*prog_r NULL), {} is one
 * that does nothing, anything else is checked and compiled.  What err_r
 * mentions lives in the arena.
 */
int dsl_load(struct arena *a, const struct jv *ast,
	const struct dsl_limits *lim, struct dsl_program **prog_r,
	struct dsl_error *err_r) MUST_CHECK;
struct dsl_program *dsl_program_ref(struct dsl_program *p);
void dsl_program_unref(struct dsl_program **p);

/* Distinct fields mentioned anywhere; the index is the field's slot. */
const struct dsl_field_ref *dsl_program_fields(
	const struct dsl_program *p, unsigned *cnt_r);
/* Bit 1 << enum dsl_field for each field mentioned. */
uint32_t dsl_program_needs(const struct dsl_program *p);
/* Of memory, all in all. */
size_t dsl_program_bytes(const struct dsl_program *p);
/* Static count of section 8: what max_nodes is compared with. */
int dsl_program_nodes(const struct dsl_program *p);
/*
 * Number (as in a trace entry) of the n-th of what stands at the top of the
 * program: its rules, default, pre_rules, post_rules, in that order.
 * UINT32_MAX past the last.
 */
uint32_t dsl_program_top(const struct dsl_program *p, uint32_t n);
/* parent_variables, an object or null; lives as long as the program. */
const struct jv *dsl_program_parent_vars(const struct dsl_program *p);

/*
 * An arm is a piece of a program that a run goes through or not: the `then`
 * of a rule, an else_if, an else, the default.  Arms stand in the order of
 * the program.
 */
enum dsl_arm_part {
	DSL_PART_RULES,
	DSL_PART_DEFAULT,
	DSL_PART_PRE,
	DSL_PART_POST
};
enum dsl_arm_kind {
	DSL_ARM_THEN,
	DSL_ARM_ELSE_IF,
	DSL_ARM_ELSE,
	DSL_ARM_DEFAULT
};
struct dsl_arm {
	struct str id;     /* of the rule, the branch or the statement */
	uint8_t section;   /* enum dsl_arm_part */
	uint8_t kind;      /* enum dsl_arm_kind */
	bool sets;         /* it sets points or a case name */
	uint32_t rule;     /* in its section, from 0 */
	uint32_t branch;   /* in its rule: 0 `then`, 1 the first else_if */
	uint32_t from, to; /* its code: condition and body */
};
const struct dsl_arm *dsl_program_arms(
	const struct dsl_program *p, unsigned *cnt_r);
/* "rules", "default", "pre_rules", "post_rules"; "then", "else_if"... */
const char *dsl_arm_part_name(enum dsl_arm_part s);
const char *dsl_arm_kind_name(enum dsl_arm_kind k);

/* What became of an arm in a run; bits. */
enum dsl_arm_hit {
	DSL_ARM_EVALUATED = 1, /* its condition was begun; else: reached */
	DSL_ARM_TAKEN = 2,     /* its condition was true; else: reached */
	/* it ended the phase by assign_points, veto or return, or was the
	 * last to set points or case name of a phase that nothing ended */
	DSL_ARM_DECIDED = 4,
	DSL_ARM_FAILED = 8 /* the run failed in its condition or body */
};
bool dsl_program_has_pre(const struct dsl_program *p);
bool dsl_program_has_post(const struct dsl_program *p);

enum dsl_mode { DSL_MODE_FULL, DSL_MODE_PRE, DSL_MODE_POST };

/* `branch` of a trace entry (section 11). */
enum dsl_branch {
	DSL_BR_NONE,
	DSL_BR_MATCH,
	DSL_BR_SKIP,
	DSL_BR_ELSE,
	DSL_BR_ELSEIF,        /* with index */
	DSL_BR_SHORT_CIRCUIT, /* with index */
	DSL_BR_VETO,
	DSL_BR_HALT,
	DSL_BR_FAILED /* ours: the node that failed, kept on error */
};

/* 32 bytes, written by the evaluator; read names through the accessors. */
struct dsl_trace_ent {
	struct jv value;     /* in the run's arena or the caller's data */
	uint32_t node;       /* number in the program */
	uint16_t branch_idx; /* of elseif and short_circuit */
	uint8_t branch;      /* enum dsl_branch */
};

/*
 * Caller's storage.  Entries past head_cap go round in the tail ring, so the
 * first head_cap and the last tail_cap of `total` survive.  With both 0 the
 * entries are only counted.  The program must outlive the trace.
 */
struct dsl_trace {
	struct dsl_trace_ent *ents; /* head_cap + tail_cap */
	uint32_t head_cap;
	uint32_t tail_cap;
	uint32_t total;                 /* entries produced */
	const struct dsl_program *prog; /* set by dsl_run */
};

void dsl_trace_reset(struct dsl_trace *t);
/* Kept entries in order, i from 0; NULL past the end. */
const struct dsl_trace_ent *dsl_trace_at(const struct dsl_trace *t, uint32_t i);
/* Entries kept of `total`. */
uint32_t dsl_trace_kept(const struct dsl_trace *t);
/* In the program. */
struct str dsl_ent_node_id(
	const struct dsl_trace *t, const struct dsl_trace_ent *e);
/* Node type, static. */
const char *dsl_ent_type(
	const struct dsl_trace *t, const struct dsl_trace_ent *e);
/* What the node reads; NULL: it is no field. */
const struct dsl_field_ref *dsl_ent_field(
	const struct dsl_trace *t, const struct dsl_trace_ent *e);

/* Follows values of secret fields through a trace, entry by entry in order. */
struct dsl_taint {
	bool is_on;
	uint16_t depth; /* of the value followed */
};
/*
 * True when the value of e is or was made of a secret one.  Truth values and
 * the points and case name of a run count as not.  is_secret: e is a field
 * to be followed.  Where entries are missing before e, taint must be
 * dsl_taint_unknown.
 */
bool dsl_taint_step(struct dsl_taint *taint, const struct dsl_trace *t,
	const struct dsl_trace_ent *e, bool is_secret);
extern const struct dsl_taint dsl_taint_unknown;

/* "match", "elseif:2", "failed", ...; NULL for none.  out: indexed forms. */
const char *dsl_branch_text(const struct dsl_trace_ent *e, char out[32]);

struct dsl_parent_result {
	struct jv points;
	struct jv case_name;
	struct jv callback_data;
};

struct dsl_run {
	/* in */
	const struct dsl_program *prog;
	enum dsl_mode mode;
	const struct dsl_limits *lim;
	struct arena *arena;           /* results live here; 1 MiB limit */
	const struct jv *fields;       /* value of each program field slot */
	const uint8_t *fields_set;     /* 0: unresolved; NULL: all set */
	const struct jv *initial_data; /* mode pre, may be NULL */
	const struct dsl_parent_result *parent; /* mode post, may be NULL */
	struct dsl_trace *trace;                /* may be NULL; appended to */
	/* of each arm of the program; NULL: not wanted; only added to */
	uint8_t *arms;
	/* out; on failure only nodes, err and the trace mean anything */
	struct jv points;        /* int 0 when nothing matched */
	struct jv case_name;     /* string or null */
	struct jv callback_data; /* object */
	struct jv working_data;  /* object */
	bool vetoed;
	bool matched;
	int nodes;            /* steps counted, the failing one included */
	struct dsl_error err; /* when the status is not ok */
};

/*
 * The failed node is the last trace entry, branch DSL_BR_FAILED, its value the
 * operands (an array) or the offending value; null for a limit.  In lim only
 * timeout_ms 0 means no limit.  dsl.md 13: the clock is looked at every 64
 * steps, so a run of fewer never times out.
 */
enum dsl_status dsl_run(struct dsl_run *r);

/* "user.avg_time" or, for DSL_F_DATA, "data."; static. */
const char *dsl_field_name(enum dsl_field f);

#endif
