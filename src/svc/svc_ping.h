/*
 * svc_ping.h - whether Postgres answers, which a connection that is idle does
 * not tell.  One question is on its way at a time, whoever asks meanwhile
 * waits for its answer; one that is SVC_PING_FRESH_MS old is asked again.
 */
#ifndef SVC_SVC_PING_H
#define SVC_SVC_PING_H

#include <sys/queue.h>

#include "base/base.h"

#define SVC_PING_FRESH_MS    2000
#define SVC_PING_DEADLINE_MS 2000

struct app;
struct svc_ping;

/* The caller's, until cb ran. */
struct svc_ping_call {
	void (*cb)(void *arg, bool answers);
	void *arg;
	STAILQ_ENTRY(svc_ping_call) entry;
};

struct svc_ping *svc_ping_new(struct app *app);
/* cb may run before this returns. */
void svc_ping_ask(struct svc_ping *p, struct svc_ping_call *call);

#endif
