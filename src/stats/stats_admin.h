/*
 * stats_admin.h - the admin socket: a client sends a line, a command with its
 * arguments; the answer is some lines and an empty one.  Then the client may
 * send the next.  A line has at most 1 KiB, there are at most 16 clients, and
 * one that stalls for 10 s is cut off.
 */
#ifndef STATS_STATS_ADMIN_H
#define STATS_STATS_ADMIN_H

#include "base/base.h"
#include "base/str.h"

struct event_base;
struct stats_admin;

/* Appends the answer's lines, none of them empty. */
typedef void (*stats_admin_cb)(void *arg, struct str line, struct buf *out);

/* listen_fd is not owned. */
struct stats_admin *stats_admin_new(struct event_base *base, int listen_fd,
	stats_admin_cb answer, void *arg);

#endif
