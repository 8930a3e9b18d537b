/* listen.c - see listen.h.  Runs in the master. */
#include "master/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ipc/tail_line.h"

#define RETRY_MS      3000 /* a predecessor needs up to 2 s to be gone */
#define RETRY_STEP_MS 20
#define ADMIN_BACKLOG 16
#define SOCK_FLAGS    (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		struct sockaddr_un local;
	} u;
	socklen_t len;
};

static void pause_ms(long ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static void address_of(struct address *a, const char *ip, int64_t port)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, ip, &a->u.in4.sin_addr) == 1) {
		a->u.in4.sin_family = AF_INET;
		a->u.in4.sin_port = htons((uint16_t)port);
		a->len = sizeof(a->u.in4);
		return;
	}
	/* conf has checked that it is one of the two */
	(void)inet_pton(AF_INET6, ip, &a->u.in6.sin6_addr);
	a->u.in6.sin6_family = AF_INET6;
	a->u.in6.sin6_port = htons((uint16_t)port);
	a->len = sizeof(a->u.in6);
}

/* One try; -1 with errno. */
static int bind_tcp(const struct address *a, int64_t backlog)
{
	int one = 1, fd = socket(a->u.any.sa_family, SOCK_FLAGS, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, &a->u.any, a->len) < 0 ||
		listen(fd, (int)backlog) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int open_tcp(int *fd_r, const char *what, const char *ip, int64_t port,
	int64_t backlog, struct err *err_r)
{
	uint64_t deadline = clock_mono_ms() + RETRY_MS;
	struct address a;

	address_of(&a, ip, port);
	for (;;) {
		*fd_r = bind_tcp(&a, backlog);
		if (*fd_r >= 0)
			return 0;
		if (errno != EADDRINUSE || clock_mono_ms() > deadline)
			return err_set_errno(err_r,
				"cannot listen on %s:%lld for %s", ip,
				(long long)port, what);
		pause_ms(RETRY_STEP_MS);
	}
}

/* A socket that nobody listens on any more was left by a crash. */
static bool nobody_answers(const struct address *a)
{
	int fd = socket(AF_UNIX, SOCK_FLAGS, 0);
	bool dead;

	if (fd < 0)
		return false;
	dead = connect(fd, &a->u.any, a->len) < 0 && errno == ECONNREFUSED;
	close(fd);
	return dead;
}

/* One try; -1 with errno. */
static int bind_local(const struct address *a)
{
	int rc, fd = socket(AF_UNIX, SOCK_FLAGS, 0);
	mode_t mask;

	if (fd < 0)
		return -1;
	mask = umask(0117); /* mode 0660 from the first moment */
	rc = bind(fd, &a->u.any, a->len);
	umask(mask);
	if (rc < 0 || listen(fd, ADMIN_BACKLOG) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* In server.run_dir; s->path is set once the name is there. */
static int open_local(struct local_socket *s, const char *name,
	const struct conf *c, struct err *err_r)
{
	uint64_t deadline = clock_mono_ms() + RETRY_MS;
	struct address a = {
		.u.local.sun_family = AF_UNIX, .len = sizeof(a.u.local)};
	int n;

	n = snprintf(a.u.local.sun_path, sizeof(a.u.local.sun_path), "%s/%s",
		c->run_dir, name);
	if (n < 0 || (size_t)n >= sizeof(a.u.local.sun_path))
		return err_set(err_r, ERR_LIMIT,
			"the path of %s in %s is too long", name, c->run_dir);
	if (mkdir(c->run_dir, 0750) < 0 && errno != EEXIST)
		return err_set_errno(err_r, "cannot make %s", c->run_dir);
	for (;;) {
		s->fd = bind_local(&a);
		if (s->fd >= 0)
			break;
		if (errno != EADDRINUSE || clock_mono_ms() > deadline)
			return err_set_errno(err_r, "cannot listen on %s",
				a.u.local.sun_path);
		if (nobody_answers(&a)) {
			log_info(
				"removing stale socket %s", a.u.local.sun_path);
			unlink(a.u.local.sun_path);
		} else
			pause_ms(RETRY_STEP_MS);
	}
	snprintf(s->path, sizeof(s->path), "%s", a.u.local.sun_path);
	return 0;
}

static int take_passed(struct listeners *l, struct err *err_r)
{
	char **names = NULL;
	int rc = 0, n = sd_listen_fds_with_names(1, &names);

	if (n < 0) {
		errno = -n;
		return err_set_errno(err_r, "cannot take systemd's sockets");
	}
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		int *to = strcmp(names[i], "metrics") == 0 ? &l->metrics_fd
			  : strcmp(names[i], "admin") == 0 ? &l->admin.fd
			  : strcmp(names[i], "tail") == 0  ? &l->tail.fd
							   : &l->api_fd;

		if (*to >= 0 ||
			sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
			rc = err_set(err_r, ERR_INVALID,
				"socket %d \"%s\" from systemd: expected one "
				"listening stream socket of each name",
				fd, names[i]);
		*to = fd;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	}
	l->api_passed = l->api_fd >= 0;
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return rc;
}

static void name_api(struct listeners *l)
{
	struct address a = {.len = sizeof(a.u)};
	const void *ip = NULL;

	if (getsockname(l->api_fd, &a.u.any, &a.len) < 0)
		return;
	if (a.u.any.sa_family == AF_INET) {
		ip = &a.u.in4.sin_addr;
		l->api_port = ntohs(a.u.in4.sin_port);
	} else if (a.u.any.sa_family == AF_INET6) {
		ip = &a.u.in6.sin6_addr;
		l->api_port = ntohs(a.u.in6.sin6_port);
	}
	if (ip == NULL || inet_ntop(a.u.any.sa_family, ip, l->api_address,
				  sizeof(l->api_address)) == NULL)
		l->api_port = 0;
}

int listen_open(struct listeners *l, const struct conf *c, struct err *err_r)
{
	*l = (struct listeners){.api_fd = -1,
		.metrics_fd = -1,
		.admin = {.fd = -1},
		.tail = {.fd = -1}};
	if (take_passed(l, err_r) < 0)
		return -1;
	if (l->api_fd < 0 && open_tcp(&l->api_fd, "the API", c->http_address,
				     c->http_port, c->http_backlog, err_r) < 0)
		return -1;
	name_api(l);
	if (l->metrics_fd < 0 && c->metrics_enabled &&
		open_tcp(&l->metrics_fd, "metrics", c->metrics_address,
			c->metrics_port, ADMIN_BACKLOG, err_r) < 0)
		return -1;
	if (l->admin.fd < 0 &&
		open_local(&l->admin, "admin.sock", c, err_r) < 0)
		return -1;
	if (l->tail.fd < 0)
		return open_local(&l->tail, TAIL_SOCKET, c, err_r);
	return 0;
}

void listen_close_api(struct listeners *l)
{
	if (l->api_fd >= 0)
		close(l->api_fd);
	l->api_fd = -1;
}

static void forget(struct local_socket *s)
{
	if (s->path[0] != '\0')
		unlink(s->path);
	s->path[0] = '\0';
}

void listen_forget_local(struct listeners *l)
{
	forget(&l->admin);
	forget(&l->tail);
}
