/*
 * dsl_check.c - the validator of dsl.md section 6: a program is copied, then
 * checked in place, ids written in the order in which nodes are looked at.
 * Stops at the first error; that order is part of the contract.
 *
 * Pure.  Runs in a worker when a strategy is saved and in gamectl.
 * Recursion is bounded by max_depth for nodes and by the JSON reader's depth
 * for the copy.
 */
#include "dsl/dsl_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dsl/dsl_node.h"

const struct dsl_limits dsl_limits_default = {
	.max_nodes = 1000,
	.max_depth = 32,
	.timeout_ms = 500,
	.max_string_bytes = 65536,
};

#define CASE_NAME_MAX 200
/*
 * Bytes of generated ids, each of which begins with the id of its parent: of
 * one, so that a stored program can be read back, and of all in a program.
 */
#define ID_MAX  (64u << 10)
#define IDS_MAX (4u << 20)

struct checker {
	struct arena *arena;
	const struct dsl_limits *lim;
	struct dsl_error *err;
	int count;
	size_t ids_len;           /* of all generated ids */
	enum dsl_section section; /* of the statements being checked */
};

/* Where a node stands: what its id and its limits depend on. */
struct place {
	struct str parent; /* id that a generated id starts with */
	unsigned index;
	int depth;
};

static int check_cond(
	struct checker *c, struct jv *n, struct place at) MUST_CHECK;
static int check_expr(
	struct checker *c, struct jv *n, struct place at) MUST_CHECK;

/* Always -1, so that a caller can return it. */
static int fail(struct checker *c, struct str node_id, const char *kind,
	const char *fmt, ...) PRINTF_LIKE(4, 5);

static int fail(struct checker *c, struct str node_id, const char *kind,
	const char *fmt, ...)
{
	struct dsl_error *e = c->err;
	va_list ap;

	memset(e, 0, sizeof(*e));
	e->cls = DSL_CLASS_VALIDATION;
	e->kind = kind;
	e->node_id = node_id;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return -1;
}

static void fail_code(
	struct checker *c, const char *code, const char *param, struct jv val)
{
	c->err->code = code;
	dsl_error_param(c->err, "nodeId", jv_str(c->err->node_id));
	dsl_error_param(c->err, param, val);
}

static void fail_info(struct checker *c, const char *name, struct jv val)
{
	dsl_error_info(c->err, c->arena, name, val);
}

static int fail_memory(struct checker *c)
{
	fail(c, (struct str){NULL, 0}, "value_too_large",
		"The program and its node ids need too much memory");
	c->err->cls = DSL_CLASS_LIMIT;
	c->err->code = "DSL_VALUE_TOO_LARGE";
	return -1;
}

/* ---- copy ------------------------------------------------------------- */

static int copy_value(struct checker *c, const struct jv *v, struct jv *to_r)
{
	*to_r = *v;
	if (v->type == JV_ARR && v->n > 0) {
		to_r->u.arr = arena_calloc(c->arena, v->n, sizeof(*v));
		if (to_r->u.arr == NULL)
			return fail_memory(c);
		for (uint32_t i = 0; i < v->n; i++)
			if (copy_value(c, &v->u.arr[i], &to_r->u.arr[i]) < 0)
				return -1;
	} else if (v->type == JV_OBJ) {
		/* one more than needed: set_id may append */
		to_r->u.obj = arena_calloc(
			c->arena, (size_t)v->n + 1, sizeof(*v->u.obj));
		if (to_r->u.obj == NULL)
			return fail_memory(c);
		for (uint32_t i = 0; i < v->n; i++) {
			to_r->u.obj[i].key = v->u.obj[i].key;
			if (copy_value(c, &v->u.obj[i].val,
				    &to_r->u.obj[i].val) < 0)
				return -1;
		}
	}
	return 0;
}

/* ---- parts of every node ---------------------------------------------- */

static struct jv *get(const struct jv *o, const char *key)
{
	for (uint32_t i = 0; i < o->n; i++)
		if (str_is(o->u.obj[i].key, key))
			return &o->u.obj[i].val;
	return NULL;
}

/* Absent and null alike. */
static bool is_given(const struct jv *v)
{
	return v != NULL && v->type != JV_NULL;
}

static bool is_filled_array(const struct jv *v)
{
	return v != NULL && v->type == JV_ARR && v->n > 0;
}

static bool is_filled_str(const struct jv *v)
{
	return v != NULL && v->type == JV_STR && v->u.s.len > 0;
}

static bool is_scalar(const struct jv *v)
{
	return v->type != JV_ARR && v->type != JV_OBJ;
}

/* Counts a generated id; one without text found no memory. */
static int count_id(struct checker *c, struct str id)
{
	c->ids_len += id.len;
	if (id.p == NULL || id.len > ID_MAX || c->ids_len > IDS_MAX)
		return fail_memory(c);
	return 0;
}

static int set_id(struct checker *c, struct jv *n, const char *type,
	struct place at, struct str *id_r)
{
	struct jv *id = get(n, "id");

	if (is_filled_str(id)) {
		*id_r = id->u.s;
		return 0;
	}
	*id_r = arena_printf(
		c->arena, "%.*s.%s.%u", STR_ARG(at.parent), type, at.index);
	if (count_id(c, *id_r) < 0)
		return -1;
	if (id == NULL) {
		n->u.obj[n->n].key = STR("id");
		id = &n->u.obj[n->n++].val;
	}
	*id = jv_str(*id_r);
	return 0;
}

static int step(struct checker *c, struct str id)
{
	if (++c->count <= c->lim->max_nodes)
		return 0;
	fail(c, id, "node_budget", "The program has more than %d nodes",
		c->lim->max_nodes);
	fail_info(c, "limit", jv_int(c->lim->max_nodes));
	return -1;
}

static int check_depth(struct checker *c, struct str id, int depth)
{
	if (depth <= c->lim->max_depth)
		return 0;
	fail(c, id, "depth_budget", "The program is nested deeper than %d",
		c->lim->max_depth);
	fail_info(c, "limit", jv_int(c->lim->max_depth));
	return -1;
}

static bool is_among(struct str key, const char *const *names, size_t cnt)
{
	for (size_t i = 0; i < cnt && names[i] != NULL; i++)
		if (str_is(key, names[i]))
			return true;
	return false;
}

static bool key_is_known(enum dsl_kind k, struct str key)
{
	const struct dsl_shape *s = &dsl_shapes[k];

	return is_among(key, s->required, NELEM(s->required)) ||
	       is_among(key, s->optional, NELEM(s->optional)) ||
	       str_is(key, "id") || (k != DSL_N_ELSE_IF && str_is(key, "type"));
}

static int by_text(const void *a, const void *b)
{
	const struct jv *l = a, *r = b;

	return str_cmp(l->u.s, r->u.s);
}

/* Sorted array of the keys that a node of this kind must not have. */
static int unknown_keys(
	struct checker *c, const struct jv *n, enum dsl_kind k, struct jv *v_r)
{
	*v_r = (struct jv){.type = JV_ARR};
	for (uint32_t i = 0; i < n->n; i++) {
		if (key_is_known(k, n->u.obj[i].key))
			continue;
		if (v_r->n == 0)
			v_r->u.arr = arena_alloc(
				c->arena, n->n * sizeof(*v_r->u.arr));
		if (v_r->u.arr == NULL)
			return fail_memory(c);
		v_r->u.arr[v_r->n++] = jv_str(n->u.obj[i].key);
	}
	if (v_r->n > 0)
		qsort(v_r->u.arr, v_r->n, sizeof(*v_r->u.arr), by_text);
	return 0;
}

static int check_keys(
	struct checker *c, const struct jv *n, enum dsl_kind k, struct str id)
{
	const struct dsl_shape *s = &dsl_shapes[k];
	struct jv keys;

	for (size_t i = 0; i < NELEM(s->required) && s->required[i]; i++) {
		if (get(n, s->required[i]) != NULL)
			continue;
		fail(c, id, "missing_key", "A %s node needs the key %s",
			s->type, s->required[i]);
		fail_info(c, "type", jv_str(str_from(s->type)));
		fail_info(c, "key", jv_str(str_from(s->required[i])));
		return -1;
	}
	if (unknown_keys(c, n, k, &keys) < 0)
		return -1;
	if (keys.n == 0)
		return 0;
	fail(c, id, "unexpected_keys", "A %s node has keys unknown to it: %u",
		s->type, keys.n);
	fail_info(c, "type", jv_str(str_from(s->type)));
	fail_info(c, "keys", keys);
	return -1;
}

/* Id, step and depth of a condition, expression or statement. */
static int enter(struct checker *c, struct jv *n, enum dsl_kind k,
	struct place at, struct str *id_r)
{
	if (set_id(c, n, dsl_shapes[k].type, at, id_r) < 0 ||
		step(c, *id_r) < 0)
		return -1;
	return check_depth(c, *id_r, at.depth);
}

/* ---- expressions ------------------------------------------------------ */

static struct place child(struct str parent, unsigned index, int depth)
{
	return (struct place){parent, index, depth + 1};
}

static const char *section_name(enum dsl_section s)
{
	switch (s) {
	case DSL_S_RULE:
		return "rule";
	case DSL_S_DEFAULT:
		return "default";
	case DSL_S_PRE:
		return "pre";
	case DSL_S_POST:
		return "post";
	}
	return "rule";
}

static int check_field(struct checker *c, const struct jv *n, struct str id)
{
	const struct jv *path = get(n, "path");
	enum dsl_field f;
	struct str key;

	if (!is_filled_str(path))
		return fail(c, id, "field_path_not_string",
			"The path of a field must be a string");
	if (dsl_field_parse(path->u.s, &f, &key) < 0) {
		fail(c, id, "field_path_not_allowed",
			"There is no field with this path");
		fail_code(c, "DSL_FIELD_PATH_NOT_ALLOWED", "path", *path);
		return -1;
	}
	if ((f == DSL_F_PARENT_POINTS || f == DSL_F_PARENT_CASE) &&
		c->section != DSL_S_POST) {
		fail(c, id, "parent_field_outside_post",
			"Fields of the parent may be read in post_rules only");
		fail_code(c, "DSL_PARENT_FIELD_OUTSIDE_POST", "path", *path);
		dsl_error_param(c->err, "context",
			jv_str(str_from(section_name(c->section))));
		return -1;
	}
	return 0;
}

static int check_pair(
	struct checker *c, const struct jv *n, struct str id, int depth)
{
	if (check_expr(c, get(n, "left"), child(id, 0, depth)) < 0)
		return -1;
	return check_expr(c, get(n, "right"), child(id, 1, depth));
}

static int check_arith(
	struct checker *c, const struct jv *n, struct str id, int depth)
{
	const struct jv *op = get(n, "op");

	if (dsl_name_index(op, dsl_arith_names, DSL_ARITH_CNT) ==
		DSL_ARITH_CNT) {
		fail(c, id, "arith_op_not_allowed",
			"The operator must be one of + - * / min max");
		fail_code(c, "DSL_ARITH_OP_NOT_ALLOWED", "op", *op);
		return -1;
	}
	return check_pair(c, n, id, depth);
}

static int check_func(
	struct checker *c, const struct jv *n, struct str id, int depth)
{
	const struct jv *name = get(n, "name"), *args = get(n, "args");
	unsigned fn = dsl_name_index(name, dsl_func_names, DSL_FN_CNT);

	if (fn == DSL_FN_CNT) {
		fail(c, id, "func_name_not_allowed",
			"The function must be int or clamp");
		fail_code(c, "DSL_FUNC_NAME_NOT_ALLOWED", "name", *name);
		return -1;
	}
	if (args->type != JV_ARR || args->n != dsl_func_arity[fn]) {
		fail(c, id, "func_arity", "The function %s takes %u arguments",
			dsl_func_names[fn], dsl_func_arity[fn]);
		fail_code(c, "DSL_FUNC_ARITY_MISMATCH", "name", *name);
		dsl_error_param(c->err, "expected", jv_int(dsl_func_arity[fn]));
		dsl_error_param(c->err, "actual",
			args->type == JV_ARR ? jv_int(args->n)
					     : jv_str(STR("non-list")));
		return -1;
	}
	for (uint32_t i = 0; i < args->n; i++)
		if (check_expr(c, &args->u.arr[i], child(id, i, depth)) < 0)
			return -1;
	return 0;
}

static int check_expr(struct checker *c, struct jv *n, struct place at)
{
	enum dsl_kind k;
	struct str id;

	if (n->type != JV_OBJ)
		return fail(c, at.parent, "expression_not_object",
			"An expression must be an object");
	k = dsl_kind_of(get(n, "type"));
	if (k == DSL_N_CNT || !(dsl_shapes[k].groups & DSL_G_EXPR))
		return fail(c, at.parent, "expression_unknown_type",
			"The type of an expression must be one of literal, "
			"field, arith, func_call");
	if (enter(c, n, k, at, &id) < 0 || check_keys(c, n, k, id) < 0)
		return -1;
	if (k == DSL_N_FIELD)
		return check_field(c, n, id);
	if (k == DSL_N_ARITH)
		return check_arith(c, n, id, at.depth);
	if (k == DSL_N_FUNC_CALL)
		return check_func(c, n, id, at.depth);
	if (!is_scalar(get(n, "value")))
		return fail(c, id, "literal_not_scalar",
			"A literal must be a string, a number, a bool or null");
	return 0;
}

/* ---- conditions ------------------------------------------------------- */

static int check_logic(struct checker *c, const struct jv *n, enum dsl_kind k,
	struct str id, int depth)
{
	const struct jv *args = get(n, "args");

	if (!is_filled_array(args)) {
		fail(c, id, "logic_args_not_filled_array",
			"The args of %s must be an array that is not empty",
			dsl_shapes[k].type);
		fail_info(c, "type", jv_str(str_from(dsl_shapes[k].type)));
		return -1;
	}
	for (uint32_t i = 0; i < args->n; i++)
		if (check_cond(c, &args->u.arr[i], child(id, i, depth)) < 0)
			return -1;
	return 0;
}

static int check_cond(struct checker *c, struct jv *n, struct place at)
{
	enum dsl_kind k;
	struct str id;

	if (n->type != JV_OBJ)
		return fail(c, at.parent, "condition_not_object",
			"A condition must be an object");
	k = dsl_kind_of(get(n, "type"));
	if (k == DSL_N_CNT || !(dsl_shapes[k].groups & DSL_G_COND))
		return fail(c, at.parent, "condition_unknown_type",
			"The type of a condition must be one of and, or, not, "
			"compare, literal, field");
	if (enter(c, n, k, at, &id) < 0)
		return -1;
	/* The same node at the same depth: counted twice, on purpose. */
	if (k == DSL_N_LITERAL || k == DSL_N_FIELD)
		return check_expr(c, n, at);
	if (check_keys(c, n, k, id) < 0)
		return -1;
	if (k == DSL_N_NOT)
		return check_cond(c, get(n, "arg"), child(id, 0, at.depth));
	if (k != DSL_N_COMPARE)
		return check_logic(c, n, k, id, at.depth);
	if (dsl_name_index(get(n, "op"), dsl_cmp_names, DSL_CMP_CNT) ==
		DSL_CMP_CNT)
		return fail(c, id, "compare_op_not_allowed",
			"The operator must be one of < <= == != >= >");
	return check_pair(c, n, id, at.depth);
}

/* ---- statements ------------------------------------------------------- */

static int check_case_name(struct checker *c, const struct jv *n, struct str id)
{
	const struct jv *v = get(n, "case_name");
	bool ok = is_filled_str(v) && v->u.s.len <= CASE_NAME_MAX;

	for (size_t i = 0; ok && i < v->u.s.len; i++)
		ok = v->u.s.p[i] >= 0x20 && v->u.s.p[i] <= 0x7e;
	if (ok)
		return 0;
	return fail(c, id, "case_name_invalid",
		"A case name must be 1 to %d characters of printable ASCII",
		CASE_NAME_MAX);
}

static int check_data_key(struct checker *c, const struct jv *n, struct str id)
{
	const struct jv *key = get(n, "key");
	struct str path, rest;
	enum dsl_field f;

	if (!is_filled_str(key))
		return fail(c, id, "set_data_key_not_string",
			"The key of set_data must be a string");
	path = arena_printf(c->arena, "data.%.*s", STR_ARG(key->u.s));
	if (path.p == NULL)
		return fail_memory(c);
	if (dsl_field_parse(path, &f, &rest) < 0)
		return fail(c, id, "set_data_key_charset",
			"The key of set_data may have letters, digits and "
			"underscores only");
	return 0;
}

static int check_stmt_body(struct checker *c, const struct jv *n,
	enum dsl_kind k, struct str id, int depth)
{
	if (k == DSL_N_SET_CALLBACK_DATA && !is_filled_str(get(n, "key")))
		return fail(c, id, "callback_key_invalid",
			"The key of set_callback_data must be a string");
	if (k == DSL_N_SET_DATA && check_data_key(c, n, id) < 0)
		return -1;
	if (get(n, "value") != NULL &&
		check_expr(c, get(n, "value"), child(id, 0, depth)) < 0)
		return -1;
	if (k == DSL_N_ASSIGN_POINTS || k == DSL_N_VETO)
		return check_case_name(c, n, id);
	return 0;
}

static int fail_section(
	struct checker *c, struct jv *n, enum dsl_kind k, struct place at)
{
	const char *type = dsl_shapes[k].type;
	struct str id;

	if (set_id(c, n, type, at, &id) < 0)
		return -1;
	fail(c, id, "statement_not_in_section",
		"A %s statement may not stand in section %s", type,
		section_name(c->section));
	fail_info(c, "type", jv_str(str_from(type)));
	fail_info(c, "section", jv_str(str_from(section_name(c->section))));
	return -1;
}

static int check_stmt(struct checker *c, struct jv *n, struct place at)
{
	enum dsl_kind k;
	struct str id;

	if (n->type != JV_OBJ)
		return fail(c, at.parent, "statement_not_object",
			"A statement must be an object");
	k = dsl_kind_of(get(n, "type"));
	if (k == DSL_N_CNT)
		return fail(c, at.parent, "statement_unknown_type",
			"There is no statement of this type");
	if (!(dsl_shapes[k].groups & DSL_G_STMT)) {
		fail(c, at.parent, "statement_wrong_kind",
			"A %s node is not a statement", dsl_shapes[k].type);
		fail_info(c, "type", jv_str(str_from(dsl_shapes[k].type)));
		return -1;
	}
	if (!(dsl_shapes[k].sections & c->section))
		return fail_section(c, n, k, at);
	if (enter(c, n, k, at, &id) < 0 || check_keys(c, n, k, id) < 0)
		return -1;
	return check_stmt_body(c, n, k, id, at.depth);
}

/* ---- rules ------------------------------------------------------------ */

#define RULE_DEPTH 1

static int check_body(struct checker *c, const struct jv *body,
	struct str parent, const char *where)
{
	if (!is_filled_array(body)) {
		fail(c, parent, "branch_not_filled_array",
			"%s must be an array of statements that is not empty",
			where);
		fail_info(c, "where", jv_str(str_from(where)));
		return -1;
	}
	for (uint32_t i = 0; i < body->n; i++)
		if (check_stmt(c, &body->u.arr[i],
			    child(parent, i, RULE_DEPTH)) < 0)
			return -1;
	return 0;
}

static int check_branch(
	struct checker *c, struct jv *n, struct str rule_id, unsigned index)
{
	struct str slug = arena_printf(
		c->arena, "%.*s.else_if.%u", STR_ARG(rule_id), index);
	struct jv keys;

	if (count_id(c, slug) < 0)
		return -1;
	if (step(c, slug) < 0)
		return -1;
	if (n->type != JV_OBJ)
		return fail(c, slug, "else_if_not_object",
			"A branch of else_if must be an object");
	if (unknown_keys(c, n, DSL_N_ELSE_IF, &keys) < 0)
		return -1;
	if (keys.n > 0) {
		fail(c, slug, "else_if_unexpected_keys",
			"Branch %u of else_if may have when, then and id only",
			index);
		fail_info(c, "index", jv_int(index));
		fail_info(c, "keys", keys);
		return -1;
	}
	if (get(n, "when") == NULL)
		return fail(c, slug, "else_if_missing_when",
			"Branch %u of else_if needs the key when", index);
	if (check_cond(c, get(n, "when"), child(slug, 0, RULE_DEPTH)) < 0)
		return -1;
	return check_body(c, get(n, "then"), slug, "rule.else_if[*].then");
}

static int check_rule(struct checker *c, struct jv *n, struct place at)
{
	const struct jv *v;
	struct str id;

	if (n->type != JV_OBJ)
		return fail(c, at.parent, "rule_not_object",
			"A rule must be an object");
	if (set_id(c, n, "rule", at, &id) < 0 || step(c, id) < 0)
		return -1;
	if (dsl_kind_of(get(n, "type")) != DSL_N_RULE) {
		fail(c, id, "wrong_node_type", "The type must be rule");
		fail_info(c, "expected", jv_str(STR("rule")));
		return -1;
	}
	if (check_keys(c, n, DSL_N_RULE, id) < 0 ||
		check_depth(c, id, RULE_DEPTH) < 0)
		return -1;
	if (check_cond(c, get(n, "when"), child(id, 0, RULE_DEPTH)) < 0 ||
		check_body(c, get(n, "then"), id, "rule.then") < 0)
		return -1;
	v = get(n, "else_if");
	if (is_given(v)) {
		if (v->type != JV_ARR)
			return fail(c, id, "else_if_not_array",
				"else_if must be an array of branches");
		for (uint32_t j = 0; j < v->n; j++)
			if (check_branch(c, &v->u.arr[j], id, j) < 0)
				return -1;
	}
	v = get(n, "else");
	return is_given(v) ? check_body(c, v, id, "rule.else") : 0;
}

/* ---- the program ------------------------------------------------------ */

static int check_rules(
	struct checker *c, const struct jv *v, struct str id, const char *key)
{
	if (v->type != JV_ARR) {
		fail(c, id, "section_not_array", "%s must be an array of rules",
			key);
		if (c->section != DSL_S_RULE)
			fail_info(c, "section", jv_str(str_from(key)));
		return -1;
	}
	for (uint32_t i = 0; i < v->n; i++)
		if (check_rule(c, &v->u.arr[i],
			    (struct place){id, i, RULE_DEPTH}) < 0)
			return -1;
	return 0;
}

static int check_parent_vars(
	struct checker *c, const struct jv *v, struct str id)
{
	if (v->type != JV_OBJ)
		return fail(c, id, "parent_variables_not_object",
			"parent_variables must be an object");
	for (uint32_t i = 0; i < v->n; i++) {
		if (!str_starts_with(v->u.obj[i].key, "variable_"))
			return fail(c, id, "parent_variables_bad_key",
				"Keys of parent_variables start with "
				"variable_");
		if (!is_scalar(&v->u.obj[i].val))
			return fail(c, id, "parent_variables_bad_value",
				"Values of parent_variables must be strings, "
				"numbers, bools or null");
	}
	return 0;
}

static int check_program(struct checker *c, struct jv *n)
{
	static const struct {
		const char *key;
		enum dsl_section section;
	} lists[] = {{"rules", DSL_S_RULE}, {"pre_rules", DSL_S_PRE},
		{"post_rules", DSL_S_POST}};
	const struct place at = {STR("p"), 0, 0};
	struct jv *v;
	struct str id;

	if (n->type != JV_OBJ)
		return fail(c, (struct str){NULL, 0}, "root_not_object",
			"A program must be an object");
	if (set_id(c, n, "program", at, &id) < 0 || step(c, id) < 0)
		return -1;
	if (dsl_kind_of(get(n, "type")) != DSL_N_PROGRAM) {
		fail(c, id, "wrong_node_type", "The type must be program");
		fail_info(c, "expected", jv_str(STR("program")));
		return -1;
	}
	if (check_keys(c, n, DSL_N_PROGRAM, id) < 0)
		return -1;
	for (size_t i = 0; i < NELEM(lists); i++) {
		v = get(n, lists[i].key);
		if (i > 0 && !is_given(v))
			continue;
		c->section = lists[i].section;
		if (check_rules(c, v, id, lists[i].key) < 0)
			return -1;
	}
	v = get(n, "parent_variables");
	if (is_given(v) && check_parent_vars(c, v, id) < 0)
		return -1;
	v = get(n, "default");
	c->section = DSL_S_DEFAULT;
	return is_given(v) ? check_stmt(c, v, (struct place){id, 0, 1}) : 0;
}

int dsl_check(struct arena *a, const struct jv *ast,
	const struct dsl_limits *lim, struct jv *norm_r,
	struct dsl_error *err_r)
{
	struct checker c = {.arena = a, .lim = lim, .err = err_r};

	if (copy_value(&c, ast, norm_r) < 0)
		return -1;
	return check_program(&c, norm_r);
}
