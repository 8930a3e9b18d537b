/*
 * conf_yaml.c - the YAML file: sections of `key: value` pairs, nothing
 * deeper.  Reads libyaml's events one by one and stops at the first that does
 * not belong, so that no input costs more than its own reading (hardening
 * J5).  Master and gamectl.
 */
#include "conf/conf.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "conf/conf_table.h"

#define FILE_BYTES_MAX (256u * 1024)
#define KEYS_MAX       256 /* checked against the table */

struct reader {
	struct conf *c;
	const char *path;
	yaml_parser_t parser;
	yaml_event_t event; /* the current one, freed by the next */
	bool has_event;
	bool seen[KEYS_MAX]; /* by row of the table */
	struct err *err_r;
};

static int bad_at(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

static int bad_at(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->err_r, ERR_INVALID, "%s:%zu:%zu: %s", r->path,
		at->line + 1, at->column + 1, text);
}

#define bad(r, ...) bad_at(r, &(r)->event.start_mark, __VA_ARGS__)

static void drop_event(struct reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
}

/* What is refused wherever it stands. */
static int check_event(struct reader *r)
{
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return bad(r, "alias, expected a plain value");
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
		break;
	default: /* libyaml's enum, nothing to see in the others */
		break;
	}
	if (anchor)
		return bad(r, "anchor, expected a plain value");
	if (tag)
		return bad(r, "tag, expected a plain value");
	return 0;
}

static int next(struct reader *r)
{
	drop_event(r);
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		const char *problem = r->parser.problem;

		return bad_at(r, &r->parser.problem_mark, "%s, expected YAML",
			problem ? problem : "unreadable text");
	}
	r->has_event = true;
	return check_event(r);
}

static struct str scalar(const struct reader *r)
{
	return (struct str){(const char *)r->event.data.scalar.value,
		r->event.data.scalar.length};
}

static bool is_null(const struct reader *r)
{
	struct str v = scalar(r);

	return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (v.len == 0 || str_is(v, "~") || str_is(v, "null"));
}

static const char *expected_of(const struct conf_key *k)
{
	switch (k->type) {
	case CONF_T_INT:
		return "an integer";
	case CONF_T_NUM:
		return "a number";
	case CONF_T_BOOL:
		return "true or false";
	case CONF_T_STR:
		return "a text";
	case CONF_T_LIST:
		break;
	}
	return "a text or a list of texts";
}

/* A list of scalars, joined by commas. */
static int read_list(struct reader *r, const struct conf_key *k)
{
	yaml_mark_t at = r->event.start_mark;
	char joined[CONF_STR_MAX];
	size_t len = 0;
	struct err why;

	for (;;) {
		struct str item;

		if (next(r) < 0)
			return -1;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (r->event.type != YAML_SCALAR_EVENT)
			return bad(r, "%s.%s: nested value, expected a text",
				k->section, k->key);
		item = scalar(r);
		if (memchr(item.p, ',', item.len))
			return bad(r,
				"%s.%s: comma in an item, expected one text "
				"for each item",
				k->section, k->key);
		if (len + item.len + 1 >= sizeof(joined))
			return bad(r,
				"%s.%s: list too long, expected at most %zu "
				"bytes",
				k->section, k->key, sizeof(joined) - 1);
		if (len > 0)
			joined[len++] = ',';
		memcpy(joined + len, item.p, item.len);
		len += item.len;
	}
	if (conf_store(r->c, k, (struct str){joined, len}, false, &why) < 0)
		return bad_at(
			r, &at, "%s.%s: %s", k->section, k->key, why.text);
	return 0;
}

static int read_value(struct reader *r, const struct conf_key *k)
{
	struct str text;
	struct err why;

	if (next(r) < 0)
		return -1;
	if (r->event.type == YAML_SEQUENCE_START_EVENT &&
		k->type == CONF_T_LIST)
		return read_list(r, k);
	if (r->event.type != YAML_SCALAR_EVENT)
		return bad(r, "%s.%s: %s, expected %s", k->section, k->key,
			r->event.type == YAML_MAPPING_START_EVENT ? "mapping"
								  : "list",
			expected_of(k));
	text = scalar(r);
	if (is_null(r))
		text.len = 0;
	else if (k->type < CONF_T_STR &&
		 r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return bad(r, "%s.%s: quoted text, expected %s", k->section,
			k->key, expected_of(k));
	if (conf_store(r->c, k, text, false, &why) < 0) {
		if (k->secret)
			return bad(
				r, "%s.%s: %s", k->section, k->key, why.text);
		return bad(r, "%s.%s: \"%.*s\", %s", k->section, k->key,
			text.len > 60 ? 60 : (int)text.len, text.p, why.text);
	}
	return 0;
}

static int read_key(struct reader *r, struct str section)
{
	const struct conf_key *k, *table;
	unsigned cnt;

	table = conf_table(&cnt);
	if (r->event.type != YAML_SCALAR_EVENT)
		return bad(r, "expected the name of a setting");
	k = conf_find(section, scalar(r));
	if (k == NULL)
		return bad(r,
			"unknown setting \"%.*s.%.*s\", expected one of "
			"gamed.yaml(5)",
			STR_ARG(section), STR_ARG(scalar(r)));
	if (r->seen[k - table])
		return bad(r, "%s.%s is set twice, expected it once",
			k->section, k->key);
	r->seen[k - table] = true;
	return read_value(r, k);
}

/* The keys of one section; an empty section is fine. */
static int read_section(struct reader *r, struct str section)
{
	if (next(r) < 0)
		return -1;
	if (r->event.type == YAML_SCALAR_EVENT && is_null(r))
		return 0;
	if (r->event.type != YAML_MAPPING_START_EVENT)
		return bad(r, "section \"%.*s\": expected settings below it",
			STR_ARG(section));
	for (;;) {
		if (next(r) < 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (read_key(r, section) < 0)
			return -1;
	}
}

static int read_sections(struct reader *r)
{
	char seen[KEYS_MAX][32];
	unsigned seen_cnt = 0;

	for (;;) {
		char name[32];
		struct str s;

		if (next(r) < 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (r->event.type != YAML_SCALAR_EVENT)
			return bad(r, "expected the name of a section");
		s = scalar(r);
		if (s.len >= sizeof(name) || !conf_has_section(s))
			return bad(r,
				"unknown section \"%.*s\", expected one of "
				"gamed.yaml(5)",
				s.len > 60 ? 60 : (int)s.len, s.p);
		snprintf(name, sizeof(name), "%.*s", STR_ARG(s));
		for (unsigned i = 0; i < seen_cnt; i++)
			if (strcmp(seen[i], name) == 0)
				return bad(r,
					"section \"%s\" stands twice, "
					"expected it once",
					name);
		memcpy(seen[seen_cnt++], name, sizeof(name));
		if (read_section(r, str_from(name)) < 0)
			return -1;
	}
}

static int read_stream(struct reader *r)
{
	if (next(r) < 0 || next(r) < 0) /* stream start, then a document */
		return -1;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return 0; /* empty, or comments only */
	if (next(r) < 0)
		return -1;
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		if (read_sections(r) < 0)
			return -1;
	} else if (r->event.type != YAML_SCALAR_EVENT || !is_null(r))
		return bad(r, "expected sections of settings");
	if (next(r) < 0 || next(r) < 0) /* document end, then the end */
		return -1;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return bad(r, "second document, expected one");
	return 0;
}

static int read_file(const char *path, struct buf *out, struct err *err_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int rc = -1;

	if (fd < 0)
		return err_set_errno(err_r, "cannot open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		err_set(err_r, ERR_INVALID, "%s is not a regular file", path);
		goto out;
	}
	for (;;) {
		char *p = buf_reserve(out, 4096);
		ssize_t n = read(fd, p, 4096);

		if (n < 0) {
			err_set_errno(err_r, "cannot read %s", path);
			goto out;
		}
		if (n == 0)
			break;
		out->len += (size_t)n;
		if (out->len > FILE_BYTES_MAX) {
			err_set(err_r, ERR_LIMIT, "%s is larger than %u bytes",
				path, FILE_BYTES_MAX);
			goto out;
		}
	}
	rc = 0;
out:
	close(fd);
	return rc;
}

int conf_load_yaml(struct conf *c, const char *path, struct err *err_r)
{
	struct reader r = {.c = c, .path = path, .err_r = err_r};
	struct buf text;
	unsigned cnt;
	int rc;

	conf_table(&cnt);
	if (cnt > KEYS_MAX)
		return err_set(
			err_r, ERR_LIMIT, "more than %d settings", KEYS_MAX);
	buf_init(&text, 0);
	rc = read_file(path, &text, err_r);
	if (rc == 0 && !yaml_parser_initialize(&r.parser))
		rc = err_set(err_r, ERR_SYSTEM, "out of memory");
	else if (rc == 0) {
		yaml_parser_set_input_string(&r.parser,
			(const unsigned char *)(text.p ? text.p : ""),
			text.len);
		rc = read_stream(&r);
		drop_event(&r);
		yaml_parser_delete(&r.parser);
	}
	buf_fini(&text);
	return rc;
}
