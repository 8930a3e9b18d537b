/*
 * api_tasks.c - tasks of a game: create, list, edit (api-endpoints.md 9 to
 * 11).  Runs in workers.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_params.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "svc/svc_cache.h"
#include "svc/svc_catalog.h"

/* Of a program that the database cannot hash; rows of a listing share it. */
struct program_hash {
	struct program_hash *next;
	struct str strategy_id, hash;
	char hex[65];
};

struct task_call {
	struct http_req *req;
	struct app *app;
	struct svc_game_open open;
	struct svc_assign_check check;
	enum svc_assign assign; /* what it found */
	struct store_op op;
	struct uuid game_id;
	struct str game_external, game_params; /* copies in the arena */
	struct store_task_new in;
	struct store_task_edit edit;
	struct store_strategy_ref ref;
	struct store_page page;
	struct program_hash *hashes; /* found so far */
	void (*opened)(struct task_call *c);
};

static void on_open(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct task_call *c = open->arg;

	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	c->game_external = api_keep(c->req, game->external_id);
	c->game_params = api_keep(c->req, game->params_json);
	c->opened(c);
}

/* Every endpoint here begins with the game: exists, then owned. */
static void open_game(struct task_call *c, void (*opened)(struct task_call *c))
{
	c->opened = opened;
	c->open.who = api_principal(c->req);
	c->open.cb = on_open;
	c->open.arg = c;
	svc_game_open(c->app, &c->open, &c->game_id);
}

static struct task_call *call_new(struct http_req *req)
{
	struct task_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	return c;
}

static void reply_exists(struct task_call *c)
{
	http_reply_error(c->req, 409, "task %.*s exists in this game",
		STR_ARG(c->in.external_id));
}

static void on_created(struct store_op *op, const struct db_reply *rep)
{
	struct task_call *c = op->arg;
	struct arena *a = &c->req->arena;
	struct str params = c->in.params.json;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0) {
		reply_exists(c);
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "message", "task created");
	json_out_key(&o, "taskId");
	json_out_uuid(&o, &c->in.id);
	json_out_kv_str(&o, "externalTaskId", c->in.external_id);
	json_out_kv_str(&o, "externalGameId", c->game_external);
	json_out_key(&o, "gameParams");
	api_show_params(&o, a, c->game_params, c->in.strategy_id, false);
	json_out_key(&o, "taskParams");
	api_show_params(&o, a, params, c->in.strategy_id, false);
	json_out_key(&o, "strategy");
	api_show_strategy(
		&o, a, c->in.strategy_id, &c->ref, c->game_params, params);
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void find_hash(struct task_call *c, struct str strategy_id,
	struct store_strategy_ref *ref)
{
	struct program_hash *h = c->hashes;

	if (!ref->found || ref->hash.p != NULL)
		return;
	while (h != NULL && !str_eq(h->strategy_id, strategy_id))
		h = h->next;
	if (h == NULL) {
		h = api_alloc(c->req, sizeof(*h));
		h->strategy_id = api_keep(c->req, strategy_id);
		if (ref->program.p != NULL &&
			svc_ast_hash(ref->program, h->hex))
			h->hash = str_from(h->hex);
		h->next = c->hashes;
		c->hashes = h;
	}
	ref->hash = h->hash;
}

/* Keeps what the check found of a custom strategy for the answer. */
static void take_ref(struct task_call *c, const struct store_strategy_ref *ref)
{
	c->ref = *ref;
	c->ref.name = api_keep(c->req, ref->name);
	c->ref.description = api_keep(c->req, ref->description);
	c->ref.hash = api_keep(c->req, ref->hash);
	find_hash(c, c->in.strategy_id, &c->ref);
	c->ref.program = (struct str){NULL, 0};
}

/* The strategy cannot be had, unless the name is taken: that is told first. */
static void on_named(struct store_op *op, const struct db_reply *rep)
{
	struct task_call *c = op->arg;

	if (rep->outcome != DB_OK)
		api_reply_db(c->req, rep);
	else if (db_res_rows(rep->res[0]) > 0)
		reply_exists(c);
	else
		api_reply_assign(c->req, c->assign, c->in.strategy_id);
}

static void on_create_assignable(struct svc_assign_check *check,
	enum svc_assign res, const struct store_strategy_ref *ref)
{
	struct task_call *c = check->arg;

	if (res != SVC_ASSIGN_OK) {
		c->assign = res;
		store_op_init(&c->op, on_named, c);
		store_task_named(
			&c->op, c->app->db, &c->game_id, c->in.external_id);
		return;
	}
	take_ref(c, ref);
	store_op_init(&c->op, on_created, c);
	store_task_create(&c->op, c->app->db, &c->in);
}

static void create_opened(struct task_call *c)
{
	c->check.cb = on_create_assignable;
	c->check.arg = c;
	svc_assign_check(
		c->app, &c->check, api_principal(c->req), c->in.strategy_id);
}

void api_tasks_create(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct task_call *c = call_new(req);
	struct api_valid v;

	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &c->game_id);
	c->in.external_id =
		api_valid_index_str(&v, "externalTaskId", API_REQUIRED);
	c->in.strategy_id = api_valid_strategy(&v);
	api_params_read(&v, API_PARAMS_TASK, &c->in.params);
	if (!api_valid_done(&v))
		return;
	if (c->in.strategy_id.p == NULL)
		c->in.strategy_id = STR("default");
	uuid_make_v7(&c->in.id);
	c->in.game_id = c->game_id;
	c->in.key_prefix = api_principal_key(who);
	c->in.subject = api_principal_subject(who);
	open_game(c, create_opened);
}

static void show_task(struct json_out *o, struct arena *a, struct task_call *c,
	const struct store_task *t)
{
	json_out_obj(o);
	json_out_key(o, "id");
	json_out_uuid(o, &t->id);
	json_out_key(o, "created_at");
	api_show_time(o, t->created_us, CLOCK_TS_Z);
	json_out_key(o, "updated_at");
	api_show_time(o, t->updated_us, CLOCK_TS_Z);
	json_out_kv_str(o, "externalTaskId", t->external_id);
	json_out_kv_str(o, "status", t->status);
	json_out_key(o, "gameParams");
	api_show_params(o, a, c->game_params, t->strategy_id, true);
	json_out_key(o, "taskParams");
	api_show_params(o, a, t->params_json, t->strategy_id, true);
	json_out_key(o, "strategy");
	api_show_strategy(o, a, t->strategy_id, &t->custom, c->game_params,
		t->params_json);
	json_out_kv_str(o, "strategyId", t->strategy_id);
	json_out_obj_end(o);
}

static void on_list(struct store_op *op, const struct db_reply *rep)
{
	struct task_call *c = op->arg;
	struct store_task task;
	struct arena row;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	arena_init(&row, 0);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "items");
	json_out_arr(&o);
	for (int i = 0; i < db_res_rows(rep->res[0]); i++)
		if (store_task_row(rep->res[0], i, &task)) {
			find_hash(c, task.strategy_id, &task.custom);
			show_task(&o, &row, c, &task);
			arena_reset(&row);
		}
	arena_fini(&row);
	json_out_arr_end(&o);
	api_show_page(&o, &c->page, store_list_total(rep->res[0]));
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void list_opened(struct task_call *c)
{
	store_op_init(&c->op, on_list, c);
	store_task_list(&c->op, c->app->db, &c->game_id, &c->page);
}

void api_tasks_list(struct http_req *req)
{
	static const char *const columns[] = {"id", "created_at", "updated_at",
		"externalTaskId", "gameId", "strategyId", "status",
		"apiKey_used", "oauth_user_id", NULL};
	struct task_call *c = call_new(req);
	struct api_valid v;

	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &c->game_id);
	api_valid_page(&v, columns, &c->page);
	if (!api_valid_done(&v))
		return;
	open_game(c, list_opened);
}

static void on_edited(struct store_op *op, const struct db_reply *rep)
{
	struct task_call *c = op->arg;
	struct arena *a = &c->req->arena;
	struct store_task task;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0 ||
		!store_task_row(rep->res[0], 0, &task)) {
		http_reply_error(c->req, 404, "task does not exist");
		return;
	}
	api_forget(c->req, "task", &c->edit.task_id);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "taskId");
	json_out_uuid(&o, &task.id);
	json_out_key(&o, "gameId");
	json_out_uuid(&o, &c->game_id);
	json_out_kv_str(&o, "externalTaskId", task.external_id);
	json_out_kv_str(&o, "strategyId", task.strategy_id);
	json_out_kv_str(&o, "status", task.status);
	json_out_key(&o, "taskParams");
	if (c->edit.with_params)
		api_show_params(&o, a, c->edit.params.json, STR(""), false);
	else
		json_out_null(&o);
	json_out_kv_cstr(&o, "message", "task updated");
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void edit_write(struct task_call *c)
{
	store_op_init(&c->op, on_edited, c);
	store_task_edit(&c->op, c->app->db, &c->edit);
}

static void on_edit_assignable(struct svc_assign_check *check,
	enum svc_assign res, const struct store_strategy_ref *ref)
{
	struct task_call *c = check->arg;

	(void)ref;
	if (res == SVC_ASSIGN_OK)
		edit_write(c);
	else
		api_reply_assign(c->req, res, c->edit.strategy_id);
}

static bool is_change(struct str wanted, struct str now)
{
	return wanted.p != NULL && (now.p == NULL || !str_eq(wanted, now));
}

static void on_before(struct store_op *op, const struct db_reply *rep)
{
	struct task_call *c = op->arg;
	struct store_task task;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0 ||
		!store_task_row(rep->res[0], 0, &task)) {
		http_reply_error(
			c->req, 404, "task does not exist in this game");
		return;
	}
	if (!is_change(c->edit.strategy_id, task.strategy_id) &&
		!is_change(c->edit.status, task.status) &&
		!c->edit.with_params) {
		http_reply_error(
			c->req, 409, "nothing in the request changes the task");
		return;
	}
	if (c->edit.strategy_id.p == NULL) {
		edit_write(c);
		return;
	}
	c->check.cb = on_edit_assignable;
	c->check.arg = c;
	svc_assign_check(
		c->app, &c->check, api_principal(c->req), c->edit.strategy_id);
}

static void edit_opened(struct task_call *c)
{
	store_op_init(&c->op, on_before, c);
	store_task_get(&c->op, c->app->db, &c->game_id, &c->edit.task_id);
}

void api_tasks_edit(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct task_call *c = call_new(req);
	struct api_valid v;

	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &c->game_id);
	api_valid_uuid(&v, "taskId", &c->edit.task_id);
	c->edit.strategy_id = api_valid_strategy(&v);
	c->edit.status = api_valid_str(&v, "status", API_NULLABLE);
	c->edit.with_params =
		api_params_read(&v, API_PARAMS_EDIT, &c->edit.params);
	if (!api_valid_done(&v))
		return;
	c->edit.game_id = c->game_id;
	c->edit.key_prefix = api_principal_key(who);
	c->edit.subject = api_principal_subject(who);
	open_game(c, edit_opened);
}
