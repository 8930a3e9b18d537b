/*
 * dsl_value.c - see dsl_value.h.  Called by the evaluator in a worker and by
 * gamectl; pure but for the arena of text results.
 */
#include "dsl/dsl_value.h"

#include <math.h>

#define INT_EXACT (INT64_C(1) << 53) /* ints up to here are exact doubles */
#define TWO_63    9223372036854775808.0

const char *dsl_type_name(const struct jv *v)
{
	switch (v->type) {
	case JV_NULL:
		return "NoneType";
	case JV_BOOL:
		return "bool";
	case JV_INT:
		return "int";
	case JV_FLOAT:
		return "float";
	case JV_STR:
		return "str";
	case JV_ARR:
		return "list";
	case JV_OBJ:
		return "dict";
	}
	return "NoneType";
}

bool dsl_truthy(const struct jv *v)
{
	switch (v->type) {
	case JV_NULL:
		return false;
	case JV_BOOL:
		return v->u.b;
	case JV_INT:
		return v->u.i != 0;
	case JV_FLOAT:
		return v->u.d != 0;
	case JV_STR:
		return v->u.s.len != 0;
	case JV_ARR:
	case JV_OBJ:
		return v->n != 0;
	}
	return false;
}

static bool is_int(const struct jv *v)
{
	return v->type == JV_INT || v->type == JV_BOOL;
}

static bool is_number(const struct jv *v)
{
	return is_int(v) || v->type == JV_FLOAT;
}

static int64_t as_int(const struct jv *v)
{
	return v->type == JV_BOOL ? v->u.b : v->u.i;
}

static double as_double(const struct jv *v)
{
	return v->type == JV_FLOAT ? v->u.d : (double)as_int(v);
}

static int order_doubles(double a, double b)
{
	return a < b ? -1 : a > b;
}

static int order_int_double(int64_t i, double d)
{
	int64_t whole;

	if (i >= -INT_EXACT && i <= INT_EXACT)
		return order_doubles((double)i, d);
	if (d >= TWO_63)
		return -1;
	if (d < -TWO_63)
		return 1;
	/* If these are equal, d is so large that it has no fraction. */
	whole = (int64_t)d;
	return i < whole ? -1 : i > whole;
}

static int order_numbers(const struct jv *l, const struct jv *r)
{
	if (is_int(l) && is_int(r)) {
		int64_t a = as_int(l), b = as_int(r);

		return a < b ? -1 : a > b;
	}
	if (is_int(l))
		return order_int_double(as_int(l), r->u.d);
	if (is_int(r))
		return -order_int_double(as_int(r), l->u.d);
	return order_doubles(l->u.d, r->u.d);
}

/* ---- equality --------------------------------------------------------- */

#define SCAN_MAX 32 /* members of an object searched without an index */

static bool key_less(const struct jv *o, uint32_t a, uint32_t b)
{
	return str_cmp(o->u.obj[a].key, o->u.obj[b].key) < 0;
}

static void sift_down(const struct jv *o, uint32_t *at, uint32_t i, uint32_t n)
{
	uint32_t child, moved = at[i];

	for (; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && key_less(o, at[child], at[child + 1]))
			child++;
		if (!key_less(o, moved, at[child]))
			break;
		at[i] = at[child];
	}
	at[i] = moved;
}

/* Members in the order of their keys.  Heap sort: qsort would allocate. */
static uint32_t *index_keys(struct arena *a, const struct jv *o)
{
	uint32_t *at = arena_alloc(a, o->n * sizeof(*at));

	if (at == NULL)
		return NULL;
	for (uint32_t i = 0; i < o->n; i++)
		at[i] = i;
	for (uint32_t i = o->n / 2; i-- > 0;)
		sift_down(o, at, i, o->n);
	for (uint32_t n = o->n; n-- > 1;) {
		uint32_t top = at[0];

		at[0] = at[n];
		at[n] = top;
		sift_down(o, at, 0, n);
	}
	return at;
}

static const struct jv *find_indexed(
	const struct jv *o, const uint32_t *at, struct str key)
{
	uint32_t lo = 0, hi = o->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = str_cmp(o->u.obj[at[mid]].key, key);

		if (c == 0)
			return &o->u.obj[at[mid]].val;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Member of r that has the key of member i of l; often it is member i. */
static enum dsl_fault find_twin(const struct dsl_text *t, const struct jv *r,
	uint32_t i, struct str key, uint32_t **index, const struct jv **v_r)
{
	*v_r = NULL;
	if (str_eq(r->u.obj[i].key, key)) {
		*v_r = &r->u.obj[i].val;
	} else if (r->n <= SCAN_MAX) {
		*v_r = jv_get(r, key);
	} else {
		if (*index == NULL)
			*index = index_keys(t->arena, r);
		if (*index == NULL)
			return DSL_TOO_LARGE;
		*v_r = find_indexed(r, *index, key);
	}
	return DSL_OK;
}

static enum dsl_fault equal_objects(const struct dsl_text *t,
	const struct jv *l, const struct jv *r, bool *res_r)
{
	uint32_t *index = NULL;
	const struct jv *v;
	enum dsl_fault f;

	*res_r = l->n == r->n;
	for (uint32_t i = 0; *res_r && i < l->n; i++) {
		f = find_twin(t, r, i, l->u.obj[i].key, &index, &v);
		if (f != DSL_OK)
			return f;
		*res_r = v != NULL;
		if (v == NULL)
			break;
		f = dsl_equal(t, &l->u.obj[i].val, v, res_r);
		if (f != DSL_OK)
			return f;
	}
	return DSL_OK;
}

static enum dsl_fault equal_arrays(const struct dsl_text *t, const struct jv *l,
	const struct jv *r, bool *res_r)
{
	enum dsl_fault f = DSL_OK;

	*res_r = l->n == r->n;
	for (uint32_t i = 0; f == DSL_OK && *res_r && i < l->n; i++)
		f = dsl_equal(t, &l->u.arr[i], &r->u.arr[i], res_r);
	return f;
}

enum dsl_fault dsl_equal(const struct dsl_text *t, const struct jv *l,
	const struct jv *r, bool *res_r)
{
	if (is_number(l) && is_number(r)) {
		*res_r = order_numbers(l, r) == 0;
		return DSL_OK;
	}
	*res_r = l->type == r->type;
	if (!*res_r)
		return DSL_OK;
	if (l->type == JV_ARR)
		return equal_arrays(t, l, r, res_r);
	if (l->type == JV_OBJ)
		return equal_objects(t, l, r, res_r);
	if (l->type == JV_STR)
		*res_r = str_eq(l->u.s, r->u.s);
	return DSL_OK;
}

/* ---- order ------------------------------------------------------------ */

enum dsl_fault dsl_order(const struct jv *l, const struct jv *r, int *order_r)
{
	if (is_number(l) && is_number(r)) {
		*order_r = order_numbers(l, r);
		return DSL_OK;
	}
	if (l->type == JV_STR && r->type == JV_STR) {
		*order_r = str_cmp(l->u.s, r->u.s);
		return DSL_OK;
	}
	return DSL_BAD_TYPES;
}

enum dsl_fault dsl_compare(const struct dsl_text *t, enum dsl_cmp_op op,
	const struct jv *l, const struct jv *r, bool *res_r)
{
	enum dsl_fault f;
	int o = 0;

	if (op == DSL_EQ || op == DSL_NE) {
		f = dsl_equal(t, l, r, res_r);
		*res_r = *res_r == (op == DSL_EQ);
		return f;
	}
	if (dsl_order(l, r, &o) != DSL_OK)
		return DSL_BAD_TYPES;
	switch (op) {
	case DSL_LT:
		*res_r = o < 0;
		break;
	case DSL_LE:
		*res_r = o <= 0;
		break;
	case DSL_GE:
		*res_r = o >= 0;
		break;
	case DSL_GT:
		*res_r = o > 0;
		break;
	case DSL_EQ:
	case DSL_NE:
	case DSL_CMP_CNT:
		break;
	}
	return DSL_OK;
}

static enum dsl_fault concat(
	const struct dsl_text *t, struct str l, struct str r, struct jv *res_r)
{
	char *p;

	if (l.len > t->max_bytes || r.len > t->max_bytes - l.len)
		return DSL_TOO_LARGE;
	p = arena_alloc(t->arena, l.len + r.len);
	if (p == NULL)
		return DSL_TOO_LARGE;
	if (l.len > 0)
		memcpy(p, l.p, l.len);
	if (r.len > 0)
		memcpy(p + l.len, r.p, r.len);
	*res_r = jv_str((struct str){p, l.len + r.len});
	return DSL_OK;
}

static enum dsl_fault repeat(
	const struct dsl_text *t, struct str s, int64_t times, struct jv *res_r)
{
	size_t n;
	char *p;

	if (times <= 0 || s.len == 0) {
		*res_r = jv_str(STR(""));
		return DSL_OK;
	}
	if ((uint64_t)times > t->max_bytes / s.len)
		return DSL_TOO_LARGE;
	n = s.len * (size_t)times;
	p = arena_alloc(t->arena, n);
	if (p == NULL)
		return DSL_TOO_LARGE;
	for (size_t at = 0; at < n; at += s.len)
		memcpy(p + at, s.p, s.len);
	*res_r = jv_str((struct str){p, n});
	return DSL_OK;
}

static enum dsl_fault arith_ints(
	enum dsl_arith_op op, int64_t a, int64_t b, struct jv *res_r)
{
	int64_t v = 0;
	bool over;

	if (op == DSL_ADD)
		over = __builtin_add_overflow(a, b, &v);
	else if (op == DSL_SUB)
		over = __builtin_sub_overflow(a, b, &v);
	else
		over = __builtin_mul_overflow(a, b, &v);
	if (over)
		return DSL_INT_RANGE;
	*res_r = jv_int(v);
	return DSL_OK;
}

static enum dsl_fault arith_doubles(
	enum dsl_arith_op op, double a, double b, struct jv *res_r)
{
	double v;

	if (op == DSL_ADD)
		v = a + b;
	else if (op == DSL_SUB)
		v = a - b;
	else
		v = a * b;
	if (!isfinite(v))
		return DSL_NOT_FINITE;
	*res_r = jv_float(v);
	return DSL_OK;
}

/* Wide ints go through long double: at most one unit in the last place off. */
static double divide_ints(int64_t a, int64_t b)
{
	if (a >= -INT_EXACT && a <= INT_EXACT && b >= -INT_EXACT &&
		b <= INT_EXACT)
		return (double)a / (double)b;
	return (double)((long double)a / (long double)b);
}

static enum dsl_fault divide(
	const struct jv *l, const struct jv *r, struct jv *res_r)
{
	double v;

	if (!is_number(l) || !is_number(r))
		return DSL_BAD_TYPES;
	if (as_double(r) == 0)
		return DSL_DIV_ZERO;
	if (is_int(l) && is_int(r))
		v = divide_ints(as_int(l), as_int(r));
	else
		v = as_double(l) / as_double(r);
	if (!isfinite(v))
		return DSL_NOT_FINITE;
	*res_r = jv_float(v);
	return DSL_OK;
}

enum dsl_fault dsl_arith(const struct dsl_text *t, enum dsl_arith_op op,
	const struct jv *l, const struct jv *r, struct jv *res_r)
{
	int o;

	if (op == DSL_MIN || op == DSL_MAX) {
		if (dsl_order(l, r, &o) != DSL_OK)
			return DSL_BAD_TYPES;
		*res_r = (op == DSL_MIN ? o > 0 : o < 0) ? *r : *l;
		return DSL_OK;
	}
	if (op == DSL_DIV)
		return divide(l, r, res_r);
	if (is_int(l) && is_int(r))
		return arith_ints(op, as_int(l), as_int(r), res_r);
	if (is_number(l) && is_number(r))
		return arith_doubles(op, as_double(l), as_double(r), res_r);
	if (op == DSL_ADD && l->type == JV_STR && r->type == JV_STR)
		return concat(t, l->u.s, r->u.s, res_r);
	if (op == DSL_MUL && l->type == JV_STR && is_int(r))
		return repeat(t, l->u.s, as_int(r), res_r);
	if (op == DSL_MUL && is_int(l) && r->type == JV_STR)
		return repeat(t, r->u.s, as_int(l), res_r);
	return DSL_BAD_TYPES;
}

/* Decimal text with single underscores between digits (dsl.md 2.4). */
static enum dsl_fault int_of_text(struct str s, int64_t *v_r)
{
	bool neg = false, after_digit = false, over = false;
	int64_t v = 0;

	s = str_trim(s);
	if (s.len > 0 && (s.p[0] == '+' || s.p[0] == '-')) {
		neg = s.p[0] == '-';
		s.p++;
		s.len--;
	}
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '_' && after_digit) {
			after_digit = false;
			continue;
		}
		if (c < '0' || c > '9')
			return DSL_BAD_TYPES;
		after_digit = true;
		/* Downwards, since -2^63 has no positive twin. */
		over = over || __builtin_mul_overflow(v, 10, &v) ||
		       __builtin_sub_overflow(v, c - '0', &v);
	}
	if (!after_digit)
		return DSL_BAD_TYPES;
	if (over || (!neg && v == INT64_MIN))
		return DSL_INT_RANGE;
	*v_r = neg ? v : -v;
	return DSL_OK;
}

enum dsl_fault dsl_int(const struct jv *v, struct jv *res_r)
{
	enum dsl_fault f;
	int64_t i;

	if (is_int(v)) {
		*res_r = jv_int(as_int(v));
		return DSL_OK;
	}
	if (v->type == JV_FLOAT) {
		if (!(v->u.d >= -TWO_63 && v->u.d < TWO_63))
			return DSL_INT_RANGE;
		*res_r = jv_int((int64_t)v->u.d);
		return DSL_OK;
	}
	if (v->type != JV_STR)
		return DSL_BAD_TYPES;
	f = int_of_text(v->u.s, &i);
	if (f == DSL_OK)
		*res_r = jv_int(i);
	return f;
}

enum dsl_fault dsl_clamp(const struct jv *v, const struct jv *lo,
	const struct jv *hi, struct jv *res_r)
{
	const struct jv *m;
	int o;

	if (dsl_order(hi, v, &o) != DSL_OK)
		return DSL_BAD_TYPES;
	m = o < 0 ? hi : v;
	if (dsl_order(m, lo, &o) != DSL_OK)
		return DSL_BAD_TYPES;
	*res_r = o > 0 ? *m : *lo;
	return DSL_OK;
}
