/*
 * notify.h - what systemd is told (the protocol of sd_notify(3)).  Without
 * NOTIFY_SOCKET all of it does nothing.  Master only; never blocks, which
 * sd_notify itself does when nobody reads.
 */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

#include "base/base.h"

void notify_ready(const char *status);
void notify_status(const char *status);
void notify_reloading(void);
void notify_stopping(void);
/* Tells that all is well; does nothing where no watchdog was asked for. */
void notify_alive(void);
/* Sends again the last change of state that found the queue full. */
void notify_retry(void);

#endif
