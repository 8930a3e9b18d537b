/*
 * dsl_value.h - what the language does with values (dsl.md 2, 21): truth,
 * arithmetic, comparison, int(), clamp().  Nothing here fails by itself; a
 * fault is returned and the evaluator turns it into a typed error.
 */
#ifndef DSL_DSL_VALUE_H
#define DSL_DSL_VALUE_H

#include "base/arena.h"
#include "dsl/dsl_node.h"
#include "json/json_val.h"

enum dsl_fault {
	DSL_OK,
	DSL_BAD_TYPES,
	DSL_DIV_ZERO,
	DSL_INT_RANGE,  /* left 64 bits */
	DSL_NOT_FINITE, /* left the doubles */
	DSL_TOO_LARGE   /* text over the limit, or arena spent */
};

/* Where text results go and how long they may be. */
struct dsl_text {
	struct arena *arena;
	size_t max_bytes;
};

/* "NoneType", "bool", "int", "float", "str", "list", "dict" */
const char *dsl_type_name(const struct jv *v);
bool dsl_truthy(const struct jv *v);
/*
 * ==, deep.  Fails only with DSL_TOO_LARGE: an index over a large object whose
 * members stand in another order no longer fits the arena.
 */
enum dsl_fault dsl_equal(const struct dsl_text *t, const struct jv *l,
	const struct jv *r, bool *res_r) MUST_CHECK;
/* Orders numbers exactly, text by code point.  DSL_BAD_TYPES: not orderable. */
enum dsl_fault dsl_order(
	const struct jv *l, const struct jv *r, int *order_r) MUST_CHECK;
enum dsl_fault dsl_compare(const struct dsl_text *t, enum dsl_cmp_op op,
	const struct jv *l, const struct jv *r, bool *res_r) MUST_CHECK;
enum dsl_fault dsl_arith(const struct dsl_text *t, enum dsl_arith_op op,
	const struct jv *l, const struct jv *r, struct jv *res_r) MUST_CHECK;
enum dsl_fault dsl_int(const struct jv *v, struct jv *res_r) MUST_CHECK;
enum dsl_fault dsl_clamp(const struct jv *v, const struct jv *lo,
	const struct jv *hi, struct jv *res_r) MUST_CHECK;

#endif
