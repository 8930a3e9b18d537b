/*
 * dsl_eval.c - runs a compiled program (dsl.md 10 to 14).
 *
 * One loop over the flat code, with an operand stack and a truth register; a
 * worker calls it between two reads of its sockets, so everything is bounded:
 * steps, depth and time by the limits, text by max_string_bytes and the
 * arena.  No heap, no recursion.
 *
 * Every instruction adds the nodes entered since the last one to the counter.
 * Only when the counter passes `mark` are they looked at one by one: the mark
 * is the node limit, or the next multiple of 64 where the clock is due, or -1
 * when the program is deeper than the limit allows.
 */
#include "dsl/dsl_prog.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "dsl/dsl_value.h"

#define STACK_FEW   64 /* operands on the C stack; more go to the arena */
#define CLOCK_STEPS 64

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD        __attribute__((noinline, cold))

/* An object being built: callback data or working data. */
struct out_obj {
	struct jv_member *m;
	uint32_t n;
	uint32_t given;        /* members that were there before */
	uint32_t *pos;         /* 1 + place of key k; 0: not set yet */
	const struct jv *from; /* what it starts as; NULL: {} */
};

/* Where the next trace entry goes. */
struct tracer {
	struct dsl_trace *t;
	struct dsl_trace_ent *start; /* of the region being filled */
	struct dsl_trace_ent *cur;
	struct dsl_trace_ent *end;
	uint32_t done; /* entries in regions left behind */
	struct dsl_trace_ent sink;
};

struct vm {
	struct dsl_run *r;
	const struct dsl_program *p;
	int n;    /* steps */
	int mark; /* passing it needs a closer look */
	bool check_depth;
	uint64_t deadline_ns; /* 0: no clock */
	struct tracer tr;
	struct out_obj callback;
	struct out_obj working;
	struct jv *stack;
};

/* ---- trace ------------------------------------------------------------ */

static void trace_region(struct tracer *tr, uint32_t total)
{
	struct dsl_trace *t = tr->t;

	if (total < t->head_cap) {
		tr->start = t->ents + total;
		tr->end = t->ents + t->head_cap;
	} else if (t->tail_cap > 0) {
		tr->start = t->ents + t->head_cap +
			    (total - t->head_cap) % t->tail_cap;
		tr->end = t->ents + t->head_cap + t->tail_cap;
	} else {
		tr->start = &tr->sink;
		tr->end = &tr->sink + 1;
	}
	tr->cur = tr->start;
}

static COLD void trace_turn(struct tracer *tr)
{
	tr->done += (uint32_t)(tr->end - tr->start);
	trace_region(tr, tr->t->total + tr->done);
}

static inline void trace(struct tracer *tr, uint32_t node, const struct jv *v,
	enum dsl_branch branch, uint32_t idx)
{
	struct dsl_trace_ent *e;

	if (UNLIKELY(tr->cur == tr->end))
		trace_turn(tr);
	e = tr->cur++;
	e->value = *v;
	e->node = node;
	e->branch_idx = (uint16_t)idx;
	e->branch = (uint8_t)branch;
}

static void trace_end(struct vm *m)
{
	struct tracer *tr = &m->tr;

	if (tr->t != NULL)
		tr->t->total += tr->done + (uint32_t)(tr->cur - tr->start);
}

/* ---- failures --------------------------------------------------------- */

/* Ends the run at a node; what was being worked on goes into the trace. */
static COLD void fail(struct vm *m, uint32_t node, enum dsl_class cls,
	const char *kind, const char *code, const struct jv *ops, uint32_t cnt)
{
	struct dsl_error *e = &m->r->err;
	struct jv shown = jv_null();

	memset(e, 0, sizeof(*e));
	e->cls = cls;
	e->kind = kind;
	e->code = code;
	if (cls != DSL_CLASS_TIMEOUT)
		e->node_id = m->p->nodes[node].id;
	if (code != NULL && cls != DSL_CLASS_TIMEOUT)
		dsl_error_param(e, "nodeId", jv_str(e->node_id));
	if (m->tr.t == NULL)
		return;
	if (cnt == 1) {
		shown = ops[0];
	} else if (cnt > 1) {
		struct jv *copy = arena_alloc(m->r->arena, cnt * sizeof(*copy));

		if (copy != NULL) {
			memcpy(copy, ops, cnt * sizeof(*copy));
			shown = (struct jv){
				.type = JV_ARR, .n = cnt, .u.arr = copy};
		}
	}
	trace(&m->tr, node, &shown, DSL_BR_FAILED, 0);
}

static void say(struct vm *m, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(struct vm *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->r->err.message, sizeof(m->r->err.message), fmt, ap);
	va_end(ap);
}

static void param(struct vm *m, const char *name, const char *text)
{
	dsl_error_param(&m->r->err, name, jv_str(str_from(text)));
}

static COLD void fail_limit(
	struct vm *m, uint32_t node, const char *kind, int limit)
{
	fail(m, node, DSL_CLASS_LIMIT, kind, NULL, NULL, 0);
	dsl_error_info(&m->r->err, m->r->arena, "limit", jv_int(limit));
	say(m, "The run needs more than the %d %s allowed", limit,
		strcmp(kind, "run_node_budget") == 0 ? "steps"
						     : "levels of nesting");
}

static COLD void fail_timeout(struct vm *m, uint32_t node)
{
	fail(m, node, DSL_CLASS_TIMEOUT, "timeout", NULL, NULL, 0);
	say(m, "The run took longer than %d ms", m->r->lim->timeout_ms);
}

static COLD void fail_field(struct vm *m, uint32_t node, uint32_t slot)
{
	fail(m, node, DSL_CLASS_EXECUTION, "field_unresolved",
		"DSL_FIELD_NOT_PRECOMPUTED", NULL, 0);
	dsl_error_param(&m->r->err, "path", jv_str(m->p->fields[slot].path));
	say(m, "A field of the program has no value in this run");
}

static COLD void fail_too_large(struct vm *m, uint32_t node, const char *op,
	const struct jv *ops, uint32_t cnt)
{
	fail(m, node, DSL_CLASS_LIMIT, "value_too_large", "DSL_VALUE_TOO_LARGE",
		ops, cnt);
	param(m, "op", op);
	dsl_error_param(&m->r->err, "limit",
		jv_int((int64_t)m->r->lim->max_string_bytes));
	say(m, "A value made by %s would be too large", op);
}

static COLD void fail_pair(struct vm *m, uint32_t node, const char *kind,
	const char *code, const char *op, const struct jv *ops)
{
	fail(m, node, DSL_CLASS_EXECUTION, kind, code, ops, 2);
	param(m, "op", op);
	param(m, "leftType", dsl_type_name(&ops[0]));
	param(m, "rightType", dsl_type_name(&ops[1]));
	say(m, "The operator %s does not take %s and %s", op,
		dsl_type_name(&ops[0]), dsl_type_name(&ops[1]));
}

static COLD void fail_arith(struct vm *m, uint32_t node, enum dsl_fault f,
	enum dsl_arith_op sub, const struct jv *ops)
{
	const char *op = dsl_arith_names[sub];

	switch (f) {
	case DSL_OK:
	case DSL_BAD_TYPES:
		fail_pair(m, node, "arith_types", "DSL_ARITH_TYPE_MISMATCH", op,
			ops);
		return;
	case DSL_TOO_LARGE:
		fail_too_large(m, node, op, ops, 2);
		return;
	case DSL_DIV_ZERO:
		fail(m, node, DSL_CLASS_EXECUTION, "division_by_zero",
			"DSL_ARITH_DIV_BY_ZERO", ops, 2);
		say(m, "Division by zero");
		break;
	case DSL_INT_RANGE:
		fail(m, node, DSL_CLASS_EXECUTION, "int_out_of_range",
			"DSL_INT_OUT_OF_RANGE", ops, 2);
		say(m, "The result of %s does not fit 64 bits", op);
		break;
	case DSL_NOT_FINITE:
		fail(m, node, DSL_CLASS_EXECUTION, "number_not_finite",
			"DSL_NUMBER_NOT_FINITE", ops, 2);
		say(m, "The result of %s is not a finite number", op);
		break;
	}
	param(m, "op", op);
}

static COLD void fail_func(struct vm *m, uint32_t node, enum dsl_fault f,
	enum dsl_func fn, const struct jv *ops)
{
	const char *name = dsl_func_names[fn];

	if (f == DSL_INT_RANGE) {
		fail(m, node, DSL_CLASS_EXECUTION, "int_out_of_range",
			"DSL_INT_OUT_OF_RANGE", ops, dsl_func_arity[fn]);
		param(m, "name", name);
		say(m, "The result of %s does not fit 64 bits", name);
		return;
	}
	fail(m, node, DSL_CLASS_EXECUTION, "func_failed", NULL, ops,
		dsl_func_arity[fn]);
	dsl_error_info(&m->r->err, m->r->arena, "name", jv_str(str_from(name)));
	say(m, "The function %s cannot work with a value of type %s", name,
		dsl_type_name(&ops[0]));
}

static COLD void fail_type(struct vm *m, uint32_t node, const char *kind,
	const char *code, const char *wanted, const struct jv *v)
{
	fail(m, node, DSL_CLASS_EXECUTION, kind, code, v, 1);
	param(m, "actualType", dsl_type_name(v));
	say(m, "The value must be %s, not of type %s", wanted,
		dsl_type_name(v));
}

/* ---- limits ----------------------------------------------------------- */

static void set_mark(struct vm *m)
{
	int due = (m->n / CLOCK_STEPS + 1) * CLOCK_STEPS - 1;

	m->mark = m->r->lim->max_nodes;
	if (m->check_depth)
		m->mark = -1;
	else if (m->deadline_ns != 0 && due < m->mark)
		m->mark = due;
}

/* The clock is looked at where dsl.md 13 says. */
static bool clock_is_due(const struct vm *m, const struct dsl_node *node)
{
	return m->deadline_ns != 0 && m->n % CLOCK_STEPS == 0 &&
	       dsl_shapes[node->kind].groups & ~DSL_G_ROOT;
}

/* Steps the nodes of an instruction one by one; n is before them. */
static COLD int enter_nodes(struct vm *m, const struct dsl_ins *ins, int n)
{
	m->n = n;
	for (uint32_t i = ins->first; i < ins->first + ins->enters; i++) {
		const struct dsl_node *node = &m->p->nodes[i];

		if (++m->n > m->r->lim->max_nodes) {
			fail_limit(
				m, i, "run_node_budget", m->r->lim->max_nodes);
			return -1;
		}
		if (node->depth > m->r->lim->max_depth && node->depth > 0) {
			fail_limit(
				m, i, "run_depth_budget", m->r->lim->max_depth);
			return -1;
		}
		if (clock_is_due(m, node) && clock_mono_ns() > m->deadline_ns) {
			fail_timeout(m, i);
			return -1;
		}
	}
	set_mark(m);
	return 0;
}

/* ---- results ---------------------------------------------------------- */

/* -1 when the arena is spent. */
static COLD int out_start(struct arena *a, struct out_obj *o, uint32_t keys)
{
	uint32_t given = o->from != NULL ? o->from->n : 0;

	o->m = arena_alloc(a, ((size_t)given + keys) * sizeof(*o->m));
	o->pos = arena_calloc(a, keys, sizeof(*o->pos));
	if (o->m == NULL || o->pos == NULL)
		return -1;
	if (given > 0)
		memcpy(o->m, o->from->u.obj, given * sizeof(*o->m));
	o->n = o->given = given;
	return 0;
}

/* The last write of a key wins and keeps the key's first place. */
static int out_set(struct arena *a, struct out_obj *o, const struct str *keys,
	uint32_t keys_cnt, uint32_t k, const struct jv *v)
{
	uint32_t at;

	if (o->m == NULL && out_start(a, o, keys_cnt) < 0)
		return -1;
	if (o->pos[k] == 0) {
		for (at = 0; at < o->given; at++)
			if (str_eq(o->m[at].key, keys[k]))
				break;
		if (at == o->given) {
			at = o->n++;
			o->m[at].key = keys[k];
		}
		o->pos[k] = at + 1;
	}
	o->m[o->pos[k] - 1].val = *v;
	return 0;
}

static struct jv out_value(const struct out_obj *o)
{
	if (o->m == NULL && o->from != NULL && o->from->type == JV_OBJ)
		return *o->from;
	return (struct jv){.type = JV_OBJ, .n = o->n, .u.obj = o->m};
}

static bool is_points(const struct jv *v)
{
	return v->type == JV_INT || v->type == JV_FLOAT;
}

/* ---- the loop --------------------------------------------------------- */

/* Bits of an order that satisfy an operator: 1 less, 2 equal, 4 greater. */
static const uint8_t cmp_mask[DSL_CMP_CNT] = {
	[DSL_LT] = 1,
	[DSL_LE] = 3,
	[DSL_EQ] = 2,
	[DSL_NE] = 5,
	[DSL_GE] = 6,
	[DSL_GT] = 4,
};

/* Two ints or two floats here, everything else in dsl_value.c. */
static inline enum dsl_fault compare(
	uint8_t op, const struct jv *v, bool *truth)
{
	if (LIKELY(v[0].type == JV_INT && v[1].type == JV_INT)) {
		int64_t a = v[0].u.i, b = v[1].u.i;
		unsigned bit = a < b ? 1 : a > b ? 4 : 2;

		*truth = (cmp_mask[op] & bit) != 0;
		return DSL_OK;
	}
	if (v[0].type == JV_FLOAT && v[1].type == JV_FLOAT) {
		double a = v[0].u.d, b = v[1].u.d;
		unsigned bit = a < b ? 1 : a > b ? 4 : 2;

		*truth = (cmp_mask[op] & bit) != 0;
		return DSL_OK;
	}
	return dsl_compare((enum dsl_cmp_op)op, &v[0], &v[1], truth);
}

static inline enum dsl_fault arith(const struct dsl_text *t, uint8_t op,
	const struct jv *v, struct jv *res)
{
	bool plain = v[0].type == JV_FLOAT && v[1].type == JV_FLOAT;
	double a, b;

	if (v[0].type == JV_INT && v[1].type == JV_INT) {
		int64_t i;

		if (op == DSL_ADD &&
			!__builtin_add_overflow(v[0].u.i, v[1].u.i, &i)) {
			*res = jv_int(i);
			return DSL_OK;
		}
		return dsl_arith(t, (enum dsl_arith_op)op, &v[0], &v[1], res);
	}
	if (!plain)
		return dsl_arith(t, (enum dsl_arith_op)op, &v[0], &v[1], res);
	a = v[0].u.d;
	b = v[1].u.d;
	if (op == DSL_ADD)
		a += b;
	else if (op == DSL_SUB)
		a -= b;
	else if (op == DSL_MUL)
		a *= b;
	else
		return dsl_arith(t, (enum dsl_arith_op)op, &v[0], &v[1], res);
	if (UNLIKELY(!isfinite(a)))
		return DSL_NOT_FINITE;
	*res = jv_float(a);
	return DSL_OK;
}

#define TRACE(v, branch, idx)                                     \
	do {                                                      \
		if (traced)                                       \
			trace(&m->tr, ins->node, v, branch, idx); \
	} while (0)

static inline __attribute__((always_inline)) int run_code(
	struct vm *m, const bool traced)
{
	static const struct jv v_true = {.type = JV_BOOL, .u.b = true};
	static const struct jv v_false = {.type = JV_BOOL, .u.b = false};
	static const struct jv v_null = {.type = JV_NULL};
	struct dsl_run *const r = m->r;
	const struct dsl_program *const p = m->p;
	const struct dsl_text text = {r->arena, r->lim->max_string_bytes};
	const struct dsl_ins *ins = p->code + p->start[r->mode];
	struct jv *sp = m->stack; /* one past the top */
	const struct jv *v;
	bool truth = false;
	enum dsl_fault f;
	int n = 0;

	for (;; ins++) {
	again:
		n += ins->enters;
		if (UNLIKELY(n > m->mark) &&
			enter_nodes(m, ins, n - ins->enters) < 0)
			return -1;
		switch ((enum dsl_op)ins->op) {
		case DSL_OP_LITERAL:
			v = &p->consts[ins->a];
			*sp++ = *v;
			TRACE(v, DSL_BR_NONE, 0);
			break;
		case DSL_OP_FIELD:
			if (r->fields_set != NULL && !r->fields_set[ins->a])
				goto bad_field;
			v = &r->fields[ins->a];
			*sp++ = *v;
			TRACE(v, DSL_BR_NONE, 0);
			break;
		case DSL_OP_COND_LITERAL:
			v = &p->consts[ins->a];
			truth = dsl_truthy(v);
			TRACE(v, DSL_BR_NONE, 0);
			break;
		case DSL_OP_COND_FIELD:
			if (r->fields_set != NULL && !r->fields_set[ins->a])
				goto bad_field;
			v = &r->fields[ins->a];
			truth = v->type == JV_BOOL ? v->u.b : dsl_truthy(v);
			TRACE(v, DSL_BR_NONE, 0);
			break;
		case DSL_OP_COMPARE:
			sp -= 2;
			f = compare(ins->sub, sp, &truth);
			if (UNLIKELY(f != DSL_OK))
				goto bad_compare;
			TRACE(truth ? &v_true : &v_false, DSL_BR_NONE, 0);
			break;
		case DSL_OP_ARITH: {
			struct jv res;

			sp -= 2;
			f = arith(&text, ins->sub, sp, &res);
			if (UNLIKELY(f != DSL_OK))
				goto bad_arith;
			*sp++ = res;
			TRACE(&sp[-1], DSL_BR_NONE, 0);
			break;
		}
		case DSL_OP_INT: {
			struct jv res;

			f = dsl_int(&sp[-1], &res);
			if (UNLIKELY(f != DSL_OK)) {
				fail_func(m, ins->node, f, DSL_FN_INT, sp - 1);
				goto failed;
			}
			sp[-1] = res;
			TRACE(&sp[-1], DSL_BR_NONE, 0);
			break;
		}
		case DSL_OP_CLAMP: {
			struct jv res;

			sp -= 3;
			f = dsl_clamp(&sp[0], &sp[1], &sp[2], &res);
			if (UNLIKELY(f != DSL_OK)) {
				fail_func(m, ins->node, f, DSL_FN_CLAMP, sp);
				goto failed;
			}
			*sp++ = res;
			TRACE(&sp[-1], DSL_BR_NONE, 0);
			break;
		}
		case DSL_OP_NOT:
			truth = !truth;
			TRACE(truth ? &v_true : &v_false, DSL_BR_NONE, 0);
			break;
		case DSL_OP_AND_ARG:
			if (truth)
				break;
			TRACE(&v_false, DSL_BR_SHORT_CIRCUIT, ins->b);
			goto jump;
		case DSL_OP_AND_LAST:
			if (truth)
				TRACE(&v_true, DSL_BR_NONE, 0);
			else
				TRACE(&v_false, DSL_BR_SHORT_CIRCUIT, ins->b);
			break;
		case DSL_OP_OR_ARG:
			if (!truth)
				break;
			TRACE(&v_true, DSL_BR_SHORT_CIRCUIT, ins->b);
			goto jump;
		case DSL_OP_OR_LAST:
			if (truth)
				TRACE(&v_true, DSL_BR_SHORT_CIRCUIT, ins->b);
			else
				TRACE(&v_false, DSL_BR_NONE, 0);
			break;
		case DSL_OP_WHEN:
			if (!truth)
				goto jump;
			TRACE(&v_true, DSL_BR_MATCH, 0);
			break;
		case DSL_OP_ELSEIF:
			if (!truth)
				goto jump;
			TRACE(&v_true, DSL_BR_ELSEIF, ins->b);
			break;
		case DSL_OP_ELSE:
			TRACE(&v_false, DSL_BR_ELSE, 0);
			break;
		case DSL_OP_SKIP:
			TRACE(&v_false, DSL_BR_SKIP, 0);
			break;
		case DSL_OP_JUMP:
		jump:
			ins = p->code + ins->a;
			goto again;
		case DSL_OP_ASSIGN_POINTS:
			sp--;
			if (UNLIKELY(!is_points(sp))) {
				fail_type(m, ins->node, "assign_not_number",
					"DSL_ASSIGN_POINTS_NOT_NUMBER",
					"a number", sp);
				goto failed;
			}
			r->points = *sp;
			r->case_name = p->consts[ins->a];
			r->matched = true;
			TRACE(sp, DSL_BR_MATCH, 0);
			goto done;
		case DSL_OP_SET_CALLBACK:
			sp--;
			if (UNLIKELY(out_set(r->arena, &m->callback,
					     p->callback_keys,
					     p->callback_keys_cnt, ins->a,
					     sp) < 0)) {
				fail_too_large(m, ins->node,
					"set_callback_data", sp, 1);
				goto failed;
			}
			TRACE(sp, DSL_BR_NONE, 0);
			break;
		case DSL_OP_SET_DATA:
			sp--;
			if (UNLIKELY(out_set(r->arena, &m->working,
					     p->data_keys, p->data_keys_cnt,
					     ins->a, sp) < 0)) {
				fail_too_large(m, ins->node, "set_data", sp, 1);
				goto failed;
			}
			TRACE(sp, DSL_BR_NONE, 0);
			break;
		case DSL_OP_SET_POINTS:
			sp--;
			if (UNLIKELY(!is_points(sp))) {
				fail_type(m, ins->node, "set_points_not_number",
					"DSL_SET_POINTS_NOT_NUMBER", "a number",
					sp);
				goto failed;
			}
			r->points = *sp;
			r->matched = true;
			TRACE(sp, DSL_BR_NONE, 0);
			break;
		case DSL_OP_SET_CASE_NAME:
			sp--;
			if (UNLIKELY(sp->type != JV_STR)) {
				fail_type(m, ins->node,
					"set_case_name_not_string",
					"DSL_SET_CASE_NAME_NOT_STRING",
					"a string", sp);
				goto failed;
			}
			r->case_name = *sp;
			r->matched = true;
			TRACE(sp, DSL_BR_NONE, 0);
			break;
		case DSL_OP_VETO:
			r->points = jv_int(0);
			r->case_name = p->consts[ins->a];
			r->matched = true;
			r->vetoed = true;
			TRACE(&r->case_name, DSL_BR_VETO, 0);
			goto done;
		case DSL_OP_RETURN:
			TRACE(&v_null, DSL_BR_HALT, 0);
			goto done;
		case DSL_OP_END:
			goto done;
		}
	}
done:
	m->n = n;
	return 0;
bad_field:
	fail_field(m, ins->node, ins->a);
	goto failed;
bad_compare:
	fail_pair(m, ins->node, "compare_types", "DSL_COMPARE_TYPE_MISMATCH",
		dsl_cmp_names[ins->sub], sp);
	goto failed;
bad_arith:
	fail_arith(m, ins->node, f, (enum dsl_arith_op)ins->sub, sp);
failed:
	m->n = n;
	return -1;
}

static __attribute__((noinline)) int run_traced(struct vm *m)
{
	return run_code(m, true);
}

static __attribute__((noinline)) int run_plain(struct vm *m)
{
	return run_code(m, false);
}

/* ---- entry ------------------------------------------------------------ */

/* Points of a parent are floats; what is no number counts as 0. */
static struct jv bootstrap_points(const struct jv *v)
{
	if (v->type == JV_FLOAT)
		return *v;
	if (v->type == JV_INT)
		return jv_float((double)v->u.i);
	return jv_float(v->type == JV_BOOL && v->u.b ? 1.0 : 0.0);
}

static void start_state(struct vm *m)
{
	struct dsl_run *r = m->r;

	r->points = jv_int(0);
	r->case_name = jv_null();
	r->vetoed = false;
	r->matched = false;
	if (r->mode == DSL_MODE_PRE && r->initial_data != NULL &&
		r->initial_data->type == JV_OBJ)
		m->working.from = r->initial_data;
	if (r->mode != DSL_MODE_POST || r->parent == NULL)
		return;
	r->points = bootstrap_points(&r->parent->points);
	r->case_name = r->parent->case_name;
	r->matched = true;
	if (r->parent->callback_data.type == JV_OBJ)
		m->callback.from = &r->parent->callback_data;
}

/* The clock is read only for programs long enough to look at it. */
static void start_limits(struct vm *m)
{
	const struct dsl_limits *lim = m->r->lim;

	m->check_depth = m->p->max_depth > lim->max_depth;
	if (lim->timeout_ms > 0 && m->p->nodes_cnt >= CLOCK_STEPS)
		m->deadline_ns =
			clock_mono_ns() + (uint64_t)lim->timeout_ms * 1000000;
	set_mark(m);
}

enum dsl_status dsl_run(struct dsl_run *r)
{
	struct jv few[STACK_FEW];
	struct vm m = {.r = r, .p = r->prog, .stack = few};
	int rc;

	start_state(&m);
	start_limits(&m);
	if (r->trace != NULL) {
		r->trace->prog = r->prog;
		m.tr.t = r->trace;
		trace_region(&m.tr, r->trace->total);
	}
	if (m.p->stack_cnt > STACK_FEW) {
		m.stack = arena_alloc(
			r->arena, m.p->stack_cnt * sizeof(*m.stack));
		if (m.stack == NULL) {
			fail_too_large(&m, 0, "program", NULL, 0);
			trace_end(&m);
			r->nodes = 0;
			return DSL_STATUS_LIMIT;
		}
	}
	rc = r->trace != NULL ? run_traced(&m) : run_plain(&m);
	trace_end(&m);
	r->nodes = m.n;
	if (rc < 0)
		return dsl_error_status(&r->err);
	r->callback_data = out_value(&m.callback);
	r->working_data = out_value(&m.working);
	return DSL_STATUS_OK;
}
