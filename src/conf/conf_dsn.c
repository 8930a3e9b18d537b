/* conf_dsn.c - see conf_dsn.h.  Runs in the master and in the logger. */
#include "conf/conf_dsn.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"

#define WORD "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static int bad(struct err *err_r, const char *what)
{
	return err_set(err_r, ERR_INVALID,
		"expected scheme://key@host[:port][/path]/project: %s", what);
}

/* All of s is made of these bytes, and it is not empty. */
static bool is_made_of(struct str s, const char *bytes)
{
	for (size_t i = 0; i < s.len; i++)
		if (strchr(bytes, s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	return s.len > 0;
}

static bool is_port(struct str s)
{
	int64_t port;

	return is_made_of(s, "0123456789") && num_parse_i64(s, &port) == 0 &&
	       port >= 1 && port <= 65535;
}

/* A name, an IPv4 address or [an IPv6 address], and perhaps a port. */
static bool is_authority(struct str s)
{
	const char *end, *colon;
	struct str host = s;

	if (s.len > 0 && s.p[0] == '[') {
		end = memchr(s.p, ']', s.len);
		if (end == NULL)
			return false;
		host = (struct str){s.p + 1, (size_t)(end - s.p - 1)};
		s = (struct str){end + 1, s.len - (size_t)(end + 1 - s.p)};
		return is_made_of(host, "0123456789abcdefABCDEF:.") &&
		       (s.len == 0 ||
			       (s.p[0] == ':' && is_port((struct str){
							 s.p + 1, s.len - 1})));
	}
	colon = memchr(s.p, ':', s.len);
	if (colon != NULL) {
		host.len = (size_t)(colon - s.p);
		if (!is_port((struct str){colon + 1, s.len - host.len - 1}))
			return false;
	}
	return is_made_of(host, WORD ".-_");
}

static int parse_keys(struct str s, struct conf_dsn *d, struct err *err_r)
{
	const char *colon = memchr(s.p, ':', s.len);
	struct str key = {s.p, colon ? (size_t)(colon - s.p) : s.len};
	struct str secret = {s.p + key.len, 0};

	if (colon != NULL)
		secret = (struct str){colon + 1, s.len - key.len - 1};
	/* both go into a header, and the comma parts its members */
	if (!is_made_of(key, WORD "_-."))
		return bad(err_r, "no key, or not of letters and digits");
	if (colon != NULL && !is_made_of(secret, WORD "_-."))
		return bad(err_r, "the secret is not of letters and digits");
	snprintf(d->key, sizeof(d->key), "%.*s", STR_ARG(key));
	snprintf(d->secret, sizeof(d->secret), "%.*s", STR_ARG(secret));
	return 0;
}

int conf_dsn_parse(const char *text, struct conf_dsn *dsn_r, struct err *err_r)
{
	const char *rest, *at, *slash, *last;
	struct str authority, path, project;

	memset(dsn_r, 0, sizeof(*dsn_r));
	if (strncmp(text, "https://", 8) == 0)
		dsn_r->is_https = true;
	else if (strncmp(text, "http://", 7) != 0)
		return bad(err_r, "the scheme is neither http nor https");
	rest = text + (dsn_r->is_https ? 8 : 7);
	slash = strchr(rest, '/');
	at = strchr(rest, '@');
	if (at == NULL || (slash != NULL && slash < at))
		return bad(err_r, "no key");
	if (parse_keys((struct str){rest, (size_t)(at - rest)}, dsn_r, err_r) <
		0)
		return -1;
	if (slash == NULL)
		return bad(err_r, "no project");
	authority = (struct str){at + 1, (size_t)(slash - at - 1)};
	if (!is_authority(authority))
		return bad(err_r, "the host or the port is wrong");
	last = strrchr(slash, '/');
	project = str_from(last + 1);
	path = (struct str){slash, (size_t)(last - slash)};
	if (!is_made_of(project, "0123456789"))
		return bad(err_r, "the project is not an integer");
	if (path.len > 0 && !is_made_of(path, WORD "/_-.~"))
		return bad(err_r, "the path is wrong");
	snprintf(dsn_r->url, sizeof(dsn_r->url),
		"%s://%.*s%.*s/api/%s/envelope/",
		dsn_r->is_https ? "https" : "http", STR_ARG(authority),
		STR_ARG(path), project.p);
	return 0;
}
