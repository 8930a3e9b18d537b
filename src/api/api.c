/* api.c - see api.h. Runs in workers; stats reads the table for its labels. */
#include "api/api.h"

#include <stdio.h>
#include <strings.h>

#include "api/api_audit.h"
#include "api/api_auth.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_in.h"

#define V1 "/api/v1"

const struct http_route api_routes[] = {
	{"GET", "/livez", HTTP_AUTH_NONE, HTTP_BODY_NONE, api_livez, true},
	{"GET", "/readyz", HTTP_AUTH_NONE, HTTP_BODY_NONE, api_readyz, true},
	{"GET", "/metrics", HTTP_AUTH_NONE, HTTP_BODY_NONE, api_metrics, true},
	{"GET", V1 "/kpi/health_check", HTTP_AUTH_NONE, HTTP_BODY_NONE,
		api_health_check, false},
	{"GET", V1 "/dashboard/summary", HTTP_AUTH_KEY, HTTP_BODY_NONE,
		api_dashboard_summary, false},
	{"GET", V1 "/dashboard/summary/logs", HTTP_AUTH_KEY, HTTP_BODY_NONE,
		api_dashboard_logs, false},
	{"POST", V1 "/games", HTTP_AUTH_KEY, HTTP_BODY_JSON, api_games_create,
		false},
	{"GET", V1 "/games", HTTP_AUTH_KEY, HTTP_BODY_NONE, api_games_list,
		false},
	{"GET", V1 "/games/{gameId}", HTTP_AUTH_KEY, HTTP_BODY_NONE,
		api_games_get, false},
	{"PATCH", V1 "/games/{gameId}", HTTP_AUTH_KEY, HTTP_BODY_JSON,
		api_games_edit, false},
	{"DELETE", V1 "/games/{gameId}", HTTP_AUTH_KEY, HTTP_BODY_NONE,
		api_games_delete, false},
	{"GET", V1 "/games/{gameId}/points", HTTP_AUTH_KEY, HTTP_BODY_NONE,
		api_points_get, false},
	{"GET", V1 "/games/{gameId}/points/details", HTTP_AUTH_KEY,
		HTTP_BODY_NONE, api_details_get, false},
	{"GET", V1 "/games/{gameId}/users/{externalUserId}/points",
		HTTP_AUTH_KEY, HTTP_BODY_NONE, api_points_get, false},
	{"POST", V1 "/games/{gameId}/tasks", HTTP_AUTH_KEY, HTTP_BODY_JSON,
		api_tasks_create, false},
	{"GET", V1 "/games/{gameId}/tasks", HTTP_AUTH_KEY, HTTP_BODY_NONE,
		api_tasks_list, false},
	{"PATCH", V1 "/games/{gameId}/tasks/{taskId}", HTTP_AUTH_KEY,
		HTTP_BODY_JSON, api_tasks_edit, false},
	{"GET", V1 "/games/{gameId}/tasks/{externalTaskId}/points",
		HTTP_AUTH_KEY, HTTP_BODY_NONE, api_points_get, false},
	{"GET", V1 "/games/{gameId}/tasks/{externalTaskId}/points/details",
		HTTP_AUTH_KEY, HTTP_BODY_NONE, api_details_get, false},
	{"GET",
		V1 "/games/{gameId}/tasks/{externalTaskId}/users/"
		   "{externalUserId}/points",
		HTTP_AUTH_KEY, HTTP_BODY_NONE, api_points_get, false},
	{"POST", V1 "/games/{gameId}/tasks/{externalTaskId}/points",
		HTTP_AUTH_KEY, HTTP_BODY_JSON, api_award_post, false},
	{"GET", V1 "/strategies", HTTP_AUTH_OPEN, HTTP_BODY_NONE,
		api_strategies_list, false},
	{"POST", V1 "/strategies/custom", HTTP_AUTH_STRATEGY,
		HTTP_BODY_STRATEGY, api_customs_create, false},
	{"GET", V1 "/strategies/custom", HTTP_AUTH_STRATEGY, HTTP_BODY_NONE,
		api_customs_list, false},
	{"GET", V1 "/strategies/custom/{id}", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_get, false},
	{"PUT", V1 "/strategies/custom/{id}", HTTP_AUTH_STRATEGY,
		HTTP_BODY_STRATEGY, api_customs_edit, false},
	{"POST", V1 "/strategies/custom/{id}/publish", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_publish, false},
	{"POST", V1 "/strategies/custom/{id}/archive", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_archive, false},
	{"POST", V1 "/strategies/custom/import", HTTP_AUTH_STRATEGY,
		HTTP_BODY_STRATEGY, api_customs_import, false},
	{"GET", V1 "/strategies/custom/templates", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_templates, false},
	{"GET", V1 "/strategies/custom/{id}/versions", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_versions, false},
	{"POST", V1 "/strategies/custom/{id}/rollback/{version}",
		HTTP_AUTH_STRATEGY, HTTP_BODY_NONE, api_customs_rollback,
		false},
	{"GET", V1 "/strategies/custom/{id}/usage", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_usage, false},
	{"GET", V1 "/strategies/custom/{id}/coverage", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_coverage_get, false},
	{"GET", V1 "/strategies/custom/{id}/executions", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_executions_list, false},
	{"GET", V1 "/strategies/custom/{id}/executions/stream",
		HTTP_AUTH_STRATEGY, HTTP_BODY_NONE, api_stream_get, false},
	{"GET", V1 "/strategies/custom/{id}/executions/{rowId}",
		HTTP_AUTH_STRATEGY, HTTP_BODY_NONE, api_executions_get, false},
	{"GET", V1 "/strategies/custom/{id}/metrics", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_metrics, false},
	{"GET", V1 "/strategies/custom/compare", HTTP_AUTH_STRATEGY,
		HTTP_BODY_NONE, api_customs_compare, false},
	{"POST", V1 "/strategies/custom/simulate", HTTP_AUTH_STRATEGY,
		HTTP_BODY_STRATEGY, api_customs_simulate_inline, false},
	{"POST", V1 "/strategies/custom/{id}/simulate", HTTP_AUTH_STRATEGY,
		HTTP_BODY_STRATEGY, api_customs_simulate, false},
	{"GET", V1 "/strategies/{id}", HTTP_AUTH_OPEN, HTTP_BODY_NONE,
		api_strategies_get, false},
	{"GET", V1 "/strategies/{id}/schema", HTTP_AUTH_OPEN, HTTP_BODY_NONE,
		api_strategies_schema, false},
	{"GET", V1 "/strategies/{id}/graph", HTTP_AUTH_OPEN, HTTP_BODY_NONE,
		api_strategies_graph, false},
};
const size_t api_routes_cnt = NELEM(api_routes);

bool api_is_probe(const struct http_route *route)
{
	return route->unmetered || route->handler == api_health_check;
}

/* Absent, application/json or application/...+json (api.md 2). */
static bool is_json_type(struct str type)
{
	const char *semi;

	if (type.p == NULL || type.len == 0)
		return true;
	semi = memchr(type.p, ';', type.len);
	if (semi != NULL)
		type.len = (size_t)(semi - type.p);
	type = str_trim(type);
	if (type.len < 16 || strncasecmp(type.p, "application/", 12) != 0)
		return false;
	if (type.len == 16 && strncasecmp(type.p + 12, "json", 4) == 0)
		return true;
	return type.len > 17 &&
	       strncasecmp(type.p + type.len - 5, "+json", 5) == 0;
}

static void reply_json_fault(struct http_req *req, const struct json_err *err)
{
	struct api_loc loc = {.cnt = 0};
	struct jv none = {.type = JV_OBJ};
	struct api_valid v;
	struct json_out o;
	struct buf ctx;
	size_t chars;

	/* whatever else is wrong: text that is none cannot be read at all */
	if (!str_is_utf8(req->body)) {
		http_reply_error(
			req, 400, "There was an error parsing the body");
		return;
	}
	buf_init(&ctx, 0);
	json_out_init(&o, &ctx);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "error", err->text);
	json_out_obj_end(&o);
	buf_add_char(&ctx, '\0');
	api_loc_add(&loc, "body");
	chars = str_utf8_cnt((struct str){req->body.p, err->offset});
	api_loc_add_index(&loc, (uint32_t)chars);
	api_valid_init(&v, req);
	api_valid_item_ctx(
		&v, "json_invalid", &loc, "JSON decode error", &none, ctx.p);
	buf_fini(&ctx);
	(void)!api_valid_done(&v);
}

/* Before authentication: bytes -> JSON. False: the request was answered. */
static bool read_body(struct http_req *req)
{
	struct json_err err;

	if (req->route->body == HTTP_BODY_NONE || req->body.len == 0)
		return true;
	if (!is_json_type(http_req_header(req, "Content-Type"))) {
		req->json = jv_str(req->body);
		req->has_json = true;
		return true;
	}
	if (json_parse(&req->arena, req->body, &json_limits_default, &req->json,
		    &err) < 0) {
		/* unreadable bytes count more than what stands before them */
		if (!str_is_utf8(req->body))
			err.fault = JSON_FAULT_UTF8;
		reply_json_fault(req, &err);
		return false;
	}
	req->has_json = true;
	return true;
}

/* After authentication: the body must be an object when there is one. */
static void call_handler(struct http_req *req)
{
	struct api_loc loc = {.cnt = 0};
	struct api_valid v;

	if (req->route->body == HTTP_BODY_NONE ||
		(req->has_json && req->json.type == JV_OBJ)) {
		api_audit_start(req);
		req->route->handler(req);
		return;
	}
	api_loc_add(&loc, "body");
	api_valid_init(&v, req);
	if (!req->has_json)
		api_valid_item(&v, "missing", &loc, "Field required", NULL);
	else
		api_valid_item(&v, "model_attributes_type", &loc,
			"Input should be a valid dictionary or object to "
			"extract fields from",
			&req->json);
	(void)!api_valid_done(&v);
}

void api_dispatch(struct http_req *req)
{
	if (read_body(req))
		api_auth(req, call_handler);
}
