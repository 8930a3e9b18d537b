/*
 * api_common.h - what the endpoints of several resources share: memory of the
 * request, answers to failures that all of them meet, page envelopes.
 */
#ifndef API_API_COMMON_H
#define API_API_COMMON_H

#include "db/db_pool.h"
#include "dsl/dsl_run.h"
#include "http/http_req.h"
#include "json/json_out.h"
#include "svc/svc_catalog.h"

/* Cleared memory of the request's arena; never NULL. */
void *api_alloc(struct http_req *req, size_t size);
/* Copy that outlives a result row; p NULL stays NULL. */
struct str api_keep(struct http_req *req, struct str s);

/* p NULL when the caller has no such identity. */
struct str api_principal_key(const struct auth_principal *who);
struct str api_principal_subject(const struct auth_principal *who);

/* The caches of all workers see a change of the object before the client
 * does; kind as in the notices of sql/0002. */
void api_forget(struct http_req *req, const char *kind, const struct uuid *id);
/* Answers a statement that was not carried out (rep->outcome is not DB_OK):
 * 503 when the database is away or late, 4xx by SQLSTATE, else 500. */
void api_reply_db(struct http_req *req, const struct db_reply *rep);
/* True when the statement was not carried out or saw no strategy; answered. */
bool api_no_strategy(struct http_req *req, const struct db_reply *rep);
/* res is not OK */
void api_reply_open(struct http_req *req, enum svc_open res);
void api_reply_assign(
	struct http_req *req, enum svc_assign res, struct str strategy_id);
/*
 * A strategy error: the object {"code","params","message"} when it has a code
 * (force_code: always, the log's code standing in), else a string; X-Node-Id
 * when it belongs to a node (dsl.md 7, 21).
 */
void api_reply_dsl_error(struct http_req *req, int status,
	const struct dsl_error *err, bool force_code);

/* ,"search_options":{...} of api.md 6 */
void api_show_page(
	struct json_out *o, const struct store_page *page, int64_t total);
/* null for 0 */
void api_show_time(struct json_out *o, int64_t us, enum clock_form form);

#endif
