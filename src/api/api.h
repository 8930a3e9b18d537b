/*
 * api.h - the routes of the server, and the order of checks in front of every
 * handler (api.md 5.1): body, credentials, then the handler, which validates.
 */
#ifndef API_API_H
#define API_API_H

#include "http/http_route.h"

struct http_req;

/* One row a route; the row's number is its index in the shared block. */
extern const struct http_route api_routes[];
extern const size_t api_routes_cnt;
#define API_ROUTE_NONE UINT32_MAX /* index of a request without route */

/* Scrapes and checks of health, which are no use of the service. */
bool api_is_probe(const struct http_route *route);

/* What http_server calls for each routed request. */
void api_dispatch(struct http_req *req);

/* Handlers, by resource: api_<thing>.c. */
void api_livez(struct http_req *req);
void api_readyz(struct http_req *req);
void api_health_check(struct http_req *req);
void api_metrics(struct http_req *req);
void api_dashboard_summary(struct http_req *req);
void api_dashboard_logs(struct http_req *req);
void api_award_post(struct http_req *req);
void api_games_create(struct http_req *req);
void api_games_list(struct http_req *req);
void api_games_get(struct http_req *req);
void api_games_edit(struct http_req *req);
void api_games_delete(struct http_req *req);
void api_tasks_create(struct http_req *req);
void api_tasks_list(struct http_req *req);
void api_tasks_edit(struct http_req *req);
void api_points_get(struct http_req *req);
void api_details_get(struct http_req *req);
void api_strategies_list(struct http_req *req);
void api_customs_create(struct http_req *req);
void api_customs_list(struct http_req *req);
void api_customs_get(struct http_req *req);
void api_customs_edit(struct http_req *req);
void api_customs_publish(struct http_req *req);
void api_customs_archive(struct http_req *req);
void api_customs_import(struct http_req *req);
void api_customs_versions(struct http_req *req);
void api_customs_rollback(struct http_req *req);
void api_customs_usage(struct http_req *req);
void api_coverage_get(struct http_req *req);
void api_executions_list(struct http_req *req);
void api_executions_get(struct http_req *req);
void api_stream_get(struct http_req *req);
/* The worker leaves: ends the streams that are open. */
void api_stream_drain(void);
void api_customs_metrics(struct http_req *req);
void api_customs_compare(struct http_req *req);
void api_customs_templates(struct http_req *req);
void api_customs_simulate(struct http_req *req);
void api_customs_simulate_inline(struct http_req *req);
void api_strategies_get(struct http_req *req);
void api_strategies_schema(struct http_req *req);
void api_strategies_graph(struct http_req *req);

#endif
