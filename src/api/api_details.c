/*
 * api_details.c - listings of every award, of a game and of a task
 * (api-endpoints.md 15, 34), one query each.  Runs in workers.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_rows.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "store/store_points.h"
#include "svc/svc_catalog.h"

struct details_call {
	struct http_req *req;
	struct app *app;
	struct svc_game_open open;
	struct store_op op;
	struct uuid game_id;
	struct str game_external; /* copy in the arena */
	int64_t game_created_us;
	struct str of_task; /* p NULL: the whole game's */

	struct api_rows rows;
	bool has_begun; /* there was a row */
	/* the group that is open, when there is one */
	struct api_group task, user;
};

static void begin(struct details_call *c)
{
	struct json_out *o = &c->rows.out;

	c->has_begun = true;
	if (c->of_task.p != NULL) {
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

static void close_task(struct details_call *c)
{
	api_group_close(&c->user, &c->rows.out);
	api_group_close(&c->task, &c->rows.out);
}

static void open_task(struct details_call *c, struct str task)
{
	struct json_out *o = &c->rows.out;

	if (c->of_task.p != NULL || api_group_holds(&c->task, task))
		return;
	close_task(c);
	api_group_open(&c->task, task);
	json_out_obj(o);
	json_out_kv_str(o, "externalTaskId", task);
	json_out_key(o, "points");
	json_out_arr(o);
}

static void open_user(struct details_call *c, const struct store_points *p)
{
	struct json_out *o = &c->rows.out;

	if (api_group_holds(&c->user, p->user))
		return;
	api_group_close(&c->user, o);
	api_group_open(&c->user, p->user);
	json_out_obj(o);
	if (c->of_task.p != NULL)
		json_out_kv_str(o, "externalUserId", p->user);
	json_out_kv_int(o, "points", p->points);
	json_out_kv_int(o, "timesAwarded", p->times);
	if (c->of_task.p == NULL)
		json_out_kv_str(o, "externalUserId", p->user);
	json_out_key(o, "pointsData");
	json_out_arr(o);
}

/* Postgres' text of a jsonb without its blanks; numbers stay as they are. */
static void show_jsonb(struct json_out *o, struct str text)
{
	bool in_string = false;
	size_t from = 0;

	if (text.p == NULL) {
		json_out_null(o);
		return;
	}
	json_out_raw(o, STR(""));
	for (size_t i = 0; i < text.len; i++) {
		if (in_string && text.p[i] == '\\') {
			i++;
		} else if (text.p[i] == '"') {
			in_string = !in_string;
		} else if (text.p[i] == ' ' && !in_string) {
			buf_add(o->b, text.p + from, i - from);
			from = i + 1;
		}
	}
	buf_add(o->b, text.p + from, text.len - from);
}

static void show_award(struct details_call *c, const struct store_award_row *a)
{
	struct json_out *o = &c->rows.out;

	json_out_obj(o);
	json_out_key(o, "points");
	if (a->has_points)
		json_out_int(o, a->points);
	else
		json_out_null(o);
	json_out_kv_str(o, "caseName", a->case_name);
	if (c->of_task.p != NULL) {
		json_out_key(o, "data");
		show_jsonb(o, a->data);
		json_out_kv_str(o, "description", a->description);
	}
	json_out_key(o, "created_at");
	json_out_raw(
		o, a->created_json.p != NULL ? a->created_json : STR("null"));
	json_out_obj_end(o);
}

static void on_row(struct store_op *op, const struct db_res *row)
{
	struct details_call *c = op->arg;
	struct store_award_row a;

	store_award_row(row, &a);
	if (!c->has_begun)
		begin(c);
	open_task(c, a.group.task);
	if (a.group.user.p != NULL) {
		open_user(c, &a.group);
		if (a.has_award)
			show_award(c, &a);
	}
	api_rows_push(&c->rows);
}

static void end_listing(struct details_call *c)
{
	close_task(c);
	json_out_arr_end(&c->rows.out);
	if (c->of_task.p == NULL)
		json_out_obj_end(&c->rows.out);
}

static void on_end(struct store_op *op, const struct db_reply *rep)
{
	struct details_call *c = op->arg;
	bool is_whole = rep->outcome == DB_OK;

	if (c->has_begun && is_whole)
		end_listing(c);
	api_group_fini(&c->task);
	api_group_fini(&c->user);
	if (c->has_begun || !is_whole) {
		api_rows_end(&c->rows, rep);
		return;
	}
	api_rows_drop(&c->rows);
	http_reply_error(c->req, 404,
		c->of_task.p != NULL ? "task does not exist in this game"
				     : "the game has no tasks");
}

static void on_open(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct details_call *c = open->arg;

	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	api_group_init(&c->task);
	api_group_init(&c->user);
	c->game_external = api_keep(c->req, game->external_id);
	c->game_created_us = game->created_us;
	store_op_init(&c->op, on_end, c);
	api_rows_init(&c->rows, c->req, &c->op.job);
	if (c->of_task.p != NULL)
		store_awards_of_task(
			&c->op, c->app->db, &c->game_id, c->of_task, on_row);
	else
		store_awards_of_game(&c->op, c->app->db, &c->game_id, on_row);
}

void api_details_get(struct http_req *req)
{
	struct details_call *c = api_alloc(req, sizeof(*c));
	struct api_valid v;

	c->req = req;
	c->app = req->app;
	c->of_task = http_req_capture(req, "externalTaskId");
	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &c->game_id);
	if (!api_valid_done(&v))
		return;
	c->open.who = api_principal(req);
	c->open.cb = on_open;
	c->open.arg = c;
	svc_game_open(c->app, &c->open, &c->game_id);
}
