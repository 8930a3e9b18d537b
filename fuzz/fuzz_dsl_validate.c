/*
 * fuzz_dsl_validate.c - any document as a program: a refusal is typed, and
 * what passes passes again unchanged, at the same cost, and compiles.
 */
#include "fuzz.h"

#include "dsl/dsl_run.h"
#include "json/json_in.h"

static void check_refusal(const struct dsl_error *e)
{
	MUST(e->cls == DSL_CLASS_VALIDATION);
	MUST(e->kind != NULL && e->kind[0] != '\0');
	MUST(e->message[0] != '\0');
}

static void check_again(struct arena *a, const struct jv *norm)
{
	struct dsl_limits exact = dsl_limits_default;
	struct dsl_program *prog = dsl_compile(norm);
	struct dsl_error err;
	char first[65], second[65];
	struct jv again;

	exact.max_nodes = dsl_program_nodes(prog);
	MUST(exact.max_nodes <= dsl_limits_default.max_nodes);
	MUST(dsl_check(a, norm, &exact, &again, &err) == 0);
	dsl_hash(norm, first);
	dsl_hash(&again, second);
	MUST(strcmp(first, second) == 0);
	exact.max_nodes--;
	MUST(dsl_check(a, norm, &exact, &again, &err) < 0);
	MUST(strcmp(err.kind, "node_budget") == 0);
	dsl_program_unref(&prog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str text = {(const char *)data, size};
	struct json_err json_err;
	struct dsl_error err;
	struct jv ast, norm;
	struct arena a;

	arena_init(&a, 0);
	if (json_parse(&a, text, &json_limits_default, &ast, &json_err) == 0) {
		if (dsl_check(&a, &ast, &dsl_limits_default, &norm, &err) < 0)
			check_refusal(&err);
		else
			check_again(&a, &norm);
	}
	arena_fini(&a);
	return 0;
}
