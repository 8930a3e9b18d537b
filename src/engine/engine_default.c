/*
 * engine_default.c - the built-in `default` and its twin `socio_bee`
 * (dsl.md 18.1): first line that applies wins.
 */
#include "dsl/dsl_value.h"
#include "engine/engine_impl.h"

struct vars {
	struct jv basic;
	struct jv bonus;
	struct jv individual_over_global;
	struct jv peak_performer;
	struct jv global_advantage;
	struct jv individual_adjustment;
};

static enum dsl_status read_vars(
	const struct jv *o, struct vars *v, struct dsl_error *err_r)
{
	const struct {
		const char *name;
		int64_t def;
		struct jv *to;
	} rows[] = {
		{"variable_basic_points", 1, &v->basic},
		{"variable_bonus_points", 10, &v->bonus},
		{"variable_individual_over_global_points", 3,
			&v->individual_over_global},
		{"variable_peak_performer_bonus_points", 15,
			&v->peak_performer},
		{"variable_global_advantage_adjustment_points", 7,
			&v->global_advantage},
		{"variable_individual_adjustment_points", 8,
			&v->individual_adjustment},
	};

	for (size_t i = 0; i < NELEM(rows); i++) {
		enum dsl_status s = engine_var(o, "default", rows[i].name,
			rows[i].def, rows[i].to, err_r);

		if (s != DSL_STATUS_OK)
			return s;
	}
	return DSL_STATUS_OK;
}

static bool less(const struct jv *a, const struct jv *b)
{
	int o;

	return dsl_order(a, b, &o) == DSL_OK && o < 0;
}

static enum dsl_status give(
	struct engine_result *res_r, struct jv points, const char *case_name)
{
	res_r->points = points;
	res_r->case_name = str_from(case_name);
	return DSL_STATUS_OK;
}

/* Lines 4 to 8: d is the change between the two newest gaps. */
static enum dsl_status by_change(const struct engine_analytics *an,
	const struct vars *v, const struct jv *d, struct engine_result *res_r)
{
	const struct jv zero = jv_int(0);

	res_r->reads |= ENGINE_READ(LAST_DIFF) | ENGINE_READ(NEW_LAST_DIFF);
	if (less(&zero, d)) {
		if (less(d, &an->all_avg))
			return give(res_r, v->individual_over_global,
				"IndividualOverGlobal");
		if (less(d, &an->user_avg))
			return give(
				res_r, v->peak_performer, "PeakPerformerBonus");
		if (less(&an->user_avg, d))
			return give(res_r, v->global_advantage,
				"GlobalAdvantageAdjustment");
	}
	if (less(d, &zero))
		return give(res_r, v->individual_adjustment,
			"IndividualAdjustment");
	return give(res_r, jv_int(1), "default");
}

static enum dsl_status fail_sum(struct dsl_error *err_r)
{
	return engine_fail_var(err_r, "default", "variable_bonus_points",
		"does not add up with the basic points");
}

static enum dsl_status score(const struct engine_event *ev,
	const struct jv *vars, struct engine_result *res_r,
	struct dsl_error *err_r)
{
	const struct engine_analytics *an = ev->an;
	const struct dsl_text no_text = {NULL, 0};
	struct vars v;
	struct jv d, sum;
	enum dsl_status s = read_vars(vars, &v, err_r);

	if (s != DSL_STATUS_OK)
		return s;
	res_r->reads |= ENGINE_READ(TASK_COUNT);
	if (an->task_count < 2)
		return give(res_r, v.basic, "BasicEngagement");
	res_r->reads |= ENGINE_READ(USER_COUNT);
	if (an->user_count <= 2)
		return give(res_r, jv_int(1), "default");
	res_r->reads |= ENGINE_READ(USER_AVG) | ENGINE_READ(ALL_AVG);
	if (less(&an->user_avg, &an->all_avg)) {
		if (dsl_arith(&no_text, DSL_ADD, &v.basic, &v.bonus, &sum) !=
			DSL_OK)
			return fail_sum(err_r);
		return give(res_r, sum, "PerformanceBonus");
	}
	if (dsl_arith(&no_text, DSL_SUB, &an->new_last_diff, &an->last_diff,
		    &d) != DSL_OK)
		d = jv_int(0);
	return by_change(an, &v, &d, res_r);
}

#define VARIABLES                                                    \
	"{\"variable_basic_points\":1,\"variable_bonus_points\":10," \
	"\"variable_individual_over_global_points\":3,"              \
	"\"variable_peak_performer_bonus_points\":15,"               \
	"\"variable_global_advantage_adjustment_points\":7,"         \
	"\"variable_individual_adjustment_points\":8}"
#define NEEDS                                                  \
	(ENGINE_NEED(TASK_COUNT) | ENGINE_NEED(USER_COUNT) |   \
		ENGINE_NEED(USER_AVG) | ENGINE_NEED(ALL_AVG) | \
		ENGINE_NEED(LAST_DIFF) | ENGINE_NEED(NEW_LAST_DIFF))

const struct engine_builtin engine_default = {
	.info =
		{
			.id = "default",
			.name = "EnhancedGamificationStrategy",
			.description =
				"Compares the user's pace on a task with "
				"everybody's and with his own last pace.",
			.version = "0.0.2",
			.hash_version = "4be2a07d19c853f6e0d7b4a6915c38f2"
					"7d60e9b1a4c5f3827be6d0149fa85c73",
			.variables = VARIABLES,
			.can_score = true,
		},
	.fields = NEEDS,
	.score = score,
};

const struct engine_builtin engine_socio_bee = {
	.info =
		{
			.id = "socio_bee",
			.name = "SOCIO_BEE",
			.description =
				"The rules of default under the name of the "
				"SOCIO-BEE project.",
			.version = "0.0.2",
			.hash_version = "92f4c6e8b01d7a35f8e2d9c4b6a7031e"
					"5d8c2f9170a4b3e6c1f5d8027b9e4a68",
			.variables = VARIABLES,
			.can_score = true,
		},
	.fields = NEEDS,
	.score = score,
};
