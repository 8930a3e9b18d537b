/*
 * ctl_admin.h - asks the running server over its admin socket, RUNDIR/
 * admin.sock: one command, some lines, an empty line.
 */
#ifndef CTL_CTL_ADMIN_H
#define CTL_CTL_ADMIN_H

#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

/* The lines, each with its newline, into out.  Waits 5 s at most for each
 * step; a server that does not run is ERR_NOT_FOUND. */
int ctl_admin_ask(const struct conf *conf, const char *command, struct buf *out,
	struct err *err_r) MUST_CHECK;

#endif
