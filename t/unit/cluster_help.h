/*
 * cluster_help.h - a private Postgres for one unit test program, made by
 * t/lib/pg-private.  The tests are processes of their own and find it by the
 * environment.
 */
#ifndef UNIT_CLUSTER_HELP_H
#define UNIT_CLUSTER_HELP_H

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define CLUSTER_ENV "TEST_CLUSTER"

static inline void pg_private(const char *verb, const char *dir)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "%s/t/lib/pg-private %s %s >/dev/null",
		TEST_SRCDIR, verb, dir);
	if (system(cmd) != 0)
		fatal("%s failed", cmd);
}

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	char dir[] = "/tmp/gamed-sql.XXXXXX";

	(void)set;
	if (!mkdtemp(dir))
		fatal("cannot make a temporary directory");
	pg_private("start", dir);
	setenv(CLUSTER_ENV, dir, 1);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	pg_private("clean", getenv(CLUSTER_ENV));
}

#endif
