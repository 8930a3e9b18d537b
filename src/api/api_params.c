/* api_params.c - see api_params.h. Runs in workers. */
#include "api/api_params.h"

#include "api/api_common.h"
#include "base/num.h"
#include "json/json_out.h"

/* An array literal under construction: {"a","b"}. */
static void add_element(struct buf *b, struct str s)
{
	buf_add_char(b, b->len == 0 ? '{' : ',');
	buf_add_char(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_add_char(b, '\\');
		buf_add_char(b, s.p[i]);
	}
	buf_add_char(b, '"');
}

static const char *literal(struct http_req *req, struct buf *b)
{
	struct str s;

	buf_add(b, b->len == 0 ? "{}" : "}", b->len == 0 ? 2 : 1);
	s = api_keep(req, buf_str(b));
	buf_fini(b);
	return s.p;
}

/* The value as it is stored (api-endpoints.md 0, "Param values"). */
static struct str value_text(struct http_req *req, const struct jv *v)
{
	char num[NUM_DOUBLE_MAX];
	struct json_out o;
	struct str text;
	struct buf b;

	switch (v->type) {
	case JV_STR:
		return v->u.s;
	case JV_BOOL:
		return v->u.b ? STR("True") : STR("False");
	case JV_FLOAT:
		num_print_double(v->u.d, num);
		return api_keep(req, str_from(num));
	case JV_NULL:
	case JV_INT:
	case JV_ARR:
	case JV_OBJ:
		break;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_val(&o, v);
	text = api_keep(req, buf_str(&b));
	buf_fini(&b);
	return text;
}

/* What has been read: three array literals and the JSON form. */
struct params_out {
	struct buf ids, keys, values, json;
	struct json_out o;
};

static void add_param(
	struct params_out *p, const char *id, struct str key, struct str value)
{
	add_element(&p->ids, str_from(id));
	add_element(&p->keys, key);
	add_element(&p->values, value);
	json_out_obj(&p->o);
	json_out_kv_str(&p->o, "key", key);
	json_out_kv_str(&p->o, "value", value);
	json_out_kv_cstr(&p->o, "id", id);
	json_out_obj_end(&p->o);
}

static bool is_of_game(enum api_params_kind kind)
{
	return kind == API_PARAMS_GAME || kind == API_PARAMS_GAME_EDIT;
}

/* One item per member of the union that the value is not (api.md 5.3). */
static void bad_value(struct api_valid *v, const struct api_loc *loc,
	const struct jv *val, enum api_params_kind kind)
{
	static const struct {
		const char *tag, *type, *msg;
	} members[] = {
		{"str", "string_type", "Input should be a valid string"},
		{"int", "int_type", "Input should be a valid integer"},
		{"float", "float_type", "Input should be a valid number"},
		{"bool", "bool_type", "Input should be a valid boolean"},
		{"dict[any,any]", "dict_type",
			"Input should be a valid dictionary"},
	};
	size_t n = is_of_game(kind) ? 4 : 5;

	for (size_t i = 0; i < n; i++) {
		struct api_loc at = *loc;

		api_loc_add(&at, members[i].tag);
		api_valid_item(v, members[i].type, &at, members[i].msg, val);
	}
}

static bool value_is_legal(const struct jv *val, enum api_params_kind kind)
{
	switch (val->type) {
	case JV_STR:
	case JV_INT:
	case JV_FLOAT:
	case JV_BOOL:
		return true;
	case JV_OBJ:
		return !is_of_game(kind);
	case JV_NULL:
	case JV_ARR:
		return false;
	}
	return false;
}

/* The element's id as text: what an edit sent, else a new one. */
static void read_id(struct api_valid *v, const struct api_loc *loc,
	const struct jv *item, enum api_params_kind kind,
	char text[UUID_TEXT_LEN + 1])
{
	const struct jv *id = jv_member(item, "id");
	bool is_needed = kind == API_PARAMS_GAME_EDIT;
	struct api_loc at = *loc;
	struct uuid u;

	uuid_make_v7(&u);
	if (kind == API_PARAMS_GAME || kind == API_PARAMS_TASK)
		id = NULL; /* what is made has no id yet: one that was sent
			    * is an unknown member */
	api_loc_add(&at, "id");
	if (id == NULL && is_needed)
		api_valid_item(v, "missing", &at, "Field required", item);
	else if (id != NULL && (is_needed || id->type != JV_NULL))
		api_valid_uuid_value(v, &at, id, &u);
	uuid_print(&u, text);
}

static void read_item(struct api_valid *v, const struct api_loc *loc,
	const struct jv *item, enum api_params_kind kind,
	struct params_out *out)
{
	const struct jv *key, *val;
	char id[UUID_TEXT_LEN + 1];
	struct api_loc at = *loc;

	if (item->type != JV_OBJ) {
		api_valid_item(v, "model_attributes_type", loc,
			"Input should be a valid dictionary or object to "
			"extract fields from",
			item);
		return;
	}
	key = jv_member(item, "key");
	val = jv_member(item, "value");
	read_id(v, loc, item, kind, id);
	api_loc_add(&at, "key");
	if (key == NULL)
		api_valid_item(v, "missing", &at, "Field required", item);
	else if (key->type != JV_STR)
		api_valid_item(v, "string_type", &at,
			"Input should be a valid string", key);
	at = *loc;
	api_loc_add(&at, "value");
	if (val == NULL)
		api_valid_item(v, "missing", &at, "Field required", item);
	else if (!value_is_legal(val, kind))
		bad_value(v, &at, val, kind);
	if (v->items_cnt > 0)
		return;
	add_param(out, id, key->u.s, value_text(v->req, val));
}

bool api_params_read(struct api_valid *v, enum api_params_kind kind,
	struct store_params_in *in_r)
{
	const struct jv *list = jv_member(&v->req->json, "params");
	struct api_loc loc = {.cnt = 0};
	struct params_out out;
	bool sent = false;

	memset(&out, 0, sizeof(out));
	json_out_init(&out.o, &out.json);
	json_out_arr(&out.o);
	api_loc_add(&loc, "body");
	api_loc_add(&loc, "params");
	if (list != NULL && list->type == JV_ARR) {
		sent = true;
		for (uint32_t i = 0; i < list->n; i++) {
			struct api_loc at = loc;

			api_loc_add_index(&at, i);
			read_item(v, &at, &list->u.arr[i], kind, &out);
		}
	} else if (list != NULL && list->type != JV_NULL) {
		api_valid_item(v, "list_type", &loc,
			"Input should be a valid list", list);
	}
	in_r->ids = literal(v->req, &out.ids);
	in_r->keys = literal(v->req, &out.keys);
	in_r->values = literal(v->req, &out.values);
	json_out_arr_end(&out.o);
	in_r->json = api_keep(v->req, buf_str(&out.json));
	buf_fini(&out.json);
	return sent;
}
