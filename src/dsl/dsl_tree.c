/* dsl_tree.c - see dsl_tree.h.  Pure; runs in workers and in gamectl. */
#include "dsl/dsl_tree.h"

#include "dsl/dsl_node.h"
#include "json/json_out.h"

struct tree {
	struct buf text;
	dsl_tree_cb cb;
	void *arg;
};

static void put_cstr(struct tree *t, const char *s)
{
	buf_add_str(&t->text, str_from(s));
}

static void put_member(struct tree *t, const struct jv *n, const char *key)
{
	const struct jv *v = jv_member(n, key);

	if (v != NULL && v->type == JV_STR)
		buf_add_str(&t->text, v->u.s);
}

static void put_json(struct tree *t, const struct jv *v)
{
	struct json_out o;

	json_out_init(&o, &t->text);
	if (v == NULL)
		json_out_null(&o);
	else
		json_out_val(&o, v);
}

static void end_line(struct tree *t, unsigned depth)
{
	t->cb(t->arg, depth, buf_str(&t->text));
	buf_reset(&t->text);
}

/* ---- conditions and values ---------------------------------------------- */

static void put_expr(struct tree *t, const struct jv *n, bool is_part);

static void put_list(
	struct tree *t, const struct jv *args, const char *between, bool inner)
{
	for (uint32_t i = 0; args != NULL && i < args->n; i++) {
		if (i > 0)
			put_cstr(t, between);
		put_expr(t, &args->u.arr[i], inner);
	}
}

static void put_call(struct tree *t, const struct jv *n, const char *key)
{
	put_member(t, n, key);
	put_cstr(t, "(");
	if (jv_member(n, "args") != NULL) {
		put_list(t, jv_member(n, "args"), ", ", false);
	} else {
		put_expr(t, jv_member(n, "left"), false);
		put_cstr(t, ", ");
		put_expr(t, jv_member(n, "right"), false);
	}
	put_cstr(t, ")");
}

static void put_infix(struct tree *t, const struct jv *n)
{
	put_expr(t, jv_member(n, "left"), true);
	put_cstr(t, " ");
	put_member(t, n, "op");
	put_cstr(t, " ");
	put_expr(t, jv_member(n, "right"), true);
}

static bool is_named_op(const struct jv *n)
{
	const struct jv *op = jv_member(n, "op");

	return op != NULL && op->type == JV_STR &&
	       (str_is(op->u.s, "min") || str_is(op->u.s, "max"));
}

static void put_compound(struct tree *t, const struct jv *n, enum dsl_kind kind)
{
	if (kind == DSL_N_AND || kind == DSL_N_OR) {
		put_list(t, jv_member(n, "args"),
			kind == DSL_N_AND ? " and " : " or ", true);
	} else if (kind == DSL_N_NOT) {
		put_cstr(t, "not ");
		put_expr(t, jv_member(n, "arg"), true);
	} else {
		put_infix(t, n);
	}
}

/* is_part: of a larger expression, so that what is compound is bracketed. */
static void put_expr(struct tree *t, const struct jv *n, bool is_part)
{
	const struct jv *type = n ? jv_member(n, "type") : NULL;
	enum dsl_kind kind = type ? dsl_kind_of(type) : DSL_N_CNT;

	if (kind == DSL_N_LITERAL) {
		put_json(t, jv_member(n, "value"));
	} else if (kind == DSL_N_FIELD) {
		put_member(t, n, "path");
	} else if (kind == DSL_N_FUNC_CALL) {
		put_call(t, n, "name");
	} else if (kind == DSL_N_ARITH && is_named_op(n)) {
		put_call(t, n, "op");
	} else if (kind != DSL_N_CNT) {
		put_cstr(t, is_part ? "(" : "");
		put_compound(t, n, kind);
		put_cstr(t, is_part ? ")" : "");
	}
}

/* ---- statements and rules ------------------------------------------------ */

static void walk_stmt(struct tree *t, const struct jv *n, unsigned depth)
{
	const struct jv *value = jv_member(n, "value"),
			*case_name = jv_member(n, "case_name"),
			*type = jv_member(n, "type");
	enum dsl_kind kind = type ? dsl_kind_of(type) : DSL_N_CNT;

	if (kind == DSL_N_ASSIGN_POINTS)
		put_cstr(t, "award ");
	else if (kind == DSL_N_VETO || kind == DSL_N_RETURN)
		put_member(t, n, "type");
	else if (kind == DSL_N_SET_CALLBACK_DATA)
		put_cstr(t, "callback ");
	else if (kind == DSL_N_SET_DATA)
		put_cstr(t, "data.");
	else if (kind == DSL_N_SET_POINTS)
		put_cstr(t, "points");
	else if (kind == DSL_N_SET_CASE_NAME)
		put_cstr(t, "case name");
	put_member(t, n, "key");
	if (value != NULL && kind != DSL_N_ASSIGN_POINTS)
		put_cstr(t, " = ");
	if (value != NULL)
		put_expr(t, value, false);
	if (case_name != NULL) {
		put_cstr(t, " as ");
		put_json(t, case_name);
	}
	end_line(t, depth);
}

static void walk_body(struct tree *t, const struct jv *body, unsigned depth)
{
	for (uint32_t i = 0; body != NULL && i < body->n; i++)
		walk_stmt(t, &body->u.arr[i], depth);
}

static void walk_when(
	struct tree *t, const struct jv *n, const char *word, unsigned depth)
{
	put_cstr(t, word);
	put_expr(t, jv_member(n, "when"), false);
	end_line(t, depth);
	walk_body(t, jv_member(n, "then"), depth + 1);
}

static void walk_rule(struct tree *t, const struct jv *n, unsigned depth)
{
	const struct jv *branches = jv_member(n, "else_if"),
			*other = jv_member(n, "else");

	put_cstr(t, "rule ");
	put_member(t, n, "id");
	end_line(t, depth++);
	walk_when(t, n, "if ", depth);
	for (uint32_t i = 0;
		branches != NULL && branches->type == JV_ARR && i < branches->n;
		i++)
		walk_when(t, &branches->u.arr[i], "else if ", depth);
	if (other == NULL || other->type != JV_ARR)
		return;
	put_cstr(t, "else");
	end_line(t, depth);
	walk_body(t, other, depth + 1);
}

static void walk_section(struct tree *t, const struct jv *ast, const char *key,
	const char *title)
{
	const struct jv *rules = jv_member(ast, key);
	unsigned depth = 0;

	if (rules == NULL || rules->type != JV_ARR || rules->n == 0)
		return;
	if (title != NULL) {
		put_cstr(t, title);
		end_line(t, depth++);
	}
	for (uint32_t i = 0; i < rules->n; i++)
		walk_rule(t, &rules->u.arr[i], depth);
}

static void walk_variables(struct tree *t, const struct jv *vars)
{
	for (uint32_t i = 0;
		vars != NULL && vars->type == JV_OBJ && i < vars->n; i++) {
		put_cstr(t, "with ");
		buf_add_str(&t->text, vars->u.obj[i].key);
		put_cstr(t, " = ");
		put_json(t, &vars->u.obj[i].val);
		end_line(t, 0);
	}
}

void dsl_tree_walk(const struct jv *ast, dsl_tree_cb cb, void *arg)
{
	const struct jv *other = jv_member(ast, "default");
	struct tree t = {.cb = cb, .arg = arg};

	buf_init(&t.text, 0);
	walk_variables(&t, jv_member(ast, "parent_variables"));
	walk_section(&t, ast, "pre_rules", "before the parent");
	walk_section(&t, ast, "rules", NULL);
	if (other != NULL && other->type == JV_OBJ) {
		put_cstr(&t, "otherwise");
		end_line(&t, 0);
		walk_stmt(&t, other, 1);
	}
	walk_section(&t, ast, "post_rules", "after the parent");
	buf_fini(&t.text);
}

void dsl_tree_walk_text(const char *lines, dsl_tree_cb cb, void *arg)
{
	while (*lines != '\0') {
		size_t depth = strspn(lines, "\t");
		size_t len = strcspn(lines + depth, "\n");

		cb(arg, (unsigned)depth, (struct str){lines + depth, len});
		lines += depth + len;
		if (*lines == '\n')
			lines++;
	}
}
