/* state.c - see state.h.  Runs in the master. */
#include "master/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define RETRY_MS      2000 /* a predecessor may be about to leave */
#define RETRY_STEP_MS 20

int state_lock(const struct conf *c, struct err *err_r)
{
	uint64_t deadline = clock_mono_ms() + RETRY_MS;
	char path[CONF_STR_MAX + 8];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", c->state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(err_r, "cannot open %s", path);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR) {
			err_set_errno(err_r, "cannot lock %s", path);
			close(fd);
			return -1;
		}
		if (clock_mono_ms() >= deadline) {
			close(fd);
			return err_set(err_r, ERR_CONFLICT,
				"another server runs in server.state_dir %s",
				c->state_dir);
		}
		poll(NULL, 0, RETRY_STEP_MS);
	}
	return 0; /* the descriptor goes with the process */
}
