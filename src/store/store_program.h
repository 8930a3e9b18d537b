/*
 * store_program.h - one stored strategy for gamectl, over its blocking
 * connection.
 */
#ifndef STORE_STORE_PROGRAM_H
#define STORE_STORE_PROGRAM_H

#include "base/err.h"

struct db_sync;

/* As the database prints it; NULL where it is null. */
struct store_program {
	const char *id, *name, *version, *status, *type;
	const char *parent; /* NULL: none */
	const char *ast;    /* JSON; NULL: no program */
};

/* What it returns is *rc_r of the functions below. */
typedef int (*store_program_cb)(void *arg, const struct store_program *p);

int store_program_read(struct db_sync *db, const char *id, store_program_cb cb,
	void *arg, int *rc_r, struct err *err_r) MUST_CHECK;
/* As the API's publish, in any realm; the row as it stands afterwards. */
int store_program_publish(struct db_sync *db, const char *id,
	store_program_cb cb, void *arg, int *rc_r,
	struct err *err_r) MUST_CHECK;

#endif
