/* test_dsl_check.c - the validator's limits and ids, and the AST hash. */
#include "dsl_help.h"

static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 0);
}

static void teardown(void)
{
	arena_fini(&arena);
}

TestSuite(dsl_check, .init = setup, .fini = teardown);

static int check(const char *text, int nodes, int depth, struct jv *norm_r,
	struct dsl_error *err_r)
{
	struct dsl_limits lim = dsl_limits_default;
	struct jv ast = json_of(&arena, text);

	lim.max_nodes = nodes;
	lim.max_depth = depth;
	return dsl_check(&arena, &ast, &lim, norm_r, err_r);
}

/* 1 program + n rules of 4: rule, bare condition (counts 2), return. */
static const char *rules(int n)
{
	struct buf b;
	char *text;

	buf_init(&b, 0);
	buf_printf(&b, "{'type':'program','rules':[");
	for (int i = 0; i < n; i++)
		buf_printf(&b,
			"%s{'type':'rule','when':{'type':'literal',"
			"'value':true},'then':[{'type':'return'}]}",
			i ? "," : "");
	buf_printf(&b, "]}");
	text = arena_strndup(&arena, b.p, b.len);
	buf_fini(&b);
	return text;
}

/* A condition of n times `not` around a literal; its depth is 2 + n. */
static const char *nots(int n)
{
	struct buf b;
	char *text;

	buf_init(&b, 0);
	buf_printf(&b, "{'type':'program','rules':[{'type':'rule','when':");
	for (int i = 0; i < n; i++)
		buf_printf(&b, "{'type':'not','arg':");
	buf_printf(&b, "{'type':'literal','value':true}");
	for (int i = 0; i < n; i++)
		buf_add_char(&b, '}');
	buf_printf(&b, ",'then':[{'type':'return'}]}]}");
	text = arena_strndup(&arena, b.p, b.len);
	buf_fini(&b);
	return text;
}

Test(dsl_check, node_limit_is_exact)
{
	struct dsl_error err;
	struct jv norm;

	/* 1 + 249 * 4 = 997; three more from a default of 2 do not fit 998 */
	cr_assert_eq(check(rules(249), 997, 32, &norm, &err), 0);
	cr_assert_eq(check(rules(249), 996, 32, &norm, &err), -1);
	cr_assert_str_eq(err.kind, "node_budget");
	cr_assert(str_is(err.node_id, "p.program.0.rule.248.return.0"));
	cr_assert_eq(jv_member(&err.info, "limit")->u.i, 996);
	cr_assert_eq(check(rules(250), 1000, 32, &norm, &err), -1);
	cr_assert_eq(check(rules(250), 1001, 32, &norm, &err), 0);
}

Test(dsl_check, depth_limit_is_exact)
{
	struct dsl_error err;
	struct jv norm;

	cr_assert_eq(check(nots(30), 1000, 32, &norm, &err), 0);
	cr_assert_eq(check(nots(31), 1000, 32, &norm, &err), -1);
	cr_assert_str_eq(err.kind, "depth_budget");
	cr_assert_eq(err.cls, DSL_CLASS_VALIDATION);
	cr_assert_null(err.code);
	cr_assert_neq(err.message[0], '\0');
}

Test(dsl_check, compiled_count_is_the_checked_one)
{
	struct dsl_program *p = program_of(&arena, rules(250));

	cr_assert_eq(dsl_program_nodes(p), 1001);
	dsl_program_unref(&p);
	cr_assert_null(p);
}

Test(dsl_check, checking_again_changes_nothing)
{
	struct dsl_error err;
	struct jv once, twice;
	char a[65], b[65];

	cr_assert_eq(check(nots(3), 1000, 32, &once, &err), 0);
	cr_assert_eq(
		dsl_check(&arena, &once, &dsl_limits_default, &twice, &err), 0);
	dsl_hash(&once, a);
	dsl_hash(&twice, b);
	cr_assert_str_eq(a, b);
}

Test(dsl_check, the_given_ast_is_not_written_to)
{
	struct jv ast = json_of(&arena, "{'type':'program','rules':[]}");
	struct jv norm;
	struct dsl_error err;

	cr_assert_eq(
		dsl_check(&arena, &ast, &dsl_limits_default, &norm, &err), 0);
	cr_assert_null(jv_member(&ast, "id"));
	cr_assert(str_is(jv_member(&norm, "id")->u.s, "p.program.0"));
}

Test(dsl_check, a_spent_arena_is_an_error)
{
	struct jv ast = json_of(&arena, rules(100));
	struct arena small;
	struct dsl_error err;
	struct jv norm;

	arena_init(&small, 4096);
	cr_assert_eq(
		dsl_check(&small, &ast, &dsl_limits_default, &norm, &err), -1);
	cr_assert_str_eq(err.code, "DSL_VALUE_TOO_LARGE");
	cr_assert_eq(err.cls, DSL_CLASS_LIMIT);
	arena_fini(&small);
}

Test(dsl_check, hash_ignores_key_order_and_knows_number_kinds)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"{'b':1,'a':[true,null]}", "{ 'a' : [true, null], 'b' : 1 }",
			true},
		{"{'a':1}", "{'a':1.0}", false},
		{"{'a':1e2}", "{'a':100.0}", true},
		{"{'a':0.0}", "{'a':-0.0}", false},
		{"null", "{}", true},
	};
	char x[65], y[65];

	for (size_t i = 0; i < NELEM(rows); i++) {
		struct jv a = json_of(&arena, rows[i].a);
		struct jv b = json_of(&arena, rows[i].b);

		dsl_hash(&a, x);
		dsl_hash(&b, y);
		cr_assert_eq(strcmp(x, y) == 0, rows[i].same, "row %zu", i);
	}
}

Test(dsl_check, canonical_text)
{
	struct jv v = json_of(&arena,
		"{'z':'\\u00e9\\ud83d\\ude00/\\u007f\\n\\\\','a':[1e16,5.0,-0,"
		"1.5e-7]}");
	struct buf b;

	buf_init(&b, 0);
	dsl_canon(&b, &v);
	buf_add_char(&b, '\0');
	cr_assert_str_eq(b.p,
		"{\"a\":[1e+16,5.0,0,1.5e-07],"
		"\"z\":\"\\u00e9\\ud83d\\ude00/\\u007f\\n\\\\\"}");
	buf_fini(&b);
}
