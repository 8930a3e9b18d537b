/*
 * test_custom.c - a whole scoring (dsl.md 14 to 16) where the vectors do not
 * reach: needs, time, mocks, room, and properties over random inputs.
 */
#include "dsl_help.h"

#include <stdio.h>

#include "base/clock.h"
#include "engine/engine_custom.h"

static struct arena arena, scratch;

static void setup(void)
{
	arena_init(&arena, 0);
	arena_init(&scratch, 1 << 20);
}

static void teardown(void)
{
	arena_fini(&arena);
	arena_fini(&scratch);
}

TestSuite(custom, .init = setup, .fini = teardown);

/* One event: what a strategy sees of it. */
struct event {
	struct engine_analytics an;
	struct engine_event ev;
	struct jv data;
};

static void event_init(struct event *e, const char *data)
{
	engine_analytics_init(&e->an);
	e->data = json_of(&arena, data);
	e->ev = (struct engine_event){
		.ids = {STR("g"), STR("t"), STR("u")},
		.data = &e->data,
		.an = &e->an,
	};
}

/* NULL for parent: DSL_FULL. */
static struct engine_custom custom_of(
	struct dsl_program *p, const char *parent, const struct event *e)
{
	return (struct engine_custom){
		.strategy = {.prog = p,
			.is_extend = parent != NULL,
			.parent = str_from(parent ? parent : "")},
		.ev = &e->ev,
		.lim = &dsl_limits_default,
		.arena = &scratch,
	};
}

static bool same(const struct jv *a, const struct jv *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case JV_INT:
		return a->u.i == b->u.i;
	case JV_FLOAT:
		return a->u.d == b->u.d;
	case JV_STR:
		return str_eq(a->u.s, b->u.s);
	default:
		return a->type == JV_NULL;
	}
}

/* ---- random inputs: the seed is fixed, the run is the same each time ----- */

static uint64_t rng = 42;

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

/* Seconds as analytics have them: often small, so that ties happen. */
static struct jv rnd_seconds(int64_t none)
{
	switch (rnd(4)) {
	case 0:
		return jv_int(none);
	case 1:
		return jv_float((double)rnd(4));
	default:
		return jv_float((double)rnd(1000000) / 1e4);
	}
}

static void rnd_event(struct event *e)
{
	event_init(e, "{}");
	e->an.task_count = (int64_t)rnd(5);
	e->an.user_count = (int64_t)rnd(5);
	e->an.user_recent = e->an.recent = (int64_t)rnd(130);
	e->an.user_avg = rnd_seconds(-1);
	e->an.all_avg = rnd_seconds(-1);
	e->an.last_diff = rnd_seconds(0);
	e->an.new_last_diff = rnd_seconds(0);
}

/* Runs a program as DSL_FULL and a built-in over random events: the same. */
static void agree(const char *id, const char *twin, int rounds)
{
	const struct engine_builtin *b = engine_find(str_from(id));
	struct dsl_program *p = program_of(&arena, twin);

	for (int i = 0; i < rounds; i++) {
		struct engine_result res;
		struct dsl_error err;
		struct event e;
		struct engine_custom c;
		struct jv case_name;

		rnd_event(&e);
		c = custom_of(p, NULL, &e);
		arena_reset(&scratch);
		cr_assert_eq(engine_custom_score(&c), DSL_STATUS_OK);
		cr_assert_eq(engine_score(b, &e.ev, NULL, &res, &err),
			DSL_STATUS_OK);
		case_name = jv_str(res.case_name);
		cr_assert(same(&c.points, &res.points), "points, round %d", i);
		cr_assert(same(&c.case_name, &case_name),
			"%.*s and %.*s, round %d", STR_ARG(c.case_name.u.s),
			STR_ARG(res.case_name), i);
	}
	dsl_program_unref(&p);
}

/* ---- the twins of dsl.md 19 ---------------------------------------------- */

#define F(path) "{'type':'field','path':'" path "'}"
#define L(v)    "{'type':'literal','value':" v "}"
#define CMP(op, l, r) \
	"{'type':'compare','op':'" op "','left':" l ",'right':" r "}"
#define ARITH(op, l, r) \
	"{'type':'arith','op':'" op "','left':" l ",'right':" r "}"
#define AND(a, b) "{'type':'and','args':[" a "," b "]}"
#define ASSIGN(v, name) \
	"{'type':'assign_points','value':" v ",'case_name':'" name "'}"
#define RULE(when, then) "{'type':'rule','when':" when ",'then':[" then "]}"
#define PROGRAM(rules, def) \
	"{'type':'program','rules':[" rules "],'default':" def "}"
#define D ARITH("-", F("user.new_last_window_diff"), F("user.last_window_diff"))

Test(custom, default_agrees_with_its_twin)
{
	agree("default",
		PROGRAM(RULE(CMP("<", F("task.measurements_count"), L("2")),
				ASSIGN(L("1"),
					"BasicEngagement")) "," RULE(CMP("<=",
									     F("user.measurements_count"),
									     L("2")),
				ASSIGN(L("1"),
					"default")) "," RULE(CMP("<",
								     F("user."
								       "avg_"
								       "time"),
								     F("all."
								       "avg_"
								       "time")),
				ASSIGN(L("11"),
					"PerformanceBonus")) "," RULE(AND(CMP(">",
										  D,
										  L("0")),
									      CMP("<",
										      D,
										      F("all.avg_time"))),
				ASSIGN(L("3"),
					"IndividualOverGlobal")) "," RULE(AND(CMP(">",
										      D,
										      L("0")),
										  CMP("<",
											  D,
											  F("user.avg_time"))),
				ASSIGN(L("15"),
					"PeakPerformerBonus")) "," RULE(AND(CMP(">",
										    D,
										    L("0")),
										CMP(">",
											D,
											F("user.avg_time"))),
				ASSIGN(L("7"),
					"GlobalAdvantageAdjustment")) "," RULE(CMP("<",
										       D,
										       L("0")),
				ASSIGN(L("8"), "IndividualAdjustment")),
			ASSIGN(L("1"), "default")),
		20000);
}

Test(custom, constant_effort_agrees_with_its_twin)
{
	agree("constantEffortStrategy",
		PROGRAM(RULE(CMP(">", F("user.recent_measurements_count"),
				     L("0")),
				ASSIGN("{'type':'func_call','name':'clamp',"
				       "'args':[{'type':'func_call',"
				       "'name':'int','args':[" ARITH("*",
					       ARITH("/",
						       ARITH("+",
							       F("user.recent_"
								 "measurements_"
								 "count"),
							       L("1")),
						       L("100")),
					       L("100")) "]}," L("1") "," L("10"
									    "0") "]}",
					"ConstantEffortReward")),
			ASSIGN(L("1"), "BasicReward")),
		5000);
}

/* ---- an EXTEND without sections is its parent ------------------------------ */

Test(custom, without_sections_it_is_its_parent)
{
	static const char *const forms[] = {
		"{'type':'program','rules':[]}",
		"{'type':'program','rules':[],'pre_rules':[],'post_rules':[],"
		"'parent_variables':{}}",
		"{'type':'program','rules':[],'pre_rules':null,"
		"'post_rules':null,'parent_variables':null,"
		"'default':" ASSIGN(L("99"), "ignored") "}",
	};
	const struct engine_builtin *b;

	for (unsigned n = 0; (b = engine_at(n)) != NULL; n++) {
		const char *id = engine_info(b)->id;

		for (int i = 0; i < 600; i++) {
			struct dsl_program *p =
				program_of(&arena, forms[i % 3]);
			struct engine_result res;
			struct dsl_error err;
			struct event e;
			struct engine_custom c;
			enum dsl_status want;
			struct jv case_name;

			rnd_event(&e);
			e.an.game_user_count = (int64_t)rnd(4);
			e.an.game_minutes = rnd_seconds(-1);
			e.an.game_user_minutes = rnd_seconds(-1);
			e.data =
				json_of(&arena, i % 5 == 0   ? "{}"
						: i % 2 == 0 ? "{'minutes':20}"
							     : "{'minutes':0}");
			c = custom_of(p, id, &e);
			arena_reset(&scratch);
			want = engine_score(b, &e.ev, NULL, &res, &err);
			cr_assert_eq(engine_custom_score(&c), want);
			if (want == DSL_STATUS_OK) {
				case_name = jv_str(res.case_name);
				cr_assert(same(&c.points, &res.points));
				cr_assert(same(&c.case_name, &case_name));
			} else {
				cr_assert_str_eq(c.err.code, err.code);
			}
			cr_assert_eq(c.phases_cnt, 1);
			dsl_program_unref(&p);
		}
	}
}

/* ---- needs ----------------------------------------------------------------- */

static struct engine_needs needs_of(const char *text, const char *parent)
{
	struct dsl_program *p = program_of(&arena, text);
	const struct engine_strategy s = {.prog = p,
		.is_extend = parent != NULL,
		.parent = str_from(parent ? parent : "")};
	struct engine_needs n;

	engine_custom_needs(&s, &n);
	dsl_program_unref(&p);
	return n;
}

#define BIT(f) (UINT32_C(1) << DSL_F_##f)
#define POST_OF(when)                                                \
	"{'type':'program','rules':[],'post_rules':[{'type':'rule'," \
	"'when':" when ",'then':[{'type':'return'}]}]"

Test(custom, it_says_what_must_be_read)
{
	struct engine_needs n;

	n = needs_of(POST_OF(F("data.x")) "}", "constantEffortStrategy");
	cr_assert_eq(n.fields, 0);
	cr_assert(n.recent && !n.game);
	cr_assert_eq(n.window_us, 300000000);
	n = needs_of(POST_OF(F("user.avg_time")) ",'parent_variables':"
						 "{'variable_constant_effort_"
						 "interval_minutes':0.5}}",
		"constantEffortStrategy");
	cr_assert_eq(n.fields, BIT(USER_AVG));
	cr_assert_eq(n.window_us, 30000000);
	n = needs_of(PROGRAM(RULE(F("user.avg_time"), ASSIGN(L("1"), "A")),
			     ASSIGN(L("1"), "B")),
		"greengageStrategy");
	cr_assert_eq(n.fields, 0, "rules of an EXTEND are never resolved");
	cr_assert(n.recent && n.game);
	cr_assert_eq(n.window_us, 60000000);
	n = needs_of(POST_OF(F("externalUserId")) "}", "default");
	cr_assert_eq(n.fields, BIT(TASK_COUNT) | BIT(USER_COUNT) |
				       BIT(USER_AVG) | BIT(ALL_AVG) |
				       BIT(LAST_DIFF) | BIT(NEW_LAST_DIFF));
	n = needs_of(PROGRAM(RULE(F("user.recent_measurements_count"),
				     ASSIGN(L("1"), "A")),
			     ASSIGN(L("1"), "B")),
		NULL);
	cr_assert_eq(n.fields, BIT(USER_RECENT));
	cr_assert(!n.recent && !n.game);
}

Test(custom, odd_windows_stay_in_range)
{
	static const struct {
		const char *minutes;
		int64_t us;
	} rows[] = {
		{"0", 0},
		{"-3", 0},
		{"'5'", 0},
		{"null", 0},
		{"true", 60000000},
		{"1e300", INT64_C(9467280000000000)},
		{"9223372036854775807", INT64_C(9467280000000000)},
	};
	char text[256];

	for (size_t i = 0; i < NELEM(rows); i++) {
		snprintf(text, sizeof(text),
			"{'type':'program','rules':[],'parent_variables':"
			"{'variable_constant_effort_interval_minutes':%s}}",
			rows[i].minutes);
		cr_assert_eq(needs_of(text, "constantEffortStrategy").window_us,
			rows[i].us, "%s", rows[i].minutes);
	}
}

/* ---- time, mocks, room ------------------------------------------------------- */

Test(custom, a_deadline_gone_by_is_a_timeout)
{
	struct dsl_program *p = program_of(&arena, POST_OF(L("true")) "}");
	struct event e;
	struct engine_custom c;

	event_init(&e, "{}");
	c = custom_of(p, "default", &e);
	c.deadline_ns = 1;
	cr_assert_eq(engine_custom_score(&c), DSL_STATUS_TIMEOUT);
	cr_assert_str_eq(dsl_error_log_code(&c.err), "DSL_TIMEOUT");
	cr_assert_eq(c.points.type, JV_NULL);
	cr_assert_eq(c.phases_cnt, 2, "the parent had answered");
	cr_assert(c.phases[1].failed);
	c.deadline_ns = clock_mono_ns() + UINT64_C(60000000000);
	cr_assert_eq(engine_custom_score(&c), DSL_STATUS_OK);
	dsl_program_unref(&p);
}

Test(custom, mocks_come_first)
{
	struct dsl_program *p = program_of(&arena,
		"{'type':'program','rules':[],'post_rules':[{'type':'rule',"
		"'when':" L(
			"true") ",'then':["
				"{'type':'set_callback_data','key':'p','value'"
				":" F("parent.points") "},"
						       "{'type':'set_callback_"
						       "data','key':'n','value'"
						       ":" F("task."
							     "measurements_"
							     "count") "},"
								      "{'type':"
								      "'set_"
								      "callback"
								      "_data','"
								      "key':'d'"
								      ",'value'"
								      ":" F("da"
									    "ta"
									    "."
									    "x") "}]}]}");
	struct event e;
	struct engine_custom c;
	struct jv mocks;

	event_init(&e, "{'x':1}");
	mocks = json_of(&arena, "{'parent.points':70,"
				"'task.measurements_count':'many',"
				"'data.x':[1],'unknown':0}");
	c = custom_of(p, "default", &e);
	c.mocks = &mocks;
	cr_assert_eq(engine_custom_score(&c), DSL_STATUS_OK);
	cr_assert_eq(jv_member(&c.callback_data, "p")->u.i, 70);
	cr_assert(str_is(jv_member(&c.callback_data, "n")->u.s, "many"));
	cr_assert_eq(jv_member(&c.callback_data, "d")->type, JV_ARR);
	cr_assert_eq(c.points.u.d, 1.0, "the parent itself is not mocked");
	dsl_program_unref(&p);
}

Test(custom, mocks_of_the_parent_are_numbers)
{
	static const struct {
		const char *parent, *mocks;
		unsigned faults;
		const char *first;
	} cases[] = {
		{"default", "{}", 0, NULL},
		{"default", "{'task.measurements_count':5}", 0, NULL},
		{"default", "{'task.measurements_count':5.0}", 0, NULL},
		{"default", "{'task.measurements_count':true}", 0, NULL},
		{"default", "{'task.measurements_count':'5'}", 1,
			"task.measurements_count"},
		{"default", "{'task.measurements_count':5.5}", 1,
			"task.measurements_count"},
		{"default", "{'task.measurements_count':-1}", 1,
			"task.measurements_count"},
		{"default", "{'task.measurements_count':1e300}", 1,
			"task.measurements_count"},
		{"default", "{'user.avg_time':-1,'all.avg_time':2.5}", 0, NULL},
		{"default", "{'user.avg_time':null,'all.avg_time':[1]}", 2,
			"user.avg_time"},
		/* what this parent does not read is the program's */
		{"default", "{'user.recent_measurements_count':'x'}", 0, NULL},
		{"constantEffortStrategy",
			"{'user.recent_measurements_count':'x'}", 1,
			"user.recent_measurements_count"},
		{"constantEffortStrategy", "{'task.measurements_count':'x'}", 0,
			NULL},
		{"default", "{'game.avg_minutes':'x'}", 0, NULL},
		{"greengageStrategy",
			"{'game.avg_minutes':'x','game.user_avg_minutes':{},"
			"'game.user_measurements_count':2.5}",
			3, "game.user_measurements_count"},
		/* no parent at all */
		{NULL, "{'task.measurements_count':'x'}", 0, NULL},
	};
	struct dsl_program *p = program_of(&arena, POST_OF(L("true")) "}");

	for (size_t i = 0; i < NELEM(cases); i++) {
		struct engine_mock_fault faults[ENGINE_MOCK_FAULTS_MAX];
		struct engine_strategy s = {
			p, cases[i].parent != NULL, str_from(cases[i].parent)};
		struct jv mocks = json_of(&arena, cases[i].mocks);

		cr_expect_eq(engine_custom_mock_faults(&s, &mocks, faults),
			cases[i].faults, "%zu", i);
		if (cases[i].faults > 0)
			cr_expect_str_eq(
				faults[0].path, cases[i].first, "%zu", i);
	}
	dsl_program_unref(&p);
}

Test(custom, counts_may_be_any_whole_number)
{
	struct engine_analytics an;
	struct jv mocks = json_of(&arena,
		"{'task.measurements_count':5.0,'user.measurements_count':"
		"true,'user.recent_measurements_count':7,'all.avg_time':true,"
		"'user.avg_time':'x','game.user_measurements_count':2.5,"
		"'game.avg_minutes':1.5}");

	engine_analytics_init(&an);
	engine_analytics_mock(&an, &mocks);
	cr_expect_eq(an.task_count, 5);
	cr_expect_eq(an.user_count, 1);
	cr_expect_eq(an.user_recent, 7);
	cr_expect_eq(an.recent, 7);
	cr_expect(an.all_avg.type == JV_INT && an.all_avg.u.i == 1);
	cr_expect(an.user_avg.type == JV_INT && an.user_avg.u.i == -1);
	cr_expect_eq(an.game_user_count, 0);
	cr_expect_eq(an.game_minutes.u.d, 1.5);
	engine_analytics_mock(&an, NULL);
	cr_expect_eq(an.task_count, 5);
}

Test(custom, too_little_room_is_a_limit)
{
	struct dsl_program *p = program_of(&arena, POST_OF(F("data.x")) "}");
	struct arena tiny;
	struct event e;
	struct engine_custom c;

	event_init(&e, "{}");
	c = custom_of(p, "default", &e);
	arena_init(&tiny, 1);
	c.arena = &tiny;
	cr_assert_eq(engine_custom_score(&c), DSL_STATUS_LIMIT);
	cr_assert_str_eq(c.err.code, "DSL_VALUE_TOO_LARGE");
	arena_fini(&tiny);
	dsl_program_unref(&p);
}

Test(custom, a_parent_that_is_no_builtin)
{
	struct dsl_program *p =
		program_of(&arena, "{'type':'program','rules':[]}");
	struct event e;
	struct engine_custom c;

	event_init(&e, "{}");
	c = custom_of(p, "custom:x", &e);
	cr_assert_eq(engine_custom_score(&c), DSL_STATUS_ERROR);
	cr_assert_str_eq(c.err.code, "DSL_PARENT_FAILED");
	cr_assert(str_is(c.err.params[0].val.u.s, "custom:x"));
	dsl_program_unref(&p);
}

Test(custom, greengage_by_its_table)
{
	static const struct {
		const char *data;
		int64_t recent, records;
		double game, user;
		double points;
		const char *case_name;
	} rows[] = {
		{"{}", 0, 5, 1, 1, -1, "minutes is required"},
		{"{'minutes':null}", 0, 5, 1, 1, -1, "minutes is required"},
		{"{'minutes':5.0}", 0, 5, 1, 1, -1,
			"minutes must be a whole number of 0 or more"},
		{"{'minutes':-1}", 0, 5, -5, 1, -1,
			"minutes must be a whole number of 0 or more"},
		{"{'minutes':0}", 0, 0, 1, 1, 10, "Case 1.1 (DP)"},
		{"{'minutes':false}", 3, 0, 1, 1, 5, "Case 1.2 (DP/2)"},
		{"{'minutes':90}", 0, 1, 1, 1, 20, "Case 2 (DP x 2)"},
		{"{'minutes':14}", 0, 2, 13, 1, 15, "Case 3 (BP)"},
		{"{'minutes':15}", 0, 2, 15, 14, 187.5, "Case 4.1 (PBP)"},
		{"{'minutes':59}", 0, 2, 59, 59, 300, "Case 4.2 (DPTE)"},
		{"{'minutes':60}", 0, 2, 60, 60, 600, "Case 4.2 (DPTE)"},
		{"{'minutes':true}", 0, 2, 1, 1, 10, "Case 4.2 (DPTE)"},
	};

	for (size_t i = 0; i < NELEM(rows); i++) {
		struct engine_result res;
		struct dsl_error err;
		struct event e;

		event_init(&e, rows[i].data);
		e.an.recent = rows[i].recent;
		e.an.game_user_count = rows[i].records;
		e.an.game_minutes = jv_float(rows[i].game);
		e.an.game_user_minutes = jv_float(rows[i].user);
		cr_assert_eq(engine_score(engine_find(STR("greengageStrategy")),
				     &e.ev, NULL, &res, &err),
			DSL_STATUS_OK);
		cr_assert_eq(res.points.type == JV_INT ? (double)res.points.u.i
						       : res.points.u.d,
			rows[i].points, "row %zu", i);
		cr_assert(str_is(res.case_name, rows[i].case_name));
	}
}
