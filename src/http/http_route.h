/*
 * http_route.h - method and path template -> handler.
 *
 * Literal segments win over captures ({name}) among the routes of a method.
 * A capture never spans '/'; segments are percent-decoded once, and bad
 * escapes, %00, %2F, control bytes and dot segments match nothing (hardening
 * H12).
 */
#ifndef HTTP_HTTP_ROUTE_H
#define HTTP_HTTP_ROUTE_H

#include "base/arena.h"
#include "base/str.h"

#define HTTP_CAPTURES_MAX 4

struct http_req;
typedef void (*http_handler_cb)(struct http_req *req);

enum http_auth_class {
	HTTP_AUTH_OPEN,     /* O: anonymous is fine */
	HTTP_AUTH_KEY,      /* K: API key or bearer, else 401 */
	HTTP_AUTH_STRATEGY, /* S: key or bearer, else 403 */
	HTTP_AUTH_ADMIN,    /* A: admin, else 401/403 */
	HTTP_AUTH_NONE      /* not even looked at: /livez */
};

enum http_body {
	HTTP_BODY_NONE,    /* ignored */
	HTTP_BODY_JSON,    /* must be a JSON object */
	HTTP_BODY_STRATEGY /* as JSON, with the larger size limit */
};

struct http_route {
	const char *method;   /* upper case */
	const char *template; /* "/api/v1/games/{gameId}"; metrics label */
	enum http_auth_class auth;
	enum http_body body;
	http_handler_cb handler;
	bool unmetered; /* left out of the HTTP families (/metrics) */
};

enum http_match {
	HTTP_MATCH_OK,
	HTTP_MATCH_NOT_FOUND,
	HTTP_MATCH_METHOD, /* path known, method not: *allow_r is set */
	HTTP_MATCH_SLASH   /* matches without the trailing slash: 307 */
};

struct http_router;

/* The table must outlive the router. Duplicate or malformed: assert. */
struct http_router *http_router_new(const struct http_route *routes, size_t n);
void http_router_free(struct http_router **r);
/* captures_r[i] belongs to the i-th {name}, decoded into the arena. */
enum http_match http_router_match(const struct http_router *r, struct arena *a,
	const char *method, struct str path, const struct http_route **route_r,
	struct str captures_r[HTTP_CAPTURES_MAX], struct str *allow_r);

#endif
