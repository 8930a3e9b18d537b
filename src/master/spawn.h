/*
 * spawn.h - from the master to a child: fork, drop what is not the child's,
 * enter the role.
 */
#ifndef MASTER_SPAWN_H
#define MASTER_SPAWN_H

#include "master/inherit.h"

/* What the master holds open for its children. */
struct spawn_env {
	struct inherit all; /* every descriptor; slot and conf unset */
	int death_tx;       /* never written; its closing is the message */
	int trace_tx[SHM_SLOTS_MAX]; /* workers' ends, -1: none */
};

int spawn_env_open(struct spawn_env *env, struct err *err_r) MUST_CHECK;
/* From now on the logger sees EOF as soon as the last worker is gone. */
void spawn_close_trace_tx(struct spawn_env *env);
/*
 * Returns in the master only: the pid, with the read end of the child's
 * ready pipe in *ready_fd_r, or -1 with errno.
 */
pid_t spawn_child(const struct spawn_env *env, enum shm_role role,
	unsigned slot, unsigned generation, const struct conf *conf,
	int *ready_fd_r) MUST_CHECK;

const char *spawn_role_name(enum shm_role role);

#endif
