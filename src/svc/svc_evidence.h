/*
 * svc_evidence.h - what remains of a run of a stored strategy: its metrics,
 * always, and a row for the logger when the sampler keeps it (DESIGN 4).
 *
 * Called right after the evaluation, while the trace buffer and the run's
 * arena still hold it; everything is copied, nothing waits.
 */
#ifndef SVC_SVC_EVIDENCE_H
#define SVC_SVC_EVIDENCE_H

#include "dsl/dsl_run.h"
#include "engine/engine_custom.h"
#include "svc/svc_cache.h"

struct app;
struct svc_evidence;

struct svc_evidence *svc_evidence_new(struct app *app);
void svc_evidence_free(struct svc_evidence **e);

/* A value as JSON text, the keys of evidence.mask hidden; until the next call
 * or run. */
struct str svc_evidence_text(struct svc_evidence *e, const struct jv *v);
/* The value of such a key is hidden. */
bool svc_evidence_is_masked(const struct svc_evidence *e, struct str key);

/* The worker's one trace buffer, emptied: for the next run. */
struct dsl_trace *svc_evidence_trace(struct svc_evidence *e);

/* The worker's one list of arms, cleared, for the next run of the program,
 * which may be NULL. */
uint8_t *svc_evidence_arms(
	struct svc_evidence *e, const struct dsl_program *prog);

struct svc_run {
	struct svc_strategy *strategy; /* its counts get claimed */
	struct engine_ids ids;
	const struct jv *data; /* of the event, as strategies see it */
	const struct engine_custom *run;
	enum dsl_status status;
	bool is_refused; /* the result was not accepted as an award */
	uint64_t duration_ns;
	struct str correlation_id;
	const char *method, *handler; /* of the request */
};

/* True when the run was kept and its row found room on the way to the table:
 * *id_r is the row's id. */
bool svc_evidence_record(struct svc_evidence *e, struct arena *a,
	const struct svc_run *run, struct uuid *id_r);

#endif
