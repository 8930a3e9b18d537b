/*
 * state.h - server.state_dir belongs to one server at a time.
 */
#ifndef MASTER_STATE_H
#define MASTER_STATE_H

#include "base/err.h"
#include "conf/conf.h"

/*
 * Locks the directory for as long as the master lives: no child keeps the
 * descriptor.  ERR_CONFLICT: another server has it; any other error: it
 * cannot be locked, and the logger cannot have its spool there either.
 */
int state_lock(const struct conf *c, struct err *err_r) MUST_CHECK;

#endif
