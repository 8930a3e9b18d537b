/*
 * api_games.c - games: create, list, get, edit, delete (api-endpoints.md 4 to
 * 8).
 * Runs in workers; each handler owns one struct in the request's arena.
 */
#include "api/api.h"
#include "api/api_audit.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_params.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "db/db_row.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "svc/svc_award.h"
#include "svc/svc_catalog.h"

struct game_call {
	struct http_req *req;
	struct app *app;
	struct store_op op;
	struct svc_assign_check check;
	enum svc_assign assign; /* what it found */
	struct svc_game_open open;
	struct store_game_new in;
	struct store_game_edit edit;
	struct store_page page;
	const char *order_text;
};

static struct game_call *call_new(struct http_req *req)
{
	struct game_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	return c;
}

static void reply_exists(struct game_call *c, const struct uuid *id)
{
	struct buf b;
	struct json_out o;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_cstr(
		&o, "message", "a game with this externalGameId exists");
	json_out_key(&o, "gameId");
	json_out_uuid(&o, id);
	json_out_obj_end(&o);
	http_reply_detail(c->req, 409, buf_str(&b));
	buf_fini(&b);
}

static void on_created(struct store_op *op, const struct db_reply *rep)
{
	struct game_call *c = op->arg;
	struct store_game game;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	memset(&game, 0, sizeof(game));
	if (store_game_created(rep->res[0], &game) == STORE_EXISTS) {
		reply_exists(c, &game.id);
		return;
	}
	api_audit_note_uuid(c->req, "gameId", &game.id);
	game.external_id = c->in.external_id;
	game.strategy_id = c->in.strategy_id;
	game.platform = c->in.platform;
	game.params_json = c->in.params.json;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	api_show_game(&o, &c->req->arena, &game);
	json_out_kv_cstr(&o, "message", "game created");
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

/* The strategy cannot be had, unless the name is taken: that is told first. */
static void on_named(struct store_op *op, const struct db_reply *rep)
{
	struct game_call *c = op->arg;
	struct uuid id;

	if (rep->outcome != DB_OK)
		api_reply_db(c->req, rep);
	else if (db_res_rows(rep->res[0]) > 0 &&
		 db_row_uuid(rep->res[0], 0, 0, &id))
		reply_exists(c, &id);
	else
		api_reply_assign(c->req, c->assign, c->in.strategy_id);
}

static void on_assignable(struct svc_assign_check *check, enum svc_assign res,
	const struct store_strategy_ref *ref)
{
	struct game_call *c = check->arg;

	(void)ref;
	if (res != SVC_ASSIGN_OK) {
		c->assign = res;
		store_op_init(&c->op, on_named, c);
		store_game_named(&c->op, c->app->db, c->in.external_id);
		return;
	}
	store_op_init(&c->op, on_created, c);
	store_game_create(&c->op, c->app->db, &c->in);
}

void api_games_create(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct game_call *c = call_new(req);
	struct str key, subject;
	struct api_valid v;

	api_valid_init(&v, req);
	c->in.external_id = api_valid_str(&v, "externalGameId", API_REQUIRED);
	c->in.platform = api_valid_str(&v, "platform", API_REQUIRED);
	c->in.strategy_id = api_valid_strategy(&v);
	api_params_read(&v, API_PARAMS_GAME, &c->in.params);
	key = api_valid_str(&v, "apiKey_used", API_NULLABLE);
	subject = api_valid_str(&v, "oauth_user_id", API_NULLABLE);
	if (!api_valid_done(&v))
		return;
	if (!svc_is_slug(c->in.external_id)) {
		http_reply_error(req, 409,
			"externalGameId must be 3 to 60 characters from A-Z, "
			"a-z, 0-9, _ and -");
		return;
	}
	if (c->in.strategy_id.p == NULL)
		c->in.strategy_id = STR("default");
	uuid_make_v7(&c->in.id);
	c->in.key_prefix = api_principal_key(who);
	c->in.subject = api_principal_subject(who);
	/* an admin may name an owner of a kind that he is not himself */
	if (who->is_admin && !who->has_key)
		c->in.key_prefix = key;
	if (who->is_admin && !who->has_subject)
		c->in.subject = subject;
	c->check.cb = on_assignable;
	c->check.arg = c;
	svc_assign_check(c->app, &c->check, who, c->in.strategy_id);
}

static void on_list(struct store_op *op, const struct db_reply *rep)
{
	struct game_call *c = op->arg;
	struct store_game game;
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
	for (int i = 0; i < db_res_rows(rep->res[0]); i++) {
		if (!store_game_row(rep->res[0], i, &game))
			continue;
		json_out_obj(&o);
		api_show_game(&o, &row, &game);
		json_out_obj_end(&o);
		arena_reset(&row);
	}
	arena_fini(&row);
	json_out_arr_end(&o);
	api_show_page(&o, &c->page, store_list_total(rep->res[0]));
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

void api_games_list(struct http_req *req)
{
	static const char *const columns[] = {"id", "created_at", "updated_at",
		"externalGameId", "strategyId", "platform", "apiKey_used",
		"oauth_user_id", NULL};
	const struct auth_principal *who = api_principal(req);
	struct game_call *c = call_new(req);
	struct store_scope scope = {.all = who->is_admin,
		.key_prefix = api_principal_key(who),
		.subject = api_principal_subject(who)};
	struct str external, platform;
	struct api_valid v;

	api_valid_init(&v, req);
	api_valid_page(&v, columns, &c->page);
	if (!api_valid_done(&v))
		return;
	external = http_req_query(req, "externalGameId");
	platform = http_req_query(req, "platform");
	if (external.p == NULL)
		external = STR("");
	if (platform.p == NULL)
		platform = STR("");
	store_op_init(&c->op, on_list, c);
	store_game_list(
		&c->op, c->app->db, &scope, external, platform, &c->page);
}

static void reply_game(struct game_call *c, const struct store_game *game)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	api_show_game(&o, &c->req->arena, game);
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_get(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct game_call *c = open->arg;

	if (res != SVC_OPEN_OK)
		api_reply_open(c->req, res);
	else
		reply_game(c, game);
}

static void open_game(struct game_call *c, const struct uuid *id,
	void (*cb)(struct svc_game_open *open, enum svc_open res,
		const struct store_game *game))
{
	c->open.who = api_principal(c->req);
	c->open.cb = cb;
	c->open.arg = c;
	svc_game_open(c->app, &c->open, id);
}

void api_games_get(struct http_req *req)
{
	struct game_call *c = call_new(req);
	struct api_valid v;
	struct uuid id;

	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &id);
	if (!api_valid_done(&v))
		return;
	open_game(c, &id, on_get);
}

/* ---- edit ------------------------------------------------------------------- */

/* The params as they were sent. */
static void show_sent_params(struct json_out *o, const struct jv *body)
{
	const struct jv *list = jv_member(body, "params");
	uint32_t n = list != NULL && list->type == JV_ARR ? list->n : 0;

	json_out_arr(o);
	for (uint32_t i = 0; i < n; i++) {
		const struct jv *p = &list->u.arr[i];

		json_out_obj(o);
		json_out_key(o, "id");
		json_out_val(o, jv_member(p, "id"));
		json_out_key(o, "key");
		json_out_val(o, jv_member(p, "key"));
		json_out_key(o, "value");
		json_out_val(o, jv_member(p, "value"));
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

static void reply_edited(struct game_call *c, const struct store_game *game)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_str(&o, "externalGameId", game->external_id);
	json_out_kv_str(&o, "strategyId", game->strategy_id);
	json_out_kv_str(&o, "platform", game->platform);
	json_out_key(&o, "params");
	show_sent_params(&o, &c->req->json);
	json_out_kv_cstr(&o, "message", "game updated");
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_edited(struct store_op *op, const struct db_reply *rep)
{
	struct game_call *c = op->arg;
	struct store_game game;

	if (rep->outcome == DB_SQL_ERROR &&
		strcmp(rep->sqlstate, "23505") == 0) {
		http_reply_error(c->req, 409,
			"externalGameId %.*s belongs to another game",
			STR_ARG(c->edit.external_id));
		return;
	}
	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	switch (store_game_edited(rep->res[0], &game)) {
	case STORE_EDIT_GONE:
		api_reply_open(c->req, SVC_OPEN_MISSING);
		return;
	case STORE_EDIT_NO_PARAM:
		http_reply_error(
			c->req, 404, "a param does not exist in this game");
		return;
	case STORE_EDITED:
		api_forget(c->req, "game", &c->edit.id);
		reply_edited(c, &game);
		return;
	}
}

static void on_edit_assignable(struct svc_assign_check *check,
	enum svc_assign res, const struct store_strategy_ref *ref)
{
	struct game_call *c = check->arg;

	(void)ref;
	if (res != SVC_ASSIGN_OK) {
		api_reply_assign(c->req, res, c->edit.strategy_id);
		return;
	}
	store_op_init(&c->op, on_edited, c);
	store_game_edit(&c->op, c->app->db, &c->edit);
}

static void on_edit_open(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	static const struct store_strategy_ref none = {.found = false};
	struct game_call *c = open->arg;

	(void)game;
	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	c->check.cb = on_edit_assignable;
	c->check.arg = c;
	if (c->edit.strategy_id.p == NULL)
		on_edit_assignable(&c->check, SVC_ASSIGN_OK, &none);
	else
		svc_assign_check(
			c->app, &c->check, open->who, c->edit.strategy_id);
}

void api_games_edit(struct http_req *req)
{
	struct game_call *c = call_new(req);
	struct api_valid v;

	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &c->edit.id);
	c->edit.external_id =
		api_valid_index_str(&v, "externalGameId", API_NULLABLE);
	c->edit.strategy_id = api_valid_strategy(&v);
	c->edit.platform = api_valid_str(&v, "platform", API_NULLABLE);
	api_params_read(&v, API_PARAMS_GAME_EDIT, &c->edit.params);
	if (!api_valid_done(&v))
		return;
	if (c->edit.strategy_id.len == 0)
		c->edit.strategy_id.p = NULL;
	open_game(c, &c->edit.id, on_edit_open);
}

/* ---- delete ----------------------------------------------------------------- */

static void on_deleted(struct store_op *op, const struct db_reply *rep)
{
	struct game_call *c = op->arg;
	struct store_game game;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0 ||
		!store_game_row(rep->res[0], 0, &game)) {
		api_reply_open(c->req, SVC_OPEN_MISSING);
		return;
	}
	/* what is cached of its tasks depends on the game */
	api_forget(c->req, "game", &game.id);
	reply_game(c, &game);
}

static void on_delete_open(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct game_call *c = open->arg;

	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	store_op_init(&c->op, on_deleted, c);
	store_game_delete(&c->op, c->app->db, &game->id);
}

void api_games_delete(struct http_req *req)
{
	struct game_call *c = call_new(req);
	struct api_valid v;
	struct uuid id;

	api_valid_init(&v, req);
	api_valid_uuid(&v, "gameId", &id);
	if (!api_valid_done(&v))
		return;
	open_game(c, &id, on_delete_open);
}
