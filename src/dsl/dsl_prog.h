/*
 * dsl_prog.h - a compiled program, inside dsl/ only.
 *
 * The code is one flat array in the order in which things finish: operands
 * before their operator, conditions before their rule, values before their
 * statement, as the trace wants it.  Nodes are numbered in the order in which
 * they are entered (stepped), so the nodes entered since the previous
 * instruction are a range, and an instruction carries that range: counting is
 * one addition, and limits are looked at node by node only when the counter
 * passes a mark (dsl_eval.c).
 */
#ifndef DSL_DSL_PROG_H
#define DSL_DSL_PROG_H

#include "dsl/dsl_node.h"

/*
 * A leaf (literal or field) is no instruction of its own where its user can
 * take it as an operand: LL takes two leaves, SL the top of the stack and a
 * leaf, SS the two topmost.  Truth is a register, set by conditions.
 */
enum dsl_op {
	DSL_OP_PUSH,       /* leaf a */
	DSL_OP_COND_LEAF,  /* truth of leaf a */
	DSL_OP_COMPARE_LL, /* sub: dsl_cmp_op; leaves a, b; sets truth */
	DSL_OP_COMPARE_SL,
	DSL_OP_COMPARE_SS,
	DSL_OP_ARITH_LL, /* sub: dsl_arith_op; leaves a, b; pushes */
	DSL_OP_ARITH_SL,
	DSL_OP_ARITH_SS,
	DSL_OP_INT,   /* pops one, pushes one */
	DSL_OP_CLAMP, /* pops three, pushes one */
	DSL_OP_NOT,
	DSL_OP_AND_ARG,  /* argument b false: false, go to a */
	DSL_OP_AND_LAST, /* argument b false: false, else true */
	DSL_OP_OR_ARG,   /* argument b true: true, go to a */
	DSL_OP_OR_LAST,  /* argument b true: true, else false */
	DSL_OP_WHEN,     /* true: match, else go to a */
	DSL_OP_ELSEIF,   /* true: branch b taken, else go to a */
	DSL_OP_ELSE,
	DSL_OP_SKIP,
	DSL_OP_JUMP, /* go to a */
	/* value: leaf b, or popped when b is 0 */
	DSL_OP_ASSIGN_POINTS, /* case name: constant a */
	DSL_OP_SET_CALLBACK,  /* key a of callback_keys */
	DSL_OP_SET_DATA,      /* key a of data_keys */
	DSL_OP_SET_POINTS,
	DSL_OP_SET_CASE_NAME,
	DSL_OP_VETO, /* case name: constant a */
	DSL_OP_RETURN,
	DSL_OP_END
};

/* A leaf: never 0, the low bit tells a field from a constant. */
static inline uint32_t dsl_leaf(uint32_t index, bool is_field)
{
	return (index + 1) << 1 | is_field;
}

static inline bool dsl_leaf_is_field(uint32_t leaf)
{
	return leaf & 1;
}

static inline uint32_t dsl_leaf_index(uint32_t leaf)
{
	return (leaf >> 1) - 1;
}

struct dsl_ins {
	uint8_t op;      /* enum dsl_op */
	uint8_t sub;     /* operator */
	uint16_t enters; /* nodes entered since the previous instruction */
	uint32_t first;  /* number of the first of them */
	uint32_t node;   /* the node that finishes here */
	uint32_t a;
	uint32_t b;
};

struct dsl_node {
	struct str id;
	uint8_t kind;   /* enum dsl_kind */
	uint16_t depth; /* 0: not checked (program, branch) */
	uint32_t at;    /* of a rule: its first arm; of a field: its slot */
};

struct dsl_program {
	unsigned refs;
	size_t bytes; /* all of it */
	const struct dsl_ins *code;
	const struct dsl_node *nodes;
	const struct jv *consts;
	const struct dsl_arm *arms;
	const struct dsl_field_ref *fields;
	const struct str *callback_keys;
	const struct str *data_keys;
	struct jv parent_vars;
	uint32_t start[3];     /* first instruction by enum dsl_mode */
	uint32_t arms_from[4]; /* first arm by enum dsl_mode, and the end */
	uint32_t fields_cnt;
	uint32_t callback_keys_cnt;
	uint32_t data_keys_cnt;
	uint32_t needs;     /* 1 << enum dsl_field */
	int nodes_cnt;      /* static count of dsl.md 8 */
	int max_depth;      /* of the deepest node */
	uint32_t stack_cnt; /* operands alive at once, at most */
	bool has_pre;
	bool has_post;
};

#endif
