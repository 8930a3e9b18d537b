/*
 * api_life.c - what happens to a custom strategy after it was made: rollback,
 * usage; and the templates to start from (api-endpoints.md 44 to 46).  Runs in workers.
 */
#include "api/api.h"
#include "api/api_audit.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/engine_template.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "shm/shm.h"
#include "store/store_authoring.h"
#include "svc/app.h"

/* The rest is for the answer, before the client gets a 504. */
#define ROLLBACK_MS(conf)                             \
	((uint32_t)((conf)->http_handler_timeout_ms - \
		    (conf)->http_handler_timeout_ms / 10))

struct life_call {
	struct http_req *req;
	struct app *app;
	const struct auth_principal *who;
	struct store_op op;
	struct store_rollback_op rollback;
	struct uuid id;
	int64_t version;
};

/* NULL: the path's id is no UUID and names nothing; answered. */
static struct life_call *call_new(struct http_req *req)
{
	struct life_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	c->who = api_principal(req);
	if (uuid_parse(http_req_capture(req, "id"), &c->id) == 0)
		return c;
	http_reply_error(req, 404, "strategy does not exist");
	return NULL;
}

static void reply_promoted(
	struct life_call *c, const struct store_definition *d)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	api_show_definition(&o, &c->req->arena, d);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_rollback(struct store_op *op, const struct db_reply *rep)
{
	struct life_call *c = op->arg;
	struct store_definition d;
	int64_t games, tasks;

	if (api_no_strategy(c->req, rep))
		return;
	switch (store_rollback_row(rep, &d, &games, &tasks)) {
	case STORE_ROLLBACK_DONE:
		/* any number of games and tasks may name another one now */
		shm_generation_bump_all();
		log_info("strategy rolled back name=\"%.*s\" version=%lld "
			 "games=%lld tasks=%lld",
			STR_ARG(d.name), (long long)d.version, (long long)games,
			(long long)tasks);
		api_audit_note_uuid(c->req, "promoted_id", &d.id);
		api_audit_note_int(c->req, "games_reassigned", games);
		api_audit_note_int(c->req, "tasks_reassigned", tasks);
		reply_promoted(c, &d);
		return;
	case STORE_ROLLBACK_MISSING:
		http_reply_error(c->req, 404,
			"the strategy or its version %lld does not exist",
			(long long)c->version);
		return;
	case STORE_ROLLBACK_PUBLISHED:
		http_reply_error(c->req, 409,
			"version %lld is the published one",
			(long long)c->version);
		return;
	case STORE_ROLLBACK_NO_PROGRAM:
		http_reply_error(c->req, 400,
			"version %lld has no program and cannot be published",
			(long long)c->version);
		return;
	}
}

void api_customs_rollback(struct http_req *req)
{
	struct life_call *c;
	struct api_valid v;
	int64_t version;

	api_valid_init(&v, req);
	version = api_valid_path_int(&v, "version", 1);
	api_audit_note_int(req, "target_version", version);
	if (!api_valid_done(&v))
		return;
	if (!api_principal(req)->is_admin) {
		http_reply_error(req, 403,
			"rolling a strategy back needs the administrator role");
		return;
	}
	c = call_new(req);
	if (c == NULL)
		return;
	c->version = version;
	store_op_init(&c->rollback.op, on_rollback, c);
	store_definition_rollback(&c->rollback, c->app->db,
		str_from(c->who->realm), c->who->is_admin, &c->id, version,
		ROLLBACK_MS(c->app->conf));
}

static void show_use(struct json_out *o, const struct store_use *u)
{
	json_out_obj(o);
	if (u->is_task) {
		json_out_key(o, "taskId");
		json_out_uuid(o, &u->id);
		json_out_kv_str(o, "externalTaskId", u->external_id);
	}
	json_out_key(o, "gameId");
	json_out_uuid(o, &u->game_id);
	json_out_kv_str(o, "externalGameId", u->external_game);
	if (!u->is_task)
		json_out_kv_str(o, "platform", u->platform);
	json_out_obj_end(o);
}

/* Rows from..to of the result, which are all games or all tasks. */
static void show_uses(struct json_out *o, const char *key,
	const struct db_res *res, int from, int to)
{
	struct store_use u;

	json_out_key(o, key);
	json_out_arr(o);
	for (int i = from; i < to; i++) {
		store_use_row(res, i, &u);
		show_use(o, &u);
	}
	json_out_arr_end(o);
}

static void show_usage(struct json_out *o, const struct db_res *res)
{
	char id[sizeof("custom:") + UUID_TEXT_LEN] = "custom:";
	int rows = db_res_rows(res), games = 0;
	struct store_use u;

	store_use_row(res, 0, &u);
	uuid_print(&u.strategy_id, id + strlen(id));
	if (u.is_none)
		rows = 0;
	while (games < rows) {
		store_use_row(res, games, &u);
		if (u.is_task)
			break;
		games++;
	}
	json_out_obj(o);
	json_out_kv_cstr(o, "strategyId", id);
	json_out_kv_str(o, "name", u.name);
	json_out_kv_int(o, "version", u.version);
	json_out_kv_str(o, "status", u.status);
	json_out_kv_int(o, "gameCount", games);
	json_out_kv_int(o, "taskCount", rows - games);
	show_uses(o, "games", res, 0, games);
	show_uses(o, "tasks", res, games, rows);
	json_out_obj_end(o);
}

static void on_usage(struct store_op *op, const struct db_reply *rep)
{
	struct life_call *c = op->arg;
	struct json_out o;
	struct buf b;

	if (api_no_strategy(c->req, rep))
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	show_usage(&o, rep->res[0]);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

void api_customs_usage(struct http_req *req)
{
	struct life_call *c = call_new(req);

	if (c == NULL)
		return;
	store_op_init(&c->op, on_usage, c);
	store_definition_usage(&c->op, c->app->db, str_from(c->who->realm),
		c->who->is_admin, &c->id);
}

void api_customs_templates(struct http_req *req)
{
	const struct engine_template *t;
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_arr(&o);
	for (unsigned i = 0; (t = engine_template_at(i)) != NULL; i++) {
		json_out_obj(&o);
		json_out_kv_cstr(&o, "id", t->id);
		json_out_kv_cstr(&o, "name", t->name);
		json_out_kv_cstr(&o, "description", t->description);
		json_out_kv_cstr(&o, "type", t->type);
		json_out_kv_str(&o, "parentStrategyId", str_from(t->parent));
		json_out_key(&o, "astJson");
		json_out_raw(&o, str_from(t->ast));
		json_out_kv_cstr(&o, "blocklyXml", t->blockly);
		json_out_obj_end(&o);
	}
	json_out_arr_end(&o);
	http_reply_json(req, 200, &b);
	buf_fini(&b);
}
