/*
 * svc_tail.h - a worker as a reader of the tail socket (ipc/tail_line.h), once
 * for each stream of the API.
 */
#ifndef SVC_SVC_TAIL_H
#define SVC_SVC_TAIL_H

#include "ipc/tail_line.h"

struct app;
struct svc_tail;

struct svc_tail_conf {
	struct tail_filter filter; /* not needed any more after the open */
	/*
	 * A line, without its newline.  The last is of kind END or ERROR;
	 * END with p NULL: the logger is gone, or does not answer.  False:
	 * the tail was closed meanwhile.
	 */
	bool (*on_line)(void *arg, enum tail_line kind, struct str line);
	void (*on_tick)(void *arg); /* every second; may close the tail */
	void *arg;
};

/* Calls back from the loop only; NULL: the logger cannot be reached. */
struct svc_tail *svc_tail_open(
	struct app *app, const struct svc_tail_conf *conf);
void svc_tail_close(struct svc_tail **t);

#endif
