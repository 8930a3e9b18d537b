/*
 * dsl_node.h - node kinds and their shapes, the table that the checker and
 * the compiler share (dsl.md 3, 4).  A new kind is a row here.
 */
#ifndef DSL_DSL_NODE_H
#define DSL_DSL_NODE_H

#include "base/str.h"
#include "dsl/dsl_run.h"

enum dsl_kind {
	DSL_N_PROGRAM,
	DSL_N_RULE,
	DSL_N_AND,
	DSL_N_OR,
	DSL_N_NOT,
	DSL_N_COMPARE,
	DSL_N_LITERAL,
	DSL_N_FIELD,
	DSL_N_ARITH,
	DSL_N_FUNC_CALL,
	DSL_N_ASSIGN_POINTS,
	DSL_N_SET_CALLBACK_DATA,
	DSL_N_RETURN,
	DSL_N_SET_DATA,
	DSL_N_VETO,
	DSL_N_SET_POINTS,
	DSL_N_SET_CASE_NAME,
	DSL_N_ELSE_IF, /* a branch: no type on the wire */
	DSL_N_CNT
};

enum dsl_group {
	DSL_G_ROOT = 1 << 0, /* program, rule, branch */
	DSL_G_COND = 1 << 1,
	DSL_G_EXPR = 1 << 2,
	DSL_G_STMT = 1 << 3
};

enum dsl_section {
	DSL_S_RULE = 1 << 0,
	DSL_S_DEFAULT = 1 << 1,
	DSL_S_PRE = 1 << 2,
	DSL_S_POST = 1 << 3
};

struct dsl_shape {
	const char *type;
	uint8_t groups;   /* enum dsl_group */
	uint8_t sections; /* of statements: where they may stand */
	const char *required[4];
	const char *optional[5];
};

extern const struct dsl_shape dsl_shapes[DSL_N_CNT];

/* DSL_N_CNT when v is no string or names no type. */
enum dsl_kind dsl_kind_of(const struct jv *type);

enum dsl_cmp_op { DSL_LT, DSL_LE, DSL_EQ, DSL_NE, DSL_GE, DSL_GT, DSL_CMP_CNT };
enum dsl_arith_op {
	DSL_ADD,
	DSL_SUB,
	DSL_MUL,
	DSL_DIV,
	DSL_MIN,
	DSL_MAX,
	DSL_ARITH_CNT
};
enum dsl_func { DSL_FN_INT, DSL_FN_CLAMP, DSL_FN_CNT };

extern const char *const dsl_cmp_names[DSL_CMP_CNT];
extern const char *const dsl_arith_names[DSL_ARITH_CNT];
extern const char *const dsl_func_names[DSL_FN_CNT];
extern const uint8_t dsl_func_arity[DSL_FN_CNT];

/* Index in the table of names; cnt when v is no string or not among them. */
unsigned dsl_name_index(
	const struct jv *v, const char *const *names, unsigned cnt);

/* -1 when the path names no field.  *key_r: of data.KEY, else empty. */
int dsl_field_parse(
	struct str path, enum dsl_field *f_r, struct str *key_r) MUST_CHECK;

#endif
