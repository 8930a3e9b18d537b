/*
 * engine_greencrowd.c - the built-in `greencrowdStrategy` (dsl.md 18.4), as
 * far as a client of the reference ever saw it: it awards nothing.  Only the
 * server that made a simulation can check its hash, and no endpoint makes
 * one, so a well-formed claim is answered with -1.
 */
#include "engine/engine_impl.h"

#define ID "greencrowdStrategy"

static bool has(const struct jv *o, const char *name, enum jv_type type)
{
	const struct jv *v = jv_member(o, name);

	return v != NULL && v->type == type;
}

static bool is_task(const struct jv *t)
{
	return t->type == JV_OBJ && has(t, "externalUserId", JV_STR) &&
	       has(t, "externalTaskId", JV_STR) &&
	       has(t, "dimensions", JV_ARR) &&
	       (has(t, "totalSimulatedPoints", JV_INT) ||
		       has(t, "totalSimulatedPoints", JV_FLOAT)) &&
	       has(t, "expirationDate", JV_STR);
}

static bool is_empty(const struct jv *v)
{
	return v == NULL || v->type == JV_NULL ||
	       ((v->type == JV_ARR || v->type == JV_OBJ) && v->n == 0);
}

static enum dsl_status score(const struct engine_event *ev,
	const struct jv *vars, struct engine_result *res_r,
	struct dsl_error *err_r)
{
	const struct jv *tasks =
		ev->data != NULL ? jv_member(ev->data, "tasks") : NULL;

	(void)vars;
	if (is_empty(tasks))
		return engine_fail(
			err_r, ID, "needs the simulated tasks in data.tasks");
	if (tasks->type != JV_ARR)
		return engine_fail(err_r, ID, "needs data.tasks to be a list");
	for (uint32_t i = 0; i < tasks->n; i++)
		if (!is_task(&tasks->u.arr[i]))
			return engine_fail(err_r, ID,
				"found an entry of data.tasks that is no "
				"simulated task");
	res_r->points = jv_int(-1);
	res_r->case_name = STR("Invalid hash");
	return DSL_STATUS_OK;
}

const struct engine_builtin engine_greencrowd = {
	.info =
		{
			.id = ID,
			.name = ID,
			.description =
				"Awards simulated points in five dimensions.",
			.version = "1.0.0",
			.hash_version = "1d7be4a2c95f08633e1f9ab74c20d8e6"
					"b7f35a914e6c02d88a1f7c3b5e9d4a60",
			.variables = "{\"variable_basic_points\":10,"
				     "\"variable_bonus_points\":1,"
				     "\"variable_lbe_multiplier\":0.5,"
				     "\"variable_simulation_valid_until\":15}",
		},
	.score = score,
};
