/*
 * json_in.c - see json_in.h.  json-c builds the tree, this copies it into the
 * arena and frees it; nothing of json-c leaves this file.
 */
#include "json/json_in.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>

static int copy_value(struct arena *a, json_object *in, struct jv *v_r);

static int copy_array(struct arena *a, json_object *in, struct jv *v_r)
{
	size_t n = json_object_array_length(in);

	v_r->type = JV_ARR;
	v_r->n = (uint32_t)n;
	v_r->u.arr = arena_alloc(a, n * sizeof(struct jv));
	if (v_r->u.arr == NULL)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (copy_value(a, json_object_array_get_idx(in, i),
			    &v_r->u.arr[i]) < 0)
			return -1;
	return 0;
}

static int copy_text(
	struct arena *a, const char *p, size_t len, struct str *s_r)
{
	s_r->p = arena_strndup(a, p, len);
	s_r->len = len;
	return s_r->p == NULL ? -1 : 0;
}

static int copy_object(struct arena *a, json_object *in, struct jv *v_r)
{
	struct lh_entry *e;
	uint32_t i = 0;

	v_r->type = JV_OBJ;
	v_r->n = (uint32_t)json_object_object_length(in);
	v_r->u.obj = arena_alloc(a, v_r->n * sizeof(struct jv_member));
	if (v_r->u.obj == NULL)
		return -1;
	for (e = json_object_get_object(in)->head; e != NULL; e = e->next) {
		struct jv_member *m = &v_r->u.obj[i++];
		const char *key = lh_entry_k(e);

		if (copy_text(a, key, strlen(key), &m->key) < 0 ||
			copy_value(a, lh_entry_v(e), &m->val) < 0)
			return -1;
	}
	return 0;
}

static int copy_value(struct arena *a, json_object *in, struct jv *v_r)
{
	switch (json_object_get_type(in)) {
	case json_type_null:
		*v_r = jv_null();
		return 0;
	case json_type_boolean:
		*v_r = jv_bool(json_object_get_boolean(in));
		return 0;
	case json_type_int:
		*v_r = jv_int(json_object_get_int64(in));
		return 0;
	case json_type_double:
		*v_r = jv_float(json_object_get_double(in));
		return 0;
	case json_type_string:
		*v_r = jv_str((struct str){NULL, 0});
		return copy_text(a, json_object_get_string(in),
			(size_t)json_object_get_string_len(in), &v_r->u.s);
	case json_type_array:
		return copy_array(a, in, v_r);
	case json_type_object:
		return copy_object(a, in, v_r);
	}
	return -1;
}

static int fail(struct json_err *err_r, enum json_fault fault, size_t offset,
	const char *text)
{
	if (err_r != NULL) {
		err_r->fault = fault;
		err_r->offset = offset;
		snprintf(err_r->text, sizeof(err_r->text), "%s", text);
	}
	return -1;
}

/*
 * Making a tokener costs as much as reading a small document, so one is kept
 * for the depth that was asked for first.  A long text may leave a long buffer
 * in it and gets one of its own.
 */
#define KEPT_TEXT_MAX (64u * 1024)

static struct {
	struct json_tokener *tok;
	int depth;
} self;

static struct json_tokener *take_tokener(int depth, size_t len)
{
	if (len > KEPT_TEXT_MAX || (self.tok != NULL && self.depth != depth))
		return json_tokener_new_ex(depth);
	if (self.tok == NULL) {
		self.tok = json_tokener_new_ex(depth);
		self.depth = depth;
	}
	return self.tok;
}

static void give_tokener(struct json_tokener *tok)
{
	if (tok == self.tok)
		json_tokener_reset(tok);
	else
		json_tokener_free(tok);
}

int json_parse(struct arena *a, struct str text, const struct json_limits *lim,
	struct jv *v_r, struct json_err *err_r)
{
	struct json_tokener *tok;
	enum json_tokener_error jerr;
	json_object *obj;
	size_t end;
	int rc;

	if (text.len > INT_MAX / 2)
		return fail(err_r, JSON_FAULT_LIMIT, 0, "document is too long");
	if (json_scan(text, lim, err_r) < 0)
		return -1;
	/* a scalar counts as a level of json-c's */
	tok = take_tokener((int)lim->depth + 2, text.len);
	if (tok == NULL)
		return fail(err_r, JSON_FAULT_LIMIT, 0, "out of memory");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT |
					    JSON_TOKENER_VALIDATE_UTF8 |
					    JSON_TOKENER_ALLOW_TRAILING_CHARS);
	obj = json_tokener_parse_ex(tok, text.p, (int)text.len);
	jerr = json_tokener_get_error(tok);
	if (jerr == json_tokener_continue) {
		/* a number at the end of the text needs a byte behind it */
		obj = json_tokener_parse_ex(tok, " ", 1);
		jerr = json_tokener_get_error(tok);
	}
	end = json_tokener_get_parse_end(tok);
	give_tokener(tok);
	if (jerr != json_tokener_success)
		return fail(err_r, JSON_FAULT_SYNTAX, end,
			json_tokener_error_desc(jerr));
	rc = copy_value(a, obj, v_r);
	json_object_put(obj);
	if (rc < 0)
		return fail(err_r, JSON_FAULT_LIMIT, 0,
			"document needs too much memory");
	return 0;
}
