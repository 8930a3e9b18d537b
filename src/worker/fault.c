/* fault.c - see fault.h.  Worker process. */
#include "worker/fault.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "conf/conf.h"
#include "http/http_req.h"
#include "ipc/trace_send.h"
#include "shm/shm.h"
#include "svc/app.h"

#define TRACE_MAX 64 /* bytes of a sentry-trace header */

void fault_on_answer(struct http_req *req)
{
	const struct app *app = req->app;
	struct str trace;

	if (*app->conf->sentry_dsn == '\0')
		return;
	trace = http_req_header(req, "sentry-trace");
	if (trace.len == 0 || trace.len > TRACE_MAX)
		return;
	req->sentry_trace = (struct str){
		arena_strndup(&req->arena, trace.p, trace.len), trace.len};
}

/* Probes and scrapes are no transactions. */
static bool is_traceable(const struct http_req *req)
{
	if (strcmp(req->method, "HEAD") == 0 ||
		strcmp(req->method, "OPTIONS") == 0)
		return false;
	return !req->route->unmetered &&
	       strstr(req->route->template, "/kpi/health_check") == NULL &&
	       strcmp(req->route->template, "/livez") != 0 &&
	       strcmp(req->route->template, "/readyz") != 0;
}

/* A caller may say no; a yes decides nothing, for anyone could force it. */
static bool is_drawn(const struct http_req *req, double rate)
{
	struct str t = req->sentry_trace;

	if (t.len > 2 && t.p[t.len - 2] == '-' && t.p[t.len - 1] == '0')
		return false;
	return rate > 0 && rnd_unit() < rate;
}

static struct clock_span since(
	const struct http_req *req, const struct clock_span *s)
{
	if (s->ns == 0)
		return (struct clock_span){0};
	return (struct clock_span){s->start_ns - req->start_ns, s->ns};
}

void fault_on_done(const struct http_req *req, int status, uint64_t duration_ns)
{
	const struct app *app = req->app;
	struct fault_rec rec = {
		.kind = FAULT_ANSWER,
		.at_us = clock_wall_us(),
		.duration_ns = duration_ns,
		.slot = app->slot,
		.status = (unsigned)status,
		.role = STR("worker"),
		.method = str_from(req->method),
		.correlation_id = str_from(req->correlation_id),
		.trace = req->sentry_trace,
		.span = {since(req, &req->auth_span),
			since(req, &req->read_span),
			since(req, &req->eval_span),
			since(req, &req->write_span)},
	};

	if (*app->conf->sentry_dsn == '\0' || req->route == NULL)
		return;
	rec.handler = str_from(req->route->template);
	if (status >= 500)
		trace_send_fault(app->trace, &rec);
	if (!is_traceable(req))
		return;
	if (!is_drawn(req, app->conf->sentry_traces_sample_rate)) {
		metric_inc(M_SENTRY_UNSAMPLED);
		return;
	}
	rec.kind = FAULT_TXN;
	trace_send_fault(app->trace, &rec);
}
