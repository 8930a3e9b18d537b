/*
 * master.h - the process that starts, watches, reloads and ends the others.
 * It parses no request and talks to no database (hardening S1).
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "conf/conf.h"

struct master_args {
	const char *conf_path;    /* NULL: the default path, which may lack */
	char *const *assignments; /* of argv, used again on reload */
	unsigned assignments_cnt;
};

/*
 * Serves until asked to leave; returns the exit status: 0 asked for, 1
 * failed, 2 a restart cannot help.  `c` is what conf_load made of the
 * arguments; it stays in use as long as the process lives.
 */
int master_run(const struct conf *c, const struct master_args *args);

#endif
