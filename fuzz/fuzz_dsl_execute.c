/*
 * fuzz_dsl_execute.c - any program over any data, as {"ast", "type",
 * "parent", "data", "ids", "mocks"}: a run gives the same result each time,
 * traced or not, within its limits, and fails only with typed errors.
 */
#include "fuzz.h"

#include "engine/engine_custom.h"
#include "json/json_in.h"
#include "json/json_out.h"

#define RUN_ARENA_BYTES (1u << 20)
#define TRACE_CAP       64

/* No time-out: it would make two runs differ. */
static const struct dsl_limits limits = {
	.max_nodes = 500, .max_depth = 32, .max_string_bytes = 4096};

static struct str text_of(const struct jv *in, const char *key)
{
	const struct jv *v = jv_member(in, key);

	return v != NULL && v->type == JV_STR ? v->u.s : STR("");
}

static void check_failure(const struct dsl_error *e, enum dsl_status s)
{
	MUST(dsl_error_status(e) == s);
	MUST(e->kind != NULL && e->message[0] != '\0');
}

/* The deciding entry is the last: what failed, or what the result was. */
static void check_trace(const struct engine_custom *c, enum dsl_status s)
{
	const struct dsl_trace *t = c->trace;
	const struct engine_phase *last = &c->phases[c->phases_cnt - 1];
	uint32_t cnt = dsl_trace_kept(t);
	const struct dsl_trace_ent *e =
		cnt > 0 ? dsl_trace_at(t, cnt - 1) : NULL;

	MUST(cnt <= TRACE_CAP && cnt <= t->total);
	if (s != DSL_STATUS_OK && last->nodes > 0 &&
		last->kind != ENGINE_PHASE_PARENT)
		MUST(e != NULL && e->branch == DSL_BR_FAILED);
	for (uint32_t i = 0; i + 1 < cnt; i++)
		MUST(dsl_trace_at(t, i)->branch != DSL_BR_FAILED);
}

static void describe(
	struct buf *b, const struct engine_custom *c, enum dsl_status s)
{
	struct json_out o;

	json_out_init(&o, b);
	json_out_arr(&o);
	json_out_int(&o, s);
	json_out_val(&o, &c->points);
	json_out_val(&o, &c->case_name);
	json_out_val(&o, &c->callback_data);
	for (unsigned i = 0; i < c->phases_cnt; i++) {
		MUST(c->phases[i].nodes <= limits.max_nodes + 1);
		json_out_int(&o, c->phases[i].nodes);
	}
	if (s != DSL_STATUS_OK) {
		json_out_cstr(&o, c->err.kind);
		json_out_str(&o, c->err.node_id);
	}
	json_out_arr_end(&o);
}

static void run(const struct dsl_program *prog, const struct jv *in,
	struct arena *scratch, struct dsl_trace *trace, struct buf *out)
{
	struct engine_analytics an;
	const struct engine_event ev = {
		.ids = {STR("g"), STR("t"), STR("u")},
		.data = jv_member(in, "data"),
		.an = &an,
	};
	struct engine_custom c = {
		.strategy = {.prog = prog,
			.is_extend = str_is(text_of(in, "type"), "DSL_EXTEND"),
			.parent = text_of(in, "parent")},
		.ev = &ev,
		.lim = &limits,
		.mocks = jv_member(in, "mocks"),
		.arena = scratch,
		.trace = trace,
	};
	enum dsl_status s;

	engine_analytics_init(&an);
	an.task_count = 3;
	an.user_count = 3;
	arena_reset(scratch);
	s = engine_custom_score(&c);
	MUST(c.phases_cnt > 0);
	if (s != DSL_STATUS_OK)
		check_failure(&c.err, s);
	if (trace != NULL)
		check_trace(&c, s);
	describe(out, &c, s);
}

static void run_thrice(const struct dsl_program *prog, const struct jv *in)
{
	struct dsl_trace_ent ents[TRACE_CAP];
	struct dsl_trace trace = {.ents = ents,
		.head_cap = TRACE_CAP / 2,
		.tail_cap = TRACE_CAP / 2};
	struct arena scratch;
	struct buf out[3];

	arena_init(&scratch, RUN_ARENA_BYTES);
	for (unsigned i = 0; i < NELEM(out); i++) {
		buf_init(&out[i], 0);
		dsl_trace_reset(&trace);
		run(prog, in, &scratch, i < 2 ? &trace : NULL, &out[i]);
	}
	MUST(str_eq(buf_str(&out[0]), buf_str(&out[1])));
	MUST(str_eq(buf_str(&out[0]), buf_str(&out[2])));
	for (unsigned i = 0; i < NELEM(out); i++)
		buf_fini(&out[i]);
	arena_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str text = {(const char *)data, size};
	struct dsl_program *prog;
	struct json_err json_err;
	struct dsl_error err;
	const struct jv *ast;
	struct arena a;
	struct jv in;

	arena_init(&a, 0);
	if (json_parse(&a, text, &json_limits_default, &in, &json_err) == 0 &&
		(ast = jv_member(&in, "ast")) != NULL &&
		dsl_load(&a, ast, &dsl_limits_default, &prog, &err) == 0 &&
		prog != NULL) {
		run_thrice(prog, &in);
		dsl_program_unref(&prog);
	}
	arena_fini(&a);
	return 0;
}
