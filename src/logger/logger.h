/*
 * logger.h - role entry: takes evidence from the workers, writes it to
 * Postgres (DESIGN 4).
 *
 * Signals: TERM ignored, QUIT writes out for at most a second and leaves.
 * Leaves by itself after EOF of every trace socket: then no worker is left
 * and the master has closed its ends.
 */
#ifndef LOGGER_LOGGER_H
#define LOGGER_LOGGER_H

#include "master/inherit.h"

void logger_main(const struct inherit *in) NORETURN;

#endif
