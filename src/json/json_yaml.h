/*
 * json_yaml.h - YAML text to the same values as JSON text (json_val.h), for
 * files that people write by hand.  gamectl only.
 *
 * One document of mappings, sequences and scalars; plain scalars by the core
 * schema of YAML 1.2: null, booleans, integers (also 0x1F, 0o17), floats, else
 * text.  Numbers without a place in JSON (.inf, .nan, overflow) are refused,
 * and so are anchors, aliases, tags and duplicate keys: no input costs more
 * than its own reading.
 */
#ifndef JSON_JSON_YAML_H
#define JSON_JSON_YAML_H

#include "base/arena.h"
#include "base/err.h"
#include "json/json_in.h"

/* On failure err_r starts with line and column: "3:7: alias, ...". */
int json_yaml_parse(struct arena *a, struct str text,
	const struct json_limits *lim, struct jv *v_r,
	struct err *err_r) MUST_CHECK;

#endif
