/*
 * api_show.h - the shared objects of api-endpoints.md section 0 as JSON.
 * Strings come from result rows; everything is printed before the row goes.
 */
#ifndef API_API_SHOW_H
#define API_API_SHOW_H

#include "base/arena.h"
#include "json/json_out.h"
#include "store/store_authoring.h"
#include "store/store_catalog.h"

/* Members of Game, without the braces. */
void api_show_game(
	struct json_out *o, struct arena *a, const struct store_game *g);
/* Params as stored: [{"key","value","id"}]. */
void api_show_params_raw(
	struct json_out *o, struct arena *a, struct str params_json);
/*
 * [{"key","value"(,"id")}], a value whose key is a variable of the strategy
 * shown as the number that it is (api-endpoints.md 0, "effective").
 */
void api_show_params(struct json_out *o, struct arena *a,
	struct str params_json, struct str strategy_id, bool with_id);
/*
 * The strategy object; params (game's, then task's) override variables of the
 * same numeric kind.  Either may be empty.
 */
void api_show_strategy(struct json_out *o, struct arena *a,
	struct str strategy_id, const struct store_strategy_ref *custom,
	struct str game_params, struct str task_params);
/* A whole row of strategydefinition. */
void api_show_definition(
	struct json_out *o, struct arena *a, const struct store_definition *d);

#endif
