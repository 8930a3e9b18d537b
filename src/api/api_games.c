/*
 * api_games.c - games: create, list, get (api-endpoints.md 4 to 6).
 * Runs in workers; each handler owns one struct in the request's arena.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_params.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "svc/svc_catalog.h"

struct game_call {
	struct http_req *req;
	struct app *app;
	struct store_op op;
	struct svc_assign_check check;
	struct svc_game_open open;
	struct store_game_new in;
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

/* 3 to 60 of A-Z a-z 0-9 _ - (api.md 2, slugs). */
static bool is_slug(struct str s)
{
	if (s.len < 3 || s.len > 60)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return true;
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

static void on_assignable(struct svc_assign_check *check, enum svc_assign res,
	const struct store_strategy_ref *ref)
{
	struct game_call *c = check->arg;

	(void)ref;
	if (res != SVC_ASSIGN_OK) {
		api_reply_assign(c->req, res, c->in.strategy_id);
		return;
	}
	store_op_init(&c->op, on_created, c);
	store_game_create(&c->op, c->app->db, &c->in);
}

void api_games_create(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct game_call *c = call_new(req);
	struct api_valid v;

	api_valid_init(&v, req);
	c->in.external_id = api_valid_str(&v, "externalGameId", API_REQUIRED);
	c->in.platform = api_valid_str(&v, "platform", API_REQUIRED);
	c->in.strategy_id = api_valid_str(&v, "strategyId", API_NULLABLE);
	api_params_read(&v, API_PARAMS_GAME, &c->in.params);
	if (!api_valid_done(&v))
		return;
	if (!is_slug(c->in.external_id)) {
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
	c->check.cb = on_assignable;
	c->check.arg = c;
	svc_assign_check(c->app, &c->check, who, c->in.strategy_id);
}

static void on_list(struct store_op *op, const struct db_reply *rep)
{
	struct game_call *c = op->arg;
	struct store_game game;
	struct json_out o;
	struct buf b;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "items");
	json_out_arr(&o);
	for (int i = 0; i < db_res_rows(rep->res[0]); i++) {
		if (!store_game_row(rep->res[0], i, &game))
			continue;
		json_out_obj(&o);
		api_show_game(&o, &c->req->arena, &game);
		json_out_obj_end(&o);
	}
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

static void on_get(struct svc_game_open *open, enum svc_open res,
	const struct store_game *game)
{
	struct game_call *c = open->arg;
	struct json_out o;
	struct buf b;

	if (res != SVC_OPEN_OK) {
		api_reply_open(c->req, res);
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	api_show_game(&o, &c->req->arena, game);
	json_out_obj_end(&o);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
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
	c->open.who = api_principal(req);
	c->open.cb = on_get;
	c->open.arg = c;
	svc_game_open(c->app, &c->open, &id);
}
