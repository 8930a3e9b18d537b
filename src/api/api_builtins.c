/*
 * api_builtins.c - one built-in strategy: the object, its variables with
 * their types, and a drawing of how it decides (api-endpoints.md 41, 42, 51).
 * Custom strategies are not served here: these routes are open to anybody.
 * Runs in workers.
 */
#include <stdlib.h>

#include "api/api.h"
#include "api/api_common.h"
#include "api/api_show.h"
#include "base/log.h"
#include "dsl/dsl_svg.h"
#include "dsl/dsl_tree.h"
#include "engine/engine.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_in.h"

/* NULL: there is none of the path's id; answered. */
static const struct engine_builtin *open_builtin(struct http_req *req)
{
	struct str id = http_req_capture(req, "id");
	const struct engine_builtin *b = engine_find(id);

	if (b == NULL)
		http_reply_error(
			req, 404, "strategy %.*s does not exist", STR_ARG(id));
	return b;
}

void api_strategies_get(struct http_req *req)
{
	static const struct str none = {NULL, 0};
	const struct engine_builtin *b = open_builtin(req);
	struct json_out o;
	struct buf out;

	if (b == NULL)
		return;
	buf_init(&out, 0);
	json_out_init(&o, &out);
	api_show_strategy(&o, &req->arena, str_from(engine_info(b)->id), NULL,
		none, none);
	http_reply_json(req, 200, &out);
	buf_fini(&out);
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct jv_member *)a)->key,
		((const struct jv_member *)b)->key);
}

static const char *schema_type(const struct jv *v)
{
	switch (v->type) {
	case JV_NULL:
		return "null";
	case JV_BOOL:
		return "bool";
	case JV_INT:
		return "int";
	case JV_FLOAT:
		return "float";
	case JV_STR:
		return "str";
	case JV_ARR:
		return "list";
	case JV_OBJ:
		return "dict";
	}
	return "null";
}

/* variables: JSON of ours, an object. */
static void show_variables(
	struct json_out *o, struct arena *a, const char *variables)
{
	struct json_err err;
	struct jv v;

	if (json_parse(a, str_from(variables), &json_limits_default, &v, &err) <
		0)
		fatal("the variables of a built-in are no json: %s", err.text);
	if (v.n > 0)
		qsort(v.u.obj, v.n, sizeof(*v.u.obj), by_key);
	json_out_arr(o);
	for (uint32_t i = 0; i < v.n; i++) {
		json_out_obj(o);
		json_out_kv_str(o, "name", v.u.obj[i].key);
		json_out_kv_cstr(o, "type", schema_type(&v.u.obj[i].val));
		json_out_key(o, "currentValue");
		json_out_val(o, &v.u.obj[i].val);
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

void api_strategies_schema(struct http_req *req)
{
	const struct engine_builtin *b = open_builtin(req);
	const struct engine_info *info;
	struct json_out o;
	struct buf out;

	if (b == NULL)
		return;
	info = engine_info(b);
	buf_init(&out, 0);
	json_out_init(&o, &out);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "id", info->id);
	json_out_kv_cstr(&o, "name", info->name);
	json_out_kv_cstr(&o, "description", info->description);
	json_out_kv_cstr(&o, "version", info->version);
	json_out_key(&o, "variables");
	show_variables(&o, &req->arena, info->variables);
	json_out_kv_cstr(&o, "hash_version", info->hash_version);
	json_out_obj_end(&o);
	http_reply_json(req, 200, &out);
	buf_fini(&out);
}

void api_strategies_graph(struct http_req *req)
{
	const struct engine_builtin *b = open_builtin(req);
	struct dsl_svg graph;
	struct buf out;

	if (b == NULL)
		return;
	buf_init(&out, 0);
	dsl_svg_init(&graph);
	dsl_tree_walk_text(engine_flow(b), dsl_svg_line, &graph);
	dsl_svg_end(&graph, str_from(engine_info(b)->name), &out);
	http_reply_text(req, 200, "image/svg+xml", buf_str(&out));
	buf_fini(&out);
}
