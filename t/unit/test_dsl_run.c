/*
 * test_dsl_run.c - what the recorded vectors cannot see: the cut trace, the
 * failed node, our own limits, time-outs, fields, references.
 */
#include "dsl_help.h"

#include <stdio.h>
#include <stdlib.h>

#define ENTS_MAX 400

static struct arena arena, scratch;
static struct dsl_trace_ent ents[ENTS_MAX];
static struct dsl_trace trace;
static struct dsl_limits lim;
static struct dsl_run run;

static void setup(void)
{
	arena_init(&arena, 0);
	arena_init(&scratch, 1 << 20);
	lim = dsl_limits_default;
	trace = (struct dsl_trace){.ents = ents, .head_cap = ENTS_MAX};
	run = (struct dsl_run){.lim = &lim, .arena = &scratch, .trace = &trace};
}

static void teardown(void)
{
	struct dsl_program *p = (struct dsl_program *)run.prog;

	dsl_program_unref(&p);
	arena_fini(&scratch);
	arena_fini(&arena);
}

TestSuite(dsl_run, .init = setup, .fini = teardown);

/* Compiles and runs; fields by slot from an object path -> value. */
static enum dsl_status go(const char *text, const char *fields)
{
	struct jv table = json_of(&arena, fields);
	const struct dsl_field_ref *f;
	static struct jv values[16];
	static uint8_t set[16];
	struct dsl_program *before = (struct dsl_program *)run.prog;
	unsigned cnt;

	dsl_program_unref(&before);
	run.prog = program_of(&arena, text);
	f = dsl_program_fields(run.prog, &cnt);
	cr_assert_leq(cnt, NELEM(values));
	for (unsigned i = 0; i < cnt; i++) {
		const struct jv *v = jv_get(&table, f[i].path);

		set[i] = v != NULL;
		values[i] = v != NULL ? *v : jv_null();
	}
	run.fields = values;
	run.fields_set = set;
	return dsl_run(&run);
}

/* The kept trace as "id=type:branch ..." */
static const char *shown(void)
{
	static char text[16384];
	const struct dsl_trace_ent *e;
	char tmp[32];
	int n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; (e = dsl_trace_at(&trace, i)) != NULL; i++) {
		const char *branch = dsl_branch_text(e, tmp);
		struct str id = dsl_ent_node_id(&trace, e);

		n += snprintf(text + n, sizeof(text) - (size_t)n,
			"%s%.*s=%s%s%s", i ? " " : "", STR_ARG(id),
			dsl_ent_type(&trace, e), branch ? ":" : "",
			branch ? branch : "");
	}
	return text;
}

#define F(path, id) "{'type':'field','path':'" path "','id':'" id "'}"
#define L(v, id)    "{'type':'literal','value':" v ",'id':'" id "'}"
#define OP(t, op, l, r, id)                                                  \
	"{'type':'" t "','op':'" op "','left':" l ",'right':" r ",'id':'" id \
	"'}"
#define RULE(when, then, rest)                                         \
	"{'type':'program','id':'p','rules':[{'type':'rule','id':'r'," \
	"'when':" when ",'then':[" then "]" rest "}]}"
#define ASSIGN(v) \
	"{'type':'assign_points','id':'a','case_name':'C','value':" v "}"

Test(dsl_run, worked_example_counts_and_traces)
{
	static const char text[] = RULE(
		"{'type':'and','id':'n','args':[" OP("compare",
			">=", F("data.laps", "f"), L("3", "l"),
			"c") ",{'type':'not','id':'t','arg':" F("data.cheat",
			"h") "}]}",
		"{'type':'set_callback_data','id':'s','key':'laps',"
		"'value':" F("data.laps", "g") "}," ASSIGN(OP(
			"arith", "*", F("data.laps", "x"), L("2.5", "y"), "m")),
		",'else_if':[{'when':" OP("compare", "==", F("data.laps", "u"),
			L("0", "v"), "w") ",'then':[{'type':'return',"
					  "'id':'z'}]}]");

	cr_assert_eq(
		go(text, "{'data.laps':4,'data.cheat':false}"), DSL_STATUS_OK);
	cr_assert_eq(run.nodes, 15);
	cr_assert_eq(run.points.type, JV_FLOAT);
	cr_assert_eq(run.points.u.d, 10.0);
	cr_assert_str_eq(shown(),
		"f=field l=literal c=compare h=field t=not n=and r=rule:match "
		"g=field s=set_callback_data x=field y=literal m=arith "
		"a=assign_points:match");
	cr_assert_eq(run.callback_data.n, 1);
	cr_assert(str_is(run.callback_data.u.obj[0].key, "laps"));
}

Test(dsl_run, failed_node_ends_the_trace_with_its_operands)
{
	const struct dsl_trace_ent *e;

	cr_assert_eq(
		go(RULE(OP("compare", ">=", F("data.x", "f"), L("3", "l"), "c"),
			   ASSIGN(L("1", "one")), ""),
			"{'data.x':'three'}"),
		DSL_STATUS_ERROR);
	cr_assert_str_eq(shown(), "f=field l=literal c=compare:failed");
	e = dsl_trace_at(&trace, 2);
	cr_assert_eq(e->value.type, JV_ARR);
	cr_assert_eq(e->value.n, 2);
	cr_assert(str_is(e->value.u.arr[0].u.s, "three"));
	cr_assert_eq(e->value.u.arr[1].u.i, 3);
	cr_assert_str_eq(run.err.code, "DSL_COMPARE_TYPE_MISMATCH");
	cr_assert(str_is(run.err.node_id, "c"));
	cr_assert_eq(run.nodes, 5);
	cr_assert_neq(run.err.message[0], '\0');
}

Test(dsl_run, a_statement_fails_with_the_offending_value)
{
	const struct dsl_trace_ent *e;

	cr_assert_eq(go(RULE(L("true", "w"), ASSIGN(F("data.x", "f")), ""),
			     "{'data.x':[7]}"),
		DSL_STATUS_ERROR);
	cr_assert_str_eq(shown(),
		"w=literal r=rule:match f=field a=assign_points:failed");
	e = dsl_trace_at(&trace, 3);
	cr_assert_eq(e->value.type, JV_ARR);
	cr_assert_eq(e->value.u.arr[0].u.i, 7);
	cr_assert_str_eq(run.err.code, "DSL_ASSIGN_POINTS_NOT_NUMBER");
}

/* Every way of taking a leaf counts and traces the same when it is unset. */
Test(dsl_run, an_unset_field_fails_where_it_stands)
{
	static const struct {
		const char *expr, *shown;
		int nodes;
	} rows[] = {
		{OP("arith", "+", F("data.no", "f"), L("1", "l"), "m"),
			"f=field:failed", 4},
		{OP("arith", "+", L("1", "l"), F("data.no", "f"), "m"),
			"l=literal f=field:failed", 5},
		{OP("arith", "+",
			 OP("arith", "+", L("1", "a"), L("2", "b"), "k"),
			 F("data.no", "f"), "m"),
			"a=literal b=literal k=arith f=field:failed", 7},
		{OP("arith", "+", F("data.no", "f"),
			 OP("arith", "+", L("1", "a"), L("2", "b"), "k"), "m"),
			"f=field:failed", 4},
		{F("data.no", "f"), "f=field:failed", 3},
	};
	char text[1024];

	for (size_t i = 0; i < NELEM(rows); i++) {
		snprintf(text, sizeof(text), EXPR_PROGRAM("%s"), rows[i].expr);
		dsl_trace_reset(&trace);
		cr_assert_eq(go(text, "{}"), DSL_STATUS_ERROR);
		cr_assert_str_eq(run.err.kind, "field_unresolved");
		cr_assert(str_is(run.err.node_id, "f"));
		cr_assert_str_eq(
			shown(), rows[i].shown, "row %zu: %s", i, shown());
		cr_assert_eq(
			run.nodes, rows[i].nodes, "row %zu: %d", i, run.nodes);
		teardown();
		arena_init(&arena, 0);
		arena_init(&scratch, 1 << 20);
		run.prog = NULL;
	}
}

/* The step limit hits each node in turn: entries before it are all there. */
Test(dsl_run, a_step_limit_keeps_what_came_before)
{
	static const char *const want[] = {
		"p=program:failed",
		"s=set_callback_data:failed",
		"m=arith:failed",
		"l=literal:failed",
		"l=literal f=field:failed",
		"l=literal f=field m=arith s=set_callback_data",
	};

	for (int i = 0; i < (int)NELEM(want); i++) {
		enum dsl_status s;

		lim.max_nodes = i;
		dsl_trace_reset(&trace);
		s = go(EXPR_PROGRAM(OP("arith", "+",
			       "{'type':'literal',"
			       "'value':1,'id':'l'}",
			       "{'type':'field','path':'data.x','id':'f'}",
			       "m")),
			"{'data.x':2}");
		cr_assert_eq(s, i < 5 ? DSL_STATUS_LIMIT : DSL_STATUS_OK);
		cr_assert_str_eq(shown(), want[i], "limit %d: %s", i, shown());
		cr_assert_eq(run.nodes, i < 5 ? i + 1 : 5);
		teardown();
		arena_init(&arena, 0);
		arena_init(&scratch, 1 << 20);
		run.prog = NULL;
	}
}

/* n additions in a row: 2n + 1 leaves and operators, all traced. */
static const char *sum(int n)
{
	struct buf b;
	char *text;

	buf_init(&b, 0);
	for (int i = 0; i < n; i++)
		buf_printf(&b, "{'type':'arith','op':'+','left':");
	buf_printf(&b, "{'type':'literal','value':0}");
	for (int i = 0; i < n; i++)
		buf_printf(&b, ",'right':{'type':'literal','value':1}}");
	buf_add_char(&b, '\0');
	text = arena_alloc(&arena, b.len + 200);
	snprintf(text, b.len + 200, EXPR_PROGRAM("%s"), b.p);
	buf_fini(&b);
	return text;
}

Test(dsl_run, a_long_trace_keeps_head_and_tail)
{
	uint32_t total;

	lim.max_depth = 256;
	cr_assert_eq(go(sum(50), "{}"), DSL_STATUS_OK);
	total = trace.total;
	cr_assert_eq(total, 102);
	for (uint32_t head = 0; head < 5; head++)
		for (uint32_t tail = 0; tail < 5; tail++) {
			struct dsl_trace_ent few[10];
			struct dsl_trace cut = {.ents = few,
				.head_cap = head,
				.tail_cap = tail};

			run.trace = &cut;
			cr_assert_eq(dsl_run(&run), DSL_STATUS_OK);
			cr_assert_eq(cut.total, total);
			cr_assert_eq(dsl_trace_kept(&cut), head + tail);
			for (uint32_t i = 0; i < head + tail; i++) {
				uint32_t at =
					i < head ? i : total - head - tail + i;

				cr_assert_eq(dsl_trace_at(&cut, i)->node,
					ents[at].node, "%u+%u at %u", head,
					tail, i);
			}
			cr_assert_null(dsl_trace_at(&cut, head + tail));
		}
}

Test(dsl_run, a_second_phase_appends_to_the_trace)
{
	struct dsl_trace cut = {.ents = ents, .head_cap = 3, .tail_cap = 4};

	run.trace = &cut;
	cr_assert_eq(go(sum(1), "{}"), DSL_STATUS_OK);
	cr_assert_eq(cut.total, 4);
	for (int i = 2; i < 9; i++) {
		cr_assert_eq(dsl_run(&run), DSL_STATUS_OK);
		cr_assert_eq(cut.total, 4u * (unsigned)i);
		cr_assert_eq(dsl_trace_kept(&cut), 7);
		cr_assert_str_eq(dsl_ent_type(&cut, dsl_trace_at(&cut, 6)),
			"set_callback_data");
		cr_assert_str_eq(
			dsl_ent_type(&cut, dsl_trace_at(&cut, 3)), "literal");
	}
}

Test(dsl_run, many_operands_at_once)
{
	struct buf b;
	char *text;

	/* the left operand waits while the right one nests: 100 alive */
	buf_init(&b, 0);
	for (int i = 0; i < 100; i++)
		buf_printf(&b,
			"{'type':'arith','op':'+','left':{'type':'literal',"
			"'value':1},'right':");
	buf_printf(&b, "{'type':'literal','value':1}");
	for (int i = 0; i < 100; i++)
		buf_add_char(&b, '}');
	buf_add_char(&b, '\0');
	text = arena_alloc(&arena, b.len + 200);
	snprintf(text, b.len + 200, EXPR_PROGRAM("%s"), b.p);
	buf_fini(&b);
	lim.max_depth = 256;
	cr_assert_eq(go(text, "{}"), DSL_STATUS_OK);
	cr_assert_eq(run.callback_data.u.obj[0].val.u.i, 101);
}

Test(dsl_run, depth_is_checked_only_where_the_run_goes)
{
	static const char text[] = RULE(F("data.deep", "w"),
		ASSIGN(OP("arith", "+",
			OP("arith", "+", L("1", "a1"), L("1", "a2"), "k"),
			L("1", "b"), "m")),
		",'else':[" ASSIGN(L("1", "one")) "]");

	lim.max_depth = 4;
	cr_assert_eq(go(text, "{'data.deep':false}"), DSL_STATUS_OK);
	dsl_trace_reset(&trace);
	cr_assert_eq(go(text, "{'data.deep':true}"), DSL_STATUS_LIMIT);
	cr_assert_str_eq(run.err.kind, "run_depth_budget");
	cr_assert(str_is(run.err.node_id, "a1"));
	cr_assert_str_eq(shown(), "w=field r=rule:match a1=literal:failed");
	cr_assert_str_eq(dsl_error_log_code(&run.err), "DSL_LIMIT_EXCEEDED");
}

Test(dsl_run, text_at_the_limit_and_past_it)
{
	lim.max_string_bytes = 16;
	cr_assert_eq(go(EXPR_PROGRAM(OP("arith", "*", L("'ab'", "l"),
				L("8", "r"), "m")),
			     "{}"),
		DSL_STATUS_OK);
	cr_assert_eq(run.callback_data.u.obj[0].val.u.s.len, 16);
	cr_assert_eq(go(EXPR_PROGRAM(OP("arith", "*", L("'ab'", "l"),
				L("9", "r"), "m")),
			     "{}"),
		DSL_STATUS_LIMIT);
	cr_assert_str_eq(run.err.code, "DSL_VALUE_TOO_LARGE");
	cr_assert_eq(run.err.params_cnt, 3);
	cr_assert_eq(run.err.params[2].val.u.i, 16);
	/* a count whose product wraps */
	cr_assert_eq(go(EXPR_PROGRAM(OP("arith", "*", L("'ab'", "l"),
				L("9223372036854775807", "r"), "m")),
			     "{}"),
		DSL_STATUS_LIMIT);
}

#define SET(key, value) \
	"{'type':'set_callback_data','key':'" key "','value':" value "}"
#define X "{'type':'field','path':'data.x'}"
#define WRITES(last)                                                   \
	"{'type':'program','id':'p','rules':[{'type':'rule','id':'r'," \
	"'when':" X                                                    \
	",'then':[" SET("a", X) "," SET("b", X) "," SET("c", last) "]}]}"

/* One value of the event many times over: refused before it is written. */
Test(dsl_run, what_is_written_out_is_bounded)
{
	int cnt = (int)DSL_OUT_BYTES_MAX / 2 / 25 - 10; /* 25 a number */
	char *data = calloc(2, (size_t)cnt + 16);
	size_t n;

	cr_assert_not_null(data);
	n = (size_t)sprintf(data, "{'data.x':[0");
	for (int i = 1; i < cnt; i++)
		n += (size_t)sprintf(data + n, ",0");
	sprintf(data + n, "]}");
	cr_assert_eq(go(WRITES(L("1", "l")), data), DSL_STATUS_OK);
	cr_assert_eq(go(WRITES(X), data), DSL_STATUS_LIMIT);
	cr_assert_str_eq(run.err.code, "DSL_VALUE_TOO_LARGE");
	cr_assert(str_is(run.err.node_id, "r.set_callback_data.2"));
	cr_assert_eq(run.err.params[2].val.u.i, (int64_t)DSL_OUT_BYTES_MAX);
	free(data);
}

Test(dsl_run, a_spent_arena_is_a_limit)
{
	struct arena tiny;

	arena_init(&tiny, 8);
	run.arena = &tiny;
	cr_assert_eq(go(EXPR_PROGRAM(L("1", "l")), "{}"), DSL_STATUS_LIMIT);
	cr_assert_str_eq(run.err.code, "DSL_VALUE_TOO_LARGE");
	cr_assert(str_is(run.err.node_id, "s"));
	arena_fini(&tiny);
}

/* Each comparison of two texts of 8 MiB costs some 100 us. */
Test(dsl_run, a_slow_run_times_out, .timeout = 60)
{
	size_t len = 8 << 20;
	char *l = calloc(1, len), *r = calloc(1, len);
	struct jv values[2] = {
		jv_str((struct str){l, len}), jv_str((struct str){r, len})};
	struct buf b;
	const char *text;

	buf_init(&b, 0);
	buf_printf(&b, "{'type':'program','id':'p','rules':[");
	for (int i = 0; i < 200; i++)
		buf_printf(&b,
			"%s{'type':'rule','when':{'type':'compare','op':'!=',"
			"'left':{'type':'field','path':'data.l'},'right':"
			"{'type':'field','path':'data.r'}},'then':["
			"{'type':'return'}]}",
			i ? "," : "");
	buf_printf(&b, "]}");
	text = arena_strndup(&arena, b.p, b.len);
	buf_fini(&b);
	run.prog = program_of(&arena, text);
	run.fields = values;
	lim.timeout_ms = 1;
	cr_assert_eq(dsl_run(&run), DSL_STATUS_TIMEOUT);
	cr_assert_eq(run.err.cls, DSL_CLASS_TIMEOUT);
	cr_assert_null(run.err.code);
	cr_assert_null(run.err.node_id.p);
	cr_assert_str_eq(dsl_error_log_code(&run.err), "DSL_TIMEOUT");
	cr_assert_eq(run.nodes % 64, 0);
	cr_assert_eq(
		dsl_trace_at(&trace, trace.total - 1)->branch, DSL_BR_FAILED);
	lim.timeout_ms = 0;
	cr_assert_eq(dsl_run(&run), DSL_STATUS_OK);
	free(l);
	free(r);
}

/* Objects of n members a<i>: i; the second one in reverse order. */
static void twins(int n, bool equal, struct jv v[2])
{
	for (int k = 0; k < 2; k++) {
		struct jv_member *m = calloc((size_t)n, sizeof(*m));

		for (int i = 0; i < n; i++) {
			int at = k == 0 ? i : n - 1 - i;

			m[at].key = arena_printf(&arena, "a%d", i);
			m[at].val = jv_int(i);
		}
		if (k == 1 && !equal)
			m[0].val = jv_int(-1);
		v[k] = (struct jv){
			.type = JV_OBJ, .n = (uint32_t)n, .u.obj = m};
	}
}

Test(dsl_run, large_objects_compare_in_any_order, .timeout = 60)
{
	static const char text[] = RULE(
		OP("compare", "==", F("data.l", "l"), F("data.r", "r"), "c"),
		ASSIGN(L("1", "one")), "");
	static const int sizes[] = {0, 1, 32, 33, 1000, 50000};
	struct jv v[2];

	for (size_t i = 0; i < NELEM(sizes); i++)
		for (int equal = 0; equal < 2; equal++) {
			if (sizes[i] == 0 && !equal)
				continue;
			twins(sizes[i], equal, v);
			run.prog = program_of(&arena, text);
			run.fields = v;
			run.trace = NULL;
			arena_reset(&scratch);
			cr_assert_eq(dsl_run(&run), DSL_STATUS_OK);
			cr_assert_eq(run.matched, (bool)equal, "%d members",
				sizes[i]);
			free(v[0].u.obj);
			free(v[1].u.obj);
			if (i + 1 < NELEM(sizes) || !equal) {
				struct dsl_program *p =
					(struct dsl_program *)run.prog;

				dsl_program_unref(&p);
			}
		}
}

Test(dsl_run, compiled_twice_runs_alike)
{
	static const char text[] = EXPR_PROGRAM(
		OP("arith", "/", F("data.x", "x"), L("7", "l"), "m"));
	static struct dsl_trace_ent first[8];
	uint32_t n;

	memset(ents, 0, sizeof(ents));
	cr_assert_eq(go(text, "{'data.x':22}"), DSL_STATUS_OK);
	n = trace.total;
	cr_assert_leq(n, NELEM(first));
	memcpy(first, ents, sizeof(first));
	memset(ents, 0, sizeof(ents));
	dsl_trace_reset(&trace);
	cr_assert_eq(go(text, "{'data.x':22}"), DSL_STATUS_OK);
	cr_assert_eq(trace.total, n);
	cr_assert_eq(memcmp(&first[2].value.u.d, &ents[2].value.u.d, 8), 0);
	for (uint32_t i = 0; i < n; i++) {
		cr_assert_eq(first[i].node, ents[i].node);
		cr_assert_eq(first[i].branch, ents[i].branch);
		cr_assert_eq(first[i].value.type, ents[i].value.type);
	}
}

Test(dsl_run, with_and_without_trace_agree)
{
	struct jv traced;

	cr_assert_eq(go(sum(20), "{}"), DSL_STATUS_OK);
	traced = run.callback_data.u.obj[0].val;
	run.trace = NULL;
	cr_assert_eq(dsl_run(&run), DSL_STATUS_OK);
	cr_assert_eq(run.callback_data.u.obj[0].val.u.i, traced.u.i);
	cr_assert_eq(traced.u.i, 20);
}

Test(dsl_run, fields_are_distinct_and_seen_in_all_sections)
{
	unsigned cnt;
	const struct dsl_field_ref *f;

	run.prog = program_of(&arena,
		"{'type':'program','rules':[{'type':'rule','when':" F(
			"data.k", "a") ",'then':[" ASSIGN(F("data.k",
			"b")) "]}],'post_rules':[{'type':'rule','when':" F("par"
									   "ent"
									   ".po"
									   "int"
									   "s",
			"c") ",'then':[{'type':'return'}]}],"
			     "'pre_rules':[{'type':'rule','when':" F(
				     "user.avg_time",
				     "d") ",'then':[{'type':'return'}]}],"
					  "'parent_variables':{'variable_x':2."
					  "5,'variable_s':'t'}}");
	f = dsl_program_fields(run.prog, &cnt);
	cr_assert_eq(cnt, 3);
	cr_assert(str_is(f[0].path, "data.k"));
	cr_assert(str_is(f[0].key, "k"));
	cr_assert_eq(f[0].field, DSL_F_DATA);
	cr_assert_eq(dsl_program_needs(run.prog),
		1u << DSL_F_DATA | 1u << DSL_F_PARENT_POINTS |
			1u << DSL_F_USER_AVG);
	cr_assert(dsl_program_has_pre(run.prog));
	cr_assert(dsl_program_has_post(run.prog));
	cr_assert_eq(dsl_program_parent_vars(run.prog)->n, 2);
	cr_assert_eq(dsl_program_parent_vars(run.prog)->u.obj[0].val.u.d, 2.5);
	cr_assert(str_is(
		dsl_program_parent_vars(run.prog)->u.obj[1].val.u.s, "t"));
}

/* The program owns its text: what it was made from may go. */
Test(dsl_run, a_program_outlives_its_ast)
{
	struct arena gone;
	struct dsl_program *p, *second;

	arena_init(&gone, 0);
	p = program_of(&gone, RULE(L("'yes'", "w"), ASSIGN(L("7", "v")), ""));
	arena_fini(&gone);
	second = dsl_program_ref(p);
	dsl_program_unref(&p);
	run.prog = second;
	cr_assert_eq(dsl_run(&run), DSL_STATUS_OK);
	cr_assert(str_is(run.case_name.u.s, "C"));
	cr_assert_str_eq(shown(), "w=literal r=rule:match v=literal "
				  "a=assign_points:match");
}

/* What became of each arm, in the order of the program: E T D F or -. */
static const char *arms_of(const char *program, const char *data)
{
	static char text[128];
	static uint8_t hits[16];
	size_t n = 0;
	unsigned cnt;

	memset(hits, 0, sizeof(hits));
	run.arms = hits;
	(void)go(program, data);
	dsl_program_arms(run.prog, &cnt);
	cr_assert_leq(cnt, NELEM(hits));
	for (unsigned i = 0; i < cnt; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
			"%s%s%s%s%s%s", i ? " " : "", hits[i] ? "" : "-",
			hits[i] & DSL_ARM_EVALUATED ? "E" : "",
			hits[i] & DSL_ARM_TAKEN ? "T" : "",
			hits[i] & DSL_ARM_DECIDED ? "D" : "",
			hits[i] & DSL_ARM_FAILED ? "F" : "");
	run.arms = NULL;
	return text;
}

#define IF(cond, then, more) \
	"{'type':'rule','when':" cond ",'then':[" then "]" more "}"

Test(dsl_run, arms_tell_what_a_run_went_through)
{
	const char *text = "{'type':'program','rules':[" IF(F("data.a", "a"),
		SET("k", "{'type':'literal','value':1}"),
		",'else_if':[{'when':" F("data.b", "b") ",'then':[" ASSIGN(
			F("data.v", "v")) "]}],'else':[" SET("e",
			"{'type':'literal','value':2}") "]") "," IF(F("data.c",
									    "c"),
		ASSIGN(F("data.v", "w")),
		"") "],'default':" ASSIGN(F("data.v", "d")) "}";
	const struct dsl_arm *arm;
	unsigned cnt;

	/* then, else_if, else, then, default */
	cr_assert_str_eq(
		arms_of(text, "{'data.a':true,'data.b':true,'data.c':true,"
			      "'data.v':1}"),
		"ET - - ETD -");
	cr_assert_str_eq(
		arms_of(text, "{'data.a':false,'data.b':true,'data.c':true,"
			      "'data.v':1}"),
		"E ETD - - -");
	cr_assert_str_eq(arms_of(text, "{'data.a':false,'data.b':false,"
				       "'data.c':false,'data.v':1}"),
		"E E ET E ETD");
	/* fails in a body, in a condition, in the default */
	cr_assert_str_eq(
		arms_of(text, "{'data.a':false,'data.b':true,'data.c':true,"
			      "'data.v':'x'}"),
		"E ETF - - -");
	cr_assert_str_eq(arms_of(text, "{'data.a':true,'data.b':true,"
				       "'data.v':1}"),
		"ET - - EF -");
	cr_assert_str_eq(arms_of(text, "{'data.a':true,'data.b':true,"
				       "'data.c':false,'data.v':'x'}"),
		"ET - - E ETF");
	arm = dsl_program_arms(run.prog, &cnt);
	cr_assert_eq(cnt, 5);
	cr_assert_eq(arm[1].kind, DSL_ARM_ELSE_IF);
	cr_assert_eq(arm[1].branch, 1);
	cr_assert_eq(arm[2].branch, 2);
	cr_assert_eq(arm[3].rule, 1);
	cr_assert_eq(arm[4].section, DSL_PART_DEFAULT);
}

/* In a section that nothing ends, the last to set is who decided. */
Test(dsl_run, the_last_arm_that_sets_decides)
{
	const char *text = "{'type':'program','rules':[],'post_rules':[" IF(
		F("data.a", "a"),
		"{'type':'set_points','value':{'type':'literal',"
		"'value':1}}",
		"") "," IF(F("data.b", "b"), SET("k", F("data.b", "x")),
		"") "," IF(F("data.c", "c"), "{'type':'return'}", "") "]}";

	run.mode = DSL_MODE_POST;
	cr_assert_str_eq(
		arms_of(text, "{'data.a':true,'data.b':true,'data.c':false}"),
		"ETD ET E");
	cr_assert_str_eq(
		arms_of(text, "{'data.a':true,'data.b':true,'data.c':true}"),
		"ET ET ETD");
	run.lim = &(struct dsl_limits){.max_nodes = 3, .max_depth = 20};
	cr_assert_str_eq(
		arms_of(text, "{'data.a':false,'data.b':true,'data.c':true}"),
		"EF - -");
}
