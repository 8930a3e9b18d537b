/* db_text.c - see db_text.h. */
#include "db/db_text.h"

#include <libpq-fe.h>
#include <stdio.h>

#include "base/log.h"
#include "base/str.h"

static void copy_last_line(const char *text, char *out, size_t size)
{
	struct str s = str_trim(str_from(text));
	size_t start = s.len;

	while (start > 0 && s.p[start - 1] != '\n')
		start--;
	s.p += start;
	s.len -= start;
	snprintf(out, size, "%.*s", STR_ARG(s));
}

/* The cause stands in the first line and a hint behind it: all on one. */
void db_text_conn(const struct pg_conn *pg, char *out, size_t size)
{
	struct str s = str_trim(str_from(PQerrorMessage(pg)));
	size_t n = 0;

	for (size_t i = 0; i < s.len && n + 1 < size; i++) {
		bool space = s.p[i] == '\n' || s.p[i] == '\t';

		if (space && n > 0 && out[n - 1] == ' ')
			continue;
		out[n++] = space ? ' ' : s.p[i];
	}
	if (size > 0)
		out[n] = '\0';
}

void db_text_result(
	const struct pg_result *res, char *out, size_t size, char *sqlstate_r)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	snprintf(sqlstate_r, 6, "%s", state ? state : "");
	copy_last_line(text ? text : PQresultErrorMessage(res), out, size);
}

void db_text_on_notice(void *arg, const char *message)
{
	struct str s = str_trim(str_from(message));

	(void)arg;
	log_debug("postgres says: %.*s", STR_ARG(s));
}
