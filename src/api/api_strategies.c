/*
 * api_strategies.c - the built-ins' list, and custom strategies: create,
 * import, get, edit, publish, archive (api-endpoints.md 19 to 25, 47).
 * Runs in workers.
 */
#include "api/api.h"
#include "api/api_audit.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_show.h"
#include "api/api_valid.h"
#include "dsl/dsl_run.h"
#include "engine/engine.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_in.h"
#include "store/store_authoring.h"
#include "svc/svc_cache.h"

#define EDIT_TRIES_MAX 5
#define TEXT_MAX       65536 /* the JSON reader's own limit of a text */

struct strategy_call {
	struct http_req *req;
	struct app *app;
	struct store_op op;
	struct store_definition_new in; /* to create, or what an edit changes */
	struct store_definition_edit edit;
	const struct jv *ast; /* as sent; NULL: not */
	unsigned tries;
	struct uuid id;
	int status; /* of the answer when a row came back */
};

void api_strategies_list(struct http_req *req)
{
	static const struct str none = {NULL, 0};
	const struct engine_builtin *b;
	struct json_out o;
	struct buf out;

	buf_init(&out, 0);
	json_out_init(&o, &out);
	json_out_arr(&o);
	for (unsigned i = 0; (b = engine_at(i)) != NULL; i++)
		api_show_strategy(&o, &req->arena, str_from(engine_info(b)->id),
			NULL, none, none);
	json_out_arr_end(&o);
	http_reply_json(req, 200, &out);
	buf_fini(&out);
}

static struct strategy_call *call_new(struct http_req *req)
{
	struct strategy_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	c->status = 200;
	return c;
}

static void reply_row(struct strategy_call *c, const struct db_res *res)
{
	struct store_definition d;
	struct json_out o;
	struct buf b;

	store_definition_row(res, 0, &d);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	api_show_definition(&o, &c->req->arena, &d);
	http_reply_json(c->req, c->status, &b);
	buf_fini(&b);
}

static void on_created(struct store_op *op, const struct db_reply *rep)
{
	struct strategy_call *c = op->arg;

	if (rep->outcome != DB_OK)
		api_reply_db(c->req, rep);
	else if (db_res_rows(rep->res[0]) == 0)
		http_reply_error(c->req, 400,
			"a strategy named %.*s exists in this realm",
			STR_ARG(c->in.name));
	else
		reply_row(c, rep->res[0]);
}

/* An unknown parent answers 404, what else is wrong with it 400. */
static bool parent_is_legal(
	struct strategy_call *c, struct str type, struct str parent)
{
	struct err err;

	if (engine_check_parent(type, parent, &err) == 0)
		return true;
	http_reply_error(
		c->req, err.code == ERR_NOT_FOUND ? 404 : 400, "%s", err.text);
	return false;
}

/* Of an edit, before the row that it completes is known. */
static bool parent_exists(
	struct strategy_call *c, struct str type, struct str parent)
{
	struct err err;

	if (engine_check_parent(type, parent, &err) == 0 ||
		err.code != ERR_NOT_FOUND)
		return true;
	http_reply_error(c->req, 404, "%s", err.text);
	return false;
}

static bool program_is_valid(
	struct strategy_call *c, const struct jv *ast, struct jv *norm_r)
{
	struct dsl_limits lim = svc_dsl_limits(c->app->conf);
	struct dsl_error err;

	if (dsl_check(&c->req->arena, ast, &lim, norm_r, &err) == 0)
		return true;
	api_reply_dsl_error(c->req, 400, &err, false);
	return false;
}

/*
 * Binds the text to store.  The ids that the check added may have made it
 * larger than what can be read again.
 */
static bool bind_program(struct strategy_call *c, struct str text)
{
	struct dsl_error too_large = {.cls = DSL_CLASS_LIMIT,
		.kind = "value_too_large",
		.code = "DSL_VALUE_TOO_LARGE",
		.message = "The program and its node ids are too large"};
	char *p = arena_strndup(&c->req->arena, text.p, text.len);
	struct arena scratch;
	struct json_err err;
	bool is_readable;
	struct jv ast;

	arena_init(&scratch, 0);
	is_readable = json_parse(&scratch, text, &json_limits_default, &ast,
			      &err) == 0;
	arena_fini(&scratch);
	if (p == NULL || !is_readable) {
		api_reply_dsl_error(c->req, 400, &too_large, false);
		return false;
	}
	c->in.ast_text = (struct str){p, text.len};
	return true;
}

/* Checks the program that was sent, if any, and binds its canonical text. */
static bool take_program(struct strategy_call *c)
{
	struct jv norm;
	struct buf text;
	bool is_bound;

	if (c->ast == NULL)
		return true;
	if (!program_is_valid(c, c->ast, &norm))
		return false;
	buf_init(&text, 0);
	dsl_canon(&text, &norm);
	is_bound = bind_program(c, buf_str(&text));
	buf_fini(&text);
	return is_bound;
}

/*
 * The members of a body that creates, edits or imports, and who sends it.
 * Only an import has to bring a program and its drawing.
 */
static bool read_body(struct strategy_call *c, unsigned name_flags,
	const char *type, unsigned program_flags)
{
	const struct auth_principal *who = api_principal(c->req);
	struct api_valid v;

	api_valid_init(&v, c->req);
	c->in.name = api_valid_text(&v, "name", name_flags, 1, 200);
	c->in.description =
		api_valid_text(&v, "description", API_NULLABLE, 0, 2000);
	c->in.type = api_valid_enum(&v, "type", engine_types, type);
	c->in.parent = api_valid_str(&v, "parentStrategyId", API_NULLABLE);
	api_audit_note(c->req, "type", c->in.type);
	c->ast = api_valid_object(&v, "astJson", program_flags);
	c->in.blockly = api_valid_text(&v, "blocklyXml", program_flags,
		program_flags & API_REQUIRED ? 1 : 0, TEXT_MAX);
	c->in.experiment_tag =
		api_valid_text(&v, "experimentTag", API_NULLABLE, 0, 200);
	if (!api_valid_done(&v))
		return false;
	uuid_make_v7(&c->in.id);
	c->in.realm = str_from(who->realm);
	c->in.key_prefix = api_principal_key(who);
	c->in.subject = api_principal_subject(who);
	c->in.created_by = who->has_subject ? c->in.subject : c->in.key_prefix;
	return true;
}

void api_customs_create(struct http_req *req)
{
	struct strategy_call *c = call_new(req);

	if (!read_body(c, API_REQUIRED, "DSL_FULL", API_NULLABLE) ||
		!parent_is_legal(c, c->in.type, c->in.parent) ||
		!take_program(c))
		return;
	c->status = 201;
	store_op_init(&c->op, on_created, c);
	store_definition_create(&c->op, c->app->db, &c->in);
}

/* Exports carry more members than these; they are ignored. */
void api_customs_import(struct http_req *req)
{
	struct strategy_call *c = call_new(req);

	if (!read_body(c, API_REQUIRED, "DSL_FULL", API_REQUIRED) ||
		!take_program(c) ||
		!parent_is_legal(c, c->in.type, c->in.parent))
		return;
	c->status = 201;
	store_op_init(&c->op, on_created, c);
	store_definition_import(&c->op, c->app->db, &c->in);
}

static void on_row(struct store_op *op, const struct db_reply *rep)
{
	struct strategy_call *c = op->arg;

	if (rep->outcome != DB_OK)
		api_reply_db(c->req, rep);
	else if (db_res_rows(rep->res[0]) == 0)
		http_reply_error(c->req, 404, "strategy does not exist");
	else
		reply_row(c, rep->res[0]);
}

/* The path's id; a spelling that is no UUID names nothing: 404. */
static bool path_id(struct strategy_call *c)
{
	struct str text = http_req_capture(c->req, "id");

	if (uuid_parse(text, &c->id) == 0)
		return true;
	http_reply_error(c->req, 404, "strategy does not exist");
	return false;
}

void api_customs_get(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct strategy_call *c = call_new(req);

	if (!path_id(c))
		return;
	store_op_init(&c->op, on_row, c);
	store_definition_get(&c->op, c->app->db, str_from(who->realm),
		who->is_admin, &c->id);
}

static void on_published(struct store_op *op, const struct db_reply *rep)
{
	struct strategy_call *c = op->arg;
	struct store_definition d;

	if (rep->outcome != DB_OK || db_res_rows(rep->res[0]) == 0) {
		on_row(op, rep);
		return;
	}
	store_definition_row(rep->res[0], 0, &d);
	if (str_is(d.status, "ARCHIVED")) {
		http_reply_error(c->req, 409,
			"strategy is archived and cannot be published");
		return;
	}
	if (str_is(d.status, "DRAFT")) {
		http_reply_error(c->req, 400,
			"strategy has no program and cannot be published");
		return;
	}
	api_forget(c->req, "strategy", &c->id);
	reply_row(c, rep->res[0]);
}

void api_customs_publish(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct strategy_call *c = call_new(req);

	if (!who->is_admin) {
		http_reply_error(req, 403,
			"publishing a strategy needs the administrator role");
		return;
	}
	if (!path_id(c))
		return;
	store_op_init(&c->op, on_published, c);
	store_definition_publish(&c->op, c->app->db, str_from(who->realm),
		who->is_admin, &c->id);
}

static void on_archived(struct store_op *op, const struct db_reply *rep)
{
	struct strategy_call *c = op->arg;

	if (rep->outcome == DB_OK)
		api_forget(c->req, "strategy", &c->id);
	on_row(op, rep);
}

void api_customs_archive(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct strategy_call *c = call_new(req);

	if (!who->is_admin) {
		http_reply_error(req, 403,
			"archiving a strategy needs the administrator role");
		return;
	}
	if (!path_id(c))
		return;
	store_op_init(&c->op, on_archived, c);
	store_definition_archive(&c->op, c->app->db, str_from(who->realm),
		who->is_admin, &c->id);
}

/* ---- edit ------------------------------------------------------------------- */

static void edit_check(struct strategy_call *c);

static void reply_archived(struct strategy_call *c)
{
	http_reply_error(
		c->req, 409, "strategy is archived and cannot be changed");
}

static void on_edited(struct store_op *op, const struct db_reply *rep)
{
	struct strategy_call *c = op->arg;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	switch (store_definition_edited(rep->res[0])) {
	case STORE_DEFINITION_GONE:
		http_reply_error(c->req, 404, "strategy does not exist");
		return;
	case STORE_DEFINITION_ARCHIVED:
		reply_archived(c);
		return;
	case STORE_DEFINITION_TAKEN:
		http_reply_error(c->req, 400,
			"a strategy named %.*s exists in this realm",
			STR_ARG(c->in.name));
		return;
	case STORE_DEFINITION_MOVED:
		if (++c->tries < EDIT_TRIES_MAX)
			edit_check(c);
		else
			http_reply_error(c->req, 409,
				"strategy is being changed by others");
		return;
	case STORE_DEFINITION_EDITED:
		api_forget(c->req, "strategy", &c->id);
		reply_row(c, rep->res[0]);
		return;
	}
}

/* The program that stays is checked like a new one. */
static bool kept_program_is_valid(struct strategy_call *c, struct str text)
{
	struct json_err err;
	struct jv ast, norm;

	if (c->ast != NULL || text.p == NULL)
		return true;
	if (json_parse(&c->req->arena, text, &json_limits_default, &ast,
		    &err) == 0)
		return program_is_valid(c, &ast, &norm);
	http_reply_error(
		c->req, 400, "the stored program cannot be read: %s", err.text);
	return false;
}

/* The row as it stands: would it be legal with what the body changes? */
static void on_editable(struct store_op *op, const struct db_reply *rep)
{
	struct strategy_call *c = op->arg;
	struct store_definition d;

	if (rep->outcome != DB_OK || db_res_rows(rep->res[0]) == 0) {
		on_row(op, rep);
		return;
	}
	store_definition_row(rep->res[0], 0, &d);
	if (str_is(d.status, "ARCHIVED")) {
		reply_archived(c);
		return;
	}
	if (!parent_is_legal(c, c->in.type.p ? c->in.type : d.type,
		    c->in.parent.p ? c->in.parent : d.parent) ||
		!take_program(c) || !kept_program_is_valid(c, d.ast_json))
		return;
	c->edit.id = c->id;
	c->edit.known_us = d.updated_us;
	c->edit.to = c->in;
	store_op_init(&c->op, on_edited, c);
	store_definition_edit(
		&c->op, c->app->db, api_principal(c->req)->is_admin, &c->edit);
}

static void edit_check(struct strategy_call *c)
{
	store_op_init(&c->op, on_editable, c);
	store_definition_get(&c->op, c->app->db, c->in.realm,
		api_principal(c->req)->is_admin, &c->id);
}

void api_customs_edit(struct http_req *req)
{
	struct strategy_call *c = call_new(req);

	if (!read_body(c, API_NULLABLE, NULL, API_NULLABLE) ||
		!parent_exists(c, c->in.type, c->in.parent) || !path_id(c))
		return;
	edit_check(c);
}
