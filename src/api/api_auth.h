/*
 * api_auth.h - the one function that turns the credentials of a request into
 * a principal, for all routes (api.md 3.3, 3.4).
 */
#ifndef API_API_AUTH_H
#define API_API_AUTH_H

#include "auth/auth.h"
#include "http/http_req.h"

/*
 * Resolves the credentials by the route's class.  Refused or impossible: the
 * request has been answered.  Allowed: allowed(req) runs, maybe before this
 * returns, and api_principal is valid.
 */
void api_auth(struct http_req *req, void (*allowed)(struct http_req *req));

/* Of an allowed request; without identity for an anonymous caller. */
static inline const struct auth_principal *api_principal(
	const struct http_req *req)
{
	return req->auth;
}

#endif
