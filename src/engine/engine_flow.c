/*
 * engine_flow.c - how the built-ins decide, in the words and indentation of
 * dsl_tree.h; a built-in is C and has no program to walk.
 */
#include "engine/engine.h"

/* The variables' names without their prefix. */
static const char default_flow[] =
	"if task.measurements_count < 2\n"
	"\taward basic_points as \"BasicEngagement\"\n"
	"else if user.measurements_count <= 2\n"
	"\taward 1 as \"default\"\n"
	"else if user.avg_time < all.avg_time\n"
	"\taward basic_points + bonus_points as \"PerformanceBonus\"\n"
	"d = user.new_last_window_diff - user.last_window_diff\n"
	"if d > 0 and d < all.avg_time\n"
	"\taward individual_over_global_points as \"IndividualOverGlobal\"\n"
	"else if d > 0 and d < user.avg_time\n"
	"\taward peak_performer_bonus_points as \"PeakPerformerBonus\"\n"
	"else if d > 0 and d > user.avg_time\n"
	"\taward global_advantage_adjustment_points as "
	"\"GlobalAdvantageAdjustment\"\n"
	"else if d < 0\n"
	"\taward individual_adjustment_points as \"IndividualAdjustment\"\n"
	"otherwise\n"
	"\taward 1 as \"default\"\n";

static const char constant_effort_flow[] =
	"n = the user's awards on the task in the last "
	"constant_effort_interval_minutes\n"
	"if n > 0\n"
	"\taward clamp(int((n + 1) / max_points * 100), 1, max_points) as "
	"\"ConstantEffortReward\"\n"
	"otherwise\n"
	"\taward 1 as \"BasicReward\"\n";

static const char greengage_flow[] =
	"if data.minutes is no whole number from 0 on\n"
	"\trefuse the event\n"
	"r = the user has an award on the task in the last "
	"minutes_to_check minutes\n"
	"if data.minutes == 0 and not r\n"
	"\taward default_points as \"Case 1.1 (DP)\"\n"
	"else if data.minutes == 0\n"
	"\taward default_points / 2 as \"Case 1.2 (DP/2)\"\n"
	"else if the user's awards in the game < 2\n"
	"\taward default_points * 2 as \"Case 2 (DP x 2)\"\n"
	"e = default_points * the step of 1, 15, 30, 60 below data.minutes\n"
	"if data.minutes > the game's mean minutes\n"
	"\taward e + e / 2 as \"Case 3 (BP)\"\n"
	"else if data.minutes > the user's mean minutes\n"
	"\taward e + e / 4 as \"Case 4.1 (PBP)\"\n"
	"otherwise\n"
	"\taward e as \"Case 4.2 (DPTE)\"\n";

static const char greencrowd_flow[] =
	"if data.tasks is missing\n"
	"\tsimulate the user's tasks now\n"
	"else if data.simulationHash is not the hash of data.tasks\n"
	"\trefuse the event\n"
	"else if the simulation was used or has expired\n"
	"\tsimulate the user's tasks now\n"
	"award DIM_BP + DIM_LBE + DIM_TD + DIM_PP + DIM_S of the task\n";

static const char nothing_flow[] = "no decisions: it cannot score events\n";

const char *engine_flow(const struct engine_builtin *b)
{
	static const struct {
		const char *id, *flow;
	} flows[] = {
		{"constantEffortStrategy", constant_effort_flow},
		{"default", default_flow},
		{"greencrowdStrategy", greencrowd_flow},
		{"greengageStrategy", greengage_flow},
		{"socio_bee", default_flow},
	};
	const char *id = engine_info(b)->id;

	for (size_t i = 0; i < NELEM(flows); i++)
		if (str_is(str_from(id), flows[i].id))
			return flows[i].flow;
	return nothing_flow;
}
