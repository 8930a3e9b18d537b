/*
 * conf_env.c - settings from environment variables, with the reference's
 * names and its strictness (observability.md 9.1).  Master and gamectl.
 */
#define _GNU_SOURCE /* environ */
#include "conf/conf.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "conf/conf_table.h"

/* As getenv, names in any case; the exact spelling goes first. */
static const char *env_get(const char *name)
{
	size_t len = strlen(name);
	const char *found = NULL;

	for (char **e = environ; e && *e; e++) {
		if (strncasecmp(*e, name, len) != 0 || (*e)[len] != '=')
			continue;
		if (strncmp(*e, name, len) == 0)
			return *e + len + 1;
		if (found == NULL)
			found = *e + len + 1;
	}
	return found;
}

/* The reference's BIND=address:port beats HOST and PORT. */
static int env_bind(struct conf *c, struct err *err_r)
{
	const char *bind = env_get("BIND");
	const char *colon;
	struct str host;
	struct err why;

	if (bind == NULL)
		return 0;
	colon = strrchr(bind, ':');
	if (colon == NULL)
		return err_set(err_r, ERR_INVALID,
			"environment variable BIND: expected address:port");
	host = (struct str){bind, (size_t)(colon - bind)};
	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = (struct str){host.p + 1, host.len - 2};
	if (conf_store(c, conf_find(STR("http"), STR("address")), host, true,
		    &why) < 0 ||
		conf_store(c, conf_find(STR("http"), STR("port")),
			str_from(colon + 1), true, &why) < 0)
		return err_set(err_r, ERR_INVALID,
			"environment variable BIND: %s", why.text);
	return 0;
}

int conf_load_env(struct conf *c, struct err *err_r)
{
	const char *engine = env_get("DB_ENGINE");
	const struct conf_key *table;
	unsigned cnt;
	struct err why;

	table = conf_table(&cnt);
	for (unsigned i = 0; i < cnt; i++) {
		const char *value = NULL;

		if (*table[i].env)
			value = env_get(table[i].env);
		if (value == NULL)
			continue;
		if (conf_store(c, &table[i], str_from(value), true, &why) < 0)
			return err_set(err_r, ERR_INVALID,
				"environment variable %s: %s", table[i].env,
				why.text);
	}
	if (engine && strcmp(engine, "postgresql") != 0)
		return err_set(err_r, ERR_INVALID,
			"environment variable DB_ENGINE: expected postgresql");
	return env_bind(c, err_r);
}
