/*
 * api_simulate.c - POST /strategies/custom/simulate and .../{id}/simulate: a
 * run with given fields that leaves nothing behind (api-endpoints.md 26, 27;
 * dsl.md 16).  Runs in workers.
 *
 * A stored strategy runs as it would score, DSL_EXTEND with its parent too.
 * An inline program is DSL_FULL unless the body says otherwise by `type` and
 * `parentStrategyId`, members of ours.
 */
#include "api/api.h"

#include <math.h>

#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_valid.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_in.h"
#include "store/store_authoring.h"
#include "svc/app.h"
#include "svc/svc_cache.h"
#include "svc/svc_simulate.h"

enum {
	ID_CHARS_MAX = 200,
	TRACE_BYTES_MAX = 1 << 20, /* of values shown whole */
	TEXT_BYTES_MAX = 1024      /* of a text that is not */
};

struct simulate_call {
	struct http_req *req;
	struct app *app;
	const struct auth_principal *who;
	struct store_op op;
	struct uuid id;
	struct dsl_program *prog; /* ours until the answer */
	struct svc_simulation sim;
};

static struct simulate_call *call_new(struct http_req *req)
{
	struct simulate_call *c = api_alloc(req, sizeof(*c));

	c->req = req;
	c->app = req->app;
	c->who = api_principal(req);
	c->sim.app = c->app;
	c->sim.arena = &req->arena;
	c->sim.who = c->who;
	c->sim.arg = c;
	return c;
}

static void read_event(struct api_valid *v, struct svc_simulation *s)
{
	s->ids.game = api_valid_text(
		v, "externalGameId", API_REQUIRED, 1, ID_CHARS_MAX);
	s->ids.task = api_valid_text(
		v, "externalTaskId", API_REQUIRED, 1, ID_CHARS_MAX);
	s->ids.user = api_valid_text(
		v, "externalUserId", API_REQUIRED, 1, ID_CHARS_MAX);
	s->data = api_valid_object(v, "data", API_NULLABLE);
	s->mocks = api_valid_object(v, "mockState", API_NULLABLE);
}

/* As json_out_val while there is room, then short: a program may show the same
 * large value at each of its nodes.  1 when the value was cut. */
static unsigned show_value(struct json_out *o, const struct jv *v, size_t *room)
{
	size_t size = jv_text_bytes(v, *room);

	if (size <= *room) {
		*room -= size;
		json_out_val(o, v);
		return 0;
	}
	*room = 0;
	if (v->type == JV_STR)
		json_out_str(o, str_clip(v->u.s, TEXT_BYTES_MAX));
	else if (v->type == JV_ARR || v->type == JV_OBJ)
		json_out_null(o);
	else
		json_out_val(o, v);
	return v->type >= JV_STR;
}

/* All four members, null where dsl.md 11 has none; how many values were cut. */
static unsigned show_trace(struct json_out *o, const struct dsl_trace *t)
{
	const struct dsl_trace_ent *e;
	size_t room = TRACE_BYTES_MAX;
	unsigned cut = 0;
	char tmp[32];

	json_out_arr(o);
	for (uint32_t i = 0; (e = dsl_trace_at(t, i)) != NULL; i++) {
		json_out_obj(o);
		json_out_kv_str(o, "nodeId", dsl_ent_node_id(t, e));
		json_out_kv_cstr(o, "type", dsl_ent_type(t, e));
		json_out_key(o, "value");
		cut += show_value(o, &e->value, &room);
		json_out_kv_str(o, "branch", str_from(dsl_branch_text(e, tmp)));
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
	return cut;
}

static double as_float(const struct jv *v)
{
	if (v->type == JV_FLOAT)
		return v->u.d;
	return v->type == JV_INT ? (double)v->u.i : 0;
}

static void reply_result(struct http_req *req, const struct svc_simulation *s)
{
	const struct engine_custom *run = &s->run;
	struct json_out o;
	unsigned cut;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "points");
	json_out_float(&o, as_float(&run->points));
	json_out_key(&o, "caseName");
	json_out_val(&o, &run->case_name);
	json_out_key(&o, "callbackData");
	if (run->callback_data.type == JV_OBJ)
		json_out_val(&o, &run->callback_data);
	else
		json_out_raw(&o, STR("{}"));
	json_out_key(&o, "executionTrace");
	cut = show_trace(&o, &s->trace);
	if (cut > 0)
		json_out_kv_int(&o, "executionTraceValuesCut", cut);
	json_out_obj_end(&o);
	http_reply_json(req, 200, &b);
	buf_fini(&b);
}

/* 412 for limits; a time-out has a code of its own here (dsl.md 12). */
static void reply_failure(struct http_req *req, const struct svc_simulation *s)
{
	struct dsl_error err = s->run.err;

	switch (dsl_error_status(&err)) {
	case DSL_STATUS_OK:
	case DSL_STATUS_ERROR:
		api_reply_dsl_error(req, 400, &err, false);
		return;
	case DSL_STATUS_TIMEOUT:
		err.code = "DSL_TIMEOUT";
		dsl_error_param(&err, "timeoutMs", jv_int(s->lim.timeout_ms));
		break;
	case DSL_STATUS_LIMIT:
		break;
	}
	api_reply_dsl_error(req, 412, &err, false);
}

static void mock_item(struct api_valid *v, const struct engine_mock_fault *f)
{
	const struct jv *got = f->got;
	struct api_loc loc = {.cnt = 0};

	api_loc_add(&loc, "body");
	api_loc_add(&loc, "mockState");
	api_loc_add(&loc, f->path);
	if (f->is_mean)
		api_valid_item(v, "float_type", &loc,
			"Input should be a valid number", got);
	else if (got->type == JV_FLOAT && got->u.d != floor(got->u.d))
		api_valid_item(v, "int_from_float", &loc,
			"Input should be a valid integer, got a number with a "
			"fractional part",
			got);
	else if (as_float(got) < 0)
		api_valid_item_ctx(v, "greater_than_equal", &loc,
			"Input should be greater than or equal to 0", got,
			"{\"ge\":0}");
	else
		api_valid_item(v, "int_type", &loc,
			"Input should be a valid integer", got);
}

/* What the parent would read is not what the database gives. */
static void reply_bad_mocks(
	struct http_req *req, const struct svc_simulation *s)
{
	struct api_valid v;

	api_valid_init(&v, req);
	for (unsigned i = 0; i < s->faults_cnt; i++)
		mock_item(&v, &s->faults[i]);
	api_valid_reply(&v);
}

static void on_simulated(struct svc_simulation *s, enum svc_simulated res)
{
	struct simulate_call *c = s->arg;
	struct dsl_program *prog = c->prog;

	switch (res) {
	case SVC_SIMULATED_OK:
		reply_result(c->req, s);
		break;
	case SVC_SIMULATED_FAILED:
		reply_failure(c->req, s);
		break;
	case SVC_SIMULATED_BAD_MOCKS:
		reply_bad_mocks(c->req, s);
		break;
	case SVC_SIMULATED_FOREIGN:
		http_reply_error(c->req, 403,
			"the game belongs to somebody else: mock the fields "
			"that read it");
		break;
	case SVC_SIMULATED_NO_DB:
		api_reply_db(c->req, s->reply);
		break;
	}
	/* the request and its arena are gone */
	dsl_program_unref(&prog);
}

static void simulate(
	struct simulate_call *c, const struct jv *ast, struct str type)
{
	struct dsl_limits lim = svc_dsl_limits(c->app->conf);
	struct dsl_error err;
	struct jv norm;

	if (dsl_check(&c->req->arena, ast, &lim, &norm, &err) < 0) {
		api_reply_dsl_error(c->req, 400, &err, false);
		return;
	}
	c->prog = dsl_compile(&norm);
	c->sim.strategy.prog = c->prog;
	c->sim.strategy.is_extend = str_is(type, "DSL_EXTEND");
	c->sim.done = on_simulated;
	svc_simulate(&c->sim);
}

void api_customs_simulate_inline(struct http_req *req)
{
	static const char *const types[] = {"DSL_EXTEND", "DSL_FULL", NULL};
	struct simulate_call *c = call_new(req);
	const struct jv *ast;
	struct api_valid v;
	struct str type;

	api_valid_init(&v, req);
	read_event(&v, &c->sim);
	ast = api_valid_object(&v, "astJson", API_REQUIRED);
	type = api_valid_enum(&v, "type", types, "DSL_FULL");
	c->sim.strategy.parent =
		api_valid_str(&v, "parentStrategyId", API_NULLABLE);
	if (!api_valid_done(&v))
		return;
	simulate(c, ast, type);
}

static void reply_no_program(struct simulate_call *c)
{
	struct dsl_error err = {.cls = DSL_CLASS_VALIDATION,
		.kind = "no_ast",
		.code = "DSL_NO_AST_TO_SIMULATE",
		.message = "The strategy has no program to simulate"};
	char id[UUID_TEXT_LEN + 1];

	uuid_print(&c->id, id);
	dsl_error_param(&err, "strategyId", jv_str(str_from(id)));
	api_reply_dsl_error(c->req, 400, &err, false);
}

static void on_definition(struct store_op *op, const struct db_reply *rep)
{
	struct simulate_call *c = op->arg;
	struct store_definition d;
	struct json_err err;
	struct jv ast;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0) {
		http_reply_error(c->req, 404, "strategy does not exist");
		return;
	}
	store_definition_row(rep->res[0], 0, &d);
	if (d.ast_json.p == NULL) {
		reply_no_program(c);
	} else if (json_parse(&c->req->arena, d.ast_json, &json_limits_default,
			   &ast, &err) < 0) {
		http_reply_error(c->req, 400,
			"the stored program cannot be read: %s", err.text);
	} else {
		c->sim.strategy.parent = api_keep(c->req, d.parent);
		simulate(c, &ast, d.type);
	}
}

void api_customs_simulate(struct http_req *req)
{
	struct simulate_call *c = call_new(req);
	struct api_valid v;

	api_valid_init(&v, req);
	read_event(&v, &c->sim);
	if (!api_valid_done(&v))
		return;
	if (uuid_parse(http_req_capture(req, "id"), &c->id) != 0) {
		http_reply_error(req, 404, "strategy does not exist");
		return;
	}
	store_op_init(&c->op, on_definition, c);
	store_definition_get(&c->op, c->app->db, str_from(c->who->realm),
		c->who->is_admin, &c->id);
}
