/* api_auth.c - see api_auth.h. Runs in workers. */
#include "api/api_auth.h"

#include <stdio.h>

#include "api/api_common.h"
#include "base/clock.h"
#include "base/sha256.h"
#include "db/db_row.h"
#include "http/http_reply.h"
#include "store/store_apikey.h"
#include "svc/app.h"

#define NO_CREDENTIALS "Invalid authentication credentials"
#define NO_CALLER                                                    \
	"Custom strategy endpoints require an authenticated caller " \
	"(API key or Keycloak admin)."

struct auth_call {
	struct http_req *req;
	void (*allowed)(struct http_req *req);
	struct auth_principal who;
	struct store_op op;
	uint8_t hash[32];
	char hash_hex[SHA256_HEX_LEN + 1];
	bool has_token;
};

static void unauthorized(struct http_req *req, const char *text)
{
	http_reply_header(req, "WWW-Authenticate", "Bearer");
	http_reply_error(req, 401, "%s", text);
}

/* The gate of the route's class, for a caller whose key is settled. */
static void gate(struct auth_call *c)
{
	struct http_req *req = c->req;
	bool known = c->who.has_key || c->who.has_subject;

	switch (req->route->auth) {
	case HTTP_AUTH_KEY:
		if (!known) {
			unauthorized(req, NO_CREDENTIALS);
			return;
		}
		break;
	case HTTP_AUTH_ADMIN:
		if (!known) {
			unauthorized(req, NO_CREDENTIALS);
			return;
		}
		if (!c->who.is_admin) {
			http_reply_error(
				req, 403, "this needs the administrator role");
			return;
		}
		break;
	case HTTP_AUTH_STRATEGY:
		if (!known && !c->has_token) {
			http_reply_error(req, 403, "%s", NO_CALLER);
			return;
		}
		break;
	case HTTP_AUTH_OPEN:
	case HTTP_AUTH_NONE:
		break;
	}
	/* tokens are not served yet: one that was sent cannot be right */
	if (c->has_token) {
		unauthorized(req, "Invalid token");
		return;
	}
	req->auth_span.start_ns = req->start_ns;
	clock_span_end(&req->auth_span);
	c->allowed(req);
}

static void use_key(struct auth_call *c, const struct auth_key *key)
{
	struct app *app = c->req->app;

	if (!key->active) {
		http_reply_error(c->req, 403,
			key->prefix[0] == '\0'
				? "API key is invalid or does not exist."
				: "API key is inactive. Please contact an "
				  "admin.");
		return;
	}
	auth_principal_of_key(app->auth, key, &c->who);
	gate(c);
}

static void on_key(struct store_op *op, const struct db_reply *rep)
{
	struct auth_call *c = op->arg;
	struct app *app = c->req->app;
	struct store_apikey row;
	struct auth_key key;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	memset(&key, 0, sizeof(key));
	if (db_res_rows(rep->res[0]) > 0) {
		store_apikey_row(rep->res[0], &row);
		snprintf(key.prefix, sizeof(key.prefix), "%.*s",
			STR_ARG(row.prefix));
		key.active = row.active;
		key.is_admin = row.is_admin;
	}
	auth_remember(app->auth, c->hash, &key);
	use_key(c, &key);
}

void api_auth(struct http_req *req, void (*allowed)(struct http_req *req))
{
	struct app *app = req->app;
	struct auth_call *c = api_alloc(req, sizeof(*c));
	struct str key = http_req_header(req, "X-API-Key");
	struct str authorization = http_req_header(req, "Authorization");
	struct auth_key found;

	c->req = req;
	c->allowed = allowed;
	req->auth = &c->who;
	c->has_token =
		authorization.p != NULL && auth_bearer(authorization).p != NULL;
	if (req->route->auth == HTTP_AUTH_NONE) {
		allowed(req);
		return;
	}
	if (key.p == NULL || key.len == 0) {
		gate(c);
		return;
	}
	sha256(key, c->hash);
	if (auth_find(app->auth, c->hash, !db_pool_healthy(app->db), &found)) {
		use_key(c, &found);
		return;
	}
	sha256_hex(key, c->hash_hex);
	store_op_init(&c->op, on_key, c);
	store_apikey_get(&c->op, app->db, str_from(c->hash_hex));
}
