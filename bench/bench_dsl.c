/*
 * bench_dsl.c - the evaluator against a hand-written walker of the same
 * program (DESIGN 9).
 *
 * The ceiling walks a flat array of the same nodes with tagged numbers and
 * does nothing else: no steps, no depth, no clock, no types to check, no
 * trace.  Ceiling, evaluator without and with trace run in alternating,
 * short rounds; times are medians in nanoseconds a run, ratios are medians of
 * the ratios within a round, so that a busy machine moves both sides alike.
 *
 *   bench_dsl [rounds]      default 301
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "dsl/dsl_run.h"
#include "json/json_in.h"

#define ROUNDS_DEF 301
#define ROUNDS_MAX 10000
#define ROUND_NS   400000 /* aimed at for one round */

/* ---- the ceiling ------------------------------------------------------ */

enum wkind { W_LIT, W_FIELD, W_ARITH, W_CMP, W_NOT, W_AND, W_OR, W_ASSIGN };

struct wval {
	uint64_t is_float;
	union {
		int64_t i;
		double d;
	} u;
};

struct wnode {
	uint8_t kind;
	char op;
	uint16_t slot;
	int32_t first; /* first child, -1: none */
	int32_t next;  /* next sibling, -1: none */
	struct wval val;
	struct str name;
};

struct wrule {
	int32_t when;
	int32_t then;
};

struct walker {
	struct wnode n[4096];
	struct wrule rules[1024];
	int32_t n_cnt;
	int32_t rules_cnt;
	int32_t def;
};

struct wresult {
	struct wval points;
	struct str case_name;
};

static inline double w_num(struct wval v)
{
	return v.is_float ? v.u.d : (double)v.u.i;
}

static struct wval w_expr(
	const struct walker *w, int32_t at, const struct wval *fields)
{
	const struct wnode *n = &w->n[at];
	struct wval l, r;

	if (n->kind == W_LIT)
		return n->val;
	if (n->kind == W_FIELD)
		return fields[n->slot];
	l = w_expr(w, n->first, fields);
	r = w_expr(w, w->n[n->first].next, fields);
	if (!l.is_float && !r.is_float) {
		if (n->op == '+')
			l.u.i += r.u.i;
		else if (n->op == '-')
			l.u.i -= r.u.i;
		else
			l.u.i *= r.u.i;
		return l;
	}
	if (n->op == '+')
		l.u.d = w_num(l) + w_num(r);
	else if (n->op == '-')
		l.u.d = w_num(l) - w_num(r);
	else
		l.u.d = w_num(l) * w_num(r);
	l.is_float = 1;
	return l;
}

static bool w_compare(char op, struct wval l, struct wval r)
{
	if (!l.is_float && !r.is_float) {
		switch (op) {
		case '<':
			return l.u.i < r.u.i;
		case '>':
			return l.u.i > r.u.i;
		case 'g':
			return l.u.i >= r.u.i;
		default:
			return l.u.i == r.u.i;
		}
	}
	switch (op) {
	case '<':
		return w_num(l) < w_num(r);
	case '>':
		return w_num(l) > w_num(r);
	case 'g':
		return w_num(l) >= w_num(r);
	default:
		return w_num(l) == w_num(r);
	}
}

static bool w_cond(
	const struct walker *w, int32_t at, const struct wval *fields)
{
	const struct wnode *n = &w->n[at];

	switch ((enum wkind)n->kind) {
	case W_LIT:
		return n->val.u.i != 0;
	case W_FIELD:
		return fields[n->slot].u.i != 0;
	case W_CMP:
		return w_compare(n->op, w_expr(w, n->first, fields),
			w_expr(w, w->n[n->first].next, fields));
	case W_NOT:
		return !w_cond(w, n->first, fields);
	case W_AND:
		for (int32_t c = n->first; c >= 0; c = w->n[c].next)
			if (!w_cond(w, c, fields))
				return false;
		return true;
	case W_OR:
		for (int32_t c = n->first; c >= 0; c = w->n[c].next)
			if (w_cond(w, c, fields))
				return true;
		return false;
	case W_ARITH:
	case W_ASSIGN:
		break;
	}
	return false;
}

static __attribute__((noinline)) void w_run(const struct walker *w,
	const struct wval *fields, struct wresult *res_r)
{
	int32_t stmt = w->def;

	for (int32_t i = 0; i < w->rules_cnt; i++)
		if (w_cond(w, w->rules[i].when, fields)) {
			stmt = w->rules[i].then;
			break;
		}
	res_r->points = w_expr(w, w->n[stmt].first, fields);
	res_r->case_name = w->n[stmt].name;
}

/* ---- the ceiling's program, from the same AST ------------------------- */

static const struct jv *get(const struct jv *o, const char *key)
{
	const struct jv *v = jv_member(o, key);

	if (v == NULL) {
		fprintf(stderr, "bench_dsl: no %s\n", key);
		exit(1);
	}
	return v;
}

static struct wval w_value(const struct jv *v)
{
	struct wval w = {0};

	w.is_float = v->type == JV_FLOAT;
	if (w.is_float)
		w.u.d = v->u.d;
	else
		w.u.i = v->type == JV_BOOL ? v->u.b : v->u.i;
	return w;
}

static int32_t w_build(
	struct walker *w, const struct jv *ast, const struct dsl_program *p);

static int32_t w_children(struct walker *w, const struct jv *const *c,
	uint32_t cnt, const struct dsl_program *p)
{
	int32_t first = -1, last = -1;

	for (uint32_t i = 0; i < cnt; i++) {
		int32_t at = w_build(w, c[i], p);

		if (last >= 0)
			w->n[last].next = at;
		else
			first = at;
		last = at;
	}
	return first;
}

static uint16_t w_slot(const struct dsl_program *p, struct str path)
{
	unsigned cnt;
	const struct dsl_field_ref *f = dsl_program_fields(p, &cnt);

	for (unsigned i = 0; i < cnt; i++)
		if (str_eq(f[i].path, path))
			return (uint16_t)i;
	return 0;
}

static int32_t w_build(
	struct walker *w, const struct jv *ast, const struct dsl_program *p)
{
	struct str type = get(ast, "type")->u.s;
	int32_t at = w->n_cnt++;
	struct wnode *n = &w->n[at];
	const struct jv *c[64];
	uint32_t cnt = 0;

	n->next = n->first = -1;
	if (str_is(type, "literal")) {
		n->kind = W_LIT;
		n->val = w_value(get(ast, "value"));
	} else if (str_is(type, "field")) {
		n->kind = W_FIELD;
		n->slot = w_slot(p, get(ast, "path")->u.s);
	} else if (str_is(type, "arith") || str_is(type, "compare")) {
		struct str op = get(ast, "op")->u.s;

		n->kind = str_is(type, "arith") ? W_ARITH : W_CMP;
		n->op = str_is(op, ">=") ? 'g' : op.p[0];
		c[cnt++] = get(ast, "left");
		c[cnt++] = get(ast, "right");
	} else if (str_is(type, "not")) {
		n->kind = W_NOT;
		c[cnt++] = get(ast, "arg");
	} else if (str_is(type, "assign_points")) {
		n->kind = W_ASSIGN;
		n->name = get(ast, "case_name")->u.s;
		c[cnt++] = get(ast, "value");
	} else {
		n->kind = str_is(type, "and") ? W_AND : W_OR;
		for (; cnt < get(ast, "args")->n && cnt < NELEM(c); cnt++)
			c[cnt] = &get(ast, "args")->u.arr[cnt];
	}
	w->n[at].first = w_children(w, c, cnt, p);
	return at;
}

static void w_program(
	struct walker *w, const struct jv *ast, const struct dsl_program *p)
{
	const struct jv *rules = get(ast, "rules");

	w->n_cnt = w->rules_cnt = 0;
	for (uint32_t i = 0; i < rules->n; i++) {
		const struct jv *rule = &rules->u.arr[i];
		const struct jv *then = get(rule, "then");

		w->rules[w->rules_cnt++] =
			(struct wrule){w_build(w, get(rule, "when"), p),
				w_build(w, &then->u.arr[then->n - 1], p)};
		if (jv_member(rule, "else_if") == NULL)
			continue;
		rule = &get(rule, "else_if")->u.arr[0];
		w->rules[w->rules_cnt++] =
			(struct wrule){w_build(w, get(rule, "when"), p),
				w_build(w, &get(rule, "then")->u.arr[0], p)};
	}
	w->def = w_build(w, get(ast, "default"), p);
}

/* ---- programs --------------------------------------------------------- */

#define FIELD(p) "{\"type\":\"field\",\"path\":\"data." p "\"}"
#define LIT(v)   "{\"type\":\"literal\",\"value\":" v "}"

/* dsl.md 23.1; its `return` is written as an award of 0. */
#define WORKED(callback)                                                                                                                                                           \
	"{\"type\":\"program\",\"rules\":[{\"type\":\"rule\","                                                                                                                     \
	"\"when\":{\"type\":\"and\",\"args\":["                                                                                                                                    \
	"{\"type\":\"compare\",\"op\":\">=\",\"left\":" FIELD(                                                                                                                     \
		"laps") ",\"right\":" LIT("3") "},"                                                                                                                                \
					       "{\"type\":\"not\","                                                                                                                \
					       "\"arg\":" FIELD(                                                                                                                   \
						       "cheat") "}]},"                                                                                                             \
								"\"then\":"                                                                                                        \
								"[" callback                                                                                                       \
								"{\"type\":"                                                                                                       \
								"\"assign_"                                                                                                        \
								"points\","                                                                                                        \
								"\"case_"                                                                                                          \
								"name\":"                                                                                                          \
								"\"Laps\","                                                                                                        \
								"\"value\":{"                                                                                                      \
								"\"type\":"                                                                                                        \
								"\"arith\","                                                                                                       \
								"\"op\":\"*"                                                                                                       \
								"\","                                                                                                              \
								"\"left\""                                                                                                         \
								":" FIELD(                                                                                                         \
									"la"                                                                                                       \
									"p"                                                                                                        \
									"s") ",\"right\":" LIT("2.5") "}}],"                                                                       \
												      "\"else_if\":[{\"when\":{\"type\":\"compare\",\"op\":\"==\","                \
												      "\"left\":" FIELD("laps") ",\"right\":" LIT(                                 \
													      "0") "},"                                                            \
														   "\"then\":[{\"type\":\"assign_points\",\"case_name\":\"None\"," \
														   "\"value\":" LIT(                                               \
															   "0") "}]}]}],\"default\":{\"type\":"                    \
																"\"assign_points\",\"value\":" LIT(                \
																	"1") ",\"case_name\":"                     \
																	     "\"Fallback\"}}"
#define CALLBACK                                                             \
	"{\"type\":\"set_callback_data\",\"key\":\"laps\",\"value\":" FIELD( \
		"laps") "},"

/* rules of 14 nodes none of which matches, and a default. */
static void many_rules(struct buf *b, int rules)
{
	buf_printf(b, "{\"type\":\"program\",\"rules\":[");
	for (int i = 0; i < rules; i++)
		buf_printf(b,
			"%s{\"type\":\"rule\",\"when\":{\"type\":\"and\","
			"\"args\":[{\"type\":\"compare\",\"op\":\"<\","
			"\"left\":" FIELD("laps") ",\"right\":" LIT(
				"%d") "},"
				      "{\"type\":\"compare\",\"op\":\">\","
				      "\"left\":"
				      "{\"type\":\"arith\",\"op\":\"+\","
				      "\"left\":" FIELD(
					      "laps") ",\"right\":" LIT("%d") "},"
									      "\"right\":" LIT(
										      "%d") "}]},"
											    "\"then\":[{\"type\":\"assign_points\","
											    "\"case_name\":\"R%d\",\"value\":" LIT(
												    "2") "}]}",
			i > 0 ? "," : "", 100 + i, i, 1000 + 2 * i, i);
	buf_printf(
		b, "],\"default\":{\"type\":\"assign_points\",\"value\":" LIT(
			   "1") ",\"case_name\":\"D\"}}");
}

/* ---- measuring -------------------------------------------------------- */

struct subject {
	struct walker *w;
	struct wval wfields[8];
	struct jv fields[8];
	struct dsl_run run;
	struct dsl_trace trace;
	struct arena arena;
};

enum what { CEILING, PLAIN, TRACED, WHAT_CNT };

static volatile int64_t sink;

static void run_once(struct subject *s, enum what what)
{
	struct wresult res;

	if (what == CEILING) {
		w_run(s->w, s->wfields, &res);
		sink = res.points.u.i;
		return;
	}
	s->trace.total = 0;
	s->run.trace = what == TRACED ? &s->trace : NULL;
	if (s->arena.used_bytes > 0)
		arena_reset(&s->arena);
	if (dsl_run(&s->run) != DSL_STATUS_OK) {
		fprintf(stderr, "bench_dsl: %s\n", s->run.err.message);
		exit(1);
	}
	sink = s->run.points.u.i;
}

static double round_ns(struct subject *s, enum what what, int runs)
{
	uint64_t start = clock_mono_ns();

	for (int i = 0; i < runs; i++)
		run_once(s, what);
	return (double)(clock_mono_ns() - start) / runs;
}

static int by_value(const void *a, const void *b)
{
	const double *l = a, *r = b;

	return *l < *r ? -1 : *l > *r;
}

static double median(double *t, int n)
{
	qsort(t, (size_t)n, sizeof(*t), by_value);
	return t[n / 2];
}

static void measure(struct subject *s, const char *name, int rounds)
{
	static double t[WHAT_CNT][ROUNDS_MAX];
	static double to_ceiling[ROUNDS_MAX], to_plain[ROUNDS_MAX];
	int runs[WHAT_CNT];

	for (int k = 0; k < WHAT_CNT; k++) {
		round_ns(s, (enum what)k, 1000);
		runs[k] = (int)(ROUND_NS / round_ns(s, (enum what)k, 1000)) + 1;
	}
	for (int i = 0; i < rounds; i++) {
		for (int k = 0; k < WHAT_CNT; k++)
			t[k][i] = round_ns(s, (enum what)k, runs[k]);
		to_ceiling[i] = t[TRACED][i] / t[CEILING][i];
		to_plain[i] = t[TRACED][i] / t[PLAIN][i];
	}
	printf("%-26s steps %4d  server %8.1f ns  ceiling %8.1f ns  "
	       "ratio %4.2f  trace off %8.1f ns  traced/off %4.2f\n",
		name, s->run.nodes, median(t[TRACED], rounds),
		median(t[CEILING], rounds), median(to_ceiling, rounds),
		median(t[PLAIN], rounds), median(to_plain, rounds));
}

static void check_same(struct subject *s)
{
	struct wresult res;

	run_once(s, TRACED);
	w_run(s->w, s->wfields, &res);
	if (!str_eq(res.case_name, s->run.case_name.u.s)) {
		fprintf(stderr, "bench_dsl: ceiling and server disagree\n");
		exit(1);
	}
}

static void bench(const char *name, struct str text, int rounds)
{
	static struct walker w;
	static struct dsl_trace_ent ents[200];
	const struct jv laps = jv_int(4), cheat = jv_bool(false);
	struct subject s = {.w = &w};
	struct arena a;
	struct jv ast, norm;
	struct json_err jerr;
	struct dsl_error err;
	struct dsl_program *p;
	unsigned cnt;

	arena_init(&a, 0);
	arena_init(&s.arena, 1 << 20);
	if (json_parse(&a, text, &json_limits_default, &ast, &jerr) < 0 ||
		dsl_check(&a, &ast, &dsl_limits_default, &norm, &err) < 0) {
		fprintf(stderr, "bench_dsl: %s is no program\n", name);
		exit(1);
	}
	p = dsl_compile(&norm);
	w_program(&w, &norm, p);
	for (unsigned i = 0; dsl_program_fields(p, &cnt) && i < cnt; i++) {
		s.fields[i] = str_is(dsl_program_fields(p, &cnt)[i].key, "laps")
				      ? laps
				      : cheat;
		s.wfields[i] = w_value(&s.fields[i]);
	}
	s.trace = (struct dsl_trace){
		.ents = ents, .head_cap = 100, .tail_cap = 100};
	s.run = (struct dsl_run){.prog = p,
		.mode = DSL_MODE_FULL,
		.lim = &dsl_limits_default,
		.arena = &s.arena,
		.fields = s.fields};
	check_same(&s);
	measure(&s, name, rounds);
	dsl_program_unref(&p);
	arena_fini(&s.arena);
	arena_fini(&a);
}

/* From text to a program that can run: what a cache miss costs. */
static double load_once(struct str text)
{
	uint64_t start = clock_mono_ns();
	struct dsl_program *p;
	struct json_err jerr;
	struct dsl_error err;
	struct jv ast, norm;
	struct arena a;

	arena_init(&a, 0);
	if (json_parse(&a, text, &json_limits_default, &ast, &jerr) < 0 ||
		dsl_check(&a, &ast, &dsl_limits_default, &norm, &err) < 0) {
		fprintf(stderr, "bench_dsl: the program to load is none\n");
		exit(1);
	}
	p = dsl_compile(&norm);
	dsl_program_unref(&p);
	arena_fini(&a);
	return (double)(clock_mono_ns() - start);
}

static void bench_load(struct str text, int rounds)
{
	static double t[ROUNDS_MAX];

	load_once(text);
	for (int i = 0; i < rounds; i++)
		t[i] = load_once(text);
	printf("%-26s %zu bytes: read, check and compile in %.0f us\n",
		"load a program", text.len, median(t, rounds) / 1000);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : ROUNDS_DEF;
	struct buf b;

	if (rounds < 1 || rounds > ROUNDS_MAX)
		rounds = ROUNDS_DEF;
	bench("worked example", STR(WORKED("")), rounds);
	bench("worked example, callback", STR(WORKED(CALLBACK)), rounds);
	buf_init(&b, 0);
	many_rules(&b, 15);
	bench("200 nodes", buf_str(&b), rounds);
	buf_reset(&b);
	many_rules(&b, 76);
	bench("1000 nodes", buf_str(&b), rounds);
	buf_reset(&b);
	many_rules(&b, 47);
	bench_load(buf_str(&b), rounds);
	buf_fini(&b);
	return 0;
}
