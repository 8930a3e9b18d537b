/*
 * ctl_admin.h - asks the running server over its admin socket, RUNDIR/
 * admin.sock: one command, some lines, an empty line.
 */
#ifndef CTL_CTL_ADMIN_H
#define CTL_CTL_ADMIN_H

#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

/* Connects to a socket in server.run_dir. */
int ctl_admin_connect(const struct conf *conf, const char *name,
	struct err *err_r) MUST_CHECK;
/* The lines, each with its newline, into out.  Waits 5 s at most for each
 * step; a server that does not run is ERR_NOT_FOUND. */
int ctl_admin_ask(const struct conf *conf, const char *command, struct buf *out,
	struct err *err_r) MUST_CHECK;

/* Why the settings in force are not those of the file, "": they are. */
#define CTL_REASON_MAX 1024
void ctl_admin_reload_error(const struct conf *conf, char text[CTL_REASON_MAX]);

struct jv;
/* Each line as a JSON value; no server's line is refused for what it has. */
int ctl_admin_lines(struct str lines, void (*use)(const struct jv *v),
	struct err *err_r) MUST_CHECK;
/* Members that are absent are 0 or "". */
int64_t ctl_admin_num(const struct jv *v, const char *key);
struct str ctl_admin_text(const struct jv *v, const char *key);

#endif
