/*
 * tail_line.h - what is said on the tail socket, where the logger shows kept
 * runs as they arrive.
 *
 * A client sends one line, an object with what the runs shall have (no
 * member: any).  It gets lines of JSON:
 *
 *	{"ready":true}      the runs that arrive from here on
 *	{"id":...}          one of them, with the members of the listing and
 *	                    realmId
 *	{"missed":3}        so many were left out here: the client was slow
 *	{"end":"late"}      the last line; late: the client stays slow;
 *	                    shutdown: the server leaves
 *	{"error":{...}}     the last line: code and message
 *
 * No end means that the logger died.
 */
#ifndef IPC_TAIL_LINE_H
#define IPC_TAIL_LINE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct run_rec;

#define TAIL_SOCKET     "tail.sock" /* in server.run_dir */
#define TAIL_FILTER_MAX 8192        /* bytes of the client's line */
#define TAIL_LINE_MAX   65536       /* no line is longer */

enum tail_key {
	TAIL_STRATEGY,
	TAIL_REALM,
	TAIL_GAME,
	TAIL_TASK,
	TAIL_USER,
	TAIL_STATUS,
	TAIL_CASE,
	TAIL_CORRELATION,
	TAIL_KEY_CNT
};

struct tail_filter {
	struct str want[TAIL_KEY_CNT]; /* p NULL: any */
};

/* Name of the member. */
const char *tail_key_name(enum tail_key k);
bool tail_filter_matches(const struct tail_filter *f, const struct run_rec *r);
/* Appends the line, with its newline. */
void tail_filter_write(struct buf *b, const struct tail_filter *f);
/* Texts live in the arena.  On failure *code_r is the error's code. */
int tail_filter_read(struct arena *a, struct str line, struct tail_filter *f_r,
	const char **code_r, struct err *err_r) MUST_CHECK;

enum tail_line {
	TAIL_LINE_READY,
	TAIL_LINE_RUN,
	TAIL_LINE_MISSED,
	TAIL_LINE_END,
	TAIL_LINE_ERROR
};

/* By the first member, as the logger writes it. */
enum tail_line tail_line_kind(struct str line);
/* The value of a run's `id`; p NULL: the line is none. */
struct str tail_line_id(struct str line);

#endif
