/* child.c - see child.h.  Runs in the master. */
#define _GNU_SOURCE /* sigabbrev_np */
#include "master/child.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "ipc/evidence.h"

#define BACKOFF_MIN_MS   100
#define BACKOFF_MAX_MS   10000
#define HEALTHY_MS       60000 /* then the next crash is a first one again */
#define ABORT_TO_KILL_MS 2000

static struct {
	const struct spawn_env *env;
	struct child child[SHM_SLOTS_MAX];
	uint64_t watch_from_ms; /* heartbeats count from here */
} self;

static bool runs(const struct child *c)
{
	return c->pid != 0;
}

static bool is_worker_of(const struct child *c, unsigned generation)
{
	return c->role == SHM_WORKER &&
	       (generation == 0 || c->generation == generation);
}

void child_init(const struct spawn_env *env)
{
	self.env = env;
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		self.child[i] = (struct child){.slot = i, .ready_fd = -1};
}

static uint64_t next_backoff(uint64_t ms)
{
	if (ms == 0)
		return BACKOFF_MIN_MS;
	return ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms * 2;
}

static void plan_respawn(struct child *c, uint64_t now_ms)
{
	c->state = CHILD_WAITING;
	c->respawn_ms = now_ms + c->backoff_ms;
	c->backoff_ms = next_backoff(c->backoff_ms);
}

static void run(struct child *c, uint64_t now_ms)
{
	pid_t pid = spawn_child(self.env, c->role, c->slot, c->generation,
		c->conf, &c->ready_fd);

	if (pid < 0) {
		log_error("cannot fork a %s", spawn_role_name(c->role));
		c->ready_fd = -1;
		plan_respawn(c, now_ms);
		return;
	}
	c->pid = pid;
	c->state = CHILD_STARTING;
	c->started_ms = now_ms;
	c->kill_ms = 0;
	c->stuck = false;
	log_debug("started %s slot=%u pid=%d generation=%u",
		spawn_role_name(c->role), c->slot, (int)pid, c->generation);
}

void child_start(enum shm_role role, unsigned slot, unsigned generation,
	const struct conf *conf, uint64_t now_ms)
{
	struct child *c = &self.child[slot];

	*c = (struct child){.role = role,
		.slot = slot,
		.generation = generation,
		.conf = conf,
		.ready_fd = -1};
	run(c, now_ms);
}

unsigned child_free_slot(void)
{
	for (unsigned i = SLOT_WORKER_MIN; i <= SLOT_WORKER_MAX; i++)
		if (self.child[i].state == CHILD_FREE)
			return i;
	return 0;
}

void child_stop(unsigned slot, int sig, uint64_t patience_ms, uint64_t now_ms)
{
	struct child *c = &self.child[slot];

	if (!runs(c)) {
		c->state = CHILD_FREE;
		return;
	}
	c->state = CHILD_LEAVING;
	c->asked = sig;
	if (!c->stuck) /* then its end is already planned */
		c->kill_ms = now_ms + patience_ms;
	if (sig != 0)
		kill(c->pid, sig);
}

void child_stop_workers(
	unsigned generation, int sig, uint64_t patience_ms, uint64_t now_ms)
{
	for (unsigned i = SLOT_WORKER_MIN; i <= SLOT_WORKER_MAX; i++)
		if (self.child[i].state != CHILD_FREE &&
			is_worker_of(&self.child[i], generation))
			child_stop(i, sig, patience_ms, now_ms);
}

/* It left as it was asked to; a signal may have come before its handler. */
static bool has_left(const struct child *c, int status)
{
	if (c->state != CHILD_LEAVING || c->stuck)
		return false;
	return status == 0 ||
	       (WIFSIGNALED(status) && WTERMSIG(status) == c->asked);
}

static void count_death(const struct child *c, int status)
{
	bool is_signal = WIFSIGNALED(status);
	struct shm_death d = {
		.role = c->role,
		.slot = c->slot,
		.cause = c->stuck    ? SHM_DEATH_STUCK
			 : is_signal ? SHM_DEATH_SIGNAL
				     : SHM_DEATH_EXIT,
		.how = (unsigned)(is_signal ? WTERMSIG(status)
					    : WEXITSTATUS(status)),
	};

	shm_death_note(&d);
	metric_inc((enum metric_id)(
		M_DEATHS_WORKER_EXIT +
		(int)(c->role - SHM_WORKER) * SHM_DEATH_CAUSES + (int)d.cause));
}

static void log_death(const struct child *c, int status, uint64_t now_ms)
{
	char how[40];
	enum log_level level = LOG_L_WARN;

	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "signal=%s",
			sigabbrev_np(WTERMSIG(status))
				? sigabbrev_np(WTERMSIG(status))
				: "?");
	else
		snprintf(how, sizeof(how), "exit=%d", WEXITSTATUS(status));
	if (has_left(c, status) && status == 0)
		level = LOG_L_INFO;
	LOG_AT(level, 0, "%s %s slot=%u pid=%d %s%s uptime_ms=%" PRIu64,
		spawn_role_name(c->role), has_left(c, status) ? "left" : "died",
		c->slot, (int)c->pid, how, c->stuck ? " stuck=yes" : "",
		now_ms - c->started_ms);
}

static void count_rows(const struct child *c)
{
	uint64_t lost[SHM_EV_CLASSES];

	if (c->role != SHM_WORKER || !shm_ev_bury(c->slot, lost))
		return;
	for (unsigned i = 0; i < SHM_EV_CLASSES; i++)
		if (lost[i] > 0)
			log_warnx("evidence rows of a dead worker are lost "
				  "slot=%u class=%s rows=%" PRIu64,
				c->slot, evidence_class_name(i), lost[i]);
}

static void after_death(struct child *c, int status, uint64_t now_ms)
{
	log_death(c, status, now_ms);
	count_rows(c);
	if (!has_left(c, status))
		count_death(c, status);
	if (c->ready_fd >= 0)
		close(c->ready_fd);
	c->ready_fd = -1;
	c->pid = 0;
	c->kill_ms = 0;
	if (c->state == CHILD_LEAVING) {
		c->state = CHILD_FREE;
		return;
	}
	if (now_ms - c->started_ms >= HEALTHY_MS)
		c->backoff_ms = 0;
	plan_respawn(c, now_ms);
}

bool child_reap(struct child_death *d_r, uint64_t now_ms)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
			struct child *c = &self.child[i];

			if (c->pid != pid)
				continue;
			*d_r = (struct child_death){.role = c->role,
				.generation = c->generation,
				.wanted = c->state != CHILD_LEAVING,
				.status = status};
			after_death(c, status, now_ms);
			return true;
		}
	return false;
}

void child_tick(uint64_t now_ms)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		struct child *c = &self.child[i];

		if (c->state == CHILD_WAITING && now_ms >= c->respawn_ms)
			run(c, now_ms);
		if (runs(c) && c->kill_ms != 0 && now_ms >= c->kill_ms) {
			log_warnx("killing %s slot=%u pid=%d, it did not leave",
				spawn_role_name(c->role), c->slot, (int)c->pid);
			kill(c->pid, SIGKILL);
			c->kill_ms = 0;
			c->stuck = true;
		}
	}
}

uint64_t child_next_ms(void)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct child *c = &self.child[i];

		if (c->state == CHILD_WAITING && c->respawn_ms < next)
			next = c->respawn_ms;
		if (runs(c) && c->kill_ms != 0 && c->kill_ms < next)
			next = c->kill_ms;
	}
	return next;
}

/* Milliseconds without a sign of life. */
static uint64_t silence(const struct child *c, uint64_t now_ms)
{
	uint64_t last = shm_heartbeat_ms(self.env->all.shm, c->slot);

	if (last < c->started_ms) /* a predecessor's */
		last = c->started_ms;
	if (last < self.watch_from_ms)
		last = self.watch_from_ms;
	return now_ms > last ? now_ms - last : 0;
}

void child_watch(uint64_t limit_ms, uint64_t now_ms)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		struct child *c = &self.child[i];

		if ((c->state != CHILD_STARTING && c->state != CHILD_READY) ||
			c->stuck || silence(c, now_ms) <= limit_ms)
			continue;
		log_warnx("%s slot=%u pid=%d gives no sign of life, aborting "
			  "it silence_ms=%" PRIu64,
			spawn_role_name(c->role), c->slot, (int)c->pid,
			silence(c, now_ms));
		c->stuck = true;
		c->kill_ms = now_ms + ABORT_TO_KILL_MS;
		kill(c->pid, SIGABRT);
	}
}

void child_watch_restart(uint64_t now_ms)
{
	self.watch_from_ms = now_ms;
}

unsigned child_pollfds(struct pollfd fds[SHM_SLOTS_MAX])
{
	unsigned cnt = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		if (self.child[i].ready_fd >= 0)
			fds[cnt++] = (struct pollfd){
				.fd = self.child[i].ready_fd, .events = POLLIN};
	return cnt;
}

/* A byte: ready. EOF without one: it is dying, SIGCHLD tells the rest. */
static void take_ready(struct child *c, uint64_t now_ms)
{
	char byte;
	ssize_t n = read(c->ready_fd, &byte, 1);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	close(c->ready_fd);
	c->ready_fd = -1;
	if (n != 1 || c->state != CHILD_STARTING)
		return;
	c->state = CHILD_READY;
	log_info("%s is ready slot=%u pid=%d generation=%u after_ms=%" PRIu64,
		spawn_role_name(c->role), c->slot, (int)c->pid, c->generation,
		now_ms - c->started_ms);
}

void child_polled(const struct pollfd *fds, unsigned cnt, uint64_t now_ms)
{
	for (unsigned i = 0; i < cnt; i++) {
		if (fds[i].revents == 0)
			continue;
		for (unsigned k = 0; k < SHM_SLOTS_MAX; k++)
			if (self.child[k].ready_fd == fds[i].fd)
				take_ready(&self.child[k], now_ms);
	}
}

unsigned child_workers(unsigned generation, enum child_state state)
{
	unsigned cnt = 0;

	for (unsigned i = SLOT_WORKER_MIN; i <= SLOT_WORKER_MAX; i++)
		cnt += self.child[i].state == state &&
		       is_worker_of(&self.child[i], generation);
	return cnt;
}

enum child_state child_state_of(unsigned slot)
{
	return self.child[slot].state;
}

unsigned child_alive(void)
{
	unsigned cnt = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		cnt += runs(&self.child[i]);
	return cnt;
}

bool child_healthy(uint64_t limit_ms, uint64_t now_ms)
{
	bool well[SHM_STATS + 1] = {false};

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct child *c = &self.child[i];

		if (c->state == CHILD_READY && silence(c, now_ms) <= limit_ms)
			well[c->role] = true;
	}
	return well[SHM_WORKER] && well[SHM_LOGGER] && well[SHM_STATS];
}
