/*
 * json_out.h - JSON text into a buf: compact, UTF-8 as it is, commas and
 * nesting kept by the writer, floats as num_print_double prints them,
 * integers plain (api.md section 2).
 */
#ifndef JSON_JSON_OUT_H
#define JSON_JSON_OUT_H

#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "json/json_val.h"

struct json_out {
	struct buf *b;
	bool comma; /* the next value needs a comma before it */
};

void json_out_init(struct json_out *o, struct buf *b);
void json_out_obj(struct json_out *o); /* { */
void json_out_obj_end(struct json_out *o);
void json_out_arr(struct json_out *o); /* [ */
void json_out_arr_end(struct json_out *o);
void json_out_key(struct json_out *o, const char *key);
void json_out_key_str(struct json_out *o, struct str key);
void json_out_null(struct json_out *o);
void json_out_bool(struct json_out *o, bool v);
void json_out_int(struct json_out *o, int64_t v);
void json_out_uint(struct json_out *o, uint64_t v);
void json_out_float(struct json_out *o, double v); /* not finite: null */
/* s.p NULL prints null.  Bad UTF-8 and U+0000 become U+FFFD. */
void json_out_str(struct json_out *o, struct str s);
void json_out_cstr(struct json_out *o, const char *s);
void json_out_uuid(struct json_out *o, const struct uuid *u);
void json_out_time(struct json_out *o, int64_t wall_us, enum clock_form form);
void json_out_val(struct json_out *o, const struct jv *v);
/* Text that is JSON already, trusted. */
void json_out_raw(struct json_out *o, struct str json);

/* Shorthands: key and value. */
void json_out_kv_str(struct json_out *o, const char *key, struct str s);
void json_out_kv_cstr(struct json_out *o, const char *key, const char *s);
void json_out_kv_int(struct json_out *o, const char *key, int64_t v);
void json_out_kv_bool(struct json_out *o, const char *key, bool v);

#endif
