/*
 * spawn.c - see spawn.h.  The first half runs in the master, the second in
 * the child between fork and its role (STYLE 9).
 */
#define _GNU_SOURCE /* pipe2, close_range */
#include "master/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "ipc/ipc_pair.h"
#include "logger/logger.h"
#include "stats/stats.h"
#include "worker/worker.h"

/* A child that hangs when the master dies is ended by its own timer. */
#define ORPHAN_MS 1800

static struct {
	pid_t master_pid;
} self;

const char *spawn_role_name(enum shm_role role)
{
	switch (role) {
	case SHM_MASTER:
		return "master";
	case SHM_WORKER:
		return "worker";
	case SHM_LOGGER:
		return "logger";
	case SHM_STATS:
		return "stats";
	case SHM_FREE:
		break;
	}
	return "free";
}

int spawn_env_open(struct spawn_env *env, struct err *err_r)
{
	int fds[2];

	*env = (struct spawn_env){.all = {.death_fd = -1,
					  .ready_fd = -1,
					  .listen_fd = -1,
					  .trace_fd = -1,
					  .metrics_fd = -1,
					  .admin_fd = -1,
					  .tail_fd = -1},
		.death_tx = -1};
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		env->all.trace_fds[i] = env->trace_tx[i] = -1;
	env->all.master_pid = getpid();
	env->all.boot_ms = (uint64_t)clock_wall_us() / 1000;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set_errno(err_r, "cannot make the death pipe");
	env->all.death_fd = fds[0];
	env->death_tx = fds[1];
	for (unsigned i = SLOT_WORKER_MIN; i <= SLOT_WORKER_MAX; i++) {
		if (ipc_pair_open(fds, err_r) < 0)
			return -1;
		env->trace_tx[i] = fds[0];
		env->all.trace_fds[i] = fds[1];
	}
	return 0;
}

void spawn_close_trace_tx(struct spawn_env *env)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		if (env->trace_tx[i] >= 0)
			close(env->trace_tx[i]);
		env->trace_tx[i] = -1;
	}
}

/* ---- in the child ------------------------------------------------------- */

/* Keeps of `in` what the role needs. */
static void reduce(
	struct inherit *in, const struct spawn_env *env, enum shm_role role)
{
	if (role == SHM_WORKER)
		in->trace_fd = env->trace_tx[in->slot];
	else
		in->listen_fd = -1;
	if (role != SHM_LOGGER) {
		for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
			in->trace_fds[i] = -1;
		in->tail_fd = -1;
	}
	if (role != SHM_STATS)
		in->metrics_fd = in->admin_fd = -1;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Whatever is not in `in`, whoever opened it. */
static void close_others(const struct inherit *in)
{
	int keep[SHM_SLOTS_MAX + 12] = {STDIN_FILENO, STDOUT_FILENO,
		STDERR_FILENO, in->death_fd, in->ready_fd, in->listen_fd,
		in->trace_fd, in->metrics_fd, in->admin_fd, in->tail_fd,
		log_file_fd(LOG_REST), log_file_fd(LOG_ACCESS)};
	unsigned from = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		keep[12 + i] = in->trace_fds[i];
	qsort(keep, NELEM(keep), sizeof(keep[0]), by_number);
	for (size_t i = 0; i < NELEM(keep); i++) {
		unsigned fd = (unsigned)keep[i];

		if (keep[i] < 0)
			continue;
		if (fd > from && close_range(from, fd - 1, 0) < 0)
			fatal("cannot close descriptors below %u", fd);
		from = fd + 1;
	}
	if (close_range(from, ~0U, 0) < 0)
		fatal("cannot close descriptors from %u on", from);
}

static void reset_signals(enum shm_role role)
{
	static const int ignored[] = {SIGPIPE, SIGINT, SIGHUP, SIGUSR1};
	static const int defaults[] = {SIGTERM, SIGQUIT, SIGCHLD, SIGALRM};
	sigset_t none;

	for (size_t i = 0; i < NELEM(ignored); i++)
		signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < NELEM(defaults); i++)
		signal(defaults[i], SIG_DFL);
	if (role == SHM_LOGGER)
		signal(SIGTERM, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* SIGALRM keeps its default action: the end. */
static void on_continued(int sig UNUSED)
{
	struct itimerval t = {.it_value = {.tv_sec = ORPHAN_MS / 1000,
				      .tv_usec = ORPHAN_MS % 1000 * 1000}};

	if (getppid() != self.master_pid)
		setitimer(ITIMER_REAL, &t, NULL);
}

/*
 * The loop of a role sees EOF of the death pipe and leaves by itself; this
 * is for a loop that does not turn.  SIGCONT, since a process that is stopped
 * goes on with it: any other signal would wait, and the process keep ports
 * and spool from a successor.
 */
static void watch_master(pid_t master_pid)
{
	struct sigaction sa = {
		.sa_handler = on_continued, .sa_flags = SA_RESTART};

	self.master_pid = master_pid;
	sigaction(SIGCONT, &sa, NULL);
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGCONT) < 0)
		fatal("cannot watch the master");
	if (getppid() != master_pid)
		_exit(0); /* it died before prctl */
}

static void enter(struct inherit *in, const struct spawn_env *env,
	enum shm_role role) NORETURN;

static void enter(
	struct inherit *in, const struct spawn_env *env, enum shm_role role)
{
	bool many = role == SHM_WORKER;
	char title[16];

	snprintf(title, sizeof(title), many ? "gamed-%s-%u" : "gamed-%s",
		spawn_role_name(role), in->slot);
	prctl(PR_SET_NAME, title);
	log_init(spawn_role_name(role), many ? (int)in->slot : -1);
	reset_signals(role);
	watch_master(in->master_pid);
	reduce(in, env, role);
	close_others(in);
	rnd_reseed();
	shm_attach(in->shm, in->slot, role);
	if (role == SHM_WORKER)
		shm_set_generation(in->generation);
	switch (role) {
	case SHM_WORKER:
		worker_main(in);
	case SHM_LOGGER:
		logger_main(in);
	case SHM_STATS:
		stats_main(in);
	case SHM_MASTER:
	case SHM_FREE:
		break;
	}
	fatal_stay("role %d has no program", (int)role);
}

pid_t spawn_child(const struct spawn_env *env, enum shm_role role,
	unsigned slot, unsigned generation, const struct conf *conf,
	int *ready_fd_r)
{
	struct inherit in = env->all;
	int ready[2];
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	in.conf = conf;
	in.slot = slot;
	in.generation = generation;
	in.ready_fd = ready[1];
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		enter(&in, env, role);
	close(ready[1]);
	if (pid < 0) {
		int saved = errno;

		close(ready[0]);
		errno = saved;
		return -1;
	}
	*ready_fd_r = ready[0];
	return pid;
}
