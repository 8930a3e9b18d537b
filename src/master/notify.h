/*
 * notify.h - what systemd is told (sd_notify(3)).  Without NOTIFY_SOCKET all
 * of it does nothing.  Master only.
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

#endif
