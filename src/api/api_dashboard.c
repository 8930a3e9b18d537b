/*
 * api_dashboard.c - what happened on the whole installation, by day, week of
 * the month or month (observability.md 6.2, 6.3).  Runs in workers.
 */
#include "api/api.h"
#include "api/api_audit.h"
#include "api/api_common.h"
#include "api/api_when.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "store/store_dashboard.h"
#include "svc/app.h"

struct dashboard_call {
	struct http_req *req;
	struct app *app;
	struct store_op op;
	struct str group;
	struct store_window window;
};

static void show_bucket(struct json_out *o, struct str label, int64_t cnt)
{
	json_out_obj(o);
	json_out_kv_str(o, "label", label);
	json_out_kv_int(o, "count", cnt);
	json_out_obj_end(o);
}

static void on_summary(struct store_op *op, const struct db_reply *rep)
{
	static const char *const series[] = {"new_users", "games_opened",
		"points_earned", "actions_performed"};
	static const char *const lengths[] = {"length_new_users",
		"length_games_opened", "length_points_earned",
		"length_actions_performed"};
	struct dashboard_call *c = op->arg;
	struct store_bucket bucket;
	struct json_out o;
	struct buf b;
	int row = 0;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	for (size_t i = 0; i < NELEM(series); i++) {
		int first = row;

		json_out_key(&o, series[i]);
		json_out_arr(&o);
		for (; row < db_res_rows(rep->res[0]); row++) {
			store_bucket_row(rep->res[0], row, &bucket);
			if (!str_is(bucket.series, series[i]))
				break;
			show_bucket(&o, bucket.label, bucket.cnt);
		}
		api_audit_note_int(c->req, lengths[i], row - first);
		json_out_arr_end(&o);
	}
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_logs(struct store_op *op, const struct db_reply *rep)
{
	static const char *const levels[] = {"info", "success", "error"};
	static const char *const lengths[] = {
		"length_info", "length_success", "length_error"};
	struct dashboard_call *c = op->arg;
	struct store_log_bucket bucket;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	for (size_t i = 0; i < NELEM(levels); i++) {
		api_audit_note_int(
			c->req, lengths[i], db_res_rows(rep->res[0]));
		json_out_key(&o, levels[i]);
		json_out_arr(&o);
		for (int row = 0; row < db_res_rows(rep->res[0]); row++) {
			store_log_bucket_row(rep->res[0], row, &bucket);
			show_bucket(&o, bucket.label,
				i == 0   ? bucket.info
				: i == 1 ? bucket.success
					 : bucket.error);
		}
		json_out_arr_end(&o);
	}
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

/* False: the text is no date, answered. An empty one is no bound. */
static bool read_bound(
	struct http_req *req, const char *name, bool *has_r, int64_t *us_r)
{
	struct str s = http_req_query(req, name);
	struct api_when w;

	*has_r = s.p != NULL && s.len > 0;
	if (!*has_r)
		return true;
	if (api_when_parse(s, &w) == 0) {
		*us_r = w.us;
		return true;
	}
	http_reply_error(req, 400,
		"Invalid date '%.*s'. Expected ISO 8601, e.g. 2026-05-09.",
		STR_ARG(s));
	return false;
}

/* NULL: answered. */
static struct dashboard_call *call_new(struct http_req *req, store_cb cb)
{
	struct dashboard_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	c->group = http_req_query(req, "group_by");
	if (c->group.p == NULL ||
		(!str_is(c->group, "day") && !str_is(c->group, "week") &&
			!str_is(c->group, "month"))) {
		http_reply_error(req, 400,
			"Invalid group_by value. Choose 'day', 'week', or "
			"'month'.");
		return NULL;
	}
	if (!read_bound(req, "start_date", &c->window.has_from,
		    &c->window.from_us) ||
		!read_bound(req, "end_date", &c->window.has_until,
			&c->window.until_us))
		return NULL;
	store_op_init(&c->op, cb, c);
	return c;
}

void api_dashboard_summary(struct http_req *req)
{
	struct dashboard_call *c = call_new(req, on_summary);

	if (c != NULL)
		store_dashboard_summary(
			&c->op, c->app->db, c->group, &c->window);
}

void api_dashboard_logs(struct http_req *req)
{
	struct dashboard_call *c = call_new(req, on_logs);

	if (c != NULL)
		store_dashboard_logs(&c->op, c->app->db, c->group, &c->window);
}
