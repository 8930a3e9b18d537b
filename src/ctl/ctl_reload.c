/*
 * ctl_reload.c - `gamectl reload`: SIGHUP to the master, then its counts of
 * reloads are watched until one that began after the signal has ended.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "ctl/ctl_admin.h"
#include "json/json_in.h"

#define USAGE    "reload"
#define POLL_MS  50
#define EXTRA_MS 5000

static struct {
	/* of the last answer */
	pid_t pid; /* of the master, 0: not told */
	int64_t begun, ended, generation;
	bool in_force;
} self;

static void take_line(const struct jv *v)
{
	struct str kind = ctl_admin_text(v, "kind");
	const struct jv *in_force = jv_member(v, "config_in_force");

	if (str_is(kind, "server")) {
		self.begun = ctl_admin_num(v, "reloads_begun");
		self.ended = ctl_admin_num(v, "reloads_ended");
		self.generation = ctl_admin_num(v, "generation");
		self.in_force =
			in_force && in_force->type == JV_BOOL && in_force->u.b;
	} else if (str_is(kind, "process") &&
		   str_is(ctl_admin_text(v, "role"), "master"))
		self.pid = (pid_t)ctl_admin_num(v, "pid");
}

static int ask(const struct conf *conf, struct err *err_r)
{
	struct buf out;
	int rc;

	self.pid = 0;
	buf_init(&out, 0);
	rc = ctl_admin_ask(conf, "status", &out, err_r);
	if (rc == 0)
		rc = ctl_admin_lines(buf_str(&out), take_line, err_r);
	buf_fini(&out);
	if (rc == 0 && self.pid <= 0)
		return err_set(err_r, ERR_INVALID,
			"the server does not tell the pid of its master");
	return rc;
}

/*
 * One that is under way may have read the file before it was changed, so it
 * does not count.  stats, which answers, may be replaced meanwhile.
 */
static int await(
	const struct conf *conf, pid_t pid, int64_t number, struct err *err_r)
{
	uint64_t deadline = clock_mono_ms() +
			    (uint64_t)conf->start_timeout_s * 2000 + EXTRA_MS;

	while (clock_mono_ms() < deadline) {
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return err_set(err_r, ERR_UNAVAILABLE,
				"the server has ended meanwhile");
		if (ask(conf, err_r) == 0) {
			if (self.pid != pid)
				return err_set(err_r, ERR_UNAVAILABLE,
					"the server was started anew "
					"meanwhile");
			if (self.ended >= number)
				return 0;
		}
		poll(NULL, 0, POLL_MS);
	}
	return err_set(err_r, ERR_TIMEOUT,
		"the reload has no outcome yet, gamectl status tells of it");
}

static int reload(const struct conf *conf, struct err *err_r)
{
	char why[CTL_REASON_MAX];
	pid_t pid;

	if (ask(conf, err_r) < 0)
		return -1;
	pid = self.pid;
	if (kill(pid, SIGHUP) < 0)
		return err_set_errno(
			err_r, "cannot signal the server, pid %d", (int)pid);
	if (await(conf, pid, self.begun + 1, err_r) < 0)
		return -1;
	/* the counts and the rest of that answer may be of two moments */
	if (ask(conf, err_r) < 0)
		return -1;
	if (self.in_force)
		return 0;
	ctl_admin_reload_error(conf, why);
	return err_set(err_r, ERR_INVALID,
		"the reload failed, the settings in force stay: %s",
		*why ? why : "see the log of the server");
}

int ctl_reload(int argc, char **argv, const struct conf *conf)
{
	struct ctl_line l;
	struct err err;

	(void)argv;
	if (argc != 1)
		return ctl_usage(USAGE);
	if (reload(conf, &err) < 0)
		return ctl_fail(&err);
	if (ctl_json()) {
		json_out_kv_int(
			ctl_line_start(&l), "generation", self.generation);
		ctl_line_end(&l);
	} else
		ctl_print(
			"reloaded, generation %" PRId64 "\n", self.generation);
	return 0;
}
