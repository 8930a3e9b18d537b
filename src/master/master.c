/*
 * master.c - the wait loop of the master: signals in a fixed order, reload,
 * the phases of leaving (STYLE 8).  Runs in the master only; it must stay
 * clean for fork: no threads, no event base, no connections.
 */
#define _GNU_SOURCE /* ppoll */
#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "master/child.h"
#include "master/listen.h"
#include "master/notify.h"
#include "master/privs.h"
#include "master/spawn.h"
#include "master/state.h"

#define TICK_MS        1000
#define SLEPT_MS       5000 /* no turn for so long: the machine was away */
#define FAST_MS        1500 /* a fast stop ends within 2 s */
#define STATS_LEAVE_MS 2000
#define EXTRA_MS       1000 /* beyond the time a child gives itself */
#define FLUSH_RETRIES  3

enum phase {
	PH_START,  /* the first generation is not ready yet */
	PH_RUN,    /* all is well, or being brought back */
	PH_RELOAD, /* a second generation gets ready beside the first */
	PH_DRAIN,  /* workers finish what they have in hand */
	PH_FLUSH,  /* the logger writes out */
	PH_STATS,  /* the last one to leave */
	PH_FAST,   /* everybody leaves now */
	PH_GONE
};

static struct {
	const struct master_args *args;
	const struct conf *conf; /* in force */
	const struct conf *next; /* PH_RELOAD: of the new generation */
	struct conf conf_buf[2]; /* what reloads read, in turn */
	struct shm *shm;
	struct listeners listen;
	struct spawn_env env;
	enum phase phase;
	uint64_t phase_ms; /* since when */
	uint64_t start_ms;
	uint64_t tick_ms;         /* last full look at everything */
	unsigned generation;      /* in force */
	unsigned generation_last; /* the highest ever started */
	unsigned flush_retries;
	int exit_status;
	char status[200]; /* last told to systemd */
} self;

static struct {
	volatile sig_atomic_t chld, quit, term, hup, usr1;
} pending;

static void on_signal(int sig)
{
	switch (sig) {
	case SIGCHLD:
		pending.chld = 1;
		break;
	case SIGQUIT:
		pending.quit = 1;
		break;
	case SIGTERM:
	case SIGINT:
		pending.term++;
		break;
	case SIGHUP:
		pending.hup = 1;
		break;
	case SIGUSR1:
		pending.usr1 = 1;
		break;
	}
}

/* They arrive only inside ppoll, so that no wake-up is lost. */
static void catch_signals(sigset_t *unblocked)
{
	static const int caught[] = {
		SIGCHLD, SIGQUIT, SIGTERM, SIGINT, SIGHUP, SIGUSR1};
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < NELEM(caught); i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, unblocked);
	for (size_t i = 0; i < NELEM(caught); i++) {
		sigdelset(unblocked, caught[i]);
		sigaction(caught[i], &sa, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN); /* says something to children only */
}

static void apply_log(const struct conf *c)
{
	enum log_level level;

	if (log_parse_level(c->log_level, &level) == 0)
		log_set_level(level);
	log_set_json(
		strcmp(c->env, "prod") == 0 || strcmp(c->env, "stage") == 0);
	log_set_priorities(log_is_to_journal());
}

static int open_logs(const struct conf *c)
{
	const char *const paths[LOG_SINKS] = {
		[LOG_REST] = c->log_file, [LOG_ACCESS] = c->access_log_file};

	for (unsigned i = 0; i < LOG_SINKS; i++)
		if (log_set_file(i, paths[i]) < 0) {
			log_error("cannot open %s", paths[i]);
			return -1;
		}
	return 0;
}

static void enter_phase(enum phase p, uint64_t now)
{
	self.phase = p;
	self.phase_ms = now;
}

static void start_workers(
	unsigned generation, const struct conf *c, uint64_t now)
{
	for (int64_t i = 0; i < c->workers; i++) {
		unsigned slot = child_free_slot();

		if (slot == 0)
			return; /* can_reload has seen to it */
		child_start(SHM_WORKER, slot, generation, c, now);
	}
}

/* ---- leaving ------------------------------------------------------------ */

/*
 * Why the settings in force are not those of the file, for gamectl: a text in
 * server.run_dir that is there only as long as it is true.  NULL: they are.
 */
static void publish_reload_error(const char *why)
{
	char path[CONF_STR_MAX + 32], made[CONF_STR_MAX + 32];
	FILE *f;

	snprintf(path, sizeof(path), "%s/reload-error", self.conf->run_dir);
	if (why == NULL) {
		unlink(path);
		return;
	}
	snprintf(made, sizeof(made), "%s/reload-error.new", self.conf->run_dir);
	f = fopen(made, "we");
	if (f == NULL) {
		log_warn("cannot write %s", made);
		return;
	}
	for (; *why; why++)
		putc(*why == '\n' ? ';' : *why, f);
	putc('\n', f);
	/* as the admin socket */
	if (fchmod(fileno(f), 0660) < 0 || fflush(f) != 0 ||
		rename(made, path) < 0)
		log_warn("cannot write %s", path);
	fclose(f);
}

static void begin_fast(uint64_t now)
{
	log_info("stopping at once processes=%u", child_alive());
	notify_stopping();
	listen_close_api(&self.listen);
	self.env.all.listen_fd = -1;
	spawn_close_trace_tx(&self.env);
	publish_reload_error(NULL);
	listen_forget_local(&self.listen);
	child_stop_workers(0, SIGQUIT, FAST_MS, now);
	child_stop(SLOT_LOGGER, SIGQUIT, FAST_MS, now);
	child_stop(SLOT_STATS, SIGQUIT, FAST_MS, now);
	enter_phase(PH_FAST, now);
}

static void begin_drain(uint64_t now)
{
	log_info("draining workers=%u timeout_s=%" PRId64,
		child_workers(0, CHILD_READY), self.conf->drain_timeout_s);
	notify_stopping();
	listen_close_api(&self.listen);
	self.env.all.listen_fd = -1;
	child_stop_workers(0, SIGTERM,
		(uint64_t)self.conf->drain_timeout_s * 1000 + EXTRA_MS, now);
	enter_phase(PH_DRAIN, now);
}

/* With the workers' ends closed, EOF tells the logger to leave.  One that has
 * just died comes back for it: what it had not read is in the sockets. */
static void flush_logger(uint64_t now)
{
	enum child_state state = child_state_of(SLOT_LOGGER);

	if (state == CHILD_FREE || state == CHILD_WAITING)
		child_start(SHM_LOGGER, SLOT_LOGGER, 1, self.conf, now);
	child_stop(SLOT_LOGGER, 0,
		(uint64_t)self.conf->logger_flush_timeout_s * 1000 +
			2 * EXTRA_MS,
		now);
}

static void begin_flush(uint64_t now)
{
	spawn_close_trace_tx(&self.env);
	flush_logger(now);
	enter_phase(PH_FLUSH, now);
}

static void begin_stats_leave(uint64_t now)
{
	publish_reload_error(NULL);
	listen_forget_local(&self.listen);
	child_stop(SLOT_STATS, SIGTERM, STATS_LEAVE_MS, now);
	enter_phase(PH_STATS, now);
}

static bool is_leaving(void)
{
	return self.phase >= PH_DRAIN;
}

/* ---- reload ------------------------------------------------------------- */

/* gamectl waits for the count, so what it asks for then comes before. */
static void end_reload(enum metric_id result, const char *why, uint64_t now)
{
	publish_reload_error(why);
	metric_set(M_RELOAD_OK, why == NULL);
	metric_inc(result);
	enter_phase(PH_RUN, now);
}

static struct conf *spare_conf(void)
{
	return self.conf == &self.conf_buf[0] ? &self.conf_buf[1]
					      : &self.conf_buf[0];
}

static void refuse_reload(const char *why, uint64_t now)
{
	log_errorx("reload refused, the settings in force stay: %s", why);
	end_reload(M_RELOADS_REFUSED, why, now);
	snprintf(self.status, sizeof(self.status), "reload refused: %.150s",
		why);
	notify_ready(self.status);
}

/* Parse and check first; a bad file changes nothing. */
static void begin_reload(uint64_t now)
{
	struct conf *c = spare_conf();
	struct buf changed;
	struct err err;

	metric_inc(M_RELOADS_BEGUN); /* before the file is read */
	notify_reloading();
	if (conf_load(c, self.args->conf_path, self.args->assignments,
		    self.args->assignments_cnt, &err) < 0) {
		refuse_reload(err.text, now);
		return;
	}
	buf_init(&changed, 0);
	conf_diff_restart(self.conf, c, &changed);
	if (changed.len > 0)
		log_warnx("a restart is needed to change %.*s",
			STR_ARG(buf_str(&changed)));
	buf_fini(&changed);
	conf_keep_restart(c, self.conf);
	self.next = c;
	self.generation_last++;
	log_info("reloading generation=%u workers=%" PRId64,
		self.generation_last, c->workers);
	enter_phase(PH_RELOAD, now);
	start_workers(self.generation_last, c, now);
}

static void commit_reload(uint64_t now)
{
	unsigned old = self.generation;

	self.conf = self.next;
	self.generation = self.generation_last;
	apply_log(self.conf);
	metric_set(M_GENERATION, self.generation);
	child_stop_workers(old, SIGTERM,
		(uint64_t)self.conf->drain_timeout_s * 1000 + EXTRA_MS, now);
	log_info("reloaded generation=%u", self.generation);
	end_reload(M_RELOADS_OK, NULL, now);
	self.status[0] = '\0';
	notify_ready("reloaded");
}

static void abandon_reload(const char *why, uint64_t now)
{
	log_errorx("reload failed, the settings in force stay: %s", why);
	child_stop_workers(self.generation_last, SIGQUIT, FAST_MS, now);
	end_reload(M_RELOADS_FAILED, why, now);
	snprintf(
		self.status, sizeof(self.status), "reload failed: %.150s", why);
	notify_ready(self.status);
}

static unsigned slots_taken(void)
{
	return child_workers(0, CHILD_WAITING) +
	       child_workers(0, CHILD_STARTING) +
	       child_workers(0, CHILD_READY) + child_workers(0, CHILD_LEAVING);
}

/* Several HUPs during one reload are one more reload.  Generations that still
 * drain may hold half the slots. */
static bool can_reload(void)
{
	return self.phase == PH_RUN && slots_taken() <= SLOT_WORKER_MAX / 2;
}

/* ---- what a turn of the loop does --------------------------------------- */

static void on_death(const struct child_death *d, uint64_t now)
{
	bool hopeless = WIFEXITED(d->status) && WEXITSTATUS(d->status) == 2;

	if (self.phase == PH_FLUSH && d->role == SHM_LOGGER && d->status != 0 &&
		self.flush_retries++ < FLUSH_RETRIES) {
		flush_logger(now);
		return;
	}
	if (!hopeless || !d->wanted || is_leaving())
		return;
	if (self.phase == PH_RELOAD && d->role == SHM_WORKER &&
		d->generation != self.generation) {
		abandon_reload(
			"a new worker cannot work, the log says why", now);
		return;
	}
	log_errorx("a %s cannot work, a respawn would not help",
		spawn_role_name(d->role));
	self.exit_status = 2;
	begin_drain(now);
}

static void take_signals(uint64_t now)
{
	struct child_death d;

	if (pending.chld) {
		pending.chld = 0;
		while (child_reap(&d, now))
			on_death(&d, now);
	}
	if (pending.quit || (pending.term && is_leaving()) ||
		pending.term > 1) {
		pending.quit = pending.term = 0;
		if (self.phase < PH_FAST)
			begin_fast(now);
	}
	if (pending.term) {
		pending.term = 0;
		begin_drain(now);
	}
	if (pending.hup && can_reload()) {
		pending.hup = 0;
		begin_reload(now);
	}
	if (pending.usr1) {
		pending.usr1 = 0;
		log_settle(); /* children look every second */
	}
}

static bool all_ready(unsigned generation, const struct conf *c)
{
	return child_workers(generation, CHILD_READY) == (unsigned)c->workers;
}

static bool past(uint64_t now, int64_t timeout_s)
{
	return now - self.phase_ms > (uint64_t)timeout_s * 1000;
}

static void announce(uint64_t now)
{
	log_info("ready workers=%u after_ms=%" PRIu64,
		child_workers(1, CHILD_READY), now - self.start_ms);
	enter_phase(PH_RUN, now);
	notify_ready("ready");
}

static void step_start(uint64_t now)
{
	bool late = past(now, self.conf->start_timeout_s);
	bool some = child_workers(1, CHILD_READY) > 0;

	if ((all_ready(1, self.conf) &&
		    child_state_of(SLOT_LOGGER) == CHILD_READY &&
		    child_state_of(SLOT_STATS) == CHILD_READY) ||
		(late && some)) {
		announce(now);
	} else if (late) {
		log_errorx("no worker became ready within %" PRId64 " s",
			self.conf->start_timeout_s);
		self.exit_status = 1;
		begin_fast(now);
	}
}

static void step_reload(uint64_t now)
{
	if (all_ready(self.generation_last, self.next))
		commit_reload(now);
	else if (past(now, self.conf->start_timeout_s))
		abandon_reload("the new workers did not become ready", now);
}

/* Moves on where the phase's condition holds. */
static void step_phase(uint64_t now)
{
	switch (self.phase) {
	case PH_START:
		step_start(now);
		break;
	case PH_RELOAD:
		step_reload(now);
		break;
	case PH_DRAIN:
		if (slots_taken() == 0)
			begin_flush(now);
		break;
	case PH_FLUSH:
		if (child_state_of(SLOT_LOGGER) == CHILD_FREE)
			begin_stats_leave(now);
		break;
	case PH_STATS:
	case PH_FAST:
		if (child_alive() == 0)
			enter_phase(PH_GONE, now);
		break;
	case PH_RUN:
	case PH_GONE:
		break;
	}
}

static void tell_status(void)
{
	char text[sizeof(self.status)];

	if (self.phase != PH_RUN || strncmp(self.status, "reload", 6) == 0)
		return;
	snprintf(text, sizeof(text),
		"generation %u: %u of %" PRId64 " workers ready",
		self.generation, child_workers(self.generation, CHILD_READY),
		self.conf->workers);
	if (strcmp(text, self.status) == 0)
		return;
	memcpy(self.status, text, sizeof(text));
	notify_status(text);
}

static void tick(uint64_t now)
{
	uint64_t limit = (uint64_t)self.conf->watchdog_s * 1000;

	if (now - self.tick_ms > SLEPT_MS) {
		log_warnx(
			"the master was away ms=%" PRIu64, now - self.tick_ms);
		child_watch_restart(now);
	}
	self.tick_ms = now;
	log_settle();
	shm_beat();
	notify_retry();
	child_watch(limit, now);
	/* leaving has deadlines of its own, nothing to wait for elsewhere */
	if (is_leaving() || child_healthy(limit, now))
		notify_alive();
	tell_status();
}

static void wait_for_events(const sigset_t *unblocked)
{
	uint64_t now = clock_mono_ms(), next = child_next_ms(), ms;
	struct pollfd fds[SHM_SLOTS_MAX];
	unsigned cnt = child_pollfds(fds);
	struct timespec t;
	int n;

	if (next > self.tick_ms + TICK_MS)
		next = self.tick_ms + TICK_MS;
	ms = next > now ? next - now : 0;
	t = (struct timespec){.tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000};
	n = ppoll(fds, cnt, &t, unblocked);
	if (n > 0)
		child_polled(fds, cnt, clock_mono_ms());
	else if (n < 0 && errno != EINTR)
		fatal("cannot wait for events: %s", strerror(errno));
}

static void loop(const sigset_t *unblocked)
{
	while (self.phase != PH_GONE) {
		uint64_t now;

		wait_for_events(unblocked);
		now = clock_mono_ms();
		take_signals(now);
		child_tick(now);
		step_phase(now);
		if (now - self.tick_ms >= TICK_MS)
			tick(now);
	}
}

/* ---- start -------------------------------------------------------------- */

static void stdin_from_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
		fatal("cannot open /dev/null");
	if (fd != STDIN_FILENO)
		close(fd);
}

/*
 * A second server in the same place would have no spool, and no logger.  A
 * directory that is not there costs what the logger says, not the service.
 */
static int own_state_dir(struct err *err_r)
{
	if (state_lock(self.conf, err_r) == 0)
		return 0;
	if (err_r->code == ERR_CONFLICT)
		return -1;
	log_warnx("server.state_dir is not guarded against a second server: "
		  "%s",
		err_r->text);
	return 0;
}

static int open_all(struct err *err_r)
{
	if (own_state_dir(err_r) < 0)
		return -1;
	if (spawn_env_open(&self.env, err_r) < 0)
		return -1;
	self.shm = shm_create(err_r);
	if (self.shm == NULL)
		return -1;
	shm_attach(self.shm, SLOT_MASTER, SHM_MASTER);
	if (listen_open(&self.listen, self.conf, err_r) < 0)
		return -1;
	self.env.all.shm = self.shm;
	self.env.all.listen_fd = self.listen.api_fd;
	self.env.all.metrics_fd = self.listen.metrics_fd;
	self.env.all.admin_fd = self.listen.admin.fd;
	self.env.all.tail_fd = self.listen.tail.fd;
	memcpy(self.env.all.api_address, self.listen.api_address,
		sizeof(self.env.all.api_address));
	self.env.all.api_port = self.listen.api_port;
	return 0;
}

static void start(uint64_t now)
{
	log_info("starting version=%s pid=%d workers=%" PRId64
		 " address=%s port=%" PRId64 "%s",
		GAMED_VERSION, (int)getpid(), self.conf->workers,
		self.conf->http_address, self.conf->http_port,
		self.listen.api_passed ? " socket=systemd" : "");
	if (self.conf->metrics_enabled &&
		strncmp(self.conf->metrics_address, "127.", 4) != 0 &&
		strcmp(self.conf->metrics_address, "::1") != 0)
		log_warnx("metrics are served beyond this machine address=%s",
			self.conf->metrics_address);
	self.generation = self.generation_last = 1;
	metric_set(M_GENERATION, 1);
	metric_set(M_RELOAD_OK, 1);
	child_init(&self.env);
	child_start(SHM_LOGGER, SLOT_LOGGER, 1, self.conf, now);
	child_start(SHM_STATS, SLOT_STATS, 1, self.conf, now);
	start_workers(1, self.conf, now);
	enter_phase(PH_START, now);
}

int master_run(const struct conf *c, const struct master_args *args)
{
	sigset_t unblocked;
	struct err err;

	self.conf = c;
	self.args = args;
	self.start_ms = self.tick_ms = clock_mono_ms();
	log_init("master", -1);
	apply_log(c);
	if (open_logs(c) < 0)
		return 1;
	stdin_from_null();
	privs_apply(c);
	catch_signals(&unblocked);
	if (open_all(&err) < 0) {
		log_errorx("%s", err.text);
		listen_forget_local(&self.listen);
		return 1;
	}
	publish_reload_error(NULL); /* a predecessor's, that was killed */
	start(clock_mono_ms());
	loop(&unblocked);
	log_info("stopped uptime_s=%" PRIu64 " generation=%u exit=%d",
		(clock_mono_ms() - self.start_ms) / 1000, self.generation,
		self.exit_status);
	log_end();
	return self.exit_status;
}
