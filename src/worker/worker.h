/*
 * worker.h - role entry: an HTTP worker (DESIGN 2).
 *
 * Signals: TERM drains for at most server.drain_timeout_s, QUIT leaves at
 * once.  EOF of death_fd: closes the listening socket at once, drains for at
 * most 1.5 s.  Exits 0 when asked to, 2 when no respawn can help (schema).
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "master/inherit.h"

void worker_main(const struct inherit *in) NORETURN;

#endif
