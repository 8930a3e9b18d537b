/*
 * dsl_compile.c - a checked, normalised AST into a struct dsl_program.
 *
 * Built in growing tables, then packed into one heap block; while building,
 * text is an offset into the text table and becomes a pointer when packed.
 * Trusts that dsl_check passed the AST.  Runs in a worker on a cache miss.
 */
#include "dsl/dsl_prog.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"

struct compiler {
	struct buf code;          /* struct dsl_ins */
	struct buf nodes;         /* struct dsl_node */
	struct buf consts;        /* struct jv */
	struct buf fields;        /* struct dsl_field_ref */
	struct buf callback_keys; /* struct str */
	struct buf data_keys;     /* struct str */
	struct buf vars;          /* struct jv_member */
	struct buf arms;          /* struct dsl_arm */
	struct buf text;
	uint32_t entered; /* nodes that some instruction has accounted for */
	uint32_t stack;   /* operands alive here */
	uint32_t stack_max;
	int max_depth;
	uint32_t needs;
	enum dsl_arm_part section; /* of the rule being compiled */
	uint32_t rule;             /* its place there */
	bool sets;                 /* the arm sets points or a case name */
};

#define CNT(b, type) ((uint32_t)((b).len / sizeof(type)))

static bool is_filled_array(const struct jv *v)
{
	return v != NULL && v->type == JV_ARR && v->n > 0;
}

/* ---- tables ----------------------------------------------------------- */

/* The copy's place: offset in .p until text_resolve. */
static struct str text_add(struct compiler *c, struct str s)
{
	struct str at = {(const char *)(uintptr_t)c->text.len, s.len};

	buf_add_str(&c->text, s);
	return at;
}

static struct str text_at(const struct compiler *c, struct str at)
{
	return (struct str){c->text.p + (uintptr_t)at.p, at.len};
}

static uint32_t const_add(struct compiler *c, const struct jv *v)
{
	struct jv k = *v;

	if (v->type == JV_STR)
		k.u.s = text_add(c, v->u.s);
	buf_add(&c->consts, &k, sizeof(k));
	return CNT(c->consts, struct jv) - 1;
}

static uint32_t key_add(struct compiler *c, struct buf *keys, struct str key)
{
	struct str *known = (struct str *)(void *)keys->p;
	uint32_t n = CNT(*keys, struct str);
	struct str at;

	for (uint32_t i = 0; i < n; i++)
		if (str_eq(text_at(c, known[i]), key))
			return i;
	at = text_add(c, key);
	buf_add(keys, &at, sizeof(at));
	return n;
}

static uint32_t field_add(struct compiler *c, struct str path)
{
	struct dsl_field_ref *known = (void *)c->fields.p;
	uint32_t n = CNT(c->fields, struct dsl_field_ref);
	struct dsl_field_ref ref = {0};
	int rc;

	for (uint32_t i = 0; i < n; i++)
		if (str_eq(text_at(c, known[i].path), path))
			return i;
	rc = dsl_field_parse(path, &ref.field, &ref.key);
	assert(rc == 0);
	(void)rc;
	c->needs |= UINT32_C(1) << ref.field;
	ref.path = text_add(c, path);
	ref.key = (struct str){
		ref.path.p + (path.len - ref.key.len), ref.key.len};
	buf_add(&c->fields, &ref, sizeof(ref));
	return n;
}

/* ---- nodes and instructions ------------------------------------------- */

static uint32_t enter_id(
	struct compiler *c, enum dsl_kind k, struct str id, int depth)
{
	struct dsl_node n = {text_add(c, id), (uint8_t)k, (uint16_t)depth, 0};

	if (depth > c->max_depth)
		c->max_depth = depth;
	buf_add(&c->nodes, &n, sizeof(n));
	return CNT(c->nodes, struct dsl_node) - 1;
}

static struct dsl_node *node_at(struct compiler *c, uint32_t i)
{
	return (struct dsl_node *)(void *)c->nodes.p + i;
}

static uint32_t enter(struct compiler *c, const struct jv *n, int depth)
{
	enum dsl_kind k = dsl_kind_of(jv_member(n, "type"));
	uint32_t node = enter_id(c, k, jv_member(n, "id")->u.s, depth);

	if (k == DSL_N_FIELD)
		node_at(c, node)->at = field_add(c, jv_member(n, "path")->u.s);
	return node;
}

static uint32_t emit(struct compiler *c, enum dsl_op op, uint32_t node,
	uint32_t a, uint32_t b)
{
	uint32_t n = CNT(c->nodes, struct dsl_node);
	struct dsl_ins ins = {
		.op = (uint8_t)op,
		.enters = (uint16_t)(n - c->entered),
		.first = c->entered,
		.node = node,
		.a = a,
		.b = b,
	};

	c->entered = n;
	buf_add(&c->code, &ins, sizeof(ins));
	return CNT(c->code, struct dsl_ins) - 1;
}

static struct dsl_ins *ins_at(struct compiler *c, uint32_t i)
{
	return (struct dsl_ins *)(void *)c->code.p + i;
}

/* Lets instruction i go to the next one emitted. */
static void patch(struct compiler *c, uint32_t i)
{
	ins_at(c, i)->a = CNT(c->code, struct dsl_ins);
}

static void push(struct compiler *c)
{
	if (++c->stack > c->stack_max)
		c->stack_max = c->stack;
}

/* ---- expressions and conditions --------------------------------------- */

static void emit_expr(struct compiler *c, const struct jv *n, int depth);

static bool is_leaf(const struct jv *n)
{
	enum dsl_kind k = dsl_kind_of(jv_member(n, "type"));

	return k == DSL_N_LITERAL || k == DSL_N_FIELD;
}

static uint32_t leaf_of(struct compiler *c, const struct jv *n)
{
	if (dsl_kind_of(jv_member(n, "type")) == DSL_N_FIELD)
		return dsl_leaf(field_add(c, jv_member(n, "path")->u.s), true);
	return dsl_leaf(const_add(c, jv_member(n, "value")), false);
}

/* Operands and operator of `node`; ll is followed by its SL and SS forms. */
static void emit_pair(struct compiler *c, const struct jv *n, uint32_t node,
	enum dsl_op ll, unsigned sub, int depth)
{
	const struct jv *l = jv_member(n, "left"), *r = jv_member(n, "right");
	unsigned form = is_leaf(r) ? is_leaf(l) ? 0 : 1 : 2;
	uint32_t a = 0, b = 0, i;

	if (form == 0) {
		enter(c, l, depth + 1);
		a = leaf_of(c, l);
	} else {
		emit_expr(c, l, depth + 1);
		c->stack--;
	}
	if (form < 2) {
		enter(c, r, depth + 1);
		b = leaf_of(c, r);
	} else {
		c->stack++;
		emit_expr(c, r, depth + 1);
		c->stack -= 2;
	}
	i = emit(c, (enum dsl_op)(ll + form), node, a, b);
	ins_at(c, i)->sub = (uint8_t)sub;
}

static void emit_func(
	struct compiler *c, const struct jv *n, uint32_t node, int depth)
{
	unsigned fn = dsl_name_index(
		jv_member(n, "name"), dsl_func_names, DSL_FN_CNT);
	const struct jv *args = jv_member(n, "args");

	for (uint32_t i = 0; i < args->n; i++)
		emit_expr(c, &args->u.arr[i], depth + 1);
	c->stack -= args->n;
	emit(c, fn == DSL_FN_INT ? DSL_OP_INT : DSL_OP_CLAMP, node, 0, 0);
}

static void emit_expr(struct compiler *c, const struct jv *n, int depth)
{
	enum dsl_kind k = dsl_kind_of(jv_member(n, "type"));
	uint32_t node = enter(c, n, depth);

	if (is_leaf(n))
		emit(c, DSL_OP_PUSH, node, leaf_of(c, n), 0);
	else if (k == DSL_N_ARITH)
		emit_pair(c, n, node, DSL_OP_ARITH_LL,
			dsl_name_index(jv_member(n, "op"), dsl_arith_names,
				DSL_ARITH_CNT),
			depth);
	else
		emit_func(c, n, node, depth);
	push(c);
}

static void emit_cond(struct compiler *c, const struct jv *n, int depth);

static void emit_logic(struct compiler *c, const struct jv *n, uint32_t node,
	bool is_and, int depth)
{
	const struct jv *args = jv_member(n, "args");
	uint32_t first = CNT(c->code, struct dsl_ins);

	for (uint32_t i = 0; i < args->n; i++) {
		emit_cond(c, &args->u.arr[i], depth + 1);
		if (i + 1 == args->n)
			emit(c, is_and ? DSL_OP_AND_LAST : DSL_OP_OR_LAST, node,
				0, i);
		else
			emit(c, is_and ? DSL_OP_AND_ARG : DSL_OP_OR_ARG, node,
				0, i);
	}
	for (uint32_t i = first; i < CNT(c->code, struct dsl_ins); i++)
		if ((ins_at(c, i)->op == DSL_OP_AND_ARG ||
			    ins_at(c, i)->op == DSL_OP_OR_ARG) &&
			ins_at(c, i)->node == node)
			patch(c, i);
}

static void emit_cond(struct compiler *c, const struct jv *n, int depth)
{
	enum dsl_kind k = dsl_kind_of(jv_member(n, "type"));
	uint32_t node = enter(c, n, depth);

	if (is_leaf(n)) {
		node = enter(c, n, depth); /* once more, as an expression */
		emit(c, DSL_OP_COND_LEAF, node, leaf_of(c, n), 0);
	} else if (k == DSL_N_NOT) {
		emit_cond(c, jv_member(n, "arg"), depth + 1);
		emit(c, DSL_OP_NOT, node, 0, 0);
	} else if (k == DSL_N_COMPARE) {
		emit_pair(c, n, node, DSL_OP_COMPARE_LL,
			dsl_name_index(
				jv_member(n, "op"), dsl_cmp_names, DSL_CMP_CNT),
			depth);
	} else {
		emit_logic(c, n, node, k == DSL_N_AND, depth);
	}
}

/* ---- arms ------------------------------------------------------------- */

/* What is emitted until arm_close belongs to it. */
static void arm_open(struct compiler *c, enum dsl_arm_kind kind, struct str id,
	uint32_t branch)
{
	struct dsl_arm arm = {
		.id = text_add(c, id),
		.section = (uint8_t)c->section,
		.kind = (uint8_t)kind,
		.rule = c->rule,
		.branch = branch,
		.from = CNT(c->code, struct dsl_ins),
	};

	buf_add(&c->arms, &arm, sizeof(arm));
	c->sets = false;
}

static void arm_close(struct compiler *c)
{
	struct dsl_arm *arm = (struct dsl_arm *)(void *)c->arms.p +
			      CNT(c->arms, struct dsl_arm) - 1;

	arm->to = CNT(c->code, struct dsl_ins);
	arm->sets = c->sets;
}

/* ---- statements and rules --------------------------------------------- */

static void emit_stmt(struct compiler *c, const struct jv *n, int depth)
{
	static const uint8_t ops[DSL_N_CNT] = {
		[DSL_N_ASSIGN_POINTS] = DSL_OP_ASSIGN_POINTS,
		[DSL_N_SET_CALLBACK_DATA] = DSL_OP_SET_CALLBACK,
		[DSL_N_RETURN] = DSL_OP_RETURN,
		[DSL_N_SET_DATA] = DSL_OP_SET_DATA,
		[DSL_N_VETO] = DSL_OP_VETO,
		[DSL_N_SET_POINTS] = DSL_OP_SET_POINTS,
		[DSL_N_SET_CASE_NAME] = DSL_OP_SET_CASE_NAME,
	};
	enum dsl_kind k = dsl_kind_of(jv_member(n, "type"));
	uint32_t node = enter(c, n, depth), a = 0, b = 0;
	const struct jv *value = jv_member(n, "value");

	if (value != NULL && is_leaf(value)) {
		enter(c, value, depth + 1);
		b = leaf_of(c, value);
	} else if (value != NULL) {
		emit_expr(c, value, depth + 1);
		c->stack--;
	}
	if (k == DSL_N_SET_POINTS || k == DSL_N_SET_CASE_NAME)
		c->sets = true;
	if (k == DSL_N_ASSIGN_POINTS || k == DSL_N_VETO)
		a = const_add(c, jv_member(n, "case_name"));
	else if (k == DSL_N_SET_CALLBACK_DATA)
		a = key_add(c, &c->callback_keys, jv_member(n, "key")->u.s);
	else if (k == DSL_N_SET_DATA)
		a = key_add(c, &c->data_keys, jv_member(n, "key")->u.s);
	emit(c, (enum dsl_op)ops[k], node, a, b);
}

#define RULE_DEPTH 1

/* One `then` or `else`; the jump at its end is patched by the caller. */
static uint32_t emit_body(struct compiler *c, const struct jv *body)
{
	for (uint32_t i = 0; i < body->n; i++)
		emit_stmt(c, &body->u.arr[i], RULE_DEPTH + 1);
	return emit(c, DSL_OP_JUMP, 0, 0, 0);
}

static void emit_branch(struct compiler *c, const struct jv *n,
	struct str rule_id, uint32_t rule, uint32_t index, struct buf *jumps)
{
	const struct jv *own = jv_member(n, "id");
	struct buf slug;
	uint32_t test, jump;

	buf_init(&slug, 0);
	if (own != NULL && own->type == JV_STR && own->u.s.len > 0)
		buf_add_str(&slug, own->u.s);
	else
		buf_printf(&slug, "%.*s.else_if.%u", STR_ARG(rule_id), index);
	enter_id(c, DSL_N_ELSE_IF, buf_str(&slug), 0);
	arm_open(c, DSL_ARM_ELSE_IF, buf_str(&slug), index + 1);
	buf_fini(&slug);
	emit_cond(c, jv_member(n, "when"), RULE_DEPTH + 1);
	test = emit(c, DSL_OP_ELSEIF, rule, 0, index);
	jump = emit_body(c, jv_member(n, "then"));
	arm_close(c);
	buf_add(jumps, &jump, sizeof(jump));
	patch(c, test);
}

static void emit_rule(struct compiler *c, const struct jv *n)
{
	const struct jv *branches = jv_member(n, "else_if"),
			*other = jv_member(n, "else");
	uint32_t node = enter(c, n, RULE_DEPTH), test, jump;
	struct str id = jv_member(n, "id")->u.s;
	struct buf jumps; /* uint32_t: instructions that leave the rule */
	uint32_t j;

	buf_init(&jumps, 0);
	node_at(c, node)->at = CNT(c->arms, struct dsl_arm);
	arm_open(c, DSL_ARM_THEN, id, 0);
	emit_cond(c, jv_member(n, "when"), RULE_DEPTH + 1);
	test = emit(c, DSL_OP_WHEN, node, 0, 0);
	jump = emit_body(c, jv_member(n, "then"));
	arm_close(c);
	buf_add(&jumps, &jump, sizeof(jump));
	patch(c, test);
	for (j = 0; is_filled_array(branches) && j < branches->n; j++)
		emit_branch(c, &branches->u.arr[j], id, node, j, &jumps);
	if (is_filled_array(other))
		arm_open(c, DSL_ARM_ELSE, id, j + 1);
	emit(c, is_filled_array(other) ? DSL_OP_ELSE : DSL_OP_SKIP, node, 0, 0);
	if (is_filled_array(other)) {
		jump = emit_body(c, other);
		arm_close(c);
		buf_add(&jumps, &jump, sizeof(jump));
	}
	for (size_t i = 0; i < jumps.len / sizeof(jump); i++) {
		memcpy(&jump, jumps.p + i * sizeof(jump), sizeof(jump));
		patch(c, jump);
	}
	buf_fini(&jumps);
}

/* Code of one mode; returns where it starts. */
static uint32_t emit_section(struct compiler *c, const struct jv *ast,
	enum dsl_arm_part section, const struct jv *def)
{
	const char *key = dsl_arm_part_name(section);
	uint32_t start = CNT(c->code, struct dsl_ins);
	uint32_t node = enter(c, ast, 0);
	const struct jv *rules = jv_member(ast, key);

	c->section = section;
	for (uint32_t i = 0; is_filled_array(rules) && i < rules->n; i++) {
		c->rule = i;
		emit_rule(c, &rules->u.arr[i]);
	}
	/* Whatever matches in `rules` halts, so here nothing has matched. */
	if (def != NULL && def->type == JV_OBJ) {
		c->section = DSL_PART_DEFAULT;
		c->rule = 0;
		arm_open(c, DSL_ARM_DEFAULT, jv_member(def, "id")->u.s, 0);
		emit_stmt(c, def, 1);
		arm_close(c);
	}
	emit(c, DSL_OP_END, node, 0, 0);
	return start;
}

static void add_parent_vars(struct compiler *c, const struct jv *vars)
{
	for (uint32_t i = 0; vars != NULL && i < vars->n; i++) {
		struct jv_member m = vars->u.obj[i];

		m.key = text_add(c, m.key);
		if (m.val.type == JV_STR)
			m.val.u.s = text_add(c, m.val.u.s);
		buf_add(&c->vars, &m, sizeof(m));
	}
}

/* ---- packing ---------------------------------------------------------- */

static void text_resolve(struct str *s, const char *text)
{
	s->p = text + (uintptr_t)s->p;
}

static void *pack_one(char **at, const struct buf *b)
{
	void *to = *at;

	if (b->len > 0)
		memcpy(to, b->p, b->len);
	*at += (b->len + 15) & ~(size_t)15;
	return to;
}

static struct dsl_program *pack(struct compiler *c)
{
	struct buf *parts[] = {&c->code, &c->nodes, &c->consts, &c->fields,
		&c->callback_keys, &c->data_keys, &c->vars, &c->arms, &c->text};
	size_t size = (sizeof(struct dsl_program) + 15) & ~(size_t)15;
	struct dsl_program *p;
	struct dsl_node *nodes;
	struct jv *consts;
	struct dsl_field_ref *fields;
	struct str *callback_keys, *data_keys;
	struct jv_member *vars;
	struct dsl_arm *arms;
	const char *text;
	char *at;

	for (size_t i = 0; i < NELEM(parts); i++)
		size += (parts[i]->len + 15) & ~(size_t)15;
	p = calloc(1, size);
	if (p == NULL)
		fatal("out of memory compiling a program, %zu bytes wanted",
			size);
	p->bytes = size;
	at = (char *)p + ((sizeof(*p) + 15) & ~(size_t)15);
	p->code = pack_one(&at, &c->code);
	p->nodes = nodes = pack_one(&at, &c->nodes);
	p->consts = consts = pack_one(&at, &c->consts);
	p->fields = fields = pack_one(&at, &c->fields);
	p->callback_keys = callback_keys = pack_one(&at, &c->callback_keys);
	p->data_keys = data_keys = pack_one(&at, &c->data_keys);
	vars = pack_one(&at, &c->vars);
	p->arms = arms = pack_one(&at, &c->arms);
	text = pack_one(&at, &c->text);

	p->fields_cnt = CNT(c->fields, *fields);
	p->callback_keys_cnt = CNT(c->callback_keys, *callback_keys);
	p->data_keys_cnt = CNT(c->data_keys, *data_keys);
	for (uint32_t i = 0; i < CNT(c->nodes, *nodes); i++)
		text_resolve(&nodes[i].id, text);
	for (uint32_t i = 0; i < CNT(c->arms, *arms); i++)
		text_resolve(&arms[i].id, text);
	for (uint32_t i = 0; i < CNT(c->consts, *consts); i++)
		if (consts[i].type == JV_STR)
			text_resolve(&consts[i].u.s, text);
	for (uint32_t i = 0; i < p->fields_cnt; i++) {
		text_resolve(&fields[i].path, text);
		text_resolve(&fields[i].key, text);
	}
	for (uint32_t i = 0; i < p->callback_keys_cnt; i++)
		text_resolve(&callback_keys[i], text);
	for (uint32_t i = 0; i < p->data_keys_cnt; i++)
		text_resolve(&data_keys[i], text);
	p->parent_vars.type = JV_OBJ;
	p->parent_vars.n = CNT(c->vars, *vars);
	p->parent_vars.u.obj = vars;
	for (uint32_t i = 0; i < p->parent_vars.n; i++) {
		text_resolve(&vars[i].key, text);
		if (vars[i].val.type == JV_STR)
			text_resolve(&vars[i].val.u.s, text);
	}
	return p;
}

struct dsl_program *dsl_compile(const struct jv *norm)
{
	struct compiler c = {0};
	struct buf *parts[] = {&c.code, &c.nodes, &c.consts, &c.fields,
		&c.callback_keys, &c.data_keys, &c.vars, &c.arms, &c.text};
	struct dsl_program *p;
	uint32_t start[3], arms[4] = {0};

	start[DSL_MODE_FULL] = emit_section(
		&c, norm, DSL_PART_RULES, jv_member(norm, "default"));
	arms[DSL_MODE_PRE] = CNT(c.arms, struct dsl_arm);
	start[DSL_MODE_PRE] = emit_section(&c, norm, DSL_PART_PRE, NULL);
	arms[DSL_MODE_POST] = CNT(c.arms, struct dsl_arm);
	start[DSL_MODE_POST] = emit_section(&c, norm, DSL_PART_POST, NULL);
	arms[3] = CNT(c.arms, struct dsl_arm);
	add_parent_vars(&c, jv_member(norm, "parent_variables"));
	p = pack(&c);
	p->refs = 1;
	memcpy(p->start, start, sizeof(start));
	memcpy(p->arms_from, arms, sizeof(arms));
	p->needs = c.needs;
	/* the program itself was entered once for each of the three modes */
	p->nodes_cnt = (int)CNT(c.nodes, struct dsl_node) - 2;
	p->max_depth = c.max_depth;
	p->stack_cnt = c.stack_max;
	p->has_pre = is_filled_array(jv_member(norm, "pre_rules"));
	p->has_post = is_filled_array(jv_member(norm, "post_rules"));
	for (size_t i = 0; i < NELEM(parts); i++)
		buf_fini(parts[i]);
	return p;
}

int dsl_load(struct arena *a, const struct jv *ast,
	const struct dsl_limits *lim, struct dsl_program **prog_r,
	struct dsl_error *err_r)
{
	static struct jv_member nothing[] = {
		{{"type", 4}, {.type = JV_STR, .u.s = {"program", 7}}},
		{{"id", 2}, {.type = JV_STR, .u.s = {"p.program.0", 11}}},
	};
	struct jv norm = {.type = JV_OBJ, .n = 2, .u.obj = nothing};

	*prog_r = NULL;
	if (ast->type == JV_NULL)
		return 0;
	if ((ast->type != JV_OBJ || ast->n > 0) &&
		dsl_check(a, ast, lim, &norm, err_r) < 0)
		return -1;
	*prog_r = dsl_compile(&norm);
	return 0;
}

struct dsl_program *dsl_program_ref(struct dsl_program *p)
{
	p->refs++;
	return p;
}

void dsl_program_unref(struct dsl_program **p)
{
	if (*p != NULL && --(*p)->refs == 0)
		free(*p);
	*p = NULL;
}

const struct dsl_field_ref *dsl_program_fields(
	const struct dsl_program *p, unsigned *cnt_r)
{
	*cnt_r = p->fields_cnt;
	return p->fields;
}

uint32_t dsl_program_needs(const struct dsl_program *p)
{
	return p->needs;
}

size_t dsl_program_bytes(const struct dsl_program *p)
{
	return p->bytes;
}

int dsl_program_nodes(const struct dsl_program *p)
{
	return p->nodes_cnt;
}

uint32_t dsl_program_top(const struct dsl_program *p, uint32_t n)
{
	/* the program itself is there once for each mode */
	uint32_t cnt = (uint32_t)p->nodes_cnt + 2;

	for (uint32_t i = 0; i < cnt; i++)
		if (p->nodes[i].depth == RULE_DEPTH && n-- == 0)
			return i;
	return UINT32_MAX;
}

const struct jv *dsl_program_parent_vars(const struct dsl_program *p)
{
	return &p->parent_vars;
}

const struct dsl_arm *dsl_program_arms(
	const struct dsl_program *p, unsigned *cnt_r)
{
	*cnt_r = p->arms_from[3];
	return p->arms;
}

const char *dsl_arm_part_name(enum dsl_arm_part s)
{
	static const char *const names[] = {
		"rules", "default", "pre_rules", "post_rules"};

	return names[s];
}

const char *dsl_arm_kind_name(enum dsl_arm_kind k)
{
	static const char *const names[] = {
		"then", "else_if", "else", "default"};

	return names[k];
}

bool dsl_program_has_pre(const struct dsl_program *p)
{
	return p->has_pre;
}

bool dsl_program_has_post(const struct dsl_program *p)
{
	return p->has_post;
}
