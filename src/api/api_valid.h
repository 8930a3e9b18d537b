/*
 * api_valid.h - typed reading of path, query and body.  Every fault becomes
 * an item of one 422 answer (api.md 5.3): type, loc, msg, input, ctx.
 *
 *	api_valid_init(&v, req);
 *	name = api_valid_str(&v, "name", API_REQUIRED);
 *	...
 *	if (!api_valid_done(&v))
 *		return;			the request has been answered
 */
#ifndef API_API_VALID_H
#define API_API_VALID_H

#include "http/http_req.h"
#include "json/json_out.h"
#include "store/store_catalog.h"

#define API_ITEMS_MAX   100 /* items of one answer */
#define API_LOC_MAX     8
#define API_INDEX_BYTES 255 /* of texts that become part of an index */

struct api_valid {
	struct http_req *req;
	struct buf items; /* JSON, comma-separated */
	struct json_out out;
	unsigned items_cnt;
};

/* Where a fault is: "body", member names, array indexes. */
struct api_loc {
	const char *names[API_LOC_MAX]; /* NULL: an index */
	uint32_t indexes[API_LOC_MAX];
	unsigned cnt;
};

enum api_flags {
	API_OPTIONAL = 0,      /* may be absent, not null */
	API_REQUIRED = 1 << 0, /* absent is a fault */
	API_NULLABLE = 1 << 1  /* null counts as absent */
};

void api_loc_add(struct api_loc *loc, const char *name);
void api_loc_add_index(struct api_loc *loc, uint32_t i);

void api_valid_init(struct api_valid *v, struct http_req *req);
/* input NULL prints null */
void api_valid_item(struct api_valid *v, const char *type,
	const struct api_loc *loc, const char *msg, const struct jv *input);
/* ctx is a JSON object */
void api_valid_item_ctx(struct api_valid *v, const char *type,
	const struct api_loc *loc, const char *msg, const struct jv *input,
	const char *ctx);
/* True when there is no fault; else the request has been answered. */
bool api_valid_done(struct api_valid *v) MUST_CHECK;
/* Answers with the faults, of which there are some, when they were found only
 * after the work had begun. */
void api_valid_reply(struct api_valid *v);

/* Body members; texts live in the request's arena, p NULL when not sent. */
struct str api_valid_str(struct api_valid *v, const char *name, unsigned flags);
struct str api_valid_text(struct api_valid *v, const char *name, unsigned flags,
	size_t min_chars, size_t max_chars);
/* At most API_INDEX_BYTES bytes. */
struct str api_valid_index_str(
	struct api_valid *v, const char *name, unsigned flags);
/* strategyId, null counting as absent; the id of a stored strategy comes in
 * the one spelling in which ids are stored and compared. */
struct str api_valid_strategy(struct api_valid *v);
/* One of a NULL-ended list; fallback when absent.  With NULL for a fallback
 * null counts as absent. */
struct str api_valid_enum(struct api_valid *v, const char *name,
	const char *const *words, const char *fallback);
const struct jv *api_valid_object(
	struct api_valid *v, const char *name, unsigned flags);
/* Lax as api.md 2; null and absent give the fallback. */
bool api_valid_bool(struct api_valid *v, const char *name, bool fallback);

/* Path parameter. */
void api_valid_uuid(struct api_valid *v, const char *name, struct uuid *u_r);
void api_valid_uuid_value(struct api_valid *v, const struct api_loc *loc,
	const struct jv *val, struct uuid *u_r);

/* The path's integer; min when there is a fault. */
int64_t api_valid_path_int(struct api_valid *v, const char *name, int64_t min);

/* Query parameters. words: "^(A|B)$". */
struct str api_valid_query_pattern(
	struct api_valid *v, const char *name, const char *pattern);
int64_t api_valid_query_int(struct api_valid *v, const char *name, int64_t min,
	int64_t max, int64_t fallback);
/* page, page_size, ordering (api.md 6). */
void api_valid_page(struct api_valid *v, const char *const *columns,
	struct store_page *page_r);

#endif
