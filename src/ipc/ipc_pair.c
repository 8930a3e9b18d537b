/*
 * ipc_pair.c - see ipc_pair.h.  The kernel doubles SO_SNDBUF and caps it at
 * net.core.wmem_max (212,992 by default), which leaves 425,984 bytes: more
 * than twice EV_ROW_MAX.  With CAP_NET_ADMIN the 4 MiB asked for are given.
 */
#include "ipc/ipc_pair.h"

#include <sys/socket.h>

#include "ipc/evidence.h"

#define SNDBUF_BYTES (4 * 1024 * 1024)

static void widen(int fd)
{
	int want = SNDBUF_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want)) < 0)
		(void)setsockopt(
			fd, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want));
}

int ipc_pair_open(int fd_r[2], struct err *err_r)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0, fd_r) < 0)
		return err_set_errno(err_r, "cannot make a trace socket pair");
	widen(fd_r[0]);
	return 0;
}
