/* engine_custom.c - see engine_custom.h.  Runs in workers and in gamectl. */
#include "engine/engine_custom.h"

#include <stdio.h>

#include "base/clock.h"

/* Analytics: what engine_fill_fields takes from struct engine_analytics. */
#define ANALYTICS                                    \
	((UINT32_C(1) << DSL_F_USER_COUNT) |         \
		(UINT32_C(1) << DSL_F_USER_RECENT) | \
		(UINT32_C(1) << DSL_F_TASK_COUNT) |  \
		(UINT32_C(1) << DSL_F_USER_AVG) |    \
		(UINT32_C(1) << DSL_F_ALL_AVG) |     \
		(UINT32_C(1) << DSL_F_LAST_DIFF) |   \
		(UINT32_C(1) << DSL_F_NEW_LAST_DIFF))

static void parent_needs(
	const struct engine_strategy *s, struct engine_needs *needs)
{
	const struct engine_builtin *parent =
		s->is_extend ? engine_find(s->parent) : NULL;

	if (parent != NULL)
		engine_needs(parent, dsl_program_parent_vars(s->prog), needs);
}

void engine_custom_needs(
	const struct engine_strategy *s, struct engine_needs *needs_r)
{
	memset(needs_r, 0, sizeof(*needs_r));
	if (s->prog == NULL)
		return;
	/* a program without sections resolves nothing (dsl.md 15) */
	if (!s->is_extend || dsl_program_has_pre(s->prog) ||
		dsl_program_has_post(s->prog))
		needs_r->fields = dsl_program_needs(s->prog) & ANALYTICS;
	parent_needs(s, needs_r);
}

unsigned engine_custom_mock_faults(const struct engine_strategy *s,
	const struct jv *mocks,
	struct engine_mock_fault faults_r[ENGINE_MOCK_FAULTS_MAX])
{
	struct engine_needs needs = {0};

	if (s->prog != NULL)
		parent_needs(s, &needs);
	return engine_mock_faults(&needs, mocks, faults_r);
}

/* ---- one phase ---------------------------------------------------------- */

static enum dsl_status fail_start(struct engine_custom *c, enum dsl_class cls,
	const char *kind, const char *code)
{
	memset(&c->err, 0, sizeof(c->err));
	c->err.cls = cls;
	c->err.kind = kind;
	c->err.code = code;
	return dsl_error_status(&c->err);
}

enum dsl_status engine_custom_timeout(struct engine_custom *c)
{
	fail_start(c, DSL_CLASS_TIMEOUT, "timeout", NULL);
	snprintf(c->err.message, sizeof(c->err.message),
		"The run took longer than %d ms, the reading of its fields "
		"included",
		c->lim->timeout_ms);
	return DSL_STATUS_TIMEOUT;
}

static struct engine_phase *phase_start(
	struct engine_custom *c, enum engine_phase_kind kind)
{
	struct engine_phase *p = &c->phases[c->phases_cnt++];

	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->trace_from = p->trace_to = c->trace != NULL ? c->trace->total : 0;
	return p;
}

static enum dsl_status no_room(struct engine_custom *c)
{
	enum dsl_status s = fail_start(
		c, DSL_CLASS_LIMIT, "value_too_large", "DSL_VALUE_TOO_LARGE");

	dsl_error_param(&c->err, "op", jv_str(STR("fields")));
	dsl_error_param(
		&c->err, "limit", jv_int((int64_t)c->arena->limit_bytes));
	snprintf(c->err.message, sizeof(c->err.message),
		"The program names more fields than a run has room for");
	return s;
}

static void apply_mocks(
	const struct engine_custom *c, struct jv *fields, uint8_t *set)
{
	unsigned cnt;
	const struct dsl_field_ref *f =
		dsl_program_fields(c->strategy.prog, &cnt);

	for (unsigned i = 0; i < cnt; i++) {
		const struct jv *v = jv_get(c->mocks, f[i].path);

		if (v == NULL)
			continue;
		fields[i] = *v;
		set[i] = 1;
	}
}

/* The frozen field table of a phase. */
static int resolve(struct engine_custom *c, const struct jv *data,
	const struct dsl_parent_result *parent, struct engine_phase *p)
{
	const struct engine_event ev = {
		.ids = c->ev->ids, .data = data, .an = c->ev->an};
	struct jv *fields;
	uint8_t *set;
	unsigned cnt;

	dsl_program_fields(c->strategy.prog, &cnt);
	fields = arena_calloc(c->arena, cnt + 1, sizeof(*fields));
	set = arena_calloc(c->arena, cnt + 1, sizeof(*set));
	if (fields == NULL || set == NULL)
		return -1;
	engine_fill_fields(c->strategy.prog, &ev, parent, fields, set);
	if (c->mocks != NULL && c->mocks->type == JV_OBJ)
		apply_mocks(c, fields, set);
	p->fields = fields;
	p->fields_set = set;
	return 0;
}

/*
 * The limits of the next phase: never past the deadline of the run.  -1 when
 * that has gone by.
 */
static int limits(const struct engine_custom *c, struct dsl_limits *lim_r)
{
	uint64_t now;
	int left_ms;

	*lim_r = *c->lim;
	if (c->deadline_ns == 0)
		return 0;
	now = clock_mono_ns();
	if (now >= c->deadline_ns)
		return -1;
	left_ms = (int)((c->deadline_ns - now + 999999) / 1000000);
	if (lim_r->timeout_ms == 0 || left_ms < lim_r->timeout_ms)
		lim_r->timeout_ms = left_ms;
	return 0;
}

static enum dsl_status run_phase(struct engine_custom *c,
	enum engine_phase_kind kind, enum dsl_mode mode, const struct jv *data,
	const struct dsl_parent_result *parent)
{
	struct engine_phase *p = phase_start(c, kind);
	struct dsl_limits lim;
	struct dsl_run run = {
		.prog = c->strategy.prog,
		.mode = mode,
		.lim = &lim,
		.arena = c->arena,
		.initial_data = data,
		.parent = parent,
		.trace = c->trace,
		.arms = c->arms,
	};
	enum dsl_status s;

	p->failed = true;
	if (resolve(c, data, parent, p) < 0)
		return no_room(c);
	if (limits(c, &lim) < 0)
		return engine_custom_timeout(c);
	run.fields = p->fields;
	run.fields_set = p->fields_set;
	s = dsl_run(&run);
	p->nodes = run.nodes;
	p->trace_to = c->trace != NULL ? c->trace->total : 0;
	if (s != DSL_STATUS_OK) {
		c->err = run.err;
		return s;
	}
	p->failed = false;
	p->vetoed = run.vetoed;
	p->points = run.points;
	p->case_name = run.case_name;
	p->callback_data = run.callback_data;
	p->working_data = run.working_data;
	return s;
}

static enum dsl_status run_parent(
	struct engine_custom *c, const struct jv *data)
{
	const struct engine_builtin *b = engine_find(c->strategy.parent);
	const struct engine_event ev = {
		.ids = c->ev->ids, .data = data, .an = c->ev->an};
	struct engine_phase *p = phase_start(c, ENGINE_PHASE_PARENT);
	struct engine_result res = {0};
	enum dsl_status s;

	p->failed = true;
	p->working_data = *data;
	if (b == NULL) {
		s = fail_start(c, DSL_CLASS_EXECUTION, "parent_failed",
			"DSL_PARENT_FAILED");
		dsl_error_param(&c->err, "parent", jv_str(c->strategy.parent));
		snprintf(c->err.message, sizeof(c->err.message),
			"There is no built-in strategy of the parent's name");
		return s;
	}
	s = engine_score(b, &ev, dsl_program_parent_vars(c->strategy.prog),
		&res, &c->err);
	p->reads = res.reads;
	if (s != DSL_STATUS_OK)
		return s;
	p->failed = false;
	p->points = res.points;
	p->case_name = jv_str(res.case_name);
	p->callback_data = jv_null();
	return s;
}

/* ---- all of them ---------------------------------------------------------- */

static void take_result(struct engine_custom *c)
{
	const struct engine_phase *p = &c->phases[c->phases_cnt - 1];

	c->points = p->points;
	c->case_name = p->case_name;
	c->callback_data = p->callback_data;
}

static enum dsl_status run_extend(struct engine_custom *c, struct jv data)
{
	const struct dsl_program *prog = c->strategy.prog;
	const struct engine_phase *p = c->phases;
	struct dsl_parent_result parent;
	enum dsl_status s;

	if (dsl_program_has_pre(prog)) {
		s = run_phase(c, ENGINE_PHASE_PRE, DSL_MODE_PRE, &data, NULL);
		if (s != DSL_STATUS_OK || p->vetoed)
			return s;
		data = p->working_data;
		p++;
	}
	s = run_parent(c, &data);
	if (s != DSL_STATUS_OK || !dsl_program_has_post(prog))
		return s;
	parent.points = p->points;
	parent.case_name = p->case_name;
	parent.callback_data = p->callback_data;
	return run_phase(c, ENGINE_PHASE_POST, DSL_MODE_POST, &data, &parent);
}

enum dsl_status engine_custom_score(struct engine_custom *c)
{
	struct jv data = {.type = JV_OBJ};
	enum dsl_status s;

	if (c->ev->data != NULL && c->ev->data->type == JV_OBJ)
		data = *c->ev->data;
	c->phases_cnt = 0;
	if (c->strategy.is_extend)
		s = run_extend(c, data);
	else
		s = run_phase(c, ENGINE_PHASE_FULL, DSL_MODE_FULL, &data, NULL);
	if (s == DSL_STATUS_OK)
		take_result(c);
	else
		c->points = c->case_name = c->callback_data = jv_null();
	return s;
}
