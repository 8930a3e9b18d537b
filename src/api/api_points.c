/*
 * api_points.c - points read back (api-endpoints.md 14, 16 to 18).  Runs in
 * workers.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "store/store_points.h"
#include "svc/svc_catalog.h"

struct points_call {
	struct http_req *req;
	struct app *app;
	struct svc_game_open open;
	struct store_op op;
	struct uuid game_id;
	struct str game_external; /* copy in the arena */
	int64_t game_created_us;
	struct str task, user; /* of the path; p NULL: not in it */
};

static void show_aggregate(struct json_out *o, const struct store_points *p)
{
	json_out_obj(o);
	json_out_kv_int(o, "points", p->points);
	json_out_kv_int(o, "timesAwarded", p->times);
	json_out_kv_str(o, "externalUserId", p->user);
	json_out_obj_end(o);
}

static void on_game_points(struct store_op *op, const struct db_reply *rep)
{
	struct points_call *c = op->arg;
	struct str task = {NULL, 0};
	struct json_out o;
	struct buf b;
	int rows;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	rows = db_res_rows(rep->res[0]);
	if (rows == 0) {
		http_reply_error(c->req, 404, "the game has no tasks");
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_str(&o, "externalGameId", c->game_external);
	json_out_key(&o, "created_at");
	api_show_time(&o, c->game_created_us, CLOCK_TS_SP);
	json_out_key(&o, "task");
	json_out_arr(&o);
	for (int i = 0; i < rows; i++) {
		struct store_points p;

		store_points_row(rep->res[0], i, &p);
		if (task.p == NULL || !str_eq(task, p.task)) {
			if (task.p != NULL) {
				json_out_arr_end(&o);
				json_out_obj_end(&o);
			}
			task = p.task;
			json_out_obj(&o);
			json_out_kv_str(&o, "externalTaskId", task);
			json_out_key(&o, "points");
			json_out_arr(&o);
		}
		if (p.user.p != NULL)
			show_aggregate(&o, &p);
	}
	json_out_arr_end(&o);
	json_out_obj_end(&o);
	json_out_arr_end(&o);
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_user_points(struct store_op *op, const struct db_reply *rep)
{
	struct points_call *c = op->arg;
	struct store_user_points head;
	struct store_points p;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	store_user_points_head(rep->res[0], &head);
	if (!head.user_exists) {
		http_reply_error(c->req, 404, "user %.*s does not exist",
			STR_ARG(c->user));
		return;
	}
	c->req->has_user_id = true;
	c->req->user_id = head.user;
	if (head.tasks_cnt == 0) {
		http_reply_error(c->req, 404, "the game has no tasks");
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_arr(&o);
	for (int i = 0; i < db_res_rows(rep->res[0]); i++)
		if (store_user_points_row(rep->res[0], i, &p))
			show_aggregate(&o, &p);
	json_out_arr_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static bool has_task(struct points_call *c, const struct db_res *res)
{
	if (db_res_rows(res) > 0)
		return true;
	http_reply_error(c->req, 404, "task %.*s does not exist in this game",
		STR_ARG(c->task));
	return false;
}

static void on_task_points(struct store_op *op, const struct db_reply *rep)
{
	struct points_call *c = op->arg;
	struct store_points p;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (!has_task(c, rep->res[0]))
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_arr(&o);
	for (int i = 0; i < db_res_rows(rep->res[0]); i++) {
		store_points_row(rep->res[0], i, &p);
		if (p.user.p != NULL)
			show_aggregate(&o, &p);
	}
	json_out_arr_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_task_user_points(struct store_op *op, const struct db_reply *rep)
{
	struct points_call *c = op->arg;
	struct store_points p;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (!has_task(c, rep->res[0]))
		return;
	store_points_row(rep->res[0], 0, &p);
	if (p.user.p == NULL) {
		http_reply_error(c->req, 404,
			"user %.*s has no points in this task",
			STR_ARG(c->user));
		return;
	}
	c->req->has_user_id = store_task_user(rep->res[0], &c->req->user_id);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	show_aggregate(&o, &p);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void read_task(struct points_call *c)
{
	if (c->user.p != NULL) {
		store_op_init(&c->op, on_task_user_points, c);
		store_points_of_task_user(
			&c->op, c->app->db, &c->game_id, c->task, c->user);
	} else {
		store_op_init(&c->op, on_task_points, c);
		store_points_of_task(&c->op, c->app->db, &c->game_id, c->task);
	}
}

static void on_open(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct points_call *c = open->arg;

	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	if (c->task.p != NULL) {
		read_task(c);
		return;
	}
	if (c->user.p != NULL) {
		store_op_init(&c->op, on_user_points, c);
		store_points_of_user(&c->op, c->app->db, &c->game_id, c->user);
		return;
	}
	c->game_external = api_keep(c->req, game->external_id);
	c->game_created_us = game->created_us;
	store_op_init(&c->op, on_game_points, c);
	store_points_of_game(&c->op, c->app->db, &c->game_id);
}

void api_points_get(struct http_req *req)
{
	struct points_call *c = api_alloc(req, sizeof(*c));
	struct api_valid v;

	c->req = req;
	c->app = req->app;
	c->task = http_req_capture(req, "externalTaskId");
	c->user = http_req_capture(req, "externalUserId");
	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &c->game_id);
	if (!api_valid_done(&v))
		return;
	c->open.who = api_principal(req);
	c->open.cb = on_open;
	c->open.arg = c;
	svc_game_open(c->app, &c->open, &c->game_id);
}
