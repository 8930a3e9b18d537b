/*
 * conf_dsn.h - where events go, read from SENTRY_DSN
 * (observability.md 3.3): scheme://key[:secret]@host[:port][/path]/project
 */
#ifndef CONF_CONF_DSN_H
#define CONF_CONF_DSN_H

#include "conf/conf.h"

struct conf_dsn {
	bool is_https;
	char key[CONF_STR_MAX];
	char secret[CONF_STR_MAX];   /* "" for none */
	char url[CONF_STR_MAX + 32]; /* of the envelope endpoint */
};

/* The error never repeats the text, which holds a key. */
int conf_dsn_parse(
	const char *text, struct conf_dsn *dsn_r, struct err *err_r) MUST_CHECK;

#endif
