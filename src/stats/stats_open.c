/*
 * stats_open.c - see stats_open.h.  Works on the lines of the classic text:
 * what differs is the name of a counter's family, when each metric began, and
 * the end.
 */
#include "stats/stats_open.h"

#include <string.h>
#include <strings.h>

#define MICRO 6 /* places of buf_add_decimal */

/* What stands before the next `by`, and *rest after it. */
static struct str cut(struct str *rest, char by)
{
	const char *end = memchr(rest->p, by, rest->len);
	struct str head = {rest->p, end ? (size_t)(end - rest->p) : rest->len};
	size_t gone = head.len + (end != NULL);

	*rest = (struct str){rest->p + gone, rest->len - gone};
	return head;
}

/* Of an entry's parameters: no version, or one from 1.0.0 on. */
static bool takes_version(struct str params)
{
	while (params.len) {
		struct str p = str_trim(cut(&params, ';'));

		if (!str_starts_with(p, "version="))
			continue;
		(void)cut(&p, '=');
		if (p.len && *p.p == '"')
			(void)cut(&p, '"');
		return p.len && *p.p >= '1' && *p.p <= '9';
	}
	return true;
}

bool stats_open_is_wanted(struct str accept)
{
	static const char type[] = "application/openmetrics-text";

	while (accept.len) {
		struct str entry = cut(&accept, ',');
		struct str media = str_trim(cut(&entry, ';'));

		if (media.len == sizeof(type) - 1 &&
			strncasecmp(media.p, type, media.len) == 0 &&
			takes_version(entry))
			return true;
	}
	return false;
}

/* s without the suffix; false when it does not end so. */
static bool without(struct str *s, const char *suffix)
{
	size_t len = strlen(suffix);

	if (s->len <= len || memcmp(s->p + s->len - len, suffix, len) != 0)
		return false;
	s->len -= len;
	return true;
}

/* A counter family has the name of its samples without _total. */
static void add_head(struct buf *out, struct str line)
{
	const size_t what = strlen("# TYPE ");
	struct str rest = {line.p + what, line.len - what};
	struct str name = cut(&rest, ' ');

	(void)without(&name, "_total");
	buf_add(out, line.p, what);
	buf_add_str(out, name);
	buf_add_char(out, ' ');
	buf_add_str(out, rest);
}

/* Behind the last sample of a metric that counts: since when. */
static void add_created(struct buf *out, struct str line, uint64_t created_us)
{
	struct str rest = line, name = cut(&rest, ' ');
	const char *open = memchr(name.p, '{', name.len);
	size_t value = line.len;

	if (open != NULL)
		name.len = (size_t)(open - name.p);
	if (!without(&name, "_total") && !without(&name, "_sum"))
		return;
	while (value > 0 && line.p[value - 1] != ' ')
		value--;
	buf_add_char(out, '\n');
	buf_add_str(out, name);
	buf_add_str(out, STR("_created"));
	if (open != NULL)
		buf_add(out, open, (size_t)(line.p + value - 1 - open));
	buf_add_char(out, ' ');
	buf_add_decimal(out, created_us, MICRO);
}

void stats_open_add(struct buf *out, struct str classic, uint64_t created_us)
{
	while (classic.len) {
		struct str line = cut(&classic, '\n');

		if (line.len && *line.p == '#') {
			add_head(out, line);
		} else {
			buf_add_str(out, line);
			add_created(out, line, created_us);
		}
		buf_add_char(out, '\n');
	}
	buf_add_str(out, STR("# EOF\n"));
}
