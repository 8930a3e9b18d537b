/*
 * log.h - the process log: one event, one line, to stdout or to files.
 *
 * Text form: "2026-11-23 00:43:23,555 INFO game[worker.1]: sentence k=v".
 * JSON form (ENV=prod|stage): timestamp, level, logger, pid, role, slot,
 * message, correlationId when set, then the fields (observability.md 2.1).
 * Control characters are escaped and bytes that are no UTF-8 replaced, so a
 * record is one line of at most 4000 bytes; what is longer is cut.  errno is
 * preserved by every call.
 * error: someone must act; warn: degraded and counted; info: life cycle and
 * one access line; debug: off in production.
 * A warning or error that was written in the last second is not written
 * again: the next line after that second says how often it was suppressed.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_L_DEBUG, LOG_L_INFO, LOG_L_WARN, LOG_L_ERROR };

extern enum log_level log_threshold; /* records below it are not formatted */

/* Role and slot name the process in every line; slot < 0 is left out.  The
 * logger's lines are of game.logger, those of stats of game.stats, all others
 * of game. */
void log_init(const char *role, int slot);
void log_set_level(enum log_level level);
/* -1 when the word is not a level of observability.md 2.1. */
int log_parse_level(const char *word, enum log_level *level_r) MUST_CHECK;
void log_set_json(bool json);
/* Puts the priority in front ("<4>"), for a journal that reads our output. */
void log_set_priorities(bool on);
/* Whether that is so: $JOURNAL_STREAM names what stdout is (systemd.exec). */
bool log_is_to_journal(void);
/* Says how often lines were suppressed; called about once a second.  Files
 * that were moved away are opened again under their names. */
void log_settle(void);
/* The same without waiting for the second to end: the process does. */
void log_end(void);
/* Correlation id put into the lines that follow; NULL or "" for none. */
void log_set_correlation(const char *id);
/* Where lines go instead of stdout (not owned, fd stays open). */
void log_set_fd(int fd);

/* Lines of requests (game.access), and all others. */
enum log_sink { LOG_REST, LOG_ACCESS, LOG_SINKS };
/* Appends them to a file, made when missing; "" and "-": no file.  The name is
 * looked up again later.  -1 with errno: it cannot be opened. */
int log_set_file(enum log_sink sink, const char *path) MUST_CHECK;
/* Its descriptor, for a child to keep; -1: no file. */
int log_file_fd(enum log_sink sink);

void log_write(enum log_level level, int with_errno, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

enum log_kind { LOG_F_STR, LOG_F_INT, LOG_F_MS };

/* One `name: value` behind the sentence; a text that is NULL is left out. */
struct log_field {
	const char *name;
	enum log_kind kind;
	const char *s;
	int64_t i;
	double ms; /* printed with three decimals */
};

/* A line with fields; logger as "game.access", NULL: the process's own.  Not
 * filtered by level here: look at log_threshold before the fields are made. */
void log_fields(enum log_level level, const char *logger,
	const struct log_field *fields, unsigned fields_cnt, const char *fmt,
	...) PRINTF_LIKE(5, 6);

#define LOG_AT(l, e, ...)                             \
	do {                                          \
		if ((l) >= log_threshold)             \
			log_write(l, e, __VA_ARGS__); \
	} while (0)

/* The plain names append strerror(errno); the x names do not. */
#define log_error(...)  LOG_AT(LOG_L_ERROR, 1, __VA_ARGS__)
#define log_errorx(...) LOG_AT(LOG_L_ERROR, 0, __VA_ARGS__)
#define log_warn(...)   LOG_AT(LOG_L_WARN, 1, __VA_ARGS__)
#define log_warnx(...)  LOG_AT(LOG_L_WARN, 0, __VA_ARGS__)
#define log_info(...)   LOG_AT(LOG_L_INFO, 0, __VA_ARGS__)
#define log_debug(...)  LOG_AT(LOG_L_DEBUG, 0, __VA_ARGS__)

/*
 * At most one line a second from this spot; the next one that passes, or
 * log_settle a second later, says how many were suppressed.  For conditions
 * that repeat with every event.
 */
struct log_limit {
	uint64_t last_ms;       /* monotonic time of the last line */
	uint64_t held_back;     /* lines suppressed since */
	bool is_listed;         /* for log_settle */
	struct log_limit *next; /* in that list */
	char text[200];         /* of the first of these, cut */
};
void log_write_limited(struct log_limit *l, const char *fmt, ...)
	PRINTF_LIKE(2, 3);

#define log_warnx_limited(...)                                   \
	do {                                                     \
		static struct log_limit limit_;                  \
		if (LOG_L_WARN >= log_threshold)                 \
			log_write_limited(&limit_, __VA_ARGS__); \
	} while (0)

/* Logs at error and exits: 1 with fatal, 2 (do not respawn) with fatal_stay. */
void fatal(const char *fmt, ...) PRINTF_LIKE(1, 2) NORETURN;
void fatal_stay(const char *fmt, ...) PRINTF_LIKE(1, 2) NORETURN;

#endif
