/*
 * engine_constant_effort.c - the built-in `constantEffortStrategy`
 * (dsl.md 18.2).
 */
#include "dsl/dsl_value.h"
#include "engine/engine_impl.h"

#define ID               "constantEffortStrategy"
#define INTERVAL         "variable_constant_effort_interval_minutes"
#define INTERVAL_MINUTES 5

/* min(max(int(x), 1), max_points), ties as in dsl.md 2.2. */
static int bounded(double x, const struct jv *max_points, struct jv *res_r)
{
	const struct dsl_text no_text = {NULL, 0};
	const struct jv v = jv_float(x), one = jv_int(1);
	struct jv whole, low;

	if (dsl_int(&v, &whole) != DSL_OK ||
		dsl_arith(&no_text, DSL_MAX, &whole, &one, &low) != DSL_OK ||
		dsl_arith(&no_text, DSL_MIN, &low, max_points, res_r) != DSL_OK)
		return -1;
	return 0;
}

static enum dsl_status score(const struct engine_event *ev,
	const struct jv *vars, struct engine_result *res_r,
	struct dsl_error *err_r)
{
	struct jv max_points, interval;
	double max;
	enum dsl_status s = engine_var(
		vars, ID, "variable_max_points", 100, &max_points, err_r);

	if (s != DSL_STATUS_OK)
		return s;
	s = engine_var(vars, ID, INTERVAL, INTERVAL_MINUTES, &interval, err_r);
	if (s != DSL_STATUS_OK)
		return s;
	res_r->reads = ENGINE_READ(RECENT);
	if (ev->an->recent <= 0) {
		res_r->points = jv_int(1);
		res_r->case_name = STR("BasicReward");
		return DSL_STATUS_OK;
	}
	max = max_points.type == JV_INT ? (double)max_points.u.i
					: max_points.u.d;
	if (max == 0)
		return engine_fail_var(
			err_r, ID, "variable_max_points", "must not be 0");
	if (bounded(((double)ev->an->recent + 1) / max * 100, &max_points,
		    &res_r->points) < 0)
		return engine_fail_var(err_r, ID, "variable_max_points",
			"makes points that are no number");
	res_r->case_name = STR("ConstantEffortReward");
	return DSL_STATUS_OK;
}

static void needs(const struct jv *vars, struct engine_needs *n)
{
	n->recent = true;
	n->window_us = engine_var_minutes_us(vars, INTERVAL, INTERVAL_MINUTES);
}

const struct engine_builtin engine_constant_effort = {
	.info =
		{
			.id = ID,
			.name = "ConstantEffortStrategy",
			.description =
				"Rewards a user by his awards on the task "
				"within the last minutes.",
			.version = "0.0.1",
			.hash_version = "e7c0b5928d3f41a6c9f8e2d7b05a1634"
					"8e3d7f2c06b9a5410d8c6e2f9b7a53d1",
			.variables = "{\"variable_basic_points\":1,"
				     "\"variable_bonus_points\":10,"
				     "\"variable_constant_effort_interval_"
				     "minutes\":5,"
				     "\"variable_max_points\":100}",
			.can_score = true,
		},
	.needs = needs,
	.score = score,
};
