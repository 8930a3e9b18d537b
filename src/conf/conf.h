/*
 * conf.h - the settings of one generation: file < environment < command line.
 *
 * Only the master reads files; children get the struct through fork and never
 * change it.  Strings belong to the struct.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

#define CONF_STR_MAX 512

struct conf {
#define CONF_INT(f, ...)    int64_t f;
#define CONF_NUM(f, ...)    double f;
#define CONF_BOOL(f, ...)   bool f;
#define CONF_STR(f, ...)    char f[CONF_STR_MAX];
#define CONF_LIST(f, ...)   char f[CONF_STR_MAX];
#define CONF_SECRET(f, ...) char f[CONF_STR_MAX];
#include "conf/conf_list.h"
#undef CONF_INT
#undef CONF_NUM
#undef CONF_BOOL
#undef CONF_STR
#undef CONF_LIST
#undef CONF_SECRET
};

#define CONF_DEFAULT_PATH GAMED_SYSCONFDIR "/gamed/gamed.yaml"

void conf_init(struct conf *c); /* defaults */
/*
 * Everything in order: defaults, file, environment, the assignments of the
 * command line, checks.  `path` NULL: CONF_DEFAULT_PATH, which may be absent.
 */
int conf_load(struct conf *c, const char *path, char *const *assignments,
	unsigned assignments_cnt, struct err *err_r) MUST_CHECK;
/*
 * Reads a YAML file over *c.  Errors name file, line, column and what was
 * expected (hardening J5: 256 KiB, nesting 16, no anchors, aliases, tags,
 * second documents or duplicate keys).
 */
int conf_load_yaml(
	struct conf *c, const char *path, struct err *err_r) MUST_CHECK;
/* The variables of conf_list.h, names in any case, and BIND (address:port). */
int conf_load_env(struct conf *c, struct err *err_r) MUST_CHECK;
/* "section.key=value" from the command line. */
int conf_set(
	struct conf *c, const char *assignment, struct err *err_r) MUST_CHECK;
/* Checks between settings, and those that ENV=prod|stage arms. All problems
 * at once, one a line. */
int conf_check(const struct conf *c, struct err *err_r) MUST_CHECK;
/* The effective settings as YAML; secrets as ***. */
void conf_print(const struct conf *c, struct buf *out);
/* libpq connection string from uri or the parts. */
void conf_db_conninfo(const struct conf *c, struct buf *out);
/* Names of settings that differ and need a restart, comma-separated. */
void conf_diff_restart(
	const struct conf *a, const struct conf *b, struct buf *out);
/* Gives those settings of *c the values they have in *old. */
void conf_keep_restart(struct conf *c, const struct conf *old);

#endif
