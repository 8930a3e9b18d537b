/* svc_catalog.c - see svc_catalog.h. Runs in workers. */
#include "svc/svc_catalog.h"

#include "conf/conf.h"
#include "db/db_row.h"
#include "engine/engine.h"
#include "svc/svc_award.h"

bool svc_game_is_owned(const struct auth_principal *who, struct str owner_key,
	struct str owner_subject)
{
	const struct str none = {NULL, 0};
	const struct svc_caller caller = {
		.key_prefix = who->has_key ? str_from(who->key_prefix) : none,
		.subject = who->has_subject ? str_from(who->subject) : none,
		.is_admin = who->is_admin};

	return svc_owns(&caller, owner_key, owner_subject);
}

static void on_game(struct store_op *op, const struct db_reply *rep)
{
	struct svc_game_open *o = op->arg;
	struct store_game game;

	if (rep->outcome != DB_OK)
		o->cb(o, SVC_OPEN_UNAVAILABLE, NULL);
	else if (db_res_rows(rep->res[0]) == 0 ||
		 !store_game_row(rep->res[0], 0, &game))
		o->cb(o, SVC_OPEN_MISSING, NULL);
	else if (!svc_game_is_owned(o->who, game.owner_key, game.owner_subject))
		o->cb(o, SVC_OPEN_FOREIGN, NULL);
	else
		o->cb(o, SVC_OPEN_OK, &game);
}

void svc_game_open(
	struct app *app, struct svc_game_open *o, const struct uuid *game_id)
{
	store_op_init(&o->op, on_game, o);
	store_game_get(&o->op, app->db, game_id);
}

bool svc_strategy_is_custom(struct str strategy_id, struct uuid *id_r)
{
	static const size_t prefix = sizeof("custom:") - 1;
	struct str rest;

	if (!str_starts_with(strategy_id, "custom:"))
		return false;
	rest = (struct str){strategy_id.p + prefix, strategy_id.len - prefix};
	return rest.len == UUID_TEXT_LEN && uuid_parse(rest, id_r) == 0;
}

static void on_assignable(struct store_op *op, const struct db_reply *rep)
{
	struct svc_assign_check *c = op->arg;
	struct store_assignable a;

	if (rep->outcome != DB_OK) {
		c->cb(c, SVC_ASSIGN_UNAVAILABLE, NULL);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0) {
		c->cb(c, SVC_ASSIGN_UNKNOWN, NULL);
		return;
	}
	store_assignable_row(rep->res[0], 0, &a);
	if (str_is(a.status, "PUBLISHED"))
		c->cb(c, SVC_ASSIGN_OK, &a.ref);
	else
		c->cb(c, SVC_ASSIGN_NOT_PUBLISHED, &a.ref);
}

void svc_assign_check(struct app *app, struct svc_assign_check *c,
	const struct auth_principal *who, struct str strategy_id)
{
	static const struct store_strategy_ref builtin = {.found = false};
	struct uuid id;

	if (svc_strategy_is_custom(strategy_id, &id)) {
		store_op_init(&c->op, on_assignable, c);
		store_definition_assignable(&c->op, app->db,
			str_from(who->realm), str_from(app->conf->realm),
			who->is_admin, &id);
	} else if (engine_find(strategy_id) != NULL) {
		c->cb(c, SVC_ASSIGN_OK, &builtin);
	} else {
		c->cb(c, SVC_ASSIGN_UNKNOWN, NULL);
	}
}
