/*
 * tail.h - shows runs on the tail socket as the logger takes them, to whoever
 * listens there (ipc/tail_line.h).
 *
 * What is shown is what is kept: failed runs and the sample of the others,
 * once the spool has them.  A reader may be as slow as it likes: what it does
 * not read waits in a bounded buffer, the rest is left out and counted, and
 * one that stays behind is cut off.  With nobody there a frame costs one
 * comparison.
 */
#ifndef LOGGER_TAIL_H
#define LOGGER_TAIL_H

#include "base/base.h"
#include "base/str.h"

struct event_base;
struct tail;

/* listen_fd is not owned; -1: nobody can come. */
struct tail *tail_new(struct event_base *base, int listen_fd);
/* The rows of a frame, some of which may be runs. */
void tail_take(struct tail *t, struct str frame_rows);
/* Tells all readers that the server leaves; nobody new is let in. */
void tail_leave(struct tail *t);
void tail_free(struct tail **t);

#endif
