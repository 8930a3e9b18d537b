/*
 * inherit.h - everything a child gets from the master, field by field.  The
 * master fills it before each fork; after the fork the child owns its copy
 * and every descriptor in it, the rest is closed (-1 here).
 *
 * Slots: 0 is the master, 1 to 60 workers, then logger and stats.  Every
 * worker slot has its trace pair from the start and the master keeps both
 * ends, so that a new generation of workers, in other slots than the old one,
 * talks to the logger that is already there.  server.workers is at most half
 * the worker slots, since a reload has two generations.
 */
#ifndef MASTER_INHERIT_H
#define MASTER_INHERIT_H

#include <netinet/in.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "shm/shm.h"

#define SLOT_MASTER     0
#define SLOT_WORKER_MIN 1
#define SLOT_WORKER_MAX 60
#define SLOT_LOGGER     61
#define SLOT_STATS      62

struct inherit {
	const struct conf *conf; /* of its generation, stays as it is */
	struct shm *shm;
	unsigned slot;
	unsigned generation; /* 1, then one more for every reload */
	pid_t master_pid;
	uint64_t boot_ms; /* wall time the server started, milliseconds */

	int death_fd; /* readable (EOF): the master is gone */
	int ready_fd; /* write one byte when ready to work, then close */

	int listen_fd; /* worker: the API's listening socket */
	int trace_fd;  /* worker: its end of the pair of its slot */

	int trace_fds[SHM_SLOTS_MAX]; /* logger: the other ends, by slot */
	int tail_fd; /* logger: listening Unix socket, tail_line.h */

	int metrics_fd; /* stats: listening, -1 when metrics.enabled is no */
	int admin_fd;   /* stats: listening Unix socket */

	/* stats: where the API listens, whoever bound it; port 0: unknown */
	char api_address[INET6_ADDRSTRLEN];
	unsigned api_port;
};

#endif
