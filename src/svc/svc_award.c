/*
 * svc_award.c - see svc_award.h.  Runs in workers; called by api_award.
 *
 * One function a step; each either goes on to the next at once or leaves a
 * callback behind.  A warm award whose strategy reads nothing from the
 * database takes one round trip, any other warm one two.
 */
#include "svc/svc_award.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "json/json_out.h"
#include "shm/shm.h"
#include "svc/app.h"
#include "svc/svc_evidence.h"
#include "svc/svc_fields.h"

#define CUSTOM_PREFIX "custom:"

static void step_strategy(struct svc_award *a);
static void step_read(struct svc_award *a);
static void step_evaluate(struct svc_award *a);
static void time_out(struct svc_award *a);
static void step_look_up(struct svc_award *a);
static void step_write(struct svc_award *a);

bool svc_is_slug(struct str s)
{
	if (s.len < 3 || s.len > 60)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return true;
}

bool svc_owns(const struct svc_caller *c, struct str owner_key,
	struct str owner_subject)
{
	if (c->is_admin)
		return true;
	if (c->key_prefix.p && owner_key.p && str_eq(c->key_prefix, owner_key))
		return true;
	return c->subject.p && owner_subject.p &&
	       str_eq(c->subject, owner_subject);
}

/* ---- end -------------------------------------------------------------- */

static void count(const struct svc_award *a)
{
	if (a->is_simulated) {
		metric_inc(M_AWARD_SIMULATED);
		return;
	}
	switch (a->result) {
	case SVC_AWARD_STORED:
		metric_inc(M_AWARDS);
		break;
	case SVC_AWARD_REPLAYED:
		metric_inc(M_AWARD_REPLAYS);
		break;
	case SVC_AWARD_SIMULATED:
		break;
	case SVC_AWARD_KEY_TOO_LONG:
	case SVC_AWARD_NO_GAME:
	case SVC_AWARD_NOT_OWNER:
	case SVC_AWARD_NO_TASK:
	case SVC_AWARD_NO_STRATEGY:
	case SVC_AWARD_BAD_USER:
	case SVC_AWARD_RUN_ERROR:
	case SVC_AWARD_RUN_LIMIT:
	case SVC_AWARD_REFUSED:
	case SVC_AWARD_UNSTORABLE:
	case SVC_AWARD_UNEXPECTED:
	case SVC_AWARD_DB_REFUSED:
	case SVC_AWARD_UNAVAILABLE:
		metric_inc(M_AWARD_FAILED);
		break;
	}
}

static void finish(struct svc_award *a, enum svc_award_result result)
{
	struct svc_target *target = a->target;
	struct svc_strategy *strategy = a->strategy_def;

	a->state = AWARD_DONE;
	a->result = result;
	count(a);
	a->done(a); /* the arena may be gone now, with the struct */
	svc_target_unref(&target);
	svc_strategy_unref(&strategy);
}

static void finish_replay(
	struct svc_award *a, const struct store_award_row *row)
{
	a->points = row->points;
	a->case_name = row->case_name;
	a->created_us = row->created_us;
	a->made_user = false;
	finish(a, SVC_AWARD_REPLAYED);
}

static void finish_sql_error(struct svc_award *a, const struct db_reply *rep)
{
	if (rep->outcome != DB_SQL_ERROR ||
		!str_starts_with(str_from(rep->sqlstate), "22")) {
		finish(a, SVC_AWARD_UNAVAILABLE);
		return;
	}
	memcpy(a->sqlstate, rep->sqlstate, sizeof(a->sqlstate));
	finish(a, SVC_AWARD_DB_REFUSED);
}

static void *must_alloc(struct svc_award *a, size_t n, size_t size)
{
	void *p = arena_calloc(a->arena, n + 1, size);

	if (p == NULL)
		fatal("request arena is too small for an award");
	return p;
}

/* ---- the event's data and key (api.md 7) -------------------------------- */

/* data with room for three more members: two here, and callbackData. */
static void copy_data(struct svc_award *a)
{
	uint32_t n = a->data && a->data->type == JV_OBJ ? a->data->n : 0;
	struct jv_member *m = arena_calloc(a->arena, (size_t)n + 3, sizeof(*m));

	if (m == NULL)
		fatal("out of memory for the data of an award");
	if (n)
		memcpy(m, a->data->u.obj, n * sizeof(*m));
	a->full_data = (struct jv){.type = JV_OBJ, .n = n, .u.obj = m};
}

static void data_default(struct svc_award *a, const char *name, struct str s)
{
	struct jv_member *m = &a->full_data.u.obj[a->full_data.n];

	if (jv_member(&a->full_data, name) != NULL)
		return;
	m->key = str_from(name);
	m->val = jv_str(s);
	a->full_data.n++;
}

/* A member of another type than text is left as it was, and skipped. */
struct str svc_award_key(const struct svc_award *a)
{
	const struct str none = {NULL, 0};
	const struct {
		const char *name;
		struct str absent; /* what is put in for it */
	} members[] = {{"eventId", a->header_key}, {"idempotencyKey", none},
		{"correlationId", a->correlation_id}};

	for (unsigned i = 0; i < NELEM(members); i++) {
		const struct jv *v =
			a->data ? jv_member(a->data, members[i].name) : NULL;
		struct str s = v == NULL           ? members[i].absent
			       : v->type == JV_STR ? v->u.s
						   : none;

		if (s.p != NULL && str_trim(s).len > 0)
			return str_trim(s);
	}
	return a->correlation_id;
}

static void complete_data(struct svc_award *a)
{
	copy_data(a);
	data_default(a, "correlationId", a->correlation_id);
	if (a->header_key.p)
		data_default(a, "eventId", a->header_key);
	a->key = svc_award_key(a);
	a->key_is_ours =
		!a->correlation_given && str_eq(a->key, a->correlation_id);
}

/* ---- target and strategy ------------------------------------------------- */

static void with_target(struct svc_award *a)
{
	const struct svc_target *t = a->target;

	if (!svc_owns(&a->caller, t->owner_key, t->owner_subject))
		finish(a, SVC_AWARD_NOT_OWNER);
	else if (!t->has_task)
		finish(a, SVC_AWARD_NO_TASK);
	else
		step_strategy(a);
}

static void target_on_load(struct svc_wait *w, enum svc_load how, void *v)
{
	struct svc_award *a = w->arg;

	a->target = v;
	if (v)
		with_target(a);
	else if (how == SVC_LOAD_NONE)
		finish(a, SVC_AWARD_NO_GAME);
	else
		finish(a, SVC_AWARD_UNAVAILABLE);
}

static void step_target(struct svc_award *a)
{
	enum svc_load how;

	a->state = AWARD_TARGET;
	a->wait.cb = target_on_load;
	how = svc_cache_target(
		a->app->cache, &a->game_id, a->task, &a->wait, &a->target);
	if (how == SVC_LOAD_OK)
		with_target(a);
	else if (how != SVC_LOAD_PENDING)
		finish(a, SVC_AWARD_UNAVAILABLE);
}

static void strategy_on_load(struct svc_wait *w, enum svc_load how, void *v)
{
	struct svc_award *a = w->arg;

	a->strategy_def = v;
	if (v)
		step_read(a);
	else if (how == SVC_LOAD_NONE)
		finish(a, SVC_AWARD_NO_STRATEGY);
	else
		finish(a, SVC_AWARD_UNAVAILABLE);
}

static void load_strategy(struct svc_award *a, struct str id_text)
{
	struct uuid id;
	enum svc_load how;

	if (uuid_parse(id_text, &id) != 0) {
		finish(a, SVC_AWARD_NO_STRATEGY);
		return;
	}
	a->wait.cb = strategy_on_load;
	how = svc_cache_strategy(
		a->app->cache, &id, &a->wait, &a->strategy_def);
	if (how == SVC_LOAD_OK)
		step_read(a);
	else if (how != SVC_LOAD_PENDING)
		finish(a, SVC_AWARD_UNAVAILABLE);
}

static void step_strategy(struct svc_award *a)
{
	struct str id = a->target->strategy_id;
	size_t skip = sizeof(CUSTOM_PREFIX) - 1;

	a->state = AWARD_STRATEGY;
	a->strategy = id;
	if (str_starts_with(id, CUSTOM_PREFIX)) {
		load_strategy(a, (struct str){id.p + skip, id.len - skip});
		return;
	}
	a->builtin = engine_find(id);
	if (a->builtin)
		step_read(a);
	else
		finish(a, SVC_AWARD_NO_STRATEGY);
}

/* ---- read ---------------------------------------------------------------- */

static struct engine_strategy engine_strategy_of(const struct svc_award *a)
{
	return (struct engine_strategy){.prog = a->strategy_def->prog,
		.is_extend = a->strategy_def->is_extend,
		.parent = a->strategy_def->parent};
}

static void find_needs(struct svc_award *a)
{
	struct engine_needs *n = &a->needs;
	struct engine_strategy s;

	memset(n, 0, sizeof(*n));
	if (a->builtin) {
		engine_needs(a->builtin, NULL, n);
	} else {
		s = engine_strategy_of(a);
		engine_custom_needs(&s, n);
	}
	svc_fields_settle(n);
}

static void set_user(struct svc_award *a, const struct uuid *id)
{
	a->has_user_id = true;
	a->user_id = *id;
}

static void score_on_read(struct store_op *op, const struct db_reply *rep)
{
	struct svc_award *a = op->arg;
	struct store_score s;

	clock_span_end(&a->read_span);
	if (rep->outcome == DB_TIMEOUT && a->run_deadline_ns) {
		time_out(a);
		return;
	}
	if (rep->outcome != DB_OK) {
		finish_sql_error(a, rep);
		return;
	}
	store_score_row(a->arena, rep->res[0], &s);
	if (s.user_known)
		set_user(a, &s.user);
	if (s.key_taken) {
		finish_replay(a, &s.stored);
		return;
	}
	if (!s.user_known && !svc_is_slug(a->user)) {
		finish(a, SVC_AWARD_BAD_USER);
		return;
	}
	svc_fields_fill(&a->analytics, &s, rep, a->more);
	step_evaluate(a);
}

static void send_read(struct svc_award *a)
{
	const struct svc_subject subject = {.game_id = a->game_id,
		.task_id = a->target->task_id,
		.user = a->user,
		.key = a->is_simulated ? (struct str){NULL, 0} : a->key};

	store_op_init(&a->op, score_on_read, a);
	svc_fields_read(&a->op, a->app, a->arena, &subject, &a->needs,
		a->run_deadline_ns != 0, &a->more);
}

static void step_read(struct svc_award *a)
{
	a->state = AWARD_READ;
	clock_span_begin(&a->read_span);
	a->run_start_ns = a->read_span.start_ns;
	if (a->strategy_def)
		a->run_deadline_ns = svc_fields_deadline_ns(a->app);
	engine_analytics_init(&a->analytics);
	find_needs(a);
	if (!svc_fields_any(&a->needs) && svc_is_slug(a->user)) {
		step_evaluate(a);
		return;
	}
	a->key_looked_up = true;
	send_read(a);
}

/* ---- evaluate ------------------------------------------------------------ */

static struct str keep(struct svc_award *a, struct str s)
{
	char *p;

	if (s.p == NULL)
		return s;
	p = must_alloc(a, s.len, 1);
	memcpy(p, s.p, s.len);
	return (struct str){p, s.len};
}

/* Values of a run die with the next run; depth is bounded by json_in. */
static struct jv keep_value(struct svc_award *a, const struct jv *v)
{
	struct jv copy = *v;

	if (v->type == JV_STR) {
		copy.u.s = keep(a, v->u.s);
	} else if (v->type == JV_ARR) {
		copy.u.arr = must_alloc(a, v->n, sizeof(*copy.u.arr));
		for (uint32_t i = 0; i < v->n; i++)
			copy.u.arr[i] = keep_value(a, &v->u.arr[i]);
	} else if (v->type == JV_OBJ) {
		copy.u.obj = must_alloc(a, v->n, sizeof(*copy.u.obj));
		for (uint32_t i = 0; i < v->n; i++) {
			copy.u.obj[i].key = keep(a, v->u.obj[i].key);
			copy.u.obj[i].val = keep_value(a, &v->u.obj[i].val);
		}
	}
	return copy;
}

static enum svc_award_result run_failed(
	struct svc_award *a, enum dsl_status status, const struct dsl_error *e)
{
	a->err = *e;
	a->err.node_id = keep(a, e->node_id);
	a->err.info = jv_null();
	for (unsigned i = 0; i < e->params_cnt; i++)
		a->err.params[i].val = keep_value(a, &e->params[i].val);
	return status == DSL_STATUS_ERROR ? SVC_AWARD_RUN_ERROR
					  : SVC_AWARD_RUN_LIMIT;
}

static enum svc_award_result check_result(
	struct svc_award *a, const struct jv *points, struct str case_name)
{
	if (case_name.p)
		a->case_name = keep(a, case_name);
	switch (engine_judge(points, case_name, &a->points, &a->err)) {
	case ENGINE_NO_NUMBER:
		return SVC_AWARD_UNEXPECTED;
	case ENGINE_REFUSED:
		return SVC_AWARD_REFUSED;
	case ENGINE_UNSTORABLE:
		return SVC_AWARD_UNSTORABLE;
	case ENGINE_AWARD:
		break;
	}
	return a->is_simulated ? SVC_AWARD_SIMULATED : SVC_AWARD_STORED;
}

/* data.callbackData, in place of a member of that name. */
static void add_callback(struct svc_award *a, const struct jv *callback)
{
	struct jv *data = &a->full_data;
	uint32_t i;

	if (callback->type != JV_OBJ || callback->n == 0)
		return;
	for (i = 0; i < data->n; i++)
		if (str_is(data->u.obj[i].key, "callbackData"))
			break;
	data->u.obj[i].key = STR("callbackData");
	data->u.obj[i].val = *callback;
	if (i == data->n)
		data->n++;
}

/* Texts of the run go into the request's arena here. */
static enum svc_award_result set_data_json(struct svc_award *a)
{
	struct json_out o;
	struct buf b;
	char *text;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_val(&o, &a->full_data);
	text = arena_strndup(a->arena, b.p, b.len);
	a->write.award.data_json = (struct str){text, b.len};
	buf_fini(&b);
	if (text != NULL)
		return SVC_AWARD_STORED;
	a->err = (struct dsl_error){.cls = DSL_CLASS_EXECUTION,
		.kind = "not_storable",
		.code = "DSL_VALUE_TOO_LARGE",
		.message = "The event's data is too large"};
	return SVC_AWARD_UNSTORABLE;
}

static struct engine_ids ids_of(const struct svc_award *a)
{
	return (struct engine_ids){.game = a->target->external_game,
		.task = a->target->external_task,
		.user = a->user};
}

static enum svc_award_result run_builtin(struct svc_award *a)
{
	struct engine_event ev = {
		.ids = ids_of(a), .data = &a->full_data, .an = &a->analytics};
	struct engine_result res = {0};
	struct dsl_error err;
	enum dsl_status status =
		engine_score(a->builtin, &ev, NULL, &res, &err);

	if (status != DSL_STATUS_OK)
		return run_failed(a, status, &err);
	return check_result(a, &res.points, res.case_name);
}

static enum svc_award_result judge_run(struct svc_award *a,
	enum dsl_status status, const struct engine_custom *run)
{
	struct str none = {NULL, 0};

	if (status != DSL_STATUS_OK)
		return run_failed(a, status, &run->err);
	return check_result(a, &run->points,
		run->case_name.type == JV_STR ? run->case_name.u.s : none);
}

static void record(struct svc_award *a, const struct engine_custom *run,
	enum dsl_status status, enum svc_award_result result)
{
	struct svc_run facts = {
		.strategy = a->strategy_def,
		.ids = ids_of(a),
		.data = &a->full_data,
		.run = run,
		.status = status,
		.is_refused =
			status == DSL_STATUS_OK && result != SVC_AWARD_STORED,
		.duration_ns = clock_mono_ns() - a->run_start_ns,
		.correlation_id = a->correlation_id,
		.method = a->method,
		.handler = a->handler,
	};

	if (!a->is_simulated)
		a->is_kept = svc_evidence_record(
			a->app->evidence, run->arena, &facts, &a->trace_id);
}

static enum dsl_status run_program(
	struct svc_award *a, struct engine_custom *run)
{
	const struct svc_strategy *s = a->strategy_def;

	if (s->is_broken) {
		run->err = s->fault;
		return dsl_error_status(&run->err);
	}
	return engine_custom_score(run);
}

static enum svc_award_result run_stored(struct svc_award *a)
{
	struct dsl_limits lim = svc_dsl_limits(a->app->conf);
	struct engine_event ev = {
		.ids = ids_of(a), .data = &a->full_data, .an = &a->analytics};
	struct engine_custom run = {
		.strategy = engine_strategy_of(a),
		.ev = &ev,
		.lim = &lim,
		.deadline_ns = a->run_deadline_ns,
		.arena = &a->app->run,
		.trace = svc_evidence_trace(a->app->evidence),
		.arms = svc_evidence_arms(
			a->app->evidence, a->strategy_def->prog),
	};
	const struct jv zero = jv_int(0);
	enum svc_award_result result;
	enum dsl_status status;

	/* without a program: (0, null), neither run nor recorded */
	if (run.strategy.prog == NULL && !a->strategy_def->is_broken)
		return check_result(a, &zero, (struct str){NULL, 0});
	arena_reset(&a->app->run);
	status = run_program(a, &run);
	result = judge_run(a, status, &run);
	record(a, &run, status, result);
	if (result == SVC_AWARD_STORED)
		add_callback(a, &run.callback_data);
	return result;
}

/*
 * The database did not give the fields within the time of the run.  The
 * evidence has a run that timed out; the caller, whose event is in order,
 * is told to try again.
 */
static void time_out(struct svc_award *a)
{
	struct dsl_limits lim = svc_dsl_limits(a->app->conf);
	struct engine_custom run = {
		.strategy = engine_strategy_of(a),
		.lim = &lim,
		.arena = &a->app->run,
		.trace = svc_evidence_trace(a->app->evidence),
	};
	enum dsl_status status = engine_custom_timeout(&run);

	arena_reset(&a->app->run);
	record(a, &run, status, judge_run(a, status, &run));
	a->run_result = SVC_AWARD_UNAVAILABLE;
	if (a->is_simulated || a->key_is_ours)
		finish(a, a->run_result);
	else
		step_look_up(a);
}

/* ---- look up after a failure --------------------------------------------- */

static void key_on_look_up(struct store_op *op, const struct db_reply *rep)
{
	struct svc_award *a = op->arg;
	struct store_award_row row;

	clock_span_end(&a->read_span);
	if (rep->outcome != DB_OK)
		finish_sql_error(a, rep);
	else if (store_award_found(a->arena, rep->res[0], &row))
		finish_replay(a, &row);
	else
		finish(a, a->run_result);
}

/* A repeat of an award is answered with it, even where scoring the event
 * again fails. */
static void step_look_up(struct svc_award *a)
{
	a->state = AWARD_LOOK_UP;
	clock_span_begin(&a->read_span);
	store_op_init(&a->op, key_on_look_up, a);
	a->op.deadline_ms = svc_fields_deadline_ms(a->app);
	store_award_find(
		&a->op, a->app->db, &a->target->task_id, a->user, a->key);
}

static void step_evaluate(struct svc_award *a)
{
	a->state = AWARD_EVALUATE;
	clock_span_begin(&a->eval_span);
	a->run_result = a->builtin ? run_builtin(a) : run_stored(a);
	if (a->run_result == SVC_AWARD_STORED)
		a->run_result = set_data_json(a);
	clock_span_end(&a->eval_span);
	if (a->run_result == SVC_AWARD_STORED) {
		step_write(a);
	} else if (a->run_result == SVC_AWARD_SIMULATED) {
		a->created_us = clock_wall_us();
		finish(a, SVC_AWARD_SIMULATED);
	} else if (a->is_simulated || a->key_is_ours || a->key_looked_up) {
		finish(a, a->run_result);
	} else {
		step_look_up(a);
	}
}

/* ---- write ----------------------------------------------------------------- */

static void award_on_write(struct svc_write *w)
{
	struct svc_award *a = w->arg;

	clock_span_end(&a->write_span);
	switch (w->outcome) {
	case SVC_WRITE_DONE:
		a->made_user = w->award.made_user;
		if (w->award.has_user_id)
			set_user(a, &w->award.user_id);
		a->created_us = w->award.created_us;
		finish(a, SVC_AWARD_STORED);
		break;
	case SVC_WRITE_TAKEN:
		finish_replay(a, &w->stored);
		break;
	case SVC_WRITE_REFUSED:
		memcpy(a->sqlstate, w->sqlstate, sizeof(a->sqlstate));
		finish(a, SVC_AWARD_DB_REFUSED);
		break;
	case SVC_WRITE_LATER:
		finish(a, SVC_AWARD_UNAVAILABLE);
		break;
	}
}

static void step_write(struct svc_award *a)
{
	struct store_award *w = &a->write.award;

	a->state = AWARD_WRITE;
	clock_span_begin(&a->write_span);
	/* what was kept of the run is found by the id of its award */
	if (a->is_kept)
		w->id = a->trace_id;
	else
		uuid_make_v7(&w->id);
	uuid_make_v7(&w->new_id);
	w->task_id = a->target->task_id;
	w->user = a->user;
	w->key = a->key;
	w->case_name = a->case_name;
	w->key_prefix = a->caller.key_prefix;
	w->strategy_id = a->strategy;
	w->strategy_version = STORE_VERSION_BUILTIN;
	w->points = a->points;
	if (a->strategy_def) {
		w->strategy_version = a->strategy_def->version;
		w->ast_sha256 = str_from(a->strategy_def->ast_sha256);
	}
	a->write.arena = a->arena;
	a->write.deadline_ms = a->deadline_ms;
	a->write.cb = award_on_write;
	a->write.arg = a;
	if (svc_batch_submit(a->app->batch, &a->write) != 0)
		finish(a, SVC_AWARD_UNAVAILABLE);
}

void svc_award_start(struct svc_award *a)
{
	a->deadline_ms = clock_mono_ms() +
			 (uint64_t)a->app->conf->http_handler_timeout_ms;
	a->wait.arg = a;
	complete_data(a);
	if (a->key.len > SVC_KEY_BYTES_MAX)
		finish(a, SVC_AWARD_KEY_TOO_LONG);
	else
		step_target(a);
}
