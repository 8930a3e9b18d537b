/*
 * tail_row.h - a kept run as one line for the tail: the members of the listing
 * over HTTP (api_executions.c), and its realm.
 */
#ifndef LOGGER_TAIL_ROW_H
#define LOGGER_TAIL_ROW_H

#include "base/str.h"

struct run_rec;

/* Appends the object, without a newline. */
void tail_row_write(struct buf *b, const struct run_rec *rec);

#endif
