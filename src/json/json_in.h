/*
 * json_in.h - text to values: the strict scanner of hardening J1 first, then
 * json-c, then a copy into the arena.
 *
 * Refuses what RFC 8259 refuses, bad UTF-8, NaN, Infinity, U+0000, lone
 * surrogates, integers outside 64 bits, floats outside the double range, and
 * anything past the limits (DESIGN section 11).  Bounded time and memory.
 */
#ifndef JSON_JSON_IN_H
#define JSON_JSON_IN_H

#include "base/arena.h"
#include "base/err.h"
#include "json/json_val.h"

struct json_limits {
	uint32_t depth;        /* nesting of arrays and objects */
	uint32_t values;       /* values in the document */
	uint32_t string_bytes; /* one string or key, decoded UTF-8 */
};

extern const struct json_limits json_limits_default; /* 128, 100000, 64 KiB */

enum json_fault {
	JSON_FAULT_NONE,
	JSON_FAULT_SYNTAX, /* not JSON */
	JSON_FAULT_UTF8,   /* bytes that are no UTF-8: HTTP 400 */
	JSON_FAULT_LIMIT,  /* depth, values, string size */
	JSON_FAULT_NUMBER, /* out of range */
	JSON_FAULT_TEXT    /* U+0000 or a lone surrogate */
};

struct json_err {
	enum json_fault fault;
	size_t offset;  /* byte offset of the fault */
	char text[128]; /* a sentence */
};

/* The scanner alone: 0 when the document passes. Allocates nothing. */
int json_scan(struct str text, const struct json_limits *lim,
	struct json_err *err_r) MUST_CHECK;

/* Scan and build.  Strings are copied into the arena. */
int json_parse(struct arena *a, struct str text, const struct json_limits *lim,
	struct jv *v_r, struct json_err *err_r) MUST_CHECK;

#endif
