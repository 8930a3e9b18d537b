/*
 * svc_simulate.c - see svc_simulate.h.  Runs in workers; called by
 * api_simulate.  Reads the database only for what is not mocked.
 */
#include "svc/svc_simulate.h"

#include "base/log.h"
#include "conf/conf.h"
#include "db/db_row.h"
#include "store/store_target.h"
#include "svc/app.h"
#include "svc/svc_cache.h"
#include "svc/svc_catalog.h"

/* Everything that the run produces lives in the run's arena and trace. */
static void evaluate(struct svc_simulation *s, bool in_time)
{
	/* pre and post count the program node each */
	uint32_t cap = (uint32_t)dsl_program_nodes(s->strategy.prog) + 2;
	enum dsl_status status;

	s->trace.ents = arena_calloc(s->arena, cap, sizeof(*s->trace.ents));
	if (s->trace.ents == NULL)
		fatal("request arena is too small for a trace of %u", cap);
	s->trace.head_cap = cap;
	s->ev = (struct engine_event){
		.ids = s->ids, .data = s->data, .an = &s->analytics};
	s->run = (struct engine_custom){.strategy = s->strategy,
		.ev = &s->ev,
		.lim = &s->lim,
		.deadline_ns = s->deadline_ns,
		.mocks = s->mocks,
		.arena = &s->app->run,
		.trace = &s->trace};
	engine_analytics_mock(&s->analytics, s->mocks);
	arena_reset(&s->app->run);
	status = in_time ? engine_custom_score(&s->run)
			 : engine_custom_timeout(&s->run);
	s->done(s, status == DSL_STATUS_OK ? SVC_SIMULATED_OK
					   : SVC_SIMULATED_FAILED);
}

static void fail_db(struct svc_simulation *s, const struct db_reply *rep)
{
	if (rep->outcome == DB_TIMEOUT && s->deadline_ns != 0) {
		evaluate(s, false);
		return;
	}
	s->reply = rep;
	s->done(s, SVC_SIMULATED_NO_DB);
}

static void on_score(struct store_op *op, const struct db_reply *rep)
{
	struct svc_simulation *s = op->arg;
	struct store_score score;

	if (rep->outcome != DB_OK) {
		fail_db(s, rep);
		return;
	}
	store_score_row(s->arena, rep->res[0], &score);
	svc_fields_fill(&s->analytics, &score, rep, s->more);
	evaluate(s, true);
}

/* A game or task that does not exist has no awards. */
static void on_target(struct store_op *op, const struct db_reply *rep)
{
	struct svc_simulation *s = op->arg;
	struct store_target t;
	struct uuid game_id;

	if (rep->outcome != DB_OK) {
		fail_db(s, rep);
		return;
	}
	if (!store_target_found(rep->res[0], &game_id, &t)) {
		evaluate(s, true);
		return;
	}
	if (!svc_game_is_owned(s->who, t.owner_key, t.owner_subject)) {
		s->done(s, SVC_SIMULATED_FOREIGN);
		return;
	}
	if (!t.has_task) {
		evaluate(s, true);
		return;
	}
	s->subject.game_id = game_id;
	s->subject.task_id = t.task_id;
	s->subject.user = s->ids.user;
	store_op_init(&s->op, on_score, s);
	svc_fields_read(&s->op, s->app, s->arena, &s->subject, &s->needs,
		s->deadline_ns != 0, &s->more);
}

/* What is mocked need not be read. */
static void drop_mocked(struct svc_simulation *s)
{
	for (unsigned f = 0; s->mocks != NULL && f < DSL_F_CNT; f++)
		if ((s->needs.fields & UINT32_C(1) << f) &&
			jv_member(s->mocks, dsl_field_name(f)) != NULL)
			s->needs.fields &= ~(UINT32_C(1) << f);
}

void svc_simulate(struct svc_simulation *s)
{
	s->faults_cnt =
		engine_custom_mock_faults(&s->strategy, s->mocks, s->faults);
	if (s->faults_cnt > 0) {
		s->done(s, SVC_SIMULATED_BAD_MOCKS);
		return;
	}
	s->lim = svc_dsl_limits(s->app->conf);
	s->deadline_ns = svc_fields_deadline_ns(s->app);
	engine_analytics_init(&s->analytics);
	engine_custom_needs(&s->strategy, &s->needs);
	drop_mocked(s);
	svc_fields_settle(&s->needs);
	if (!svc_fields_any(&s->needs)) {
		evaluate(s, true);
		return;
	}
	store_op_init(&s->op, on_target, s);
	store_target_find(&s->op, s->app->db, s->ids.game, s->ids.task);
}
