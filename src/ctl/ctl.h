/*
 * ctl.h - the commands of gamectl, one file each.  argv[0] is the command's
 * name; --json has been taken out of argv.  The return value is the exit
 * status: 0 done, 1 failed or found a difference, 2 usage.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "base/err.h"
#include "conf/conf.h"
#include "json/json_out.h"

int ctl_apikey(int argc, char **argv, const struct conf *conf);
int ctl_awards(int argc, char **argv, const struct conf *conf);
int ctl_dsl(int argc, char **argv, const struct conf *conf);
int ctl_evidence(int argc, char **argv, const struct conf *conf);
int ctl_kpi(int argc, char **argv, const struct conf *conf);
int ctl_ledger(int argc, char **argv, const struct conf *conf);
int ctl_migrate(int argc, char **argv, const struct conf *conf);
int ctl_reload(int argc, char **argv, const struct conf *conf);
int ctl_status(int argc, char **argv, const struct conf *conf);
int ctl_strategy(int argc, char **argv, const struct conf *conf);
int ctl_tail(int argc, char **argv, const struct conf *conf);
int ctl_top(int argc, char **argv, const struct conf *conf);
int ctl_trace(int argc, char **argv, const struct conf *conf);
int ctl_verify_points(int argc, char **argv, const struct conf *conf);

/* --json was given: JSON lines on standard output instead of text. */
bool ctl_json(void);
/*
 * Text for people on standard output, in place of printf: control characters
 * in it are shown (buf_add_visible), but for the newlines at both ends of fmt.
 */
void ctl_print(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Prints "gamectl: reason" to standard error, as ctl_print, and returns 1. */
int ctl_fail(const struct err *err);
/* Prints the command's usage to standard error and returns 2. */
int ctl_usage(const char *usage);

/* One line of JSON: ctl_line_start, json_out calls, ctl_line_end. */
struct ctl_line {
	struct json_out o;
	struct buf b;
};
struct json_out *ctl_line_start(struct ctl_line *l); /* opens an object */
void ctl_line_end(struct ctl_line *l);               /* closes, prints */
/* A member whose value is JSON as Postgres prints it; NULL: null. */
void ctl_kv_json(struct json_out *o, const char *key, const char *json);

struct db_sync;
/* Connects as the configuration says; NULL after a message. */
struct db_sync *ctl_db_open(const struct conf *conf) MUST_CHECK;

#endif
