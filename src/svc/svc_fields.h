/*
 * svc_fields.h - what a run reads of the database before it starts, and how
 * rows become the values that strategies see (dsl.md 17).  Shared by awards
 * and simulations, so that both see the same.
 */
#ifndef SVC_SVC_FIELDS_H
#define SVC_SVC_FIELDS_H

#include "engine/engine_custom.h"
#include "store/store_award.h"

struct app;

/* Whose numbers are read. */
struct svc_subject {
	struct uuid game_id, task_id;
	struct str user; /* external id */
	struct str key;  /* idempotency key to look up; p NULL: none */
};

/* Asks for what the usual statement counts anyway from there. */
void svc_fields_settle(struct engine_needs *n);
/* Is there anything to read? */
bool svc_fields_any(const struct engine_needs *n);
/*
 * Sends the read; op is initialised and tells.  *more_r is from the arena
 * when there is a second result, else NULL.  with_deadline: no longer than a
 * run may take.
 */
void svc_fields_read(struct store_op *op, struct app *app, struct arena *a,
	const struct svc_subject *subject, const struct engine_needs *n,
	bool with_deadline, struct store_more **more_r);
/* From the results of that read. */
void svc_fields_fill(struct engine_analytics *an, const struct store_score *s,
	const struct db_reply *rep, struct store_more *more);
/* How long one read may take for a run, ms. */
uint32_t svc_fields_deadline_ms(const struct app *app);
/* When a run that starts now has to be over, monotonic ns; 0: never. */
uint64_t svc_fields_deadline_ns(const struct app *app);

#endif
