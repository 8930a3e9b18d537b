/* dsl_error.c - names of classes, statuses and codes (dsl.md 12, 16). */
#include "dsl/dsl_error.h"

const char *dsl_class_name(enum dsl_class c)
{
	switch (c) {
	case DSL_CLASS_VALIDATION:
		return "DslValidationError";
	case DSL_CLASS_EXECUTION:
		return "DslExecutionError";
	case DSL_CLASS_LIMIT:
		return "DslLimitExceededError";
	case DSL_CLASS_TIMEOUT:
		return "DslTimeoutError";
	}
	return "DslExecutionError";
}

const char *dsl_status_name(enum dsl_status s)
{
	switch (s) {
	case DSL_STATUS_OK:
		return "ok";
	case DSL_STATUS_ERROR:
		return "error";
	case DSL_STATUS_TIMEOUT:
		return "timeout";
	case DSL_STATUS_LIMIT:
		return "limit";
	}
	return "error";
}

enum dsl_status dsl_error_status(const struct dsl_error *e)
{
	switch (e->cls) {
	case DSL_CLASS_LIMIT:
		return DSL_STATUS_LIMIT;
	case DSL_CLASS_TIMEOUT:
		return DSL_STATUS_TIMEOUT;
	case DSL_CLASS_VALIDATION:
	case DSL_CLASS_EXECUTION:
		break;
	}
	return DSL_STATUS_ERROR;
}

const char *dsl_error_log_code(const struct dsl_error *e)
{
	if (e->code != NULL)
		return e->code;
	switch (e->cls) {
	case DSL_CLASS_TIMEOUT:
		return "DSL_TIMEOUT";
	case DSL_CLASS_LIMIT:
		return "DSL_LIMIT_EXCEEDED";
	case DSL_CLASS_VALIDATION:
	case DSL_CLASS_EXECUTION:
		break;
	}
	return dsl_class_name(e->cls);
}

void dsl_error_param(struct dsl_error *e, const char *name, struct jv val)
{
	if (e->params_cnt == DSL_ERROR_PARAMS_MAX)
		return;
	e->params[e->params_cnt].name = name;
	e->params[e->params_cnt++].val = val;
}

void dsl_error_info(
	struct dsl_error *e, struct arena *a, const char *name, struct jv val)
{
	struct jv_member *m;

	if (e->info.type != JV_OBJ) {
		m = arena_alloc(a, DSL_ERROR_INFO_MAX * sizeof(*m));
		if (m == NULL)
			return;
		e->info = (struct jv){.type = JV_OBJ, .u.obj = m};
	}
	if (e->info.n == DSL_ERROR_INFO_MAX)
		return;
	m = &e->info.u.obj[e->info.n++];
	m->key = str_from(name);
	m->val = val;
}
