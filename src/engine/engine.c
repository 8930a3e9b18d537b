/*
 * engine.c - the registry of built-in strategies and the field values of one
 * event.  Runs in workers and in gamectl; does no I/O.
 */
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>

#include "dsl/dsl_node.h"
#include "engine/engine_impl.h"

/* Listed by the API, and never more (dsl.md 18.5). */
static const struct engine_builtin getis_ord = {
	.info =
		{
			.id = "getis_ord_gi_star",
			.name = "GeoEquityGamificationModel",
			.description =
				"Experimental: spatial equity by a hot-spot "
				"statistic. It is listed but cannot score.",
			.version = "0.0.1",
			.hash_version = "8f0c5f6f2b9b1d3f5c6a0f63f7b0a94d"
					"5a4a6f0e2c7d41b3a90be8d5716c2f31",
			.variables = "{\"variable_basic_points\":10,"
				     "\"variable_bonus_points\":10}",
		},
};

/* In the order of the API's list. */
static const struct engine_builtin *const builtins[] = {
	&engine_constant_effort,
	&engine_default,
	&getis_ord,
	&engine_greencrowd,
	&engine_greengage,
	&engine_socio_bee,
};

const struct engine_builtin *engine_at(unsigned i)
{
	return i < NELEM(builtins) ? builtins[i] : NULL;
}

const struct engine_builtin *engine_find(struct str id)
{
	for (unsigned i = 0; i < NELEM(builtins); i++)
		if (str_is(id, builtins[i]->info.id))
			return builtins[i];
	return NULL;
}

const struct engine_info *engine_info(const struct engine_builtin *b)
{
	return &b->info;
}

const char *const engine_types[] = {"BUILT_IN", "DSL_EXTEND", "DSL_FULL", NULL};

int engine_check_parent(struct str type, struct str parent, struct err *err_r)
{
	bool extend = str_is(type, "DSL_EXTEND");

	if (extend && parent.len > 0 && engine_find(parent) == NULL)
		return err_set(err_r, ERR_NOT_FOUND,
			"parent strategy %.*s does not exist", STR_ARG(parent));
	if (extend && parent.len == 0)
		return err_set(err_r, ERR_INVALID,
			"a DSL_EXTEND strategy needs parentStrategyId");
	if (!extend && parent.len > 0)
		return err_set(err_r, ERR_INVALID,
			"parentStrategyId is for DSL_EXTEND strategies only");
	return 0;
}

void engine_needs(const struct engine_builtin *b, const struct jv *vars,
	struct engine_needs *needs)
{
	needs->fields |= b->fields;
	if (b->needs != NULL)
		b->needs(vars, needs);
}

static enum dsl_status fail_start(struct dsl_error *err_r, const char *parent)
{
	memset(err_r, 0, sizeof(*err_r));
	err_r->cls = DSL_CLASS_EXECUTION;
	err_r->kind = "parent_failed";
	err_r->code = "DSL_PARENT_FAILED";
	dsl_error_param(err_r, "parent", jv_str(str_from(parent)));
	return DSL_STATUS_ERROR;
}

enum dsl_status engine_fail(
	struct dsl_error *err_r, const char *parent, const char *why)
{
	fail_start(err_r, parent);
	snprintf(err_r->message, sizeof(err_r->message), "The strategy %s %s",
		parent, why);
	return DSL_STATUS_ERROR;
}

enum dsl_status engine_fail_var(struct dsl_error *err_r, const char *parent,
	const char *variable, const char *why)
{
	fail_start(err_r, parent);
	dsl_error_param(err_r, "variable", jv_str(str_from(variable)));
	snprintf(err_r->message, sizeof(err_r->message),
		"The variable %s of the strategy %s %s", variable, parent, why);
	return DSL_STATUS_ERROR;
}

enum dsl_status engine_var(const struct jv *vars, const char *parent,
	const char *name, int64_t def, struct jv *v_r, struct dsl_error *err_r)
{
	const struct jv *given = vars != NULL ? jv_member(vars, name) : NULL;

	*v_r = given != NULL ? *given : jv_int(def);
	if (v_r->type == JV_BOOL)
		*v_r = jv_int(v_r->u.b);
	if (v_r->type == JV_INT || v_r->type == JV_FLOAT)
		return DSL_STATUS_OK;
	return engine_fail_var(err_r, parent, name, "must be a number");
}

int64_t engine_var_minutes_us(
	const struct jv *vars, const char *name, int64_t def)
{
	static const double max_us = 300 * 365.25 * 86400e6;
	struct dsl_error ignored;
	struct jv v;
	double us;

	if (engine_var(vars, "", name, def, &v, &ignored) != DSL_STATUS_OK)
		return 0;
	us = (v.type == JV_INT ? (double)v.u.i : v.u.d) * 60e6;
	if (!(us > 0))
		return 0;
	return us < max_us ? (int64_t)us : (int64_t)max_us;
}

enum dsl_status engine_score(const struct engine_builtin *b,
	const struct engine_event *ev, const struct jv *vars,
	struct engine_result *res_r, struct dsl_error *err_r)
{
	*res_r = (struct engine_result){.points = jv_int(0)};
	if (b->score != NULL)
		return b->score(ev, vars, res_r, err_r);
	return engine_fail(err_r, b->info.id, "cannot score events");
}

static enum engine_verdict unstorable(
	struct dsl_error *err_r, const char *code, const char *message)
{
	*err_r = (struct dsl_error){.cls = DSL_CLASS_EXECUTION,
		.kind = "not_storable",
		.code = code};
	snprintf(err_r->message, sizeof(err_r->message), "%s", message);
	return ENGINE_UNSTORABLE;
}

/* Whole and within 32 bits. */
static bool storable(const struct jv *v, int32_t *points_r)
{
	double d = v->type == JV_INT ? (double)v->u.i : v->u.d;

	if (d != floor(d) || d < INT32_MIN || d > INT32_MAX)
		return false;
	*points_r = (int32_t)d;
	return true;
}

enum engine_verdict engine_judge(const struct jv *points, struct str case_name,
	int32_t *points_r, struct dsl_error *err_r)
{
	bool is_storable;

	if (points->type != JV_INT && points->type != JV_FLOAT)
		return ENGINE_NO_NUMBER;
	is_storable = storable(points, points_r);
	if (is_storable && *points_r == -1)
		return ENGINE_REFUSED;
	if (case_name.len == 0)
		return unstorable(err_r, "DSL_NO_CASE",
			"No rule matched and the strategy names no case");
	if (is_storable)
		return ENGINE_AWARD;
	(void)unstorable(err_r, "DSL_POINTS_NOT_STORABLE",
		"Points must be a whole number of 32 bits");
	dsl_error_param(err_r, "points", *points);
	return ENGINE_UNSTORABLE;
}

/* ---- fields ----------------------------------------------------------- */

void engine_analytics_init(struct engine_analytics *an)
{
	*an = (struct engine_analytics){
		.game_minutes = jv_int(-1),
		.game_user_minutes = jv_int(-1),
		.user_avg = jv_int(-1),
		.all_avg = jv_int(-1),
		.last_diff = jv_int(0),
		.new_last_diff = jv_int(0),
	};
}

/* Where a mock goes. */
#define AT(member) offsetof(struct engine_analytics, member)
static const struct mock {
	enum dsl_field field; /* DSL_F_CNT: read by built-ins alone */
	const char *path;     /* of those */
	bool is_mean;         /* else a count */
	size_t at;
} mock_rows[] = {
	{DSL_F_TASK_COUNT, NULL, false, AT(task_count)},
	{DSL_F_USER_COUNT, NULL, false, AT(user_count)},
	{DSL_F_USER_RECENT, NULL, false, AT(user_recent)},
	{DSL_F_USER_RECENT, NULL, false, AT(recent)},
	{DSL_F_USER_AVG, NULL, true, AT(user_avg)},
	{DSL_F_ALL_AVG, NULL, true, AT(all_avg)},
	{DSL_F_LAST_DIFF, NULL, true, AT(last_diff)},
	{DSL_F_NEW_LAST_DIFF, NULL, true, AT(new_last_diff)},
	{DSL_F_CNT, ENGINE_GAME_USER_COUNT, false, AT(game_user_count)},
	{DSL_F_CNT, ENGINE_GAME_MINUTES, true, AT(game_minutes)},
	{DSL_F_CNT, ENGINE_GAME_USER_MINUTES, true, AT(game_user_minutes)},
};
_Static_assert(NELEM(mock_rows) <= ENGINE_MOCK_FAULTS_MAX, "one fault a row");

static const char *path_of(const struct mock *m)
{
	return m->field == DSL_F_CNT ? m->path : dsl_field_name(m->field);
}

/* A whole number from 0 on, of any numeric kind of the language. */
static bool as_count(const struct jv *v, int64_t *n_r)
{
	if (v->type == JV_BOOL)
		*n_r = v->u.b;
	else if (v->type == JV_INT)
		*n_r = v->u.i;
	else if (v->type == JV_FLOAT && v->u.d == floor(v->u.d) &&
		 fabs(v->u.d) < 0x1p63)
		*n_r = (int64_t)v->u.d;
	else
		return false;
	return *n_r >= 0;
}

static bool as_mean(const struct jv *v, struct jv *mean_r)
{
	*mean_r = v->type == JV_BOOL ? jv_int(v->u.b) : *v;
	return mean_r->type == JV_INT || mean_r->type == JV_FLOAT;
}

/* False when the database could not have given v; to NULL: only asks. */
static bool take_mock(
	const struct mock *m, const struct jv *v, struct engine_analytics *to)
{
	struct jv mean;
	int64_t n;

	if (m->is_mean ? !as_mean(v, &mean) : !as_count(v, &n))
		return false;
	if (to != NULL && m->is_mean)
		memcpy((char *)to + m->at, &mean, sizeof(mean));
	else if (to != NULL)
		memcpy((char *)to + m->at, &n, sizeof(n));
	return true;
}

void engine_analytics_mock(struct engine_analytics *an, const struct jv *mocks)
{
	for (unsigned i = 0; mocks != NULL && i < NELEM(mock_rows); i++) {
		const struct jv *v = jv_member(mocks, path_of(&mock_rows[i]));

		if (v != NULL)
			(void)take_mock(&mock_rows[i], v, an);
	}
}

static bool is_needed(const struct engine_needs *n, const struct mock *m)
{
	bool field;

	if (m->field == DSL_F_CNT)
		return n->game;
	field = n->fields & UINT32_C(1) << m->field;
	/* a path with two rows: once is enough */
	return m->at == AT(recent) ? n->recent && !field : field;
}

unsigned engine_mock_faults(const struct engine_needs *n,
	const struct jv *mocks,
	struct engine_mock_fault faults_r[ENGINE_MOCK_FAULTS_MAX])
{
	unsigned cnt = 0;

	for (unsigned i = 0; mocks != NULL && i < NELEM(mock_rows); i++) {
		const struct mock *m = &mock_rows[i];
		const struct jv *v = jv_member(mocks, path_of(m));

		if (v != NULL && is_needed(n, m) && !take_mock(m, v, NULL))
			faults_r[cnt++] = (struct engine_mock_fault){
				path_of(m), v, m->is_mean};
	}
	return cnt;
}

bool engine_is_mock(struct str path)
{
	enum dsl_field f;
	struct str key;

	return dsl_field_parse(path, &f, &key) == 0 ||
	       str_is(path, ENGINE_GAME_USER_COUNT) ||
	       str_is(path, ENGINE_GAME_MINUTES) ||
	       str_is(path, ENGINE_GAME_USER_MINUTES);
}

bool engine_read_value(enum engine_read r, const struct engine_analytics *an,
	struct str *path_r, struct jv *value_r)
{
	static const struct {
		enum engine_read read;
		enum dsl_field field;
	} fields[] = {
		{ENGINE_R_TASK_COUNT, DSL_F_TASK_COUNT},
		{ENGINE_R_USER_COUNT, DSL_F_USER_COUNT},
		{ENGINE_R_USER_AVG, DSL_F_USER_AVG},
		{ENGINE_R_ALL_AVG, DSL_F_ALL_AVG},
		{ENGINE_R_LAST_DIFF, DSL_F_LAST_DIFF},
		{ENGINE_R_NEW_LAST_DIFF, DSL_F_NEW_LAST_DIFF},
	};
	static const struct engine_ids nobody;
	const char *path;

	for (unsigned i = 0; i < NELEM(fields); i++)
		if (fields[i].read == r) {
			*path_r = str_from(dsl_field_name(fields[i].field));
			*value_r = engine_field_value(fields[i].field, an,
				&nobody, NULL, (struct str){NULL, 0});
			return true;
		}
	if (r == ENGINE_R_RECENT || r == ENGINE_R_HAS_RECENT) {
		path = dsl_field_name(DSL_F_USER_RECENT);
		*value_r = jv_int(an->recent);
	} else if (r == ENGINE_R_GAME_USER_COUNT) {
		path = ENGINE_GAME_USER_COUNT;
		*value_r = jv_int(an->game_user_count);
	} else if (r == ENGINE_R_GAME_MINUTES) {
		path = ENGINE_GAME_MINUTES;
		*value_r = an->game_minutes;
	} else if (r == ENGINE_R_GAME_USER_MINUTES) {
		path = ENGINE_GAME_USER_MINUTES;
		*value_r = an->game_user_minutes;
	} else {
		return false;
	}
	*path_r = str_from(path);
	return true;
}

static struct jv data_value(const struct jv *data, struct str key)
{
	if (data == NULL || data->type != JV_OBJ)
		return jv_null();
	for (uint32_t i = 0; i < data->n; i++)
		if (str_eq(data->u.obj[i].key, key))
			return data->u.obj[i].val;
	return jv_null();
}

struct jv engine_field_value(enum dsl_field f,
	const struct engine_analytics *an, const struct engine_ids *ids,
	const struct jv *data, struct str key)
{
	switch (f) {
	case DSL_F_GAME:
		return jv_str(ids->game);
	case DSL_F_TASK:
		return jv_str(ids->task);
	case DSL_F_USER:
		return jv_str(ids->user);
	case DSL_F_USER_COUNT:
		return jv_int(an->user_count);
	case DSL_F_USER_RECENT:
		return jv_int(an->user_recent);
	case DSL_F_TASK_COUNT:
		return jv_int(an->task_count);
	case DSL_F_USER_AVG:
		return an->user_avg;
	case DSL_F_ALL_AVG:
		return an->all_avg;
	case DSL_F_LAST_DIFF:
		return an->last_diff;
	case DSL_F_NEW_LAST_DIFF:
		return an->new_last_diff;
	case DSL_F_DATA:
		return data_value(data, key);
	case DSL_F_PARENT_POINTS:
	case DSL_F_PARENT_CASE:
	case DSL_F_CNT:
		break;
	}
	return jv_null();
}

void engine_fill_fields(const struct dsl_program *prog,
	const struct engine_event *ev, const struct dsl_parent_result *parent,
	struct jv *out, uint8_t *set)
{
	unsigned cnt;
	const struct dsl_field_ref *f = dsl_program_fields(prog, &cnt);

	for (unsigned i = 0; i < cnt; i++) {
		bool of_parent = f[i].field == DSL_F_PARENT_POINTS ||
				 f[i].field == DSL_F_PARENT_CASE;

		if (!of_parent)
			out[i] = engine_field_value(f[i].field, ev->an,
				&ev->ids, ev->data, f[i].key);
		else if (parent == NULL)
			out[i] = jv_null();
		else
			out[i] = f[i].field == DSL_F_PARENT_POINTS
					 ? parent->points
					 : parent->case_name;
		if (set != NULL)
			set[i] = !of_parent || parent != NULL;
	}
}
