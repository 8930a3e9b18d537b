/* api_show.c - see api_show.h. Runs in workers. */
#include "api/api_show.h"

#include <stdio.h>

#include "base/log.h"
#include "base/num.h"
#include "engine/engine.h"
#include "json/json_in.h"

static const struct jv empty_array = {.type = JV_ARR};

/*
 * What was let in piece by piece may be more than one body can hold: a param's
 * object is a string here, and every param has an id besides.
 */
static const struct json_limits stored_limits = {
	.depth = 128, .values = UINT32_MAX, .string_bytes = UINT32_MAX};

/* JSON that the database or this program made; anything else is null. */
static struct jv trusted_json(struct arena *a, struct str text)
{
	struct json_err err;
	struct jv v = jv_null();

	if (text.p == NULL || text.len == 0)
		return v;
	if (json_parse(a, text, &stored_limits, &v, &err) < 0) {
		log_errorx(
			"stored json cannot be read reason=\"%s\"", err.text);
		return jv_null();
	}
	return v;
}

static struct jv params_of(struct arena *a, struct str params_json)
{
	struct jv v = trusted_json(a, params_json);

	return v.type == JV_ARR ? v : empty_array;
}

static struct str text_of(const struct jv *obj, const char *key)
{
	const struct jv *v = jv_member(obj, key);

	if (v == NULL || v->type != JV_STR)
		return (struct str){NULL, 0};
	return v->u.s;
}

static void time_or_null(struct json_out *o, const char *key, int64_t us)
{
	json_out_key(o, key);
	if (us == 0)
		json_out_null(o);
	else
		json_out_time(o, us, CLOCK_TS_Z);
}

void api_show_params_raw(
	struct json_out *o, struct arena *a, struct str params_json)
{
	struct jv params = params_of(a, params_json);

	json_out_val(o, &params);
}

void api_show_game(
	struct json_out *o, struct arena *a, const struct store_game *g)
{
	json_out_key(o, "gameId");
	json_out_uuid(o, &g->id);
	time_or_null(o, "created_at", g->created_us);
	time_or_null(o, "updated_at", g->updated_us);
	json_out_kv_str(o, "externalGameId", g->external_id);
	json_out_kv_str(o, "strategyId", g->strategy_id);
	json_out_kv_str(o, "platform", g->platform);
	json_out_key(o, "params");
	api_show_params_raw(o, a, g->params_json);
}

/* Defaults of the strategy's variables; null for a custom strategy. */
static struct jv variables_of(struct arena *a, struct str strategy_id)
{
	const struct engine_builtin *b = engine_find(strategy_id);

	if (b == NULL)
		return jv_null();
	return trusted_json(a, str_from(engine_info(b)->variables));
}

/* Text as the number that it spells; false when it spells none. */
static bool number_of(struct str text, struct jv *v_r)
{
	int64_t i;
	double d;

	if (num_parse_i64(text, &i) == 0) {
		*v_r = jv_int(i);
		return true;
	}
	if (num_parse_double(text, &d) == 0) {
		*v_r = jv_float(d);
		return true;
	}
	return false;
}

void api_show_params(struct json_out *o, struct arena *a,
	struct str params_json, struct str strategy_id, bool with_id)
{
	struct jv params = params_of(a, params_json);
	struct jv vars = variables_of(a, strategy_id);

	json_out_arr(o);
	for (uint32_t i = 0; i < params.n; i++) {
		const struct jv *p = &params.u.arr[i];
		struct str key = text_of(p, "key");
		struct str value = text_of(p, "value");
		struct jv num;

		json_out_obj(o);
		json_out_kv_str(o, "key", key);
		json_out_key(o, "value");
		if (value.p != NULL && jv_get(&vars, key) != NULL &&
			number_of(value, &num))
			json_out_val(o, &num);
		else
			json_out_str(o, value);
		if (with_id)
			json_out_kv_str(o, "id", text_of(p, "id"));
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

static void override(struct jv *vars, const struct jv *params)
{
	for (uint32_t i = 0; i < params->n; i++) {
		struct str key = text_of(&params->u.arr[i], "key");
		struct str value = text_of(&params->u.arr[i], "value");
		struct jv num;

		if (key.p == NULL || value.p == NULL || !number_of(value, &num))
			continue;
		for (uint32_t m = 0; m < vars->n; m++) {
			struct jv_member *v = &vars->u.obj[m];

			if (str_eq(v->key, key) && v->val.type == num.type)
				v->val = num;
		}
	}
}

static void show_custom(struct json_out *o, struct str strategy_id,
	const struct store_strategy_ref *ref)
{
	char version[24];

	snprintf(version, sizeof(version), "%lld", (long long)ref->version);
	json_out_kv_str(o, "id", strategy_id);
	json_out_kv_str(o, "name", ref->name);
	json_out_kv_str(o, "description", ref->description);
	json_out_kv_cstr(o, "version", ref->found ? version : "0");
	json_out_key(o, "variables");
	json_out_raw(o, STR("{}"));
	json_out_kv_str(o, "hash_version", ref->hash);
}

void api_show_strategy(struct json_out *o, struct arena *a,
	struct str strategy_id, const struct store_strategy_ref *custom,
	struct str game_params, struct str task_params)
{
	static const struct store_strategy_ref gone = {.found = false};
	const struct engine_builtin *b = engine_find(strategy_id);
	const struct engine_info *info;
	struct jv vars, params;

	json_out_obj(o);
	if (b == NULL) {
		show_custom(o, strategy_id, custom ? custom : &gone);
		json_out_obj_end(o);
		return;
	}
	info = engine_info(b);
	vars = variables_of(a, strategy_id);
	params = params_of(a, game_params);
	override(&vars, &params);
	params = params_of(a, task_params);
	override(&vars, &params);
	json_out_kv_cstr(o, "id", info->id);
	json_out_kv_cstr(o, "name", info->name);
	json_out_kv_cstr(o, "description", info->description);
	json_out_kv_cstr(o, "version", info->version);
	json_out_key(o, "variables");
	json_out_val(o, &vars);
	json_out_kv_cstr(o, "hash_version", info->hash_version);
	json_out_obj_end(o);
}

void api_show_definition(
	struct json_out *o, struct arena *a, const struct store_definition *d)
{
	struct jv ast = trusted_json(a, d->ast_json);

	json_out_obj(o);
	json_out_key(o, "id");
	json_out_uuid(o, &d->id);
	json_out_kv_str(o, "realmId", d->realm);
	json_out_kv_str(o, "name", d->name);
	json_out_kv_str(o, "description", d->description);
	json_out_kv_str(o, "type", d->type);
	json_out_kv_str(o, "parentStrategyId", d->parent);
	json_out_key(o, "astJson");
	json_out_val(o, &ast);
	json_out_kv_str(o, "blocklyXml", d->blockly);
	json_out_kv_int(o, "version", d->version);
	json_out_kv_str(o, "status", d->status);
	json_out_kv_str(o, "createdBy", d->created_by);
	time_or_null(o, "created_at", d->created_us);
	time_or_null(o, "updated_at", d->updated_us);
	time_or_null(o, "publishedAt", d->published_us);
	json_out_kv_str(o, "experimentTag", d->experiment_tag);
	json_out_obj_end(o);
}
