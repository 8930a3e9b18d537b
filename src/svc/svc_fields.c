/* svc_fields.c - see svc_fields.h.  Runs in workers. */
#include "svc/svc_fields.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "svc/app.h"

#define RECENT_BIT (UINT32_C(1) << DSL_F_USER_RECENT)
#define RECENT_US  (INT64_C(1000000) * STORE_RECENT_S)

void svc_fields_settle(struct engine_needs *n)
{
	if (n->recent && !n->game && n->window_us == RECENT_US)
		n->fields |= RECENT_BIT;
}

bool svc_fields_any(const struct engine_needs *n)
{
	return n->fields != 0 || n->recent;
}

/* The first statement does not have it all. */
static bool needs_more(const struct engine_needs *n)
{
	return n->game || (n->recent && n->window_us != RECENT_US);
}

uint64_t svc_fields_deadline_ns(const struct app *app)
{
	int64_t ms = app->conf->dsl_timeout_ms;

	return ms > 0 ? clock_mono_ns() + (uint64_t)ms * 1000000 : 0;
}

uint32_t svc_fields_deadline_ms(const struct app *app)
{
	int64_t ms = app->conf->dsl_timeout_ms;
	int64_t max = app->conf->db_deadline_ms;

	return (uint32_t)(ms > 0 && ms < max ? ms : max);
}

void svc_fields_read(struct store_op *op, struct app *app, struct arena *a,
	const struct svc_subject *subject, const struct engine_needs *n,
	bool with_deadline, struct store_more **more_r)
{
	bool with_recent = n->fields & RECENT_BIT;
	struct store_more *more;

	*more_r = NULL;
	if (with_deadline)
		op->deadline_ms = svc_fields_deadline_ms(app);
	if (!needs_more(n)) {
		store_score_read(op, app->db, &subject->task_id, subject->user,
			subject->key, with_recent);
		return;
	}
	more = arena_calloc(a, 1, sizeof(*more));
	if (more == NULL)
		fatal("request arena is too small for a read");
	more->game_id = subject->game_id;
	more->with_game = n->game;
	more->window_us = n->window_us;
	*more_r = more;
	store_score_read_more(op, app->db, &subject->task_id, subject->user,
		subject->key, with_recent, more);
}

static struct jv seconds(int64_t us)
{
	return jv_float((double)us / 1e6);
}

/* Mean of consecutive gaps: they telescope (dsl.md 17). */
static struct jv mean_gap(int64_t cnt, int64_t first_us, int64_t last_us)
{
	if (cnt < 2 || first_us == STORE_TIME_NONE)
		return jv_int(-1);
	return jv_float(
		(double)(last_us - first_us) / ((double)(cnt - 1) * 1e6));
}

static struct jv mean(int64_t n, double sum)
{
	return n > 0 ? jv_float(sum / (double)n) : jv_int(-1);
}

void svc_fields_fill(struct engine_analytics *an, const struct store_score *s,
	const struct db_reply *rep, struct store_more *more)
{
	an->task_count = s->task_cnt;
	an->user_count = s->user_cnt;
	an->user_recent = an->recent = s->user_recent_cnt;
	an->user_avg = mean_gap(s->user_cnt, s->user_first_us, s->user_last_us);
	an->all_avg = mean_gap(s->task_cnt, s->task_first_us, s->task_last_us);
	if (s->user_prev_us != STORE_TIME_NONE)
		an->last_diff = seconds(s->user_last_us - s->user_prev_us);
	if (s->user_age_us != STORE_TIME_NONE)
		an->new_last_diff = seconds(s->user_age_us);
	if (more == NULL)
		return;
	store_more_row(rep->res[1], more);
	an->recent = more->window_cnt;
	an->game_user_count = more->user_cnt;
	an->game_minutes = mean(more->minutes_n, more->minutes_sum);
	an->game_user_minutes =
		mean(more->user_minutes_n, more->user_minutes_sum);
}
