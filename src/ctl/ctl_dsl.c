/*
 * ctl_dsl.c - `gamectl dsl validate|execute|score`: the strategy language
 * without a server.  Reads one {"id","in"} object a line from standard input and prints
 * one {"id","out"} line for each; members as in the shared test vectors.
 */
#include "ctl/ctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "dsl/dsl_run.h"
#include "engine/engine_custom.h"
#include "json/json_in.h"
#include "json/json_out.h"

/* Of a line; a program given as text gets the limits of the server. */
static const struct json_limits line_limits = {192, 1000000, 1 << 20};
#define RUN_ARENA_BYTES (1u << 20)
/* What was stored was checked once; only the run is limited here. */
static const struct dsl_limits stored_limits = {
	.max_nodes = INT_MAX, .max_depth = INT16_MAX};

typedef void (*line_cb)(
	struct arena *a, const struct jv *in, struct json_out *o);

/* ---- writing ---------------------------------------------------------- */

static void put_refused(struct json_out *o, const struct json_err *err)
{
	json_out_obj(o);
	json_out_kv_bool(o, "refused", true);
	json_out_kv_cstr(o, "error", err->text);
	json_out_kv_int(o, "offset", (int64_t)err->offset);
	json_out_obj_end(o);
}

static void put_code(struct json_out *o, const char *key, const char *text)
{
	json_out_key(o, key);
	if (text == NULL)
		json_out_null(o);
	else
		json_out_cstr(o, text);
}

/* The members that a validation and a run-time error share. */
static void put_error(struct json_out *o, const struct dsl_error *e)
{
	put_code(o, "code", e->code);
	json_out_kv_cstr(o, "detail", e->kind);
	json_out_kv_str(o, "node_id", e->node_id);
	json_out_key(o, "params");
	json_out_obj(o);
	for (unsigned i = 0; i < e->params_cnt; i++) {
		json_out_key(o, e->params[i].name);
		json_out_val(o, &e->params[i].val);
	}
	json_out_obj_end(o);
	if (e->info.type == JV_OBJ) {
		json_out_key(o, "info");
		json_out_val(o, &e->info);
	}
	json_out_kv_cstr(o, "message", e->message);
}

static void put_run_error(
	struct json_out *o, const struct dsl_error *e, enum dsl_status s)
{
	json_out_key(o, "error");
	json_out_obj(o);
	json_out_kv_cstr(o, "class", dsl_class_name(e->cls));
	json_out_kv_cstr(o, "status", dsl_status_name(s));
	json_out_kv_cstr(o, "log_code", dsl_error_log_code(e));
	put_error(o, e);
	json_out_obj_end(o);
}

/* Entries from `from` up to `to`, of a trace that keeps all. */
static void put_trace(struct json_out *o, const struct dsl_trace *t,
	uint32_t from, uint32_t to)
{
	char tmp[32];

	json_out_key(o, "trace");
	json_out_arr(o);
	for (uint32_t i = from; i < to; i++) {
		const struct dsl_trace_ent *e = dsl_trace_at(t, i);
		const char *branch = dsl_branch_text(e, tmp);

		json_out_obj(o);
		json_out_kv_str(o, "nodeId", dsl_ent_node_id(t, e));
		json_out_kv_cstr(o, "type", dsl_ent_type(t, e));
		json_out_key(o, "value");
		json_out_val(o, &e->value);
		if (branch != NULL)
			json_out_kv_cstr(o, "branch", branch);
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

static void put_result(
	struct json_out *o, const struct dsl_run *r, enum dsl_status s)
{
	json_out_obj(o);
	if (s == DSL_STATUS_OK) {
		json_out_key(o, "points");
		json_out_val(o, &r->points);
		json_out_key(o, "case_name");
		json_out_val(o, &r->case_name);
		json_out_key(o, "callback_data");
		json_out_val(o, &r->callback_data);
		json_out_key(o, "working_data");
		json_out_val(o, &r->working_data);
		json_out_kv_bool(o, "vetoed", r->vetoed);
	} else {
		put_run_error(o, &r->err, s);
	}
	put_trace(o, r->trace, 0, r->trace->total);
	json_out_kv_int(o, "nodes", r->nodes);
	json_out_obj_end(o);
}

/* ---- reading ---------------------------------------------------------- */

static int limit_of(const struct jv *in, const char *key, int def)
{
	const struct jv *v = jv_member(in, key);

	if (v == NULL || v->type != JV_INT || v->u.i < 0 || v->u.i > INT_MAX)
		return def;
	return (int)v->u.i;
}

static struct dsl_limits limits_of(const struct jv *in)
{
	struct dsl_limits lim = dsl_limits_default;

	lim.max_nodes = limit_of(in, "max_nodes", lim.max_nodes);
	lim.max_depth = limit_of(in, "max_depth", lim.max_depth);
	return lim;
}

/* The program of a line; answers itself when the text is refused. */
static int ast_of(struct arena *a, const struct jv *in, struct json_out *o,
	struct jv *ast_r)
{
	const struct jv *v = jv_member(in, "ast");
	const struct jv *text = jv_member(in, "ast_text");
	struct json_err err = {.text = "in needs the key ast or ast_text"};

	if (v != NULL) {
		*ast_r = *v;
		return 0;
	}
	if (text != NULL && text->type == JV_STR &&
		json_parse(a, text->u.s, &json_limits_default, ast_r, &err) ==
			0)
		return 0;
	put_refused(o, &err);
	return -1;
}

static void validate(struct arena *a, const struct jv *in, struct json_out *o)
{
	const struct dsl_limits lim = limits_of(in);
	struct buf before, after;
	struct dsl_error err;
	struct jv ast, norm;
	char hex[65];

	if (ast_of(a, in, o, &ast) < 0)
		return;
	json_out_obj(o);
	if (dsl_check(a, &ast, &lim, &norm, &err) < 0) {
		json_out_kv_bool(o, "ok", false);
		put_error(o, &err);
		json_out_obj_end(o);
		return;
	}
	buf_init(&before, 0);
	buf_init(&after, 0);
	dsl_canon(&before, &ast);
	dsl_canon(&after, &norm);
	dsl_hash(&norm, hex);
	json_out_kv_bool(o, "ok", true);
	json_out_kv_cstr(o, "ast_sha256", hex);
	if (str_eq(buf_str(&before), buf_str(&after))) {
		json_out_kv_bool(o, "unchanged", true);
	} else {
		json_out_key(o, "normalised_ast");
		json_out_val(o, &norm);
	}
	json_out_obj_end(o);
	buf_fini(&before);
	buf_fini(&after);
}

static enum dsl_mode mode_of(const struct jv *in)
{
	const struct jv *v = jv_member(in, "mode");

	if (v != NULL && v->type == JV_STR && str_is(v->u.s, "pre"))
		return DSL_MODE_PRE;
	if (v != NULL && v->type == JV_STR && str_is(v->u.s, "post"))
		return DSL_MODE_POST;
	return DSL_MODE_FULL;
}

static struct jv member_or_null(const struct jv *o, const char *key)
{
	const struct jv *v = jv_member(o, key);

	return v != NULL ? *v : jv_null();
}

static void *must_alloc(struct arena *a, size_t n, size_t size)
{
	void *p = arena_calloc(a, n, size);

	if (p == NULL)
		abort(); /* the arena of a line has no limit */
	return p;
}

/* The field table of a line, by slot of the program. */
static void bind_fields(
	struct arena *a, const struct jv *table, struct dsl_run *r)
{
	unsigned cnt;
	const struct dsl_field_ref *f = dsl_program_fields(r->prog, &cnt);
	struct jv *values = must_alloc(a, cnt + 1, sizeof(*values));
	uint8_t *set = must_alloc(a, cnt + 1, sizeof(*set));

	for (unsigned i = 0; i < cnt; i++) {
		const struct jv *v =
			table != NULL ? jv_get(table, f[i].path) : NULL;

		set[i] = v != NULL;
		if (v != NULL)
			values[i] = *v;
	}
	r->fields = values;
	r->fields_set = set;
}

static void run_program(struct arena *a, const struct jv *in,
	const struct dsl_program *prog, struct json_out *o)
{
	const struct dsl_limits lim = limits_of(in);
	const struct jv *parent = jv_member(in, "parent_result");
	uint32_t cap = (uint32_t)dsl_program_nodes(prog) + 1;
	struct dsl_trace trace = {
		.ents = must_alloc(a, cap, sizeof(*trace.ents)),
		.head_cap = cap,
	};
	struct dsl_parent_result result;
	struct arena scratch;
	struct dsl_run r = {
		.prog = prog,
		.mode = mode_of(in),
		.lim = &lim,
		.arena = &scratch,
		.initial_data = jv_member(in, "initial_data"),
		.trace = &trace,
	};

	if (parent != NULL && parent->type == JV_OBJ) {
		result.points = member_or_null(parent, "points");
		result.case_name = member_or_null(parent, "case_name");
		result.callback_data = member_or_null(parent, "callback_data");
		r.parent = &result;
	}
	bind_fields(a, jv_member(in, "fields"), &r);
	arena_init(&scratch, RUN_ARENA_BYTES);
	put_result(o, &r, dsl_run(&r));
	arena_fini(&scratch);
}

static void execute(struct arena *a, const struct jv *in, struct json_out *o)
{
	struct dsl_program *prog;
	struct dsl_error err;
	struct jv ast, norm;

	if (ast_of(a, in, o, &ast) < 0)
		return;
	if (dsl_check(a, &ast, &stored_limits, &norm, &err) < 0) {
		json_out_obj(o);
		put_run_error(o, &err, dsl_error_status(&err));
		json_out_kv_int(o, "nodes", 0);
		json_out_obj_end(o);
		return;
	}
	prog = dsl_compile(&norm);
	run_program(a, in, prog, o);
	dsl_program_unref(&prog);
}

/* ---- score ------------------------------------------------------------ */

static const char *const phase_names[] = {
	[ENGINE_PHASE_FULL] = "full",
	[ENGINE_PHASE_PRE] = "pre",
	[ENGINE_PHASE_PARENT] = "parent",
	[ENGINE_PHASE_POST] = "post",
};

/* The names of reads in the vectors; the window stands behind some. */
static const char *const read_names[] = {
	[ENGINE_R_TASK_COUNT] = "task.measurements_count",
	[ENGINE_R_USER_COUNT] = "user.measurements_count",
	[ENGINE_R_USER_AVG] = "user.avg_time",
	[ENGINE_R_ALL_AVG] = "all.avg_time",
	[ENGINE_R_LAST_DIFF] = "user.last_window_diff",
	[ENGINE_R_NEW_LAST_DIFF] = "user.new_last_window_diff",
	[ENGINE_R_RECENT] = "user.recent_measurements_count@",
	[ENGINE_R_TASK_PARAMS] = "task.params",
	[ENGINE_R_HAS_RECENT] = "user.has_recent_record@",
	[ENGINE_R_GAME_USER_COUNT] = "game.user_records",
	[ENGINE_R_GAME_MINUTES] = "game.avg_minutes",
	[ENGINE_R_GAME_USER_MINUTES] = "game.user_avg_minutes",
};

/* A line of the file being scored. */
struct score {
	struct arena *a;
	const struct jv *in;
	struct engine_analytics an;
	struct engine_event ev;
	struct engine_needs needs;
	char window[32]; /* seconds, as recent_by_seconds spells them */
	struct dsl_trace trace;
	struct engine_custom c;
	enum dsl_status status;
};

static struct str text_of(const struct jv *o, const char *key)
{
	const struct jv *v = jv_member(o, key);

	return v != NULL && v->type == JV_STR ? v->u.s : (struct str){NULL, 0};
}

static int64_t count_of(const struct jv *o, struct str key)
{
	const struct jv *v = o != NULL ? jv_get(o, key) : NULL;

	if (v != NULL && v->type == JV_BOOL)
		return v->u.b;
	return v != NULL && v->type == JV_INT ? v->u.i : 0;
}

/* Seconds of an interval in whole minutes are an int, else a float. */
static void print_window(struct score *s)
{
	double seconds = (double)s->needs.window_us / 1e6;

	if (s->needs.window_us % 60000000 == 0)
		snprintf(s->window, sizeof(s->window), "%.0f", seconds);
	else
		snprintf(s->window, sizeof(s->window), "%.*f",
			s->needs.window_us % 1000000 == 0 ? 1 : 6, seconds);
}

static void set_jv(const struct jv *o, const char *key, struct jv *to)
{
	const struct jv *v = jv_member(o, key);

	if (v != NULL)
		*to = *v;
}

static void read_analytics(struct score *s)
{
	const struct jv an = member_or_null(s->in, "analytics");
	const struct jv *recent = jv_member(&an, "recent_by_seconds");
	struct engine_analytics *to = &s->an;

	engine_analytics_init(to);
	to->task_count = count_of(&an, STR("task.measurements_count"));
	to->user_count = count_of(&an, STR("user.measurements_count"));
	to->user_recent = count_of(recent, STR("300"));
	to->recent = s->needs.game
			     ? count_of(&an, STR("user.has_recent_record"))
			     : count_of(recent, str_from(s->window));
	to->game_user_count = count_of(&an, STR("game.user_records"));
	set_jv(&an, "user.avg_time", &to->user_avg);
	set_jv(&an, "all.avg_time", &to->all_avg);
	set_jv(&an, "user.last_window_diff", &to->last_diff);
	set_jv(&an, "user.new_last_window_diff", &to->new_last_diff);
	set_jv(&an, "game.avg_minutes", &to->game_minutes);
	set_jv(&an, "game.user_avg_minutes", &to->game_user_minutes);
}

static void put_member(struct json_out *o, const char *key, const struct jv *v)
{
	json_out_key(o, key);
	json_out_val(o, v);
}

static void put_phase_fields(struct json_out *o, const struct score *s,
	const struct engine_phase *p, const struct engine_phase *parent)
{
	unsigned cnt;
	const struct dsl_field_ref *f =
		dsl_program_fields(s->c.strategy.prog, &cnt);

	json_out_key(o, "fields");
	json_out_obj(o);
	for (unsigned i = 0; i < cnt; i++) {
		if (f[i].field == DSL_F_PARENT_POINTS ||
			f[i].field == DSL_F_PARENT_CASE || !p->fields_set[i])
			continue;
		json_out_key_str(o, f[i].path);
		json_out_val(o, &p->fields[i]);
	}
	if (parent != NULL) {
		put_member(o, "parent.points", &parent->points);
		put_member(o, "parent.case_name", &parent->case_name);
	}
	json_out_obj_end(o);
}

static void put_phase_result(
	struct json_out *o, const struct score *s, const struct engine_phase *p)
{
	put_member(o, "points", &p->points);
	put_member(o, "case_name", &p->case_name);
	if (p->kind == ENGINE_PHASE_PARENT)
		return;
	put_member(o, "callback_data", &p->callback_data);
	put_member(o, "working_data", &p->working_data);
	json_out_kv_bool(o, "vetoed", p->vetoed);
	put_trace(o, &s->trace, p->trace_from, p->trace_to);
}

static void put_phases(struct json_out *o, const struct score *s)
{
	const struct engine_phase *parent = NULL;

	json_out_key(o, "phases");
	json_out_arr(o);
	for (unsigned i = 0; i < s->c.phases_cnt; i++) {
		const struct engine_phase *p = &s->c.phases[i];

		json_out_obj(o);
		json_out_kv_cstr(o, "phase", phase_names[p->kind]);
		if (p->kind == ENGINE_PHASE_PARENT) {
			put_member(o, "data", &p->working_data);
			parent = p;
		} else {
			if (p->fields != NULL)
				put_phase_fields(o, s, p, parent);
			json_out_kv_int(o, "nodes", p->nodes);
		}
		if (p->failed)
			json_out_kv_bool(o, "failed", true);
		else
			put_phase_result(o, s, p);
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

/* Sorted by name, as the vectors have them. */
static void put_context(struct json_out *o, const struct score *s)
{
	static const enum dsl_field by_name[] = {DSL_F_ALL_AVG,
		DSL_F_TASK_COUNT, DSL_F_USER_AVG, DSL_F_LAST_DIFF,
		DSL_F_USER_COUNT, DSL_F_NEW_LAST_DIFF, DSL_F_USER_RECENT};
	struct engine_strategy strategy = s->c.strategy;
	struct engine_needs needs;
	bool resolved = false;

	strategy.parent = (struct str){NULL, 0};
	engine_custom_needs(&strategy, &needs);
	for (unsigned i = 0; i < s->c.phases_cnt; i++)
		resolved |= s->c.phases[i].fields != NULL;
	json_out_key(o, "context");
	json_out_arr(o);
	for (unsigned i = 0; resolved && i < NELEM(by_name); i++) {
		if (!(needs.fields & UINT32_C(1) << by_name[i]))
			continue;
		json_out_cstr(o, by_name[i] == DSL_F_USER_RECENT
					 ? "user.recent_measurements_count@300"
					 : dsl_field_name(by_name[i]));
	}
	json_out_arr_end(o);
}

static void put_reads(struct json_out *o, const struct score *s)
{
	char text[96];
	uint32_t reads = 0;

	json_out_key(o, "reads");
	json_out_obj(o);
	put_context(o, s);
	for (unsigned i = 0; i < s->c.phases_cnt; i++)
		reads |= s->c.phases[i].reads;
	json_out_key(o, "parent");
	json_out_arr(o);
	for (unsigned i = 0; i < NELEM(read_names); i++) {
		const char *tail = "";

		if (!(reads & UINT32_C(1) << i))
			continue;
		if (i == ENGINE_R_RECENT)
			tail = s->window;
		else if (i == ENGINE_R_HAS_RECENT)
			tail = "1min";
		snprintf(text, sizeof(text), "%s%s", read_names[i], tail);
		json_out_cstr(o, text);
	}
	json_out_arr_end(o);
	json_out_obj_end(o);
}

/* The observer's record; a failed run has what was traced. */
static void put_log(struct json_out *o, const struct score *s)
{
	const struct jv *points = &s->c.points;
	bool ran = false;

	for (unsigned i = 0; i < s->c.phases_cnt; i++)
		ran |= s->c.phases[i].kind != ENGINE_PHASE_PARENT;
	json_out_key(o, "log");
	json_out_obj(o);
	json_out_kv_cstr(o, "status", dsl_status_name(s->status));
	put_code(o, "errorCode",
		s->status == DSL_STATUS_OK ? NULL
					   : dsl_error_log_code(&s->c.err));
	json_out_key(o, "points");
	if (points->type == JV_INT)
		json_out_float(o, (double)points->u.i);
	else if (points->type == JV_FLOAT)
		json_out_float(o, points->u.d);
	else
		json_out_null(o);
	put_member(o, "caseName", &s->c.case_name);
	json_out_kv_int(o, "nodesExecuted", s->trace.total);
	json_out_key(o, "trace_len");
	if (ran)
		json_out_int(o, s->trace.total);
	else
		json_out_null(o);
	json_out_obj_end(o);
}

static void put_final(struct json_out *o, const struct score *s)
{
	const struct jv *callback = &s->c.callback_data;

	if (s->status != DSL_STATUS_OK) {
		put_run_error(o, &s->c.err, s->status);
		return;
	}
	put_member(o, "points", &s->c.points);
	put_member(o, "case_name", &s->c.case_name);
	json_out_key(o, "callback_data");
	if (callback->type == JV_OBJ && callback->n > 0)
		json_out_val(o, callback);
	else
		json_out_null(o);
}

/* Nothing is run and nothing recorded. */
static void put_no_program(struct json_out *o)
{
	json_out_obj(o);
	json_out_kv_int(o, "points", 0);
	json_out_key(o, "case_name");
	json_out_null(o);
	json_out_key(o, "callback_data");
	json_out_null(o);
	json_out_key(o, "phases");
	json_out_raw(o, STR("[]"));
	json_out_key(o, "reads");
	json_out_raw(o, STR("{\"context\":[],\"parent\":[]}"));
	json_out_key(o, "log");
	json_out_null(o);
	json_out_obj_end(o);
}

static void score_program(struct score *s, struct json_out *o)
{
	const struct dsl_limits lim = limits_of(s->in);
	const struct jv ids = member_or_null(s->in, "ids");
	/* pre and post share the entries */
	uint32_t cap = (uint32_t)dsl_program_nodes(s->c.strategy.prog) + 2;
	struct arena scratch;

	engine_custom_needs(&s->c.strategy, &s->needs);
	print_window(s);
	read_analytics(s);
	s->trace.ents = must_alloc(s->a, cap, sizeof(*s->trace.ents));
	s->trace.head_cap = cap;
	s->ev.ids.game = text_of(&ids, "game");
	s->ev.ids.task = text_of(&ids, "task");
	s->ev.ids.user = text_of(&ids, "user");
	s->ev.data = jv_member(s->in, "data");
	s->ev.an = &s->an;
	s->c.ev = &s->ev;
	s->c.lim = &lim;
	s->c.trace = &s->trace;
	s->c.mocks = jv_member(s->in, "mocks");
	s->c.arena = &scratch;
	arena_init(&scratch, RUN_ARENA_BYTES);
	s->status = engine_custom_score(&s->c);
	json_out_obj(o);
	put_final(o, s);
	put_phases(o, s);
	put_reads(o, s);
	put_log(o, s);
	json_out_obj_end(o);
	arena_fini(&scratch);
}

static void score(struct arena *a, const struct jv *in, struct json_out *o)
{
	struct score s = {.a = a, .in = in};
	struct dsl_program *prog;
	struct dsl_error err;
	struct jv ast;

	if (ast_of(a, in, o, &ast) < 0)
		return;
	if (dsl_load(a, &ast, &stored_limits, &prog, &err) < 0) {
		json_out_obj(o);
		put_run_error(o, &err, dsl_error_status(&err));
		json_out_obj_end(o);
		return;
	}
	if (prog == NULL) {
		put_no_program(o);
		return;
	}
	s.c.strategy.prog = prog;
	s.c.strategy.is_extend = str_is(text_of(in, "type"), "DSL_EXTEND");
	s.c.strategy.parent = text_of(in, "parent");
	score_program(&s, o);
	dsl_program_unref(&prog);
}

/* ---- lines ------------------------------------------------------------ */

/* The id of a line that the reader refused, if it stands first. */
static struct str id_of_refused(struct str line)
{
	static const char head[] = "{\"id\":\"";
	struct str s = {NULL, 0};
	const char *end;

	if (!str_starts_with(line, head))
		return s;
	s.p = line.p + sizeof(head) - 1;
	end = memchr(s.p, '"', line.len - (sizeof(head) - 1));
	if (end == NULL || memchr(s.p, '\\', (size_t)(end - s.p)) != NULL)
		return (struct str){NULL, 0};
	s.len = (size_t)(end - s.p);
	return s;
}

static void do_line(
	struct arena *a, struct str line, line_cb cb, struct json_out *o)
{
	const struct jv *in;
	struct json_err err;
	struct jv v;

	json_out_obj(o);
	if (json_parse(a, line, &line_limits, &v, &err) < 0) {
		json_out_kv_str(o, "id", id_of_refused(line));
		json_out_key(o, "out");
		put_refused(o, &err);
	} else {
		struct jv id = member_or_null(&v, "id");

		json_out_key(o, "id");
		json_out_val(o, &id);
		json_out_key(o, "out");
		in = jv_member(&v, "in");
		cb(a, in != NULL ? in : &v, o);
	}
	json_out_obj_end(o);
}

/* 1 when standard output is gone. */
static int do_lines(line_cb cb)
{
	struct arena a;
	struct buf out;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = 0;

	arena_init(&a, 0);
	buf_init(&out, 0);
	while (rc == 0 && (n = getline(&line, &cap, stdin)) > 0) {
		struct str s = str_trim((struct str){line, (size_t)n});
		struct json_out o;

		if (s.len == 0)
			continue;
		json_out_init(&o, &out);
		do_line(&a, s, cb, &o);
		buf_add_char(&out, '\n');
		if (fwrite(out.p, 1, out.len, stdout) != out.len)
			rc = 1;
		buf_reset(&out);
		arena_reset(&a);
	}
	if (fflush(stdout) != 0)
		rc = 1;
	free(line);
	buf_fini(&out);
	arena_fini(&a);
	return rc;
}

int ctl_dsl(int argc, char **argv, const struct conf *conf)
{
	(void)conf;
	if (argc == 2 && strcmp(argv[1], "validate") == 0)
		return do_lines(validate);
	if (argc == 2 && strcmp(argv[1], "execute") == 0)
		return do_lines(execute);
	if (argc == 2 && strcmp(argv[1], "score") == 0)
		return do_lines(score);
	fprintf(stderr, "usage: gamectl dsl validate|execute|score < lines\n");
	return 2;
}
