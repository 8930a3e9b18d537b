/* fault.c - see fault.h.  Worker process. */
#include "worker/fault.h"

#include <strings.h>

#include "api/api.h"
#include "api/api_common.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "conf/conf.h"
#include "http/http_req.h"
#include "ipc/trace_send.h"
#include "json/json_out.h"
#include "shm/shm.h"
#include "svc/app.h"
#include "svc/svc_evidence.h"

#define TRACE_MAX 64 /* bytes of a sentry-trace header */

/* What is gone after the reply; p NULL: was not there, or is not wanted. */
struct fault_note {
	struct str trace; /* sentry-trace */
	struct str headers;
	struct str data;
};

static const struct fault_note no_note;

static struct str keep(struct http_req *req, struct str s)
{
	return (struct str){arena_strndup(&req->arena, s.p, s.len), s.len};
}

/* ---- what tells the caller --------------------------------------------------- */

static bool is_secret(const char *header)
{
	static const char *const names[] = {"Authorization",
		"Proxy-Authorization", "Cookie", "Set-Cookie", "X-API-Key",
		"X-Forwarded-For", "Forwarded", "X-Real-IP"};

	for (size_t i = 0; i < NELEM(names); i++)
		if (strcasecmp(names[i], header) == 0)
			return true;
	return false;
}

/* Those that make the text too long are left out. */
static void add_header(void *arg, const char *name, const char *value)
{
	struct json_out *o = arg, before = *o;
	size_t len = o->b->len;

	if (is_secret(name))
		return;
	json_out_kv_cstr(o, name, value);
	if (o->b->len < FAULT_HEADERS_MAX) /* the bracket has room, too */
		return;
	o->b->len = len;
	*o = before;
}

static struct str headers_text(struct http_req *req)
{
	struct json_out o;
	struct str text;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	http_req_each_header(req, add_header, &o);
	json_out_obj_end(&o);
	text = keep(req, buf_str(&b));
	buf_fini(&b);
	return text;
}

static void note_private(struct http_req *req, struct fault_note *n)
{
	const struct app *app = req->app;
	struct str data;

	n->headers = headers_text(req);
	if (!req->has_json || req->body.len > FAULT_DATA_MAX)
		return;
	data = svc_evidence_text(app->evidence, &req->json);
	if (data.len <= FAULT_DATA_MAX)
		n->data = keep(req, data);
}

void fault_on_answer(struct http_req *req, int status)
{
	const struct conf *conf = ((const struct app *)req->app)->conf;
	struct fault_note *n;
	struct str trace;

	if (*conf->sentry_dsn == '\0' || req->route == NULL || req->ev == NULL)
		return;
	n = arena_calloc(&req->arena, 1, sizeof(*n));
	if (n == NULL)
		return;
	req->fault = n;
	trace = http_req_header(req, "sentry-trace");
	if (trace.len > 0 && trace.len <= TRACE_MAX)
		n->trace = keep(req, trace);
	if (conf->sentry_send_default_pii &&
		(status >= 500 || conf->sentry_traces_sample_rate > 0))
		note_private(req, n);
}

/* Where the request came from, for a record of it. */
static void add_private(struct fault_rec *rec, const struct http_req *req,
	const struct fault_note *n)
{
	rec->query = req->query_text;
	rec->headers = n->headers;
	rec->data = n->data;
	rec->address = str_from(req->peer);
	if (req->auth != NULL)
		rec->subject = api_principal_subject(req->auth);
}

/* ---- what is sent ------------------------------------------------------------ */

/* Probes and scrapes are no transactions. */
static bool is_traceable(const struct http_req *req)
{
	if (strcmp(req->method, "HEAD") == 0 ||
		strcmp(req->method, "OPTIONS") == 0)
		return false;
	return !api_is_probe(req->route);
}

/* A caller may say no; a yes decides nothing, for anyone could force it. */
static bool is_drawn(struct str t, double rate)
{
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
	const struct fault_note *n = req->fault ? req->fault : &no_note;
	struct fault_rec rec = {
		.kind = FAULT_ANSWER,
		.at_us = clock_wall_us(),
		.duration_ns = duration_ns,
		.slot = app->slot,
		.status = (unsigned)status,
		.role = STR("worker"),
		.method = str_from(req->method),
		.correlation_id = str_from(req->correlation_id),
		.trace = n->trace,
		.span = {since(req, &req->auth_span),
			since(req, &req->read_span),
			since(req, &req->eval_span),
			since(req, &req->write_span)},
	};

	if (*app->conf->sentry_dsn == '\0' || req->route == NULL)
		return;
	rec.handler = str_from(req->route->template);
	if (app->conf->sentry_send_default_pii)
		add_private(&rec, req, n);
	if (status >= 500)
		trace_send_fault(app->trace, &rec);
	if (!is_traceable(req))
		return;
	if (!is_drawn(n->trace, app->conf->sentry_traces_sample_rate)) {
		metric_inc(M_SENTRY_UNSAMPLED);
		return;
	}
	rec.kind = FAULT_TXN;
	trace_send_fault(app->trace, &rec);
}
