/*
 * svc_catalog.h - who may see a game, and which strategy a game or task may
 * name (api.md 4, api-endpoints.md 4, 7, 11; DESIGN 11 Tenancy).
 *
 * Both answers come from the database; the callback runs once, later, from
 * the loop.  Slices in the answers live inside the callback.
 */
#ifndef SVC_SVC_CATALOG_H
#define SVC_SVC_CATALOG_H

#include "auth/auth.h"
#include "store/store_authoring.h"
#include "svc/app.h"

bool svc_game_is_owned(const struct auth_principal *who, struct str owner_key,
	struct str owner_subject);

enum svc_open {
	SVC_OPEN_OK,
	SVC_OPEN_MISSING,    /* 404 */
	SVC_OPEN_FOREIGN,    /* 403 */
	SVC_OPEN_UNAVAILABLE /* 503 */
};

struct svc_game_open {
	struct store_op op;
	const struct auth_principal *who;
	void (*cb)(struct svc_game_open *o, enum svc_open res,
		const struct store_game *game);
	void *arg;
};
/* Exists first, then owned. */
void svc_game_open(
	struct app *app, struct svc_game_open *o, const struct uuid *game_id);

enum svc_assign {
	SVC_ASSIGN_OK,
	SVC_ASSIGN_UNKNOWN,       /* 404 */
	SVC_ASSIGN_NOT_PUBLISHED, /* 400 */
	SVC_ASSIGN_UNAVAILABLE    /* 503 */
};

struct svc_assign_check {
	struct store_op op;
	/* ref->found is false for a built-in */
	void (*cb)(struct svc_assign_check *c, enum svc_assign res,
		const struct store_strategy_ref *ref);
	void *arg;
};
/*
 * A built-in must exist; custom:<uuid> must be in the caller's realm or the
 * shared one and PUBLISHED.  The callback may run before this returns when
 * the database is not needed.
 */
void svc_assign_check(struct app *app, struct svc_assign_check *c,
	const struct auth_principal *who, struct str strategy_id);

/* custom:<uuid>?  False for anything else. */
bool svc_strategy_is_custom(struct str strategy_id, struct uuid *id_r);

#endif
