/* request_log.c - see request_log.h.  Worker process. */
#include "worker/request_log.h"

#include "api/api.h"
#include "api/api_common.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "http/http_req.h"
#include "ipc/trace_send.h"
#include "svc/app.h"
#include "svc/svc_sample.h"

/* Failures of the server are kept whatever the rate is. */
static bool is_kept(double rate, int status, double *weight_r)
{
	*weight_r = 1;
	if (status >= 500 || rate >= 1)
		return true;
	if (!svc_sample_keeps(rate, rnd_unit()))
		return false;
	*weight_r = svc_sample_weight(rate);
	return true;
}

void request_log_on_done(
	const struct http_req *req, int status, uint64_t duration_ns)
{
	const struct app *app = req->app;
	struct request_rec rec = {
		.duration_ns = duration_ns,
		.status = (unsigned)status,
		.method = str_from(req->method),
		.correlation_id = str_from(req->correlation_id),
		.has_user = req->has_user_id,
		.user = req->user_id,
	};

	if (!app->conf->request_log_enabled || req->route == NULL ||
		api_is_probe(req->route) ||
		!is_kept(app->conf->request_sample_rate, status, &rec.weight))
		return;
	uuid_make_v7(&rec.id);
	rec.at_us = clock_wall_us() - (int64_t)(duration_ns / 1000);
	rec.endpoint = str_from(req->route->template);
	if (req->auth != NULL) {
		rec.api_key = api_principal_key(req->auth);
		rec.subject = api_principal_subject(req->auth);
	}
	trace_send_request(app->trace, &rec);
}
