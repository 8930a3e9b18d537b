/*
 * ipc_pair.h - the SOCK_SEQPACKET pair between a worker and the logger.  The
 * master makes it and keeps both ends (STYLE 11).
 */
#ifndef IPC_IPC_PAIR_H
#define IPC_IPC_PAIR_H

#include "base/base.h"
#include "base/err.h"

/* Nonblocking, close-on-exec. fd_r[0] is the worker's end. */
int ipc_pair_open(int fd_r[2], struct err *err_r) MUST_CHECK;

#endif
