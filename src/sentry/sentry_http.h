/*
 * sentry_http.h - one POST at a time to the envelope endpoint, by libcurl on
 * the logger's loop.  Never waits; names are resolved by a thread of libcurl.
 */
#ifndef SENTRY_SENTRY_HTTP_H
#define SENTRY_SENTRY_HTTP_H

#include "base/str.h"
#include "conf/conf_dsn.h"

struct event_base;
struct sentry_http;

struct sentry_answer {
	unsigned status;        /* 0: none came, error says why */
	const char *error;      /* of libcurl, or "" */
	struct str rate_limits; /* headers; p NULL: absent */
	struct str retry_after;
	struct str reason; /* X-Sentry-Error */
};

struct sentry_http *sentry_http_new(struct event_base *base,
	const struct conf_dsn *dsn,
	void (*on_answer)(void *arg, const struct sentry_answer *a), void *arg);
/* Takes the bytes of body.  Not while one is on its way.  on_answer runs
 * later, from the loop. */
void sentry_http_post(struct sentry_http *h, struct buf *body);
bool sentry_http_is_busy(const struct sentry_http *h);
/* What is on its way is given up without a word. */
void sentry_http_free(struct sentry_http **h);

#endif
