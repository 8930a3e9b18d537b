/* test_engine.c - the built-ins of dsl.md 18 and the field values. */
#include "dsl_help.h"

#include <stdio.h>

#include "dsl/dsl_svg.h"
#include "dsl/dsl_tree.h"
#include "engine/engine.h"
#include "engine/engine_template.h"

static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 0);
}

static void teardown(void)
{
	arena_fini(&arena);
}

TestSuite(engine, .init = setup, .fini = teardown);

Test(engine, six_are_listed_in_order)
{
	static const char *const ids[] = {"constantEffortStrategy", "default",
		"getis_ord_gi_star", "greencrowdStrategy", "greengageStrategy",
		"socio_bee"};
	const struct engine_builtin *b;
	unsigned n = 0;

	for (; (b = engine_at(n)) != NULL; n++) {
		const struct engine_info *i = engine_info(b);
		struct jv vars = json_of(&arena, i->variables);

		cr_assert_str_eq(i->id, ids[n]);
		cr_assert_eq(engine_find(str_from(i->id)), b);
		cr_assert_eq(strlen(i->hash_version), 64);
		cr_assert_eq(strspn(i->hash_version, "0123456789abcdef"), 64);
		cr_assert_eq(vars.type, JV_OBJ);
		cr_assert_gt(vars.n, 1);
		for (unsigned k = 0; k < n; k++)
			cr_assert_str_neq(i->hash_version,
				engine_info(engine_at(k))->hash_version);
	}
	cr_assert_eq(n, NELEM(ids));
	cr_assert_null(engine_find(STR("Default")));
}

static enum dsl_status score(const char *id, const struct engine_analytics *an,
	const char *vars, struct engine_result *res_r, struct dsl_error *err_r)
{
	const struct engine_event ev = {.an = an};
	struct jv v = json_of(&arena, vars);

	return engine_score(engine_find(str_from(id)), &ev, &v, res_r, err_r);
}

Test(engine, default_takes_the_first_line_that_applies)
{
	static const struct {
		int64_t task, user;
		double user_avg, all_avg, last, newest;
		int64_t points;
		const char *case_name;
	} rows[] = {
		{1, 9, 0, 0, 0, 0, 1, "BasicEngagement"},
		{2, 2, 0, 0, 0, 0, 1, "default"},
		{3, 3, 4, 5, 0, 0, 11, "PerformanceBonus"},
		{3, 3, 10, 5, 3, 5, 3, "IndividualOverGlobal"},
		{3, 3, 10, 5, 3, 10, 15, "PeakPerformerBonus"},
		{3, 3, 10, 5, 3, 15, 7, "GlobalAdvantageAdjustment"},
		{3, 3, 10, 5, 5, 3, 8, "IndividualAdjustment"},
		{3, 3, 10, 5, 3, 13, 1, "default"},
		{3, 3, 10, 5, 3, 3, 1, "default"},
		{3, 3, -1, -1, 0, 0, 1, "default"},
	};
	struct engine_result res;
	struct dsl_error err;

	for (size_t i = 0; i < NELEM(rows); i++) {
		const struct engine_analytics an = {
			.task_count = rows[i].task,
			.user_count = rows[i].user,
			.user_avg = jv_float(rows[i].user_avg),
			.all_avg = jv_float(rows[i].all_avg),
			.last_diff = jv_float(rows[i].last),
			.new_last_diff = jv_float(rows[i].newest),
		};

		cr_assert_eq(
			score("default", &an, "{}", &res, &err), DSL_STATUS_OK);
		cr_assert_eq(res.points.type, JV_INT);
		cr_assert_eq(res.points.u.i, rows[i].points, "row %zu", i);
		cr_assert(str_is(res.case_name, rows[i].case_name));
		cr_assert_eq(score("socio_bee", &an, "null", &res, &err),
			DSL_STATUS_OK);
		cr_assert_eq(res.points.u.i, rows[i].points);
	}
}

Test(engine, constant_effort_truncates_and_bounds)
{
	static const struct {
		int64_t recent;
		const char *vars;
		double points;
		bool is_float;
	} rows[] = {
		{0, "{}", 1, false},
		{1, "{}", 2, false},
		{28, "{}", 28, false},
		{56, "{}", 56, false},
		{57, "{}", 57, false},
		{500, "{}", 100, false},
		{500, "{'variable_max_points':40.5}", 40.5, true},
		{1, "{'variable_max_points':-5}", -5, false},
		{1, "{'variable_max_points':true}", 1, false},
	};
	struct engine_analytics an;
	struct engine_result res;
	struct dsl_error err;

	engine_analytics_init(&an);
	for (size_t i = 0; i < NELEM(rows); i++) {
		an.recent = rows[i].recent;
		cr_assert_eq(score("constantEffortStrategy", &an, rows[i].vars,
				     &res, &err),
			DSL_STATUS_OK);
		cr_assert_eq(
			res.points.type, rows[i].is_float ? JV_FLOAT : JV_INT);
		cr_assert_eq(rows[i].is_float ? res.points.u.d
					      : (double)res.points.u.i,
			rows[i].points, "row %zu", i);
		cr_assert(str_is(res.case_name, rows[i].recent
							? "ConstantEffortReward"
							: "BasicReward"));
	}
}

Test(engine, a_variable_of_the_wrong_type_is_a_typed_error)
{
	static const struct {
		const char *id, *vars, *variable;
	} rows[] = {
		{"default", "{'variable_basic_points':'x'}",
			"variable_basic_points"},
		{"constantEffortStrategy", "{'variable_max_points':null}",
			"variable_max_points"},
		{"constantEffortStrategy", "{'variable_max_points':0}",
			"variable_max_points"},
		{"constantEffortStrategy", "{'variable_max_points':0.0}",
			"variable_max_points"},
		{"constantEffortStrategy", "{'variable_max_points':1e-320}",
			"variable_max_points"},
	};
	struct engine_analytics an;
	struct engine_result res;
	struct dsl_error err;

	engine_analytics_init(&an);
	an.recent = 3;
	for (size_t i = 0; i < NELEM(rows); i++) {
		cr_assert_eq(score(rows[i].id, &an, rows[i].vars, &res, &err),
			DSL_STATUS_ERROR, "row %zu", i);
		cr_assert_str_eq(err.code, "DSL_PARENT_FAILED");
		cr_assert(str_is(err.params[0].val.u.s, rows[i].id));
		cr_assert(str_is(err.params[1].val.u.s, rows[i].variable));
		cr_assert_neq(err.message[0], '\0');
	}
}

Test(engine, what_cannot_score_says_so)
{
	struct engine_analytics an;
	struct engine_result res;
	struct dsl_error err;

	engine_analytics_init(&an);
	cr_assert_eq(score("getis_ord_gi_star", &an, "{}", &res, &err),
		DSL_STATUS_ERROR);
	cr_assert_str_eq(err.code, "DSL_PARENT_FAILED");
	cr_assert_eq(
		engine_info(engine_find(STR("getis_ord_gi_star")))->can_score,
		false);
}

Test(engine, fields_of_an_event)
{
	struct engine_analytics an;
	const struct jv data = json_of(&arena, "{'zone':'A','n':[1]}");
	const struct engine_event ev = {.ids = {STR("g"), STR("t"), STR("u")},
		.data = &data,
		.an = &an};
	const struct dsl_parent_result parent = {
		.points = jv_int(5), .case_name = jv_str(STR("P"))};
	struct dsl_program *p = program_of(&arena,
		"{'type':'program','rules':[],'post_rules':[{'type':'rule',"
		"'when':{'type':'or','args':["
		"{'type':'field','path':'externalTaskId'},"
		"{'type':'field','path':'task.measurements_count'},"
		"{'type':'field','path':'user.avg_time'},"
		"{'type':'field','path':'data.zone'},"
		"{'type':'field','path':'data.none'},"
		"{'type':'field','path':'parent.points'}]},"
		"'then':[{'type':'return'}]}]}");
	struct jv v[6];
	uint8_t set[6];

	engine_analytics_init(&an);
	an.task_count = 12;
	engine_fill_fields(p, &ev, NULL, v, set);
	cr_assert(str_is(v[0].u.s, "t"));
	cr_assert_eq(v[1].u.i, 12);
	cr_assert_eq(v[2].type, JV_INT);
	cr_assert_eq(v[2].u.i, -1);
	cr_assert(str_is(v[3].u.s, "A"));
	cr_assert_eq(v[4].type, JV_NULL);
	cr_assert_eq(set[4], 1);
	cr_assert_eq(set[5], 0);
	engine_fill_fields(p, &ev, &parent, v, set);
	cr_assert_eq(v[5].u.i, 5);
	cr_assert_eq(set[5], 1);
	dsl_program_unref(&p);
}

/* ---- templates (dsl.md 19) ------------------------------------------------ */

Test(engine, templates_are_valid_as_they_stand)
{
	static const char *const ids[] = {"bonus_extiende_default",
		"bonus_por_velocidad", "engagement_basico",
		"recompensa_completar_tarea"};
	const struct engine_template *t;
	unsigned n = 0;

	for (; (t = engine_template_at(n)) != NULL; n++) {
		struct jv ast, norm;
		struct json_err why;
		struct dsl_error err;
		struct buf before, after;

		cr_assert_str_eq(t->id, ids[n]);
		cr_assert_eq(json_parse(&arena, str_from(t->ast),
				     &json_limits_default, &ast, &why),
			0, "%s: %s", t->id, why.text);
		cr_assert_eq(dsl_check(&arena, &ast, &dsl_limits_default, &norm,
				     &err),
			0, "%s: %s", t->id, err.message);
		buf_init(&before, 0);
		buf_init(&after, 0);
		dsl_canon(&before, &ast);
		dsl_canon(&after, &norm);
		cr_assert(str_eq(buf_str(&before), buf_str(&after)),
			"%s has all ids", t->id);
		buf_fini(&before);
		buf_fini(&after);
		cr_assert_eq(
			strcmp(t->type, "DSL_EXTEND") == 0, t->parent != NULL);
		if (t->parent != NULL)
			cr_assert_not_null(engine_find(str_from(t->parent)));
		cr_assert_eq(t->blockly[0], '<');
	}
	cr_assert_eq(n, NELEM(ids));
}

/* Every node of the program is a block of the drawing. */
static void has_blocks(const struct engine_template *t, const struct jv *v)
{
	const struct jv *id = jv_member(v, "id");
	char wanted[80];

	for (uint32_t i = 0; v->type == JV_ARR && i < v->n; i++)
		has_blocks(t, &v->u.arr[i]);
	for (uint32_t i = 0; v->type == JV_OBJ && i < v->n; i++)
		has_blocks(t, &v->u.obj[i].val);
	if (v->type != JV_OBJ || id == NULL)
		return;
	snprintf(wanted, sizeof(wanted), "id=\"%.*s\"", STR_ARG(id->u.s));
	cr_assert_not_null(strstr(t->blockly, wanted), "%s: %s", t->id, wanted);
}

Test(engine, templates_are_drawn_whole)
{
	const struct engine_template *t;

	for (unsigned i = 0; (t = engine_template_at(i)) != NULL; i++) {
		struct jv ast = json_of(&arena, t->ast);

		has_blocks(t, &ast);
	}
}

/* ---- trees ------------------------------------------------------------------ */

static void add_line(void *arg, unsigned depth, struct str text)
{
	buf_printf(arg, "%.*s%.*s|", (int)depth, "\t\t\t\t", STR_ARG(text));
}

Test(engine, a_result_is_an_award_or_says_why_not)
{
	static const struct {
		struct jv points;
		const char *case_name;
		enum engine_verdict verdict;
		const char *code;
		int32_t stored;
	} cases[] = {
		{{JV_INT, 0, {.i = 5}}, "C", ENGINE_AWARD, NULL, 5},
		{{JV_FLOAT, 0, {.d = 7.0}}, "C", ENGINE_AWARD, NULL, 7},
		{{JV_INT, 0, {.i = INT32_MIN}}, "C", ENGINE_AWARD, NULL,
			INT32_MIN},
		{{JV_INT, 0, {.i = -1}}, "C", ENGINE_REFUSED, NULL, -1},
		{{JV_FLOAT, 0, {.d = -1.0}}, "", ENGINE_REFUSED, NULL, -1},
		{{JV_INT, 0, {.i = 0}}, "", ENGINE_UNSTORABLE, "DSL_NO_CASE",
			0},
		{{JV_FLOAT, 0, {.d = 1.5}}, "", ENGINE_UNSTORABLE,
			"DSL_NO_CASE", 0},
		{{JV_FLOAT, 0, {.d = 1.5}}, "C", ENGINE_UNSTORABLE,
			"DSL_POINTS_NOT_STORABLE", 0},
		{{JV_INT, 0, {.i = INT64_C(2147483648)}}, "C",
			ENGINE_UNSTORABLE, "DSL_POINTS_NOT_STORABLE", 0},
		{{JV_FLOAT, 0, {.d = -1e300}}, "C", ENGINE_UNSTORABLE,
			"DSL_POINTS_NOT_STORABLE", 0},
		{{JV_NULL, 0, {.i = 0}}, "C", ENGINE_NO_NUMBER, NULL, 0},
		{{JV_BOOL, 0, {.b = true}}, "C", ENGINE_NO_NUMBER, NULL, 0},
	};

	for (size_t i = 0; i < NELEM(cases); i++) {
		struct dsl_error err = {0};
		int32_t points = 0;

		cr_expect_eq(
			engine_judge(&cases[i].points,
				str_from(cases[i].case_name), &points, &err),
			cases[i].verdict, "%zu", i);
		if (cases[i].verdict != ENGINE_UNSTORABLE) {
			cr_expect_eq(points, cases[i].stored, "%zu", i);
			cr_expect_null(err.code);
			continue;
		}
		cr_expect_str_eq(err.code, cases[i].code, "%zu", i);
		cr_expect_null(err.node_id.p);
	}
}

Test(engine, a_drawing_has_the_characters_of_xml)
{
	static const struct {
		struct str in, out;
	} cases[] = {
		{STR("a\xef\xbf\xbe\xef\xbf\xbf z"),
			STR("a\xef\xbf\xbd\xef\xbf\xbd z")},
		{STR("\x1b\t\x7f"),
			STR("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")},
		{STR("\xc2\x9b\xe9"), STR("\xef\xbf\xbd\xef\xbf\xbd")},
		/* the last before each gap and the first behind it */
		{STR("\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd"),
			STR("\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd")},
		{STR("\xf0\x9f\xbf\xbe <&>"),
			STR("\xf0\x9f\xbf\xbe &lt;&amp;&gt;")},
	};

	for (size_t i = 0; i < NELEM(cases); i++) {
		struct buf want, out;
		struct dsl_svg graph;

		buf_init(&want, 0);
		buf_init(&out, 0);
		dsl_svg_init(&graph);
		dsl_svg_line(&graph, 0, cases[i].in);
		dsl_svg_end(&graph, cases[i].in, &out);
		buf_add_char(&out, '\0');
		buf_printf(&want, "\">%.*s</text>", STR_ARG(cases[i].out));
		buf_add_char(&want, '\0');
		cr_expect_not_null(strstr(out.p, want.p), "%zu: %s", i, out.p);
		cr_expect_not_null(
			strstr(strstr(out.p, "<rect x="), want.p), "%zu", i);
		buf_fini(&out);
		buf_fini(&want);
	}
}

Test(engine, a_program_reads_as_a_tree)
{
	struct jv
		ast = json_of(&arena,
			"{'type':'program','id':'p','rules':[{'type':'rule',"
			"'id':'r','when':{'type':'and','args':[{'type':"
			"'compare','op':'<','left':{'type':'field','path':"
			"'data.x'},'right':{'type':'arith','op':'min','left':"
			"{'type':'literal','value':1},'right':{'type':"
			"'literal','value':2.5}}},{'type':'not','arg':{'type':"
			"'field','path':'data.y'}}]},'then':[{'type':"
			"'set_callback_data','key':'k','value':{'type':"
			"'literal','value':'a<b'}},{'type':'return'}],"
			"'else_if':[{'when':{'type':'literal','value':true},"
			"'then':[{'type':'return'}]}],'else':[{'type':"
			"'return'}]}],'default':{'type':'assign_points',"
			"'case_name':'Rest','value':{'type':'literal',"
			"'value':3}}}"),
		norm;
	struct dsl_error err;
	struct dsl_svg graph;
	struct buf out;

	cr_assert_eq(
		dsl_check(&arena, &ast, &dsl_limits_default, &norm, &err), 0);
	buf_init(&out, 0);
	dsl_tree_walk(&norm, add_line, &out);
	buf_add_char(&out, '\0');
	cr_assert_str_eq(out.p,
		"rule r|\tif (data.x < min(1, 2.5)) and (not data.y)|"
		"\t\tcallback k = \"a<b\"|\t\treturn|\telse if true|"
		"\t\treturn|\telse|\t\treturn|otherwise|"
		"\taward 3 as \"Rest\"|");
	buf_reset(&out);
	dsl_svg_init(&graph);
	dsl_tree_walk(&norm, dsl_svg_line, &graph);
	dsl_svg_end(&graph, STR("t"), &out);
	buf_add_char(&out, '\0');
	cr_assert_not_null(strstr(out.p, "callback k = \"a&lt;b\""));
	cr_assert_null(strstr(out.p, "a<b"));
	buf_fini(&out);
}
