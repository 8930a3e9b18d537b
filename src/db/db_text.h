/*
 * db_text.h - the words of libpq and the server, cut to what a log line or an
 * error takes: one line, no trailing newline.
 */
#ifndef DB_DB_TEXT_H
#define DB_DB_TEXT_H

#include "base/base.h"

struct pg_conn;
struct pg_result;

/* All lines as one: cause and hint, of every address tried. */
void db_text_conn(const struct pg_conn *pg, char *out, size_t size);
/* The primary message; sqlstate_r has room for 6 bytes, "" when unknown. */
void db_text_result(
	const struct pg_result *res, char *out, size_t size, char *sqlstate_r);
/* A notice processor: debug log. */
void db_text_on_notice(void *arg, const char *message);

#endif
