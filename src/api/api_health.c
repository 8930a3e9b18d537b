/*
 * api_health.c - probes: /livez never depends on Postgres, /readyz does and
 * turns 503 while draining (hardening P4); /kpi/health_check, which asks it,
 * with the body of observability.md 6.1; /metrics when configured.  Runs in workers.
 */
#include "api/api.h"
#include "api/api_common.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "db/db_pool.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_out.h"
#include "svc/app.h"
#include "svc/svc_ping.h"

void api_livez(struct http_req *req)
{
	http_reply_text(
		req, 200, "application/json", STR("{\"status\":\"ok\"}"));
}

void api_readyz(struct http_req *req)
{
	const struct app *app = req->app;
	bool has_db = db_pool_healthy(app->db);
	bool ready = has_db && !app->draining;
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "status", ready ? "ready" : "not ready");
	json_out_key(&o, "reasons");
	json_out_arr(&o);
	if (!has_db)
		json_out_cstr(&o, "the database is not available");
	if (app->draining)
		json_out_cstr(&o, "the server is shutting down");
	json_out_arr_end(&o);
	json_out_obj_end(&o);
	http_reply_json(req, ready ? 200 : 503, &b);
	buf_fini(&b);
}

static void reply_health(void *arg, bool healthy)
{
	struct http_req *req = arg;
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "status",
		healthy ? "KPI service is running"
			: "KPI service has no database");
	json_out_key(&o, "timestamp");
	json_out_time(&o, clock_wall_us(), CLOCK_TS_ISO);
	json_out_obj_end(&o);
	http_reply_json(req, healthy ? 200 : 503, &b);
	buf_fini(&b);
}

void api_health_check(struct http_req *req)
{
	const struct app *app = req->app;
	struct svc_ping_call *call = api_alloc(req, sizeof(*call));

	call->cb = reply_health;
	call->arg = req;
	svc_ping_ask(app->ping, call);
}

void api_metrics(struct http_req *req)
{
	const struct app *app = req->app;

	if (app->serve_metrics)
		app->serve_metrics(req);
	else
		http_reply_error(req, 404, "Not Found");
}
