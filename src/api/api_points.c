/*
 * api_points.c - points read back (api-endpoints.md 14, 16 to 18).  Those of
 * a game and of a task have a row for each user and are streamed.  Runs in
 * workers.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_rows.h"
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

	/* of a listing */
	struct api_rows rows;
	bool has_begun;         /* there was a row */
	struct api_group shown; /* a task of the game */
};

static void show_aggregate(struct json_out *o, const struct store_points *p)
{
	json_out_obj(o);
	json_out_kv_int(o, "points", p->points);
	json_out_kv_int(o, "timesAwarded", p->times);
	json_out_kv_str(o, "externalUserId", p->user);
	json_out_obj_end(o);
}

static void begin(struct points_call *c)
{
	struct json_out *o = &c->rows.out;

	c->has_begun = true;
	if (c->task.p != NULL) {
		json_out_arr(o);
		return;
	}
	json_out_obj(o);
	json_out_kv_str(o, "externalGameId", c->game_external);
	json_out_key(o, "created_at");
	api_show_time(o, c->game_created_us, CLOCK_TS_SP);
	json_out_key(o, "task");
	json_out_arr(o);
}

static void open_task(struct points_call *c, struct str task)
{
	struct json_out *o = &c->rows.out;

	if (c->task.p != NULL || api_group_holds(&c->shown, task))
		return;
	api_group_close(&c->shown, o);
	api_group_open(&c->shown, task);
	json_out_obj(o);
	json_out_kv_str(o, "externalTaskId", task);
	json_out_key(o, "points");
	json_out_arr(o);
}

static void on_row(struct store_op *op, const struct db_res *row)
{
	struct points_call *c = op->arg;
	struct store_points p;

	store_points_row(row, 0, &p);
	if (!c->has_begun)
		begin(c);
	open_task(c, p.task);
	if (p.user.p != NULL)
		show_aggregate(&c->rows.out, &p);
	api_rows_push(&c->rows);
}

static void end_listing(struct points_call *c)
{
	api_group_close(&c->shown, &c->rows.out);
	json_out_arr_end(&c->rows.out);
	if (c->task.p == NULL)
		json_out_obj_end(&c->rows.out);
}

static void no_task(struct points_call *c)
{
	http_reply_error(c->req, 404, "task %.*s does not exist in this game",
		STR_ARG(c->task));
}

static void on_end(struct store_op *op, const struct db_reply *rep)
{
	struct points_call *c = op->arg;
	bool is_whole = rep->outcome == DB_OK;

	if (c->has_begun && is_whole)
		end_listing(c);
	api_group_fini(&c->shown);
	if (c->has_begun || !is_whole) {
		api_rows_end(&c->rows, rep);
		return;
	}
	api_rows_drop(&c->rows);
	if (c->task.p != NULL)
		no_task(c);
	else
		http_reply_error(c->req, 404, "the game has no tasks");
}

static void list(struct points_call *c)
{
	api_group_init(&c->shown);
	store_op_init(&c->op, on_end, c);
	api_rows_init(&c->rows, c->req, &c->op.job);
	if (c->task.p != NULL)
		store_points_of_task(
			&c->op, c->app->db, &c->game_id, c->task, on_row);
	else
		store_points_of_game(&c->op, c->app->db, &c->game_id, on_row);
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
	if (db_res_rows(rep->res[0]) == 0) {
		no_task(c);
		return;
	}
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

static void on_open(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct points_call *c = open->arg;

	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	if (c->user.p == NULL) {
		c->game_external = api_keep(c->req, game->external_id);
		c->game_created_us = game->created_us;
		list(c);
	} else if (c->task.p != NULL) {
		store_op_init(&c->op, on_task_user_points, c);
		store_points_of_task_user(
			&c->op, c->app->db, &c->game_id, c->task, c->user);
	} else {
		store_op_init(&c->op, on_user_points, c);
		store_points_of_user(&c->op, c->app->db, &c->game_id, c->user);
	}
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
