/*
 * listen.h - the listening sockets: passed by systemd or bound here.  The
 * master opens them before the first fork and keeps them over every child's
 * death.
 */
#ifndef MASTER_LISTEN_H
#define MASTER_LISTEN_H

#include <netinet/in.h>

#include "base/err.h"
#include "conf/conf.h"

struct local_socket {
	int fd;
	char path[CONF_STR_MAX + 16]; /* "": passed, not ours to remove */
};

struct listeners {
	int api_fd;
	int metrics_fd; /* -1: metrics.enabled is no */
	struct local_socket admin, tail;
	/* of api_fd; port 0: it has none */
	char api_address[INET6_ADDRSTRLEN];
	unsigned api_port;
	bool api_passed; /* systemd's: the queue outlives this process */
};

/*
 * Sockets passed by systemd are told apart by their names: metrics, admin,
 * tail, any other is the API's.  What was not passed is bound, for 3 s where the
 * address is still in use.
 */
int listen_open(struct listeners *l, const struct conf *c,
	struct err *err_r) MUST_CHECK;
/* Refuses from now on, as far as this process's own descriptor matters. */
void listen_close_api(struct listeners *l);
/* Removes the names of the Unix sockets; call while they still answer, so
 * that a successor cannot have made its own in between. */
void listen_forget_local(struct listeners *l);

#endif
