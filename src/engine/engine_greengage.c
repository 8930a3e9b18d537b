/*
 * engine_greengage.c - the built-in `greengageStrategy` (dsl.md 18.3): points
 * for the minutes spent, more when they are above the means.
 */
#include "dsl/dsl_value.h"
#include "engine/engine_impl.h"

#define ID               "greengageStrategy"
#define POINTS           "variable_default_points"
#define TO_CHECK         "variable_minutes_to_check"
#define TO_CHECK_MINUTES 1
#define KNOWN_RECORDS    2 /* in the game; fewer: a new user */

/* Points, and how to finish a line of the table with them. */
struct line {
	struct engine_result *res;
	struct dsl_error *err;
	struct jv points; /* the variable default_points */
};

/* points op by; what leaves the numbers is a fault of the variable. */
static enum dsl_status give(
	struct line *l, enum dsl_arith_op op, int64_t by, const char *case_name)
{
	const struct dsl_text no_text = {NULL, 0};
	const struct jv right = jv_int(by);

	if (dsl_arith(&no_text, op, &l->points, &right, &l->res->points) !=
		DSL_OK)
		return engine_fail_var(
			l->err, ID, POINTS, "makes points that are no number");
	l->res->case_name = str_from(case_name);
	return DSL_STATUS_OK;
}

/* As give, and a fraction of the result on top: E + E / part. */
static enum dsl_status give_more(
	struct line *l, int64_t step, int64_t part, const char *case_name)
{
	const struct dsl_text no_text = {NULL, 0};
	const struct jv divisor = jv_int(part);
	enum dsl_status s = give(l, DSL_MUL, step, case_name);
	struct jv e = l->res->points, extra;

	if (s != DSL_STATUS_OK)
		return s;
	if (dsl_arith(&no_text, DSL_DIV, &e, &divisor, &extra) != DSL_OK ||
		dsl_arith(&no_text, DSL_ADD, &e, &extra, &l->res->points) !=
			DSL_OK)
		return engine_fail_var(
			l->err, ID, POINTS, "makes points that are no number");
	return DSL_STATUS_OK;
}

static enum dsl_status refuse(struct engine_result *res_r, const char *why)
{
	res_r->points = jv_int(-1);
	res_r->case_name = str_from(why);
	return DSL_STATUS_OK;
}

static int64_t floor_step(int64_t minutes)
{
	static const int64_t steps[] = {60, 30, 15};

	for (size_t i = 0; i < NELEM(steps); i++)
		if (minutes >= steps[i])
			return steps[i];
	return 1;
}

static bool above(int64_t minutes, const struct jv *mean)
{
	const struct jv m = jv_int(minutes);
	int order;

	return dsl_order(&m, mean, &order) == DSL_OK && order > 0;
}

/* Lines 3 to 8. */
static enum dsl_status by_minutes(
	struct line *l, const struct engine_analytics *an, int64_t minutes)
{
	uint32_t *reads = &l->res->reads;
	int64_t step = floor_step(minutes);

	/* the task's parameters are asked for and have no influence */
	*reads |= ENGINE_READ(TASK_PARAMS) | ENGINE_READ(HAS_RECENT);
	if (minutes == 0 && an->recent == 0)
		return give(l, DSL_MUL, 1, "Case 1.1 (DP)");
	if (minutes == 0)
		return give(l, DSL_DIV, 2, "Case 1.2 (DP/2)");
	*reads |= ENGINE_READ(GAME_USER_COUNT);
	if (an->game_user_count < KNOWN_RECORDS)
		return give(l, DSL_MUL, 2, "Case 2 (DP x 2)");
	*reads |= ENGINE_READ(GAME_MINUTES);
	if (above(minutes, &an->game_minutes))
		return give_more(l, step, 2, "Case 3 (BP)");
	*reads |= ENGINE_READ(GAME_USER_MINUTES);
	if (above(minutes, &an->game_user_minutes))
		return give_more(l, step, 4, "Case 4.1 (PBP)");
	return give(l, DSL_MUL, step, "Case 4.2 (DPTE)");
}

static enum dsl_status score(const struct engine_event *ev,
	const struct jv *vars, struct engine_result *res_r,
	struct dsl_error *err_r)
{
	const struct jv *m =
		ev->data != NULL ? jv_member(ev->data, "minutes") : NULL;
	struct line l = {.res = res_r, .err = err_r};
	struct jv to_check;
	enum dsl_status s;

	s = engine_var(vars, ID, POINTS, 10, &l.points, err_r);
	if (s != DSL_STATUS_OK)
		return s;
	s = engine_var(vars, ID, TO_CHECK, TO_CHECK_MINUTES, &to_check, err_r);
	if (s != DSL_STATUS_OK)
		return s;
	if (m == NULL || m->type == JV_NULL)
		return refuse(res_r, "minutes is required");
	if (m->type == JV_BOOL)
		return by_minutes(&l, ev->an, m->u.b);
	if (m->type != JV_INT || m->u.i < 0)
		return refuse(
			res_r, "minutes must be a whole number of 0 or more");
	return by_minutes(&l, ev->an, m->u.i);
}

static void needs(const struct jv *vars, struct engine_needs *n)
{
	n->recent = true;
	n->game = true;
	n->window_us = engine_var_minutes_us(vars, TO_CHECK, TO_CHECK_MINUTES);
}

const struct engine_builtin engine_greengage = {
	.info =
		{
			.id = ID,
			.name = "GREENGAGEGamificationStrategy",
			.description =
				"Awards the minutes spent on a task against "
				"the means of the game and the user.",
			.version = "0.0.1",
			.hash_version = "c3a19e5d7f42b86051d9e8f7a4b36c20"
					"94e1d5f8b7a2630cfe48d9175b3a6e02",
			.variables = "{\"variable_default_points\":10,"
				     "\"variable_minutes_to_check\":1,"
				     "\"variable_complexity\":{\"None\":0,"
				     "\"Very_low\":20,"
				     "\"Low\":40,\"Normal\":60,\"High\":80,"
				     "\"Very_high\":100},"
				     "\"variable_dimension_complexity\":{"
				     "\"development\":0,"
				     "\"exploitation\":0,\"management\":0}}",
			.can_score = true,
		},
	.needs = needs,
	.score = score,
};
