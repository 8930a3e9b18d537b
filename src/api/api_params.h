/*
 * api_params.h - `params` of games and tasks in a body: validated, turned
 * into text (api-endpoints.md 0, "Param values") and bound as arrays.
 */
#ifndef API_API_PARAMS_H
#define API_API_PARAMS_H

#include "api/api_valid.h"
#include "store/store_catalog.h"

enum api_params_kind {
	API_PARAMS_GAME,      /* key, value: string, int, float, bool */
	API_PARAMS_GAME_EDIT, /* the same with the id of one that exists */
	API_PARAMS_TASK,      /* an object too */
	API_PARAMS_EDIT       /* as a task's, with an optional id */
};

/*
 * Reads body.params; every fault becomes an item of v.  True when a list was
 * sent.  The literals live in the request's arena.
 */
bool api_params_read(struct api_valid *v, enum api_params_kind kind,
	struct store_params_in *in_r);

#endif
