/*
 * dsl_help.h - programs from JSON text, for the unit tests of the language.
 * In texts single quotes stand for double ones.
 */
#ifndef UNIT_DSL_HELP_H
#define UNIT_DSL_HELP_H

#include <criterion/criterion.h>

#include "base/arena.h"
#include "dsl/dsl_run.h"
#include "json/json_in.h"

static inline struct jv json_of(struct arena *a, const char *text)
{
	char *copy = arena_strndup(a, text, strlen(text));
	struct json_err err;
	struct jv v;

	for (char *p = copy; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	cr_assert_eq(
		json_parse(a, str_from(copy), &json_limits_default, &v, &err),
		0, "%s in %s", err.text, copy);
	return v;
}

/* A full program around one expression that becomes callback data `v`. */
#define EXPR_PROGRAM(expr)                                          \
	"{'type':'program','id':'p','rules':[],"                    \
	"'default':{'type':'set_callback_data','id':'s','key':'v'," \
	"'value':" expr "}}"

static inline struct dsl_program *program_of(struct arena *a, const char *text)
{
	const struct dsl_limits lim = {.max_nodes = 100000, .max_depth = 256};
	struct jv ast = json_of(a, text), norm;
	struct dsl_error err;

	cr_assert_eq(dsl_check(a, &ast, &lim, &norm, &err), 0, "%s: %s in %s",
		err.kind, err.message, text);
	return dsl_compile(&norm);
}

#endif
