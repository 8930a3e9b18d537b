/* ctl_admin.c - see ctl_admin.h. */
#include "ctl/ctl_admin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "json/json_in.h"

#define STEP_S     5
#define ANSWER_MAX (64u << 20)

int ctl_admin_connect(
	const struct conf *conf, const char *name, struct err *err_r)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct timeval step = {STEP_S, 0};
	int fd, n;

	n = snprintf(
		sa.sun_path, sizeof(sa.sun_path), "%s/%s", conf->run_dir, name);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return err_set(err_r, ERR_LIMIT,
			"the path of %s in %s is too long", name,
			conf->run_dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err_r, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &step, sizeof(step));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	if (errno == ENOENT)
		err_set(err_r, ERR_NOT_FOUND,
			"gamed does not run: there is no socket %s",
			sa.sun_path);
	else if (errno == ECONNREFUSED)
		err_set(err_r, ERR_NOT_FOUND,
			"gamed does not run: nobody listens on %s",
			sa.sun_path);
	else
		err_set_errno(err_r, "cannot connect to %s", sa.sun_path);
	close(fd);
	return -1;
}

static int send_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The answer ends with an empty line, which may be all of it. */
static bool is_whole(const struct buf *b)
{
	return (b->len == 1 && b->p[0] == '\n') ||
	       (b->len >= 2 && b->p[b->len - 1] == '\n' &&
		       b->p[b->len - 2] == '\n');
}

static int read_answer(int fd, struct buf *out, struct err *err_r)
{
	while (!is_whole(out)) {
		char *to = buf_reserve(out, 65536);
		ssize_t n;

		if (to == NULL)
			return err_set(err_r, ERR_LIMIT,
				"the answer of the server is too long");
		n = recv(fd, to, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return err_set(err_r, ERR_TIMEOUT,
				"the server did not answer in %d s", STEP_S);
		if (n < 0)
			return err_set_errno(
				err_r, "cannot read the server's answer");
		if (n == 0)
			return err_set(err_r, ERR_UNAVAILABLE,
				"the server closed the admin socket before "
				"its answer was whole");
		out->len += (size_t)n;
	}
	out->len--;
	return 0;
}

int ctl_admin_ask(const struct conf *conf, const char *command, struct buf *out,
	struct err *err_r)
{
	int fd = ctl_admin_connect(conf, "admin.sock", err_r), rc = -1;
	char line[256];

	if (fd < 0)
		return -1;
	snprintf(line, sizeof(line), "%s\n", command);
	out->limit_bytes = ANSWER_MAX;
	if (send_all(fd, line, strlen(line)) < 0)
		err_set_errno(err_r, "cannot send to the server");
	else
		rc = read_answer(fd, out, err_r);
	close(fd);
	return rc;
}

/* What the master leaves there while its settings are not the file's. */
void ctl_admin_reload_error(const struct conf *conf, char text[CTL_REASON_MAX])
{
	char path[CONF_STR_MAX + 32];
	FILE *f;

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/reload-error", conf->run_dir);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(text, CTL_REASON_MAX, f) == NULL)
		text[0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	fclose(f);
}

int ctl_admin_lines(
	struct str lines, void (*use)(const struct jv *v), struct err *err_r)
{
	struct json_err json_err;
	struct arena a;
	int rc = 0;

	arena_init(&a, 0);
	while (lines.len > 0 && rc == 0) {
		const char *end = memchr(lines.p, '\n', lines.len);
		struct jv v;

		if (end == NULL)
			break;
		if (json_parse(&a,
			    (struct str){lines.p, (size_t)(end - lines.p)},
			    &json_limits_default, &v, &json_err) < 0)
			rc = err_set(err_r, ERR_INVALID,
				"the server's answer cannot be understood: %s",
				json_err.text);
		else
			use(&v);
		lines.len -= (size_t)(end + 1 - lines.p);
		lines.p = end + 1;
		arena_reset(&a);
	}
	arena_fini(&a);
	return rc;
}

int64_t ctl_admin_num(const struct jv *v, const char *key)
{
	const struct jv *m = jv_member(v, key);

	return m && m->type == JV_INT ? m->u.i : 0;
}

struct str ctl_admin_text(const struct jv *v, const char *key)
{
	const struct jv *m = jv_member(v, key);

	return m && m->type == JV_STR ? m->u.s : STR("");
}
