/*
 * log.c - see log.h.  A line is built in one buffer and written by one
 * write(2), so lines of different processes never mix on a pipe.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 4000 /* below PIPE_BUF: written as a whole */

enum log_level log_threshold = LOG_L_INFO;

static struct {
	const char *role;
	int slot;
	bool json;
	int fd;
	char correlation[256];
} self = {.role = "main", .slot = -1, .fd = STDOUT_FILENO};

void log_init(const char *role, int slot)
{
	self.role = role;
	self.slot = slot;
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

void log_set_fd(int fd)
{
	self.fd = fd;
}

void log_set_correlation(const char *id)
{
	snprintf(
		self.correlation, sizeof(self.correlation), "%s", id ? id : "");
}

/* Appends text with control bytes, quotes and backslashes escaped. */
static size_t add_escaped(char *to, size_t at, const char *s, bool json)
{
	for (; *s != '\0' && at < LINE_MAX_BYTES - 80; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			at += (size_t)snprintf(
				to + at, 8, json ? "\\u%04x" : "\\x%02x", c);
		else if (json && (c == '"' || c == '\\')) {
			to[at++] = '\\';
			to[at++] = (char)c;
		} else
			to[at++] = (char)c;
	}
	return at;
}

static size_t line_text(char *out, const char *level, const char *msg)
{
	int64_t us = clock_wall_us();
	time_t sec = (time_t)(us / 1000000);
	struct tm tm;
	size_t at;

	localtime_r(&sec, &tm);
	at = strftime(out, 64, "%Y-%m-%d %H:%M:%S", &tm);
	at += (size_t)snprintf(out + at, 128, ",%03d %s game.%s",
		(int)(us / 1000 % 1000), level, self.role);
	if (self.slot >= 0)
		at += (size_t)snprintf(out + at, 16, "[%d]", self.slot);
	at += (size_t)snprintf(out + at, 4, ": ");
	at = add_escaped(out, at, msg, false);
	if (self.correlation[0] != '\0') {
		at += (size_t)snprintf(out + at, 32, " correlationId=");
		at = add_escaped(out, at, self.correlation, false);
	}
	return at;
}

static size_t line_json(char *out, const char *level, const char *msg)
{
	char ts[CLOCK_TEXT_MAX];
	size_t at;

	clock_print(clock_wall_us(), CLOCK_TS_MS, ts);
	at = (size_t)snprintf(out, 512,
		"{\"timestamp\":\"%s\",\"level\":\"%s\","
		"\"logger\":\"game.%s\",\"pid\":%d,\"role\":\"%s\"",
		ts, level, self.role, (int)getpid(), self.role);
	if (self.slot >= 0)
		at += (size_t)snprintf(out + at, 32, ",\"slot\":%d", self.slot);
	at += (size_t)snprintf(out + at, 16, ",\"message\":\"");
	at = add_escaped(out, at, msg, true);
	out[at++] = '"';
	if (self.correlation[0] != '\0') {
		at += (size_t)snprintf(out + at, 32, ",\"correlationId\":\"");
		at = add_escaped(out, at, self.correlation, true);
		out[at++] = '"';
	}
	out[at++] = '}';
	return at;
}

static void write_line(enum log_level level, const char *msg)
{
	static const char *const names[] = {
		"DEBUG", "INFO", "WARNING", "ERROR"};
	char out[LINE_MAX_BYTES + 256];
	size_t n;

	n = self.json ? line_json(out, names[level], msg)
		      : line_text(out, names[level], msg);
	out[n++] = '\n';
	/* a full or closed log must not stop the process */
	if (write(self.fd, out, n) < 0)
		return;
}

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
	write_line(level, msg);
	errno = saved;
}

void log_write(enum log_level level, int with_errno, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite(level, with_errno, fmt, ap);
	va_end(ap);
}

bool log_limit_pass(struct log_limit *l, uint64_t *held_back_r)
{
	uint64_t now = clock_mono_ms();

	if (l->last_ms != 0 && now - l->last_ms < 1000) {
		l->held_back++;
		return false;
	}
	l->last_ms = now;
	*held_back_r = l->held_back;
	l->held_back = 0;
	return true;
}

void fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite(LOG_L_ERROR, 0, fmt, ap);
	va_end(ap);
	_exit(1);
}

void fatal_stay(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vwrite(LOG_L_ERROR, 0, fmt, ap);
	va_end(ap);
	_exit(2);
}
