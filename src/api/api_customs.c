/*
 * api_customs.c - listings of custom strategies: those of a realm, and the
 * versions of one (api-endpoints.md 21, 43).  A row may hold a program of some
 * megabytes.  Runs in workers.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_rows.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "store/store_authoring.h"
#include "svc/app.h"

struct customs_call {
	struct http_req *req;
	struct store_op op;
	struct api_rows rows;
	bool needs_row; /* an empty listing means that there is no strategy */
};

static void on_row(struct store_op *op, const struct db_res *row)
{
	struct customs_call *c = op->arg;
	struct store_definition d;

	c->needs_row = false;
	store_definition_row(row, 0, &d);
	api_show_definition(&c->rows.out, &c->rows.row, &d);
	api_rows_push(&c->rows);
}

static void on_end(struct store_op *op, const struct db_reply *rep)
{
	struct customs_call *c = op->arg;

	if (rep->outcome == DB_OK && c->needs_row) {
		api_rows_drop(&c->rows);
		http_reply_error(c->req, 404, "strategy does not exist");
		return;
	}
	json_out_arr_end(&c->rows.out);
	api_rows_end(&c->rows, rep);
}

static struct customs_call *call_start(struct http_req *req)
{
	struct customs_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	store_op_init(&c->op, on_end, c);
	api_rows_init(&c->rows, req, &c->op.job);
	json_out_arr(&c->rows.out);
	return c;
}

void api_customs_list(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	const struct app *app = req->app;
	struct customs_call *c;
	struct str status, type;
	struct api_valid v;
	int64_t limit;

	api_valid_init(&v, req);
	status = api_valid_query_pattern(
		&v, "status", "^(DRAFT|PUBLISHED|ARCHIVED)$");
	type = api_valid_query_pattern(
		&v, "type", "^(BUILT_IN|DSL_EXTEND|DSL_FULL)$");
	limit = api_valid_query_int(&v, "limit", 1, 500, 100);
	if (!api_valid_done(&v))
		return;
	c = call_start(req);
	store_definition_list(&c->op, app->db, str_from(who->realm), status,
		type, limit, on_row);
}

void api_customs_versions(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	const struct app *app = req->app;
	struct customs_call *c;
	struct uuid id;

	if (uuid_parse(http_req_capture(req, "id"), &id) < 0) {
		http_reply_error(req, 404, "strategy does not exist");
		return;
	}
	c = call_start(req);
	c->needs_row = true;
	store_definition_versions(&c->op, app->db, str_from(who->realm),
		who->is_admin, &id, on_row);
}
