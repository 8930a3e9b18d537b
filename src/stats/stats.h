/*
 * stats.h - role entry: metrics listener, admin socket, roll-ups (DESIGN 5).
 *
 * Signals: TERM and QUIT leave at once.
 */
#ifndef STATS_STATS_H
#define STATS_STATS_H

#include "master/inherit.h"

void stats_main(const struct inherit *in) NORETURN;

#endif
