/*
 * ctl_tail.c - `gamectl tail`: kept runs as they arrive, from the tail socket.
 * Works without HTTP and without Postgres.
 *
 * A server, or a logger, that goes away is not the end: the reason goes to
 * standard error and the socket is tried again until it answers.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "base/uuid.h"
#include "ctl/ctl_admin.h"
#include "ipc/tail_line.h"
#include "json/json_in.h"

#define USAGE                                                                 \
	"tail [--strategy ID] [--status STATUS] [--case NAME] [--user ID] "   \
	"[--game ID] [--task ID] [--realm ID] [--correlation ID] [-n COUNT] " \
	"[--json]"

#define ANSWER_MS 5000 /* for the first line */
#define RETRY_MS  200

enum follow {
	FOLLOW_DONE, /* all that was asked for, or nobody reads any more */
	FOLLOW_LOST  /* the reason is in the error */
};

static struct {
	struct tail_filter filter;
	char strategy[UUID_TEXT_LEN + 1];
	int64_t left;      /* runs to print; 0: no end */
	bool is_following; /* the server has said so since the last loss */
	struct buf in;
	struct buf text; /* of the line being printed */
	struct arena arena;
} self;

/* ---- printing ----------------------------------------------------------- */

static void put_text(const struct jv *run, const char *before, const char *key)
{
	struct str s = ctl_admin_text(run, key);

	if (s.len == 0)
		return;
	buf_add_str(&self.text, str_from(before));
	buf_add_visible(&self.text, s);
}

static void put_value(const struct jv *run, const char *key)
{
	struct json_out o;

	json_out_init(&o, &self.text);
	json_out_val(&o, jv_member(run, key));
}

static void put_outcome(const struct jv *run)
{
	if (!str_is(ctl_admin_text(run, "status"), "ok")) {
		put_text(run, "  ", "status");
		put_text(run, " ", "errorCode");
		return;
	}
	buf_add_str(&self.text, STR("  "));
	put_value(run, "points");
	buf_add_str(&self.text, STR(" points"));
	if (ctl_admin_text(run, "caseName").len > 0) {
		put_text(run, " \"", "caseName");
		buf_add_char(&self.text, '"');
	}
	if (str_is(ctl_admin_text(run, "reason"), "refused"))
		buf_add_str(&self.text, STR(" refused"));
}

static void put_run(const struct jv *run)
{
	put_text(run, "", "createdAt");
	put_text(run, "  ", "id");
	put_outcome(run);
	put_text(run, "  game ", "externalGameId");
	put_text(run, "  task ", "externalTaskId");
	put_text(run, "  user ", "externalUserId");
	put_text(run, "  strategy ", "strategyId");
	buf_add_str(&self.text, STR(" v"));
	put_value(run, "strategyVersion");
	buf_add_str(&self.text, STR("  "));
	put_value(run, "durationMs");
	buf_add_str(&self.text, STR(" ms"));
	put_text(run, "  correlation ", "correlationId");
	put_text(run, "  ", "notes");
	buf_add_char(&self.text, '\n');
}

static void put_line(struct str line, enum tail_line kind)
{
	struct json_err err;
	struct jv v;

	buf_reset(&self.text);
	arena_reset(&self.arena);
	if (ctl_json() || json_parse(&self.arena, line, &json_limits_default,
				  &v, &err) < 0) {
		buf_add_str(&self.text, line);
		buf_add_char(&self.text, '\n');
	} else if (kind == TAIL_LINE_MISSED)
		buf_printf(&self.text,
			"-- %" PRId64 " runs missed: this reader is slow --\n",
			ctl_admin_num(&v, "missed"));
	else
		put_run(&v);
	fwrite(self.text.p, 1, self.text.len, stdout);
	fflush(stdout);
}

/* ---- following ---------------------------------------------------------- */

static enum follow refused(struct str line, struct err *err_r)
{
	const struct jv *e;
	struct json_err json_err;
	struct jv v;

	arena_reset(&self.arena);
	if (json_parse(&self.arena, line, &json_limits_default, &v, &json_err) <
		0)
		v = jv_null();
	e = jv_member(&v, "error");
	err_set(err_r, ERR_INVALID, "the server refuses: %.*s",
		STR_ARG(ctl_admin_text(e, "message")));
	return FOLLOW_LOST;
}

static enum follow ended(struct str line, struct err *err_r)
{
	if (str_is(line, "{\"end\":\"late\"}"))
		err_set(err_r, ERR_LIMIT,
			"cut off: this reader stayed behind for too long");
	else
		err_set(err_r, ERR_UNAVAILABLE, "the server leaves");
	return FOLLOW_LOST;
}

/* False: *f_r says why it is the last line. */
static bool take_line(struct str line, enum follow *f_r, struct err *err_r)
{
	enum tail_line kind = tail_line_kind(line);

	switch (kind) {
	case TAIL_LINE_READY:
		self.is_following = true;
		return true;
	case TAIL_LINE_ERROR:
		*f_r = refused(line, err_r);
		return false;
	case TAIL_LINE_END:
		*f_r = ended(line, err_r);
		return false;
	case TAIL_LINE_MISSED:
		put_line(line, kind);
		return true;
	case TAIL_LINE_RUN:
		put_line(line, kind);
		*f_r = FOLLOW_DONE;
		return self.left == 0 || --self.left > 0;
	}
	return true;
}

/* Whole lines of self.in; as take_line. */
static bool take_lines(enum follow *f_r, struct err *err_r)
{
	const char *end;
	size_t at = 0;
	bool goes_on = true;

	while (goes_on && (end = memchr(self.in.p + at, '\n',
				   self.in.len - at)) != NULL) {
		struct str line = {
			self.in.p + at, (size_t)(end - self.in.p) - at};

		at += line.len + 1;
		goes_on = take_line(line, f_r, err_r);
	}
	buf_consume(&self.in, at);
	return goes_on;
}

/* Waits for the socket, or for the end of whoever reads what we print. */
static bool await(int fd, int ms, bool *is_unread_r)
{
	struct pollfd p[] = {
		{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
	int n;

	do
		n = poll(p, NELEM(p), ms);
	while (n < 0 && errno == EINTR); /* it was stopped for a while */
	*is_unread_r = n > 0 && p[1].revents & (POLLERR | POLLHUP | POLLNVAL);
	return n > 0 && p[0].revents != 0;
}

static enum follow follow(int fd, struct err *err_r)
{
	enum follow f = FOLLOW_DONE;
	bool is_ready = false, is_unread;

	buf_reset(&self.in);
	do {
		char *to;
		ssize_t n;

		if (!await(fd, is_ready ? -1 : ANSWER_MS, &is_unread)) {
			if (is_unread)
				return FOLLOW_DONE;
			err_set(err_r, ERR_TIMEOUT,
				"the logger did not answer in %d s",
				ANSWER_MS / 1000);
			return FOLLOW_LOST;
		}
		to = buf_reserve(&self.in, 65536);
		n = recv(fd, to, 65536, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			err_set(err_r, ERR_UNAVAILABLE, "the logger is gone");
			return FOLLOW_LOST;
		}
		self.in.len += (size_t)n;
		is_ready = true;
	} while (take_lines(&f, err_r) && !ferror(stdout));
	return f;
}

static int subscribe(const struct conf *conf, struct err *err_r)
{
	int fd = ctl_admin_connect(conf, TAIL_SOCKET, err_r);
	struct buf line;
	ssize_t n;

	if (fd < 0)
		return -1;
	buf_init(&line, 0);
	tail_filter_write(&line, &self.filter);
	/* a fresh socket has room for it */
	n = send(fd, line.p, line.len, MSG_NOSIGNAL);
	buf_fini(&line);
	if (n > 0)
		return fd;
	err_set_errno(err_r, "cannot send to the server");
	close(fd);
	return -1;
}

/* Connects again, for as long as it takes; false: nobody reads any more. */
static bool reconnect(const struct conf *conf, int *fd_r)
{
	struct err err;
	bool is_unread;

	while ((*fd_r = subscribe(conf, &err)) < 0) {
		(void)await(-1, RETRY_MS, &is_unread);
		if (is_unread)
			return false;
	}
	return true;
}

static int run(const struct conf *conf)
{
	bool has_followed = false;
	struct err err;
	int fd = subscribe(conf, &err);

	if (fd < 0)
		return ctl_fail(&err);
	for (;;) {
		bool is_unread;
		enum follow f = follow(fd, &err);

		close(fd);
		has_followed |= self.is_following;
		if (f == FOLLOW_DONE)
			return 0;
		if (!has_followed)
			return ctl_fail(&err);
		if (self.is_following)
			fprintf(stderr, "gamectl: %s; connecting again\n",
				err.text);
		self.is_following = false;
		/* a server that refuses at once is not asked without pause */
		(void)await(-1, RETRY_MS, &is_unread);
		if (is_unread || !reconnect(conf, &fd))
			return 0;
	}
}

/* ---- arguments ---------------------------------------------------------- */

static bool take_strategy(const char *text)
{
	struct str s = str_from(text);
	struct uuid id;

	if (str_starts_with(s, "custom:")) {
		s.p += strlen("custom:");
		s.len -= strlen("custom:");
	}
	if (uuid_parse(s, &id) < 0)
		return false;
	uuid_print(&id, self.strategy);
	self.filter.want[TAIL_STRATEGY] = str_from(self.strategy);
	return true;
}

static bool take_status(const char *text)
{
	static const char *const statuses[] = {
		"ok", "error", "timeout", "limit"};

	self.filter.want[TAIL_STATUS] = str_from(text);
	for (size_t i = 0; i < NELEM(statuses); i++)
		if (strcmp(text, statuses[i]) == 0)
			return true;
	return false;
}

static bool take_count(const char *text)
{
	return num_parse_i64(str_from(text), &self.left) == 0 && self.left > 0;
}

static bool take_options(int argc, char **argv)
{
	/* val: one more than the filter's key */
	static const struct option options[] = {
		{"strategy", required_argument, NULL, TAIL_STRATEGY + 1},
		{"realm", required_argument, NULL, TAIL_REALM + 1},
		{"game", required_argument, NULL, TAIL_GAME + 1},
		{"task", required_argument, NULL, TAIL_TASK + 1},
		{"user", required_argument, NULL, TAIL_USER + 1},
		{"status", required_argument, NULL, TAIL_STATUS + 1},
		{"case", required_argument, NULL, TAIL_CASE + 1},
		{"correlation", required_argument, NULL, TAIL_CORRELATION + 1},
		{NULL, 0, NULL, 0}};
	bool fine = true;
	int c;

	opterr = 0;
	while (fine && (c = getopt_long(argc, argv, "n:", options, NULL)) != -1)
		if (c == 'n')
			fine = take_count(optarg);
		else if (c == TAIL_STRATEGY + 1)
			fine = take_strategy(optarg);
		else if (c == TAIL_STATUS + 1)
			fine = take_status(optarg);
		else if (c <= TAIL_KEY_CNT)
			self.filter.want[c - 1] = str_from(optarg);
		else
			fine = false;
	return fine && optind == argc;
}

/* Whole lines have been written; there is nothing to put in order. */
static void on_interrupt(int sig UNUSED)
{
	_exit(0);
}

int ctl_tail(int argc, char **argv, const struct conf *conf)
{
	int rc;

	if (!take_options(argc, argv))
		return ctl_usage(USAGE);
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	buf_init(&self.in, 0);
	buf_init(&self.text, 0);
	arena_init(&self.arena, 0);
	rc = run(conf);
	buf_fini(&self.in);
	buf_fini(&self.text);
	arena_fini(&self.arena);
	return rc;
}
