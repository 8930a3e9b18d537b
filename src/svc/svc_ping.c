/* svc_ping.c - see svc_ping.h.  Runs in workers. */
#include "svc/svc_ping.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store_upkeep.h"
#include "svc/app.h"

struct svc_ping {
	struct app *app;
	struct store_op op;
	bool is_asking; /* op is on its way */
	bool answers;   /* as of at_ms */
	uint64_t at_ms; /* 0: never asked */
	STAILQ_HEAD(, svc_ping_call) waiting;
};

static void on_reply(struct store_op *op, const struct db_reply *rep)
{
	struct svc_ping *p = op->arg;
	struct svc_ping_call *call;

	p->is_asking = false;
	p->answers = rep->outcome == DB_OK;
	p->at_ms = clock_mono_ms();
	if (!p->answers)
		log_warnx_limited("Postgres does not answer: %s", rep->message);
	while ((call = STAILQ_FIRST(&p->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&p->waiting, entry);
		call->cb(call->arg, p->answers);
	}
}

void svc_ping_ask(struct svc_ping *p, struct svc_ping_call *call)
{
	if (!db_pool_healthy(p->app->db)) {
		call->cb(call->arg, false);
		return;
	}
	if (!p->is_asking && p->at_ms != 0 &&
		clock_mono_ms() - p->at_ms < SVC_PING_FRESH_MS) {
		call->cb(call->arg, p->answers);
		return;
	}
	STAILQ_INSERT_TAIL(&p->waiting, call, entry);
	if (p->is_asking)
		return;
	p->is_asking = true;
	store_op_init(&p->op, on_reply, p);
	p->op.deadline_ms = SVC_PING_DEADLINE_MS;
	store_ping(p->app->db, &p->op);
}

struct svc_ping *svc_ping_new(struct app *app)
{
	struct svc_ping *p = calloc(1, sizeof(*p));

	if (p == NULL)
		fatal("out of memory for the health of the database");
	p->app = app;
	STAILQ_INIT(&p->waiting);
	return p;
}
