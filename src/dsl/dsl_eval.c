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

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "dsl/dsl_value.h"

#define STACK_FEW   64 /* operands on the C stack; more go to the arena */
#define CLOCK_STEPS 64
#define OUT_SCALAR  24 /* as jv_text_bytes counts */

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
	int n;                    /* steps */
	int mark;                 /* passing it needs a closer look */
	const struct dsl_ins *at; /* where the run ended; NULL: nowhere */
	bool check_depth;
	bool unset;           /* some field has no value */
	uint64_t deadline_ns; /* 0: no clock */
	struct tracer tr;
	struct out_obj callback;
	struct out_obj working;
	size_t out_bytes; /* of text written into those two */
	struct jv *stack;
};

/* ---- trace ------------------------------------------------------------ */

static inline void trace_region(struct tracer *tr, uint32_t total)
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

/* For the cold paths; the loop has its own. */
static COLD void trace_add(struct tracer *tr, uint32_t node, const struct jv *v,
	enum dsl_branch branch)
{
	if (tr->t == NULL)
		return;
	if (tr->cur == tr->end)
		trace_turn(tr);
	*tr->cur++ = (struct dsl_trace_ent){
		.value = *v, .node = node, .branch = (uint8_t)branch};
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
	trace_add(&m->tr, node, &shown, DSL_BR_FAILED);
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
	size_t limit, const struct jv *ops, uint32_t cnt)
{
	fail(m, node, DSL_CLASS_LIMIT, "value_too_large", "DSL_VALUE_TOO_LARGE",
		ops, cnt);
	param(m, "op", op);
	dsl_error_param(&m->r->err, "limit", jv_int((int64_t)limit));
	say(m, "The values of %s are too large", op);
}

static COLD void fail_types(struct vm *m, uint32_t node, const char *kind,
	const char *code, const char *op, const struct jv *ops)
{
	fail(m, node, DSL_CLASS_EXECUTION, kind, code, ops, 2);
	param(m, "op", op);
	param(m, "leftType", dsl_type_name(&ops[0]));
	param(m, "rightType", dsl_type_name(&ops[1]));
	say(m, "The operator %s does not take %s and %s", op,
		dsl_type_name(&ops[0]), dsl_type_name(&ops[1]));
}

static COLD void fail_compare(struct vm *m, const struct dsl_ins *ins,
	enum dsl_fault f, const struct jv *l, const struct jv *r)
{
	const struct jv ops[2] = {*l, *r};

	if (f == DSL_TOO_LARGE)
		fail_too_large(m, ins->node, dsl_cmp_names[ins->sub],
			m->r->lim->max_string_bytes, ops, 2);
	else
		fail_types(m, ins->node, "compare_types",
			"DSL_COMPARE_TYPE_MISMATCH", dsl_cmp_names[ins->sub],
			ops);
}

static COLD void fail_arith(struct vm *m, const struct dsl_ins *ins,
	enum dsl_fault f, const struct jv *l, const struct jv *r)
{
	const char *op = dsl_arith_names[ins->sub];
	const struct jv ops[2] = {*l, *r};

	switch (f) {
	case DSL_OK:
	case DSL_BAD_TYPES:
		fail_types(m, ins->node, "arith_types",
			"DSL_ARITH_TYPE_MISMATCH", op, ops);
		return;
	case DSL_TOO_LARGE:
		fail_too_large(
			m, ins->node, op, m->r->lim->max_string_bytes, ops, 2);
		return;
	case DSL_DIV_ZERO:
		fail(m, ins->node, DSL_CLASS_EXECUTION, "division_by_zero",
			"DSL_ARITH_DIV_BY_ZERO", ops, 2);
		say(m, "Division by zero");
		break;
	case DSL_INT_RANGE:
		fail(m, ins->node, DSL_CLASS_EXECUTION, "int_out_of_range",
			"DSL_INT_OUT_OF_RANGE", ops, 2);
		say(m, "The result of %s does not fit 64 bits", op);
		break;
	case DSL_NOT_FINITE:
		fail(m, ins->node, DSL_CLASS_EXECUTION, "number_not_finite",
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

/* A statement whose value has the wrong type. */
static COLD void fail_type(
	struct vm *m, const struct dsl_ins *ins, const struct jv *v)
{
	const char *kind = "assign_not_number";
	const char *code = "DSL_ASSIGN_POINTS_NOT_NUMBER";

	if (ins->op == DSL_OP_SET_POINTS) {
		kind = "set_points_not_number";
		code = "DSL_SET_POINTS_NOT_NUMBER";
	} else if (ins->op == DSL_OP_SET_CASE_NAME) {
		kind = "set_case_name_not_string";
		code = "DSL_SET_CASE_NAME_NOT_STRING";
	}
	fail(m, ins->node, DSL_CLASS_EXECUTION, kind, code, v, 1);
	param(m, "actualType", dsl_type_name(v));
	say(m, "The value must be a %s, not of type %s",
		ins->op == DSL_OP_SET_CASE_NAME ? "string" : "number",
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

static const struct jv *leaf_value(const struct vm *m, uint32_t leaf)
{
	return (dsl_leaf_is_field(leaf) ? m->r->fields : m->p->consts) +
	       dsl_leaf_index(leaf);
}

static bool leaf_is_missing(const struct vm *m, uint32_t leaf)
{
	return dsl_leaf_is_field(leaf) && m->r->fields_set != NULL &&
	       !m->r->fields_set[dsl_leaf_index(leaf)];
}

static int enter_node(struct vm *m, uint32_t i)
{
	const struct dsl_limits *lim = m->r->lim;
	const struct dsl_node *node = &m->p->nodes[i];

	if (++m->n > lim->max_nodes)
		fail_limit(m, i, "run_node_budget", lim->max_nodes);
	else if (node->depth > 0 && node->depth > lim->max_depth)
		fail_limit(m, i, "run_depth_budget", lim->max_depth);
	else if (clock_is_due(m, node) && clock_mono_ns() > m->deadline_ns)
		fail_timeout(m, i);
	else
		return 0;
	return -1;
}

/*
 * Steps the nodes of an instruction one by one; n is before them.  Of two
 * leaves the left one is finished before the right one is entered.
 */
static COLD int enter_nodes(struct vm *m, const struct dsl_ins *ins, int n)
{
	bool two_leaves =
		ins->op == DSL_OP_COMPARE_LL || ins->op == DSL_OP_ARITH_LL;
	uint32_t last = ins->first + ins->enters - two_leaves;
	struct tracer before;

	m->n = n;
	for (uint32_t i = ins->first; i < last; i++)
		if (enter_node(m, i) < 0)
			return -1;
	if (two_leaves) {
		if (leaf_is_missing(m, ins->a)) {
			fail_field(m, last - 1, dsl_leaf_index(ins->a));
			return -1;
		}
		/* Recorded here for a failure only: the loop does it again. */
		before = m->tr;
		trace_add(&m->tr, last - 1, leaf_value(m, ins->a), DSL_BR_NONE);
		if (enter_node(m, last) < 0)
			return -1;
		m->tr = before;
	}
	set_mark(m);
	return 0;
}

/* ---- results ---------------------------------------------------------- */

/* -1 when the arena is spent. */
static COLD int out_start(struct arena *a, struct out_obj *o, uint32_t keys)
{
	uint32_t given = o->from != NULL ? o->from->n : 0;
	size_t members = ((size_t)given + keys) * sizeof(*o->m);

	o->m = arena_alloc(a, members + keys * sizeof(*o->pos));
	if (o->m == NULL)
		return -1;
	o->pos = (uint32_t *)(void *)((char *)o->m + members);
	memset(o->pos, 0, keys * sizeof(*o->pos));
	if (given > 0)
		memcpy(o->m, o->from->u.obj, given * sizeof(*o->m));
	o->n = o->given = given;
	return 0;
}

/* Values are referenced here and written out by others, each as often as it
 * was set: that is what is bounded. */
static inline int out_charge(struct vm *m, const struct jv *v)
{
	size_t left = DSL_OUT_BYTES_MAX - m->out_bytes;
	size_t size = OUT_SCALAR;

	if (UNLIKELY(v->type >= JV_STR))
		size = jv_text_bytes(v, left);
	if (size > left)
		return -1;
	m->out_bytes += size;
	return 0;
}

/* The last write of a key wins and keeps the key's first place. */
static int out_set(struct vm *m, struct out_obj *o, const struct str *keys,
	uint32_t keys_cnt, uint32_t k, const struct jv *v)
{
	uint32_t at;

	if (out_charge(m, v) < 0)
		return -1;
	if (o->m == NULL && out_start(m->r->arena, o, keys_cnt) < 0)
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

/* Member by member: a struct built aside is stored and read back in vain. */
static inline void set_object(
	struct jv *to, uint32_t n, struct jv_member *members)
{
	to->type = JV_OBJ;
	to->n = n;
	to->u.obj = members;
}

static inline void set_int(struct jv *to, int64_t i)
{
	to->type = JV_INT;
	to->n = 0;
	to->u.i = i;
}

static inline void out_value(const struct out_obj *o, struct jv *to)
{
	if (o->m == NULL && o->from != NULL)
		*to = *o->from;
	else
		set_object(to, o->n, o->m);
}

static inline void out_init(struct out_obj *o, const struct jv *from)
{
	o->m = NULL;
	o->n = 0;
	o->from = from != NULL && from->type == JV_OBJ ? from : NULL;
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
static inline enum dsl_fault compare(const struct dsl_text *t, uint8_t op,
	const struct jv *l, const struct jv *r, bool *truth)
{
	if (LIKELY(l->type == JV_INT && r->type == JV_INT)) {
		int64_t a = l->u.i, b = r->u.i;
		unsigned bit = a < b ? 1 : a > b ? 4 : 2;

		*truth = (cmp_mask[op] & bit) != 0;
		return DSL_OK;
	}
	if (l->type == JV_FLOAT && r->type == JV_FLOAT) {
		double a = l->u.d, b = r->u.d;
		unsigned bit = a < b ? 1 : a > b ? 4 : 2;

		*truth = (cmp_mask[op] & bit) != 0;
		return DSL_OK;
	}
	return dsl_compare(t, (enum dsl_cmp_op)op, l, r, truth);
}

static bool is_number(const struct jv *v)
{
	return v->type == JV_INT || v->type == JV_FLOAT;
}

/* + - * of ints and floats here, everything else in dsl_value.c. */
static inline enum dsl_fault arith(const struct dsl_text *t, uint8_t op,
	const struct jv *l, const struct jv *r, struct jv *res)
{
	double a, b;
	int64_t i;

	if (UNLIKELY(op > DSL_MUL || !is_number(l) || !is_number(r)))
		return dsl_arith(t, (enum dsl_arith_op)op, l, r, res);
	if (l->type == JV_INT && r->type == JV_INT) {
		bool over =
			op == DSL_ADD
				? __builtin_add_overflow(l->u.i, r->u.i, &i)
			: op == DSL_SUB
				? __builtin_sub_overflow(l->u.i, r->u.i, &i)
				: __builtin_mul_overflow(l->u.i, r->u.i, &i);

		if (UNLIKELY(over))
			return DSL_INT_RANGE;
		set_int(res, i);
		return DSL_OK;
	}
	a = l->type == JV_INT ? (double)l->u.i : l->u.d;
	b = r->type == JV_INT ? (double)r->u.i : r->u.d;
	a = op == DSL_ADD ? a + b : op == DSL_SUB ? a - b : a * b;
	if (UNLIKELY(!isfinite(a)))
		return DSL_NOT_FINITE;
	res->type = JV_FLOAT;
	res->n = 0;
	res->u.d = a;
	return DSL_OK;
}

/*
 * In three words: a wider load from a value written a moment ago in narrower
 * pieces would wait for the store buffer (measured: 3 times the loop).
 */
static inline void copy_value(struct jv *to, const struct jv *from)
{
	const char *p = (const char *)from;
	char *q = (char *)to;
	uint64_t a, b, c;

	_Static_assert(sizeof(*to) == 24, "a value is three words");
	memcpy(&a, p, 8);
	memcpy(&b, p + 8, 8);
	memcpy(&c, p + 16, 8);
	__asm__("" : "+r"(a), "+r"(b), "+r"(c)); /* keep them apart */
	memcpy(q, &a, 8);
	memcpy(q + 8, &b, 8);
	memcpy(q + 16, &c, 8);
}

/* node, branch_idx and branch; in one store where the byte order allows. */
static inline void set_place(struct dsl_trace_ent *e, uint32_t node,
	uint32_t idx, enum dsl_branch branch)
{
	uint64_t w = (uint64_t)node | (uint64_t)(uint16_t)idx << 32 |
		     (uint64_t)(uint8_t)branch << 48;

	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
		memcpy(&e->node, &w, 8);
		return;
	}
	e->node = node;
	e->branch_idx = (uint16_t)idx;
	e->branch = (uint8_t)branch;
}

/* Room for one more entry. */
#define TRACE_ROOM()                          \
	do {                                  \
		if (UNLIKELY(te == te_end)) { \
			m->tr.cur = te;       \
			trace_turn(&m->tr);   \
			te = m->tr.cur;       \
			te_end = m->tr.end;   \
		}                             \
	} while (0)

#define TRACE(node_, val, branch_, idx)               \
	do {                                          \
		if (!traced)                          \
			break;                        \
		TRACE_ROOM();                         \
		copy_value(&te->value, val);          \
		set_place(te++, node_, idx, branch_); \
	} while (0)

/* A leaf was not written a moment ago. */
#define TRACE_LEAF(node_, val)                          \
	do {                                            \
		if (!traced)                            \
			break;                          \
		TRACE_ROOM();                           \
		te->value = *(val);                     \
		set_place(te++, node_, 0, DSL_BR_NONE); \
	} while (0)

#define TRACE_BOOL(val, branch_, idx)                     \
	do {                                              \
		if (!traced)                              \
			break;                            \
		TRACE_ROOM();                             \
		te->value.type = JV_BOOL;                 \
		te->value.n = 0;                          \
		te->value.u.b = (val);                    \
		set_place(te++, ins->node, idx, branch_); \
	} while (0)

#define VALUE_OF(leaf) (base[(leaf)&1] + dsl_leaf_index(leaf))
#define IS_MISSING(leaf) \
	(UNLIKELY(set != NULL) && ((leaf)&1) && !set[dsl_leaf_index(leaf)])

/* Value of a statement: leaf b, or the top of the stack. */
#define TAKE_VALUE()                    \
	do {                            \
		if (ins->b == 0) {      \
			l = --sp;       \
			break;          \
		}                       \
		node = ins->node + 1;   \
		leaf = ins->b;          \
		if (IS_MISSING(leaf))   \
			goto bad_field; \
		l = VALUE_OF(leaf);     \
		TRACE_LEAF(node, l);    \
	} while (0)

/* Operands of an LL instruction; the right one is the node after the left. */
#define TAKE_LEAVES()                                                    \
	do {                                                             \
		node = ins->node + 1;                                    \
		leaf = ins->a;                                           \
		n--; /* a missing left one leaves the right unentered */ \
		if (IS_MISSING(leaf))                                    \
			goto bad_field;                                  \
		n++;                                                     \
		l = VALUE_OF(leaf);                                      \
		TRACE_LEAF(node, l);                                     \
		node = ins->node + 2;                                    \
		leaf = ins->b;                                           \
		if (IS_MISSING(leaf))                                    \
			goto bad_field;                                  \
		rr = VALUE_OF(leaf);                                     \
		TRACE_LEAF(node, rr);                                    \
	} while (0)

#define TAKE_RIGHT_LEAF()               \
	do {                            \
		node = ins->first;      \
		leaf = ins->b;          \
		if (IS_MISSING(leaf))   \
			goto bad_field; \
		l = --sp;               \
		rr = VALUE_OF(leaf);    \
		TRACE_LEAF(node, rr);   \
	} while (0)

/*
 * Longer than a function should be: one loop keeps its state in registers,
 * and it is compiled twice, with and without the trace.
 */
static inline __attribute__((always_inline)) int run_code(
	struct vm *m, const bool traced)
{
	static const struct jv null = {.type = JV_NULL};
	struct dsl_run *const r = m->r;
	const struct dsl_program *const p = m->p;
	const struct dsl_text text = {r->arena, r->lim->max_string_bytes};
	const struct jv *const base[2] = {p->consts, r->fields};
	const uint8_t *const set = m->unset ? r->fields_set : NULL;
	const struct dsl_ins *ins = p->code + p->start[r->mode];
	struct dsl_trace_ent *te = m->tr.cur, *te_end = m->tr.end;
	struct jv *sp = m->stack; /* one past the top */
	const struct jv *l, *rr;
	uint32_t node, leaf;
	bool truth = false;
	enum dsl_fault f;
	int n = 0;

	for (;; ins++) {
	again:
		n += ins->enters;
		if (UNLIKELY(n > m->mark)) {
			m->tr.cur = te;
			m->at = ins;
			if (enter_nodes(m, ins, n - ins->enters) < 0)
				return -1;
		}
		switch ((enum dsl_op)ins->op) {
		case DSL_OP_PUSH:
			node = ins->node;
			leaf = ins->a;
			if (IS_MISSING(leaf))
				goto bad_field;
			l = VALUE_OF(leaf);
			copy_value(sp++, l);
			TRACE_LEAF(node, l);
			break;
		case DSL_OP_COND_LEAF:
			node = ins->node;
			leaf = ins->a;
			if (IS_MISSING(leaf))
				goto bad_field;
			l = VALUE_OF(leaf);
			truth = l->type == JV_BOOL ? l->u.b : dsl_truthy(l);
			TRACE_LEAF(node, l);
			break;
		case DSL_OP_COMPARE_LL:
			TAKE_LEAVES();
			goto do_compare;
		case DSL_OP_COMPARE_SL:
			TAKE_RIGHT_LEAF();
			goto do_compare;
		case DSL_OP_COMPARE_SS:
			sp -= 2;
			l = &sp[0];
			rr = &sp[1];
		do_compare:
			f = compare(&text, ins->sub, l, rr, &truth);
			if (UNLIKELY(f != DSL_OK))
				goto bad_compare;
			TRACE_BOOL(truth, DSL_BR_NONE, 0);
			break;
		case DSL_OP_ARITH_LL:
			TAKE_LEAVES();
			goto do_arith;
		case DSL_OP_ARITH_SL:
			TAKE_RIGHT_LEAF();
			goto do_arith;
		case DSL_OP_ARITH_SS:
			sp -= 2;
			l = &sp[0];
			rr = &sp[1];
		do_arith:
			f = arith(&text, ins->sub, l, rr, sp);
			if (UNLIKELY(f != DSL_OK))
				goto bad_arith;
			TRACE(ins->node, sp, DSL_BR_NONE, 0);
			sp++;
			break;
		case DSL_OP_INT:
			f = dsl_int(&sp[-1], &sp[-1]);
			if (UNLIKELY(f != DSL_OK))
				goto bad_int;
			TRACE(ins->node, &sp[-1], DSL_BR_NONE, 0);
			break;
		case DSL_OP_CLAMP:
			sp -= 3;
			f = dsl_clamp(&sp[0], &sp[1], &sp[2], &sp[0]);
			if (UNLIKELY(f != DSL_OK))
				goto bad_clamp;
			TRACE(ins->node, sp, DSL_BR_NONE, 0);
			sp++;
			break;
		case DSL_OP_NOT:
			truth = !truth;
			TRACE_BOOL(truth, DSL_BR_NONE, 0);
			break;
		case DSL_OP_AND_ARG:
			if (truth)
				break;
			TRACE_BOOL(false, DSL_BR_SHORT_CIRCUIT, ins->b);
			goto jump;
		case DSL_OP_AND_LAST:
			TRACE_BOOL(truth,
				truth ? DSL_BR_NONE : DSL_BR_SHORT_CIRCUIT,
				ins->b);
			break;
		case DSL_OP_OR_ARG:
			if (!truth)
				break;
			TRACE_BOOL(true, DSL_BR_SHORT_CIRCUIT, ins->b);
			goto jump;
		case DSL_OP_OR_LAST:
			TRACE_BOOL(truth,
				truth ? DSL_BR_SHORT_CIRCUIT : DSL_BR_NONE,
				ins->b);
			break;
		case DSL_OP_WHEN:
			if (!truth)
				goto jump;
			if (r->arms != NULL)
				r->arms[p->nodes[ins->node].at] |=
					DSL_ARM_TAKEN;
			TRACE_BOOL(true, DSL_BR_MATCH, 0);
			break;
		case DSL_OP_ELSEIF:
			if (!truth)
				goto jump;
			if (r->arms != NULL)
				r->arms[p->nodes[ins->node].at + 1 + ins->b] |=
					DSL_ARM_TAKEN;
			TRACE_BOOL(true, DSL_BR_ELSEIF, ins->b);
			break;
		case DSL_OP_ELSE:
			TRACE_BOOL(false, DSL_BR_ELSE, 0);
			break;
		case DSL_OP_SKIP:
			TRACE_BOOL(false, DSL_BR_SKIP, 0);
			break;
		case DSL_OP_JUMP:
		jump:
			ins = p->code + ins->a;
			goto again;
		case DSL_OP_ASSIGN_POINTS:
			TAKE_VALUE();
			if (UNLIKELY(!is_number(l)))
				goto bad_type;
			copy_value(&r->points, l);
			r->case_name = p->consts[ins->a];
			r->matched = true;
			TRACE(ins->node, l, DSL_BR_MATCH, 0);
			goto done;
		case DSL_OP_SET_CALLBACK:
			TAKE_VALUE();
			if (UNLIKELY(out_set(m, &m->callback, p->callback_keys,
					     p->callback_keys_cnt, ins->a,
					     l) < 0))
				goto bad_size;
			TRACE(ins->node, l, DSL_BR_NONE, 0);
			break;
		case DSL_OP_SET_DATA:
			TAKE_VALUE();
			if (UNLIKELY(out_set(m, &m->working, p->data_keys,
					     p->data_keys_cnt, ins->a, l) < 0))
				goto bad_size;
			TRACE(ins->node, l, DSL_BR_NONE, 0);
			break;
		case DSL_OP_SET_POINTS:
			TAKE_VALUE();
			if (UNLIKELY(!is_number(l)))
				goto bad_type;
			copy_value(&r->points, l);
			r->matched = true;
			TRACE(ins->node, l, DSL_BR_NONE, 0);
			break;
		case DSL_OP_SET_CASE_NAME:
			TAKE_VALUE();
			if (UNLIKELY(l->type != JV_STR))
				goto bad_type;
			r->case_name = *l;
			r->matched = true;
			TRACE(ins->node, l, DSL_BR_NONE, 0);
			break;
		case DSL_OP_VETO:
			r->points = jv_int(0);
			r->case_name = p->consts[ins->a];
			r->matched = true;
			r->vetoed = true;
			TRACE(ins->node, &r->case_name, DSL_BR_VETO, 0);
			goto done;
		case DSL_OP_RETURN:
			TRACE(ins->node, &null, DSL_BR_HALT, 0);
			goto done;
		case DSL_OP_END:
			goto done;
		}
	}
done:
	m->n = n;
	m->at = ins;
	m->tr.cur = te;
	return 0;

#define FAIL(call)              \
	do {                    \
		m->n = n;       \
		m->at = ins;    \
		m->tr.cur = te; \
		call;           \
		return -1;      \
	} while (0)
bad_field:
	FAIL(fail_field(m, node, dsl_leaf_index(leaf)));
bad_compare:
	FAIL(fail_compare(m, ins, f, l, rr));
bad_arith:
	FAIL(fail_arith(m, ins, f, l, rr));
bad_int:
	FAIL(fail_func(m, ins->node, f, DSL_FN_INT, sp - 1));
bad_clamp:
	FAIL(fail_func(m, ins->node, f, DSL_FN_CLAMP, sp));
bad_type:
	FAIL(fail_type(m, ins, l));
bad_size:
	FAIL(fail_too_large(m, ins->node,
		ins->op == DSL_OP_SET_DATA ? "set_data" : "set_callback_data",
		DSL_OUT_BYTES_MAX, l, 1));
}

static __attribute__((noinline)) int run_traced(struct vm *m)
{
	return run_code(m, true);
}

static __attribute__((noinline)) int run_plain(struct vm *m)
{
	return run_code(m, false);
}

/* ---- arms ------------------------------------------------------------- */

/*
 * The loop notes which arms were taken; the rest follows from where the run
 * ended, since code is gone through forwards only.
 */
static void note_arms(struct vm *m, bool is_ok)
{
	const struct dsl_program *p = m->p;
	uint8_t *hit = m->r->arms;
	uint32_t at = (uint32_t)(m->at - p->code), last = UINT32_MAX;
	bool is_over = false; /* an arm of the rule was taken */

	for (uint32_t i = p->arms_from[m->r->mode];
		i < p->arms_from[m->r->mode + 1] && p->arms[i].from <= at;
		i++) {
		const struct dsl_arm *arm = &p->arms[i];

		if (arm->branch == 0)
			is_over = false;
		if (is_over)
			continue;
		hit[i] |= DSL_ARM_EVALUATED;
		if (arm->kind == DSL_ARM_ELSE || arm->kind == DSL_ARM_DEFAULT)
			hit[i] |= DSL_ARM_TAKEN;
		is_over = hit[i] & DSL_ARM_TAKEN;
		if (!is_ok && at < arm->to)
			hit[i] |= DSL_ARM_FAILED;
		if (is_over && (arm->sets || at < arm->to))
			last = i;
	}
	if (is_ok && last != UINT32_MAX)
		hit[last] |= DSL_ARM_DECIDED;
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

static COLD void start_post(struct vm *m)
{
	struct dsl_run *r = m->r;

	r->points = bootstrap_points(&r->parent->points);
	r->case_name = r->parent->case_name;
	r->matched = true;
	out_init(&m->callback, &r->parent->callback_data);
}

static inline void start_state(struct vm *m)
{
	struct dsl_run *r = m->r;

	set_int(&r->points, 0);
	r->case_name.type = JV_NULL;
	r->case_name.n = 0;
	r->vetoed = false;
	r->matched = false;
	m->out_bytes = 0;
	out_init(&m->callback, NULL);
	out_init(&m->working, r->mode == DSL_MODE_PRE ? r->initial_data : NULL);
	if (r->mode == DSL_MODE_POST && r->parent != NULL)
		start_post(m);
}

/* The clock is read only for programs long enough to look at it. */
static void start_limits(struct vm *m)
{
	const struct dsl_limits *lim = m->r->lim;

	m->n = 0;
	m->check_depth = m->p->max_depth > lim->max_depth;
	m->deadline_ns = 0;
	if (lim->timeout_ms > 0 && m->p->nodes_cnt >= CLOCK_STEPS)
		m->deadline_ns =
			clock_mono_ns() + (uint64_t)lim->timeout_ms * 1000000;
	set_mark(m);
}

static inline void start_trace(struct vm *m)
{
	struct tracer *tr = &m->tr;

	tr->t = m->r->trace;
	tr->done = 0;
	tr->start = tr->cur = tr->end = NULL;
	if (tr->t == NULL)
		return;
	tr->t->prog = m->p;
	trace_region(tr, tr->t->total);
}

static COLD enum dsl_status no_stack(struct vm *m)
{
	fail_too_large(m, 0, "program", DSL_OUT_BYTES_MAX, NULL, 0);
	trace_end(m);
	m->r->nodes = 0;
	return DSL_STATUS_LIMIT;
}

enum dsl_status dsl_run(struct dsl_run *r)
{
	struct jv few[STACK_FEW];
	struct vm m; /* set in pieces: clearing it all costs as a short run */
	int rc;

	m.r = r;
	m.p = r->prog;
	m.stack = few;
	m.at = NULL;
	m.unset = r->fields_set != NULL &&
		  memchr(r->fields_set, 0, m.p->fields_cnt) != NULL;
	start_state(&m);
	start_limits(&m);
	start_trace(&m);
	if (m.p->stack_cnt > STACK_FEW) {
		m.stack = arena_alloc(
			r->arena, m.p->stack_cnt * sizeof(*m.stack));
		if (m.stack == NULL)
			return no_stack(&m);
	}
	rc = r->trace != NULL ? run_traced(&m) : run_plain(&m);
	trace_end(&m);
	r->nodes = m.n;
	if (r->arms != NULL)
		note_arms(&m, rc == 0);
	if (rc < 0)
		return dsl_error_status(&r->err);
	out_value(&m.callback, &r->callback_data);
	out_value(&m.working, &r->working_data);
	return DSL_STATUS_OK;
}
