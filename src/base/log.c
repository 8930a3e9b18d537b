/*
 * log.c - see log.h.  A line is built in one buffer and written by one
 * write(2), so lines of different processes never mix on a pipe.
 */
#define _GNU_SOURCE /* dup3 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 4000 /* below PIPE_BUF: written as a whole */
#define MESSAGE_BYTES  1800 /* of them, escaped */
#define FIELD_BYTES    700  /* of a value, escaped */
#define ESCAPE_BYTES   6    /* longest escape of one character */
#define REPEATS        8    /* lines remembered */
#define REPEAT_MS      1000
#define REPEAT_TEXT    200

enum log_level log_threshold = LOG_L_INFO;

static struct {
	const char *role;
	int slot;
	bool json;
	bool priorities;
	int fd; /* of sinks without a file */
	struct sink {
		char path[PATH_MAX]; /* "": no file */
		int fd;              /* while there is a path */
		dev_t dev;
		ino_t ino;
	} sinks[LOG_SINKS];
	char correlation[256];
	struct repeat {
		uint64_t hash;
		uint64_t last_ms;   /* monotonic; 0: free */
		uint64_t held_back; /* since the last line */
		enum log_level level;
		char text[REPEAT_TEXT];
	} repeats[REPEATS];
	struct log_limit *limits; /* that have suppressed lines */
} self = {.role = "main", .slot = -1, .fd = STDOUT_FILENO};

void log_init(const char *role, int slot)
{
	self.role = role;
	self.slot = slot;
	/* the parent says what it has suppressed */
	memset(self.repeats, 0, sizeof(self.repeats));
	for (struct log_limit *l = self.limits; l != NULL; l = l->next)
		l->held_back = 0;
}

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

int log_parse_level(const char *word, enum log_level *level_r)
{
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = {{"DEBUG", LOG_L_DEBUG}, {"NOTSET", LOG_L_DEBUG},
		{"INFO", LOG_L_INFO}, {"WARN", LOG_L_WARN},
		{"WARNING", LOG_L_WARN}, {"ERROR", LOG_L_ERROR},
		{"CRITICAL", LOG_L_ERROR}, {"FATAL", LOG_L_ERROR}};

	for (size_t i = 0; i < NELEM(words); i++)
		if (strcasecmp(word, words[i].word) == 0) {
			*level_r = words[i].level;
			return 0;
		}
	return -1;
}

void log_set_json(bool json)
{
	self.json = json;
}

void log_set_priorities(bool on)
{
	self.priorities = on;
}

bool log_is_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDOUT_FILENO, &st) == 0 &&
	       dev == (unsigned long long)st.st_dev &&
	       ino == (unsigned long long)st.st_ino;
}

void log_set_fd(int fd)
{
	self.fd = fd;
}

/* ---- files ------------------------------------------------------------------ */

/* A FIFO that nobody reads must not hold us: hence nonblocking. */
static int sink_open(struct sink *s, const char *path)
{
	int fd = open(path,
		O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK |
			O_NOCTTY,
		0640);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	return fd;
}

int log_set_file(enum log_sink sink, const char *path)
{
	struct sink *s = &self.sinks[sink];
	int fd;

	if (*path == '\0' || strcmp(path, "-") == 0)
		return 0;
	if (strlen(path) >= sizeof(s->path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = sink_open(s, path);
	if (fd < 0)
		return -1;
	snprintf(s->path, sizeof(s->path), "%s", path);
	s->fd = fd;
	return 0;
}

int log_file_fd(enum log_sink sink)
{
	const struct sink *s = &self.sinks[sink];

	return s->path[0] != '\0' ? s->fd : -1;
}

/* The same file as before, or the one that has its name now. */
static void sink_follow(struct sink *s)
{
	struct stat st;
	int fd;

	if (s->path[0] == '\0' ||
		(stat(s->path, &st) == 0 && st.st_dev == s->dev &&
			st.st_ino == s->ino))
		return;
	fd = sink_open(s, s->path);
	if (fd < 0) {
		log_warnx_limited(
			"cannot open %s again: %s", s->path, strerror(errno));
		return;
	}
	(void)dup3(fd, s->fd, O_CLOEXEC);
	close(fd);
}

void log_set_correlation(const char *id)
{
	snprintf(
		self.correlation, sizeof(self.correlation), "%s", id ? id : "");
}

/* ---- one line --------------------------------------------------------------- */

struct line {
	char p[LINE_MAX_BYTES + 1];
	size_t at;
};

static size_t line_left(const struct line *l)
{
	return LINE_MAX_BYTES - l->at;
}

/* Short texts of ours; the last bytes of a line are kept for its end. */
static void PRINTF_LIKE(2, 3) put(struct line *l, const char *fmt, ...)
{
	size_t left = line_left(l);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->p + l->at, left + 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->at += (size_t)n > left ? left : (size_t)n;
}

/* Length of the character at s, 0 when it is no UTF-8; s ends with NUL. */
static size_t utf8_at(const unsigned char *s, uint32_t *cp_r)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80   ? 1
		   : s[0] < 0xc2 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 0;
	uint32_t cp = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (s[i] & 0x3f);
	}
	if (n > 1 && (cp < least[n] || cp > 0x10ffff ||
			     (cp >= 0xd800 && cp <= 0xdfff)))
		return 0;
	*cp_r = cp;
	return n;
}

/* What a terminal or a reader of lines would act upon. */
static bool is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 ||
	       cp == 0x2029;
}

/* At most max bytes of text, escaped; quoted: it stands between quotes. */
static void put_escaped(
	struct line *l, const char *text, size_t max, bool quoted)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t end = l->at + (max < line_left(l) ? max : line_left(l));
	uint32_t cp = 0;

	while (*s != '\0' && l->at + ESCAPE_BYTES <= end) {
		size_t n = utf8_at(s, &cp);

		if (n == 0)
			put(l, self.json ? "\\ufffd" : "\\x%02x", *s);
		else if (is_control(cp))
			put(l, self.json || cp > 0xff ? "\\u%04x" : "\\x%02x",
				(unsigned)cp);
		else if (quoted && (cp == '"' || cp == '\\'))
			put(l, "\\%c", (int)cp);
		else {
			memcpy(l->p + l->at, s, n);
			l->at += n;
		}
		s += n > 0 ? n : 1;
	}
}

static void put_text_value(struct line *l, const char *s)
{
	if (*s != '\0' && strpbrk(s, " \"=") == NULL) {
		put_escaped(l, s, FIELD_BYTES, false);
		return;
	}
	put(l, "\"");
	put_escaped(l, s, FIELD_BYTES, true);
	put(l, "\"");
}

static void put_field(struct line *l, const struct log_field *f)
{
	if (f->kind == LOG_F_STR && f->s == NULL)
		return;
	/* whole or not at all */
	if (line_left(l) < strlen(f->name) + FIELD_BYTES + 16)
		return;
	put(l, self.json ? ",\"%s\":" : " %s=", f->name);
	switch (f->kind) {
	case LOG_F_INT:
		put(l, "%lld", (long long)f->i);
		return;
	case LOG_F_MS:
		put(l, "%.3f", f->ms);
		return;
	case LOG_F_STR:
		break;
	}
	if (!self.json) {
		put_text_value(l, f->s);
		return;
	}
	put(l, "\"");
	put_escaped(l, f->s, FIELD_BYTES, true);
	put(l, "\"");
}

static void put_text_head(struct line *l, const char *level, const char *logger)
{
	int64_t us = clock_wall_us();
	time_t sec = (time_t)(us / 1000000);
	struct tm tm;

	localtime_r(&sec, &tm);
	l->at += strftime(l->p + l->at, 64, "%Y-%m-%d %H:%M:%S", &tm);
	put(l, ",%03d %s %s[%s", (int)(us / 1000 % 1000), level, logger,
		self.role);
	if (self.slot >= 0)
		put(l, ".%d", self.slot);
	put(l, "]: ");
}

static void put_json_head(struct line *l, const char *level, const char *logger)
{
	char ts[CLOCK_TEXT_MAX];

	clock_print(clock_wall_us(), CLOCK_TS_MS, ts);
	put(l,
		"{\"timestamp\":\"%s\",\"level\":\"%s\",\"logger\":\"%s\","
		"\"pid\":%d,\"role\":\"%s\"",
		ts, level, logger, (int)getpid(), self.role);
	if (self.slot >= 0)
		put(l, ",\"slot\":%d", self.slot);
	put(l, ",\"message\":\"");
}

static const char *own_logger(void)
{
	if (strcmp(self.role, "logger") == 0)
		return "game.logger";
	if (strcmp(self.role, "stats") == 0)
		return "game.stats";
	return "game";
}

static void write_line(enum log_level level, const char *logger,
	const char *msg, const struct log_field *fields, unsigned fields_cnt)
{
	static const struct {
		const char *name;
		char priority; /* of syslog(3) */
	} levels[] = {{"DEBUG", '7'}, {"INFO", '6'}, {"WARNING", '4'},
		{"ERROR", '3'}};
	struct log_field correlation = {
		.name = "correlationId", .s = self.correlation};
	struct line l = {.at = 0};
	int fd =
		log_file_fd(logger != NULL && strcmp(logger, "game.access") == 0
				    ? LOG_ACCESS
				    : LOG_REST);

	if (logger == NULL)
		logger = own_logger();
	if (self.priorities && fd < 0)
		put(&l, "<%c>", levels[level].priority);
	if (self.json)
		put_json_head(&l, levels[level].name, logger);
	else
		put_text_head(&l, levels[level].name, logger);
	put_escaped(&l, msg, MESSAGE_BYTES, self.json);
	if (self.json)
		put(&l, "\"");
	if (self.correlation[0] != '\0')
		put_field(&l, &correlation);
	for (unsigned i = 0; i < fields_cnt; i++)
		put_field(&l, &fields[i]);
	if (self.json)
		put(&l, "}");
	l.p[l.at++] = '\n';
	/* a full or closed log must not stop the process */
	if (write(fd < 0 ? self.fd : fd, l.p, l.at) < 0)
		return;
}

/* ---- repeats ---------------------------------------------------------------- */

static void tell_held_back(struct repeat *r)
{
	char text[REPEAT_TEXT + 64];

	snprintf(text, sizeof(text), "%s suppressed=%llu", r->text,
		(unsigned long long)r->held_back);
	r->held_back = 0;
	write_line(r->level, NULL, text, NULL, 0);
}

static void tell_limited(struct log_limit *l)
{
	char text[sizeof(l->text) + 64];

	snprintf(text, sizeof(text), "%s suppressed=%llu", l->text,
		(unsigned long long)l->held_back);
	l->held_back = 0;
	write_line(LOG_L_WARN, NULL, text, NULL, 0);
}

static void settle(uint64_t now)
{
	for (struct log_limit *l = self.limits; l != NULL; l = l->next)
		if (l->held_back > 0 && now - l->last_ms >= REPEAT_MS) {
			tell_limited(l);
			l->last_ms = now;
		}
	for (size_t i = 0; i < REPEATS; i++) {
		struct repeat *r = &self.repeats[i];

		if (r->last_ms == 0 || now - r->last_ms < REPEAT_MS)
			continue;
		if (r->held_back > 0) {
			tell_held_back(r);
			r->last_ms = now;
		} else
			r->last_ms = 0;
	}
}

void log_end(void)
{
	int saved = errno;

	settle(UINT64_MAX);
	errno = saved;
}

void log_settle(void)
{
	int saved = errno;

	settle(clock_mono_ms());
	for (size_t i = 0; i < LOG_SINKS; i++)
		sink_follow(&self.sinks[i]);
	errno = saved;
}

/* FNV-1a */
static uint64_t hash_of(enum log_level level, const char *s)
{
	uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)level;

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h;
}

/* True when the same was said within the last second. */
static bool is_repeat(enum log_level level, const char *msg)
{
	uint64_t now = clock_mono_ms(), hash = hash_of(level, msg);
	struct repeat *to = &self.repeats[0];

	settle(now);
	for (size_t i = 0; i < REPEATS; i++) {
		struct repeat *r = &self.repeats[i];

		if (r->last_ms != 0 && r->hash == hash) {
			r->held_back++;
			return true;
		}
		if (r->last_ms < to->last_ms)
			to = r;
	}
	if (to->last_ms != 0 && to->held_back > 0)
		tell_held_back(to);
	to->hash = hash;
	to->last_ms = now > 0 ? now : 1;
	to->held_back = 0;
	to->level = level;
	snprintf(to->text, sizeof(to->text), "%.*s", REPEAT_TEXT - 1, msg);
	return false;
}

/* ---- interface -------------------------------------------------------------- */

static void vwrite(
	enum log_level level, int with_errno, const char *fmt, va_list ap)
{
	int saved = errno;
	char msg[3000];
	int n;

	n = vsnprintf(msg, sizeof(msg), fmt, ap);
	if (n < 0)
		n = 0;
	if (with_errno && (size_t)n < sizeof(msg))
		snprintf(msg + n, sizeof(msg) - (size_t)n, ": %s",
			strerror(saved));
	if (level < LOG_L_WARN || !is_repeat(level, msg))
		write_line(level, NULL, msg, NULL, 0);
	errno = saved;
}

void log_fields(enum log_level level, const char *logger,
	const struct log_field *fields, unsigned fields_cnt, const char *fmt,
	...)
{
	int saved = errno;
	char msg[3000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	write_line(level, logger, msg, fields, fields_cnt);
	errno = saved;
}

void log_write(enum log_level level, int with_errno, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite(level, with_errno, fmt, ap);
	va_end(ap);
}

void log_write_limited(struct log_limit *l, const char *fmt, ...)
{
	uint64_t now = clock_mono_ms(), held_back = l->held_back;
	int saved = errno;
	char msg[3000];
	va_list ap;

	if (l->last_ms != 0 && now - l->last_ms < REPEAT_MS) {
		if (l->held_back++ == 0) {
			va_start(ap, fmt);
			vsnprintf(l->text, sizeof(l->text), fmt, ap);
			va_end(ap);
		}
		if (!l->is_listed) {
			l->is_listed = true;
			l->next = self.limits;
			self.limits = l;
		}
		errno = saved;
		return;
	}
	l->last_ms = now;
	l->held_back = 0;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	errno = saved;
	log_warnx("%s suppressed=%llu", msg, (unsigned long long)held_back);
}

void fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite(LOG_L_ERROR, 0, fmt, ap);
	va_end(ap);
	log_end();
	_exit(1);
}

void fatal_stay(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite(LOG_L_ERROR, 0, fmt, ap);
	va_end(ap);
	log_end();
	_exit(2);
}
