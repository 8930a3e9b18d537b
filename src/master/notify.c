/* notify.c - see notify.h.  Runs in the master. */
#include "master/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#define STATUS_MAX 200 /* longer ones are cut; escaped, six times as long */

/* A change of state, "": none. */
static char unsent[STATUS_MAX * 6 + sizeof("READY=1\nSTATUS=")];

/* 0 when sent or when there is nobody to send to, -1: try again. */
static int send_text(const char *text)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	socklen_t len;
	bool full;
	ssize_t n;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
		strlen(path) >= sizeof(to.sun_path))
		return 0;
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			  strlen(path));
	memcpy(to.sun_path, path, strlen(path));
	if (path[0] == '@')
		to.sun_path[0] = '\0'; /* abstract */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	n = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
		(const struct sockaddr *)&to, len);
	full = n < 0 && errno == EAGAIN;
	if (n < 0 && !full)
		log_warn("cannot notify systemd at %s", path);
	close(fd);
	return full ? -1 : 0;
}

static void send_state(const char *text)
{
	unsent[0] = '\0';
	if (send_text(text) < 0)
		snprintf(unsent, sizeof(unsent), "%s", text);
}

/* A line feed in the status would begin an assignment of its own. */
static void print_status(
	char text[sizeof(unsent)], const char *lead, const char *status)
{
	struct str s = str_from(status);
	struct buf b;

	buf_init(&b, 0);
	if (s.len > STATUS_MAX)
		s.len = STATUS_MAX;
	buf_add_visible(&b, s);
	snprintf(text, sizeof(unsent), "%sSTATUS=%.*s", lead,
		STR_ARG(buf_str(&b)));
	buf_fini(&b);
}

void notify_ready(const char *status)
{
	char text[sizeof(unsent)];

	print_status(text, "READY=1\n", status);
	send_state(text);
}

void notify_status(const char *status)
{
	char text[sizeof(unsent)];

	print_status(text, "", status);
	(void)send_text(text); /* the next one will say more */
}

void notify_reloading(void)
{
	char text[sizeof(unsent)];

	snprintf(text, sizeof(text),
		"RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reloading",
		clock_mono_ns() / 1000);
	send_state(text);
}

void notify_stopping(void)
{
	send_state("STOPPING=1\nSTATUS=draining");
}

void notify_alive(void)
{
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) > 0)
		(void)send_text("WATCHDOG=1");
}

void notify_retry(void)
{
	if (unsent[0] != '\0' && send_text(unsent) == 0)
		unsent[0] = '\0';
}
