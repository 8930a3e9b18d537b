/*
 * bench_evidence.c - what a run of a stored strategy costs a worker with
 * everything that remains of it: its counters, its trace, and the row for the
 * logger of those that are kept.  Tracing off, 0, 5 and 100 % kept, in
 * alternating rounds of one process.
 *
 *   bench_evidence [rounds]     default 101
 *
 * Times are of this process's processor, its messages to the logger included;
 * another process takes those and does nothing with them.
 */
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "conf/conf.h"
#include "ipc/ipc_pair.h"
#include "ipc/trace_send.h"
#include "json/json_in.h"
#include "svc/app.h"
#include "svc/svc_evidence.h"

#define ROUNDS_DEF 101
#define ROUNDS_MAX 10000
#define SLOT       1
#define RUNS       4000 /* of a round */
#define TURN       16   /* runs of one turn of the loop */

static const char program[] =
	"{\"type\":\"program\",\"rules\":[{\"type\":\"rule\",\"id\":\"zone\","
	"\"when\":{\"type\":\"and\",\"args\":[{\"type\":\"compare\",\"op\":\">="
	"\",\"left\":{\"type\":\"field\",\"path\":\"data.laps\"},\"right\":"
	"{\"type\":\"literal\",\"value\":3}},{\"type\":\"not\",\"arg\":"
	"{\"type\":\"field\",\"path\":\"data.cheat\"}}]},\"then\":[{\"type\":"
	"\"assign_points\",\"case_name\":\"Laps\",\"value\":{\"type\":"
	"\"arith\",\"op\":\"*\",\"left\":{\"type\":\"field\",\"path\":"
	"\"data.laps\"},\"right\":{\"type\":\"literal\",\"value\":2}}}]}],"
	"\"default\":{\"type\":\"assign_points\",\"value\":{\"type\":"
	"\"literal\",\"value\":1},\"case_name\":\"Fallback\"}}";
static const char event_data[] = "{\"laps\":4,\"cheat\":false,\"zone\":"
				 "\"harbour\",\"pm25\":17.25}";

enum what { OFF, NONE, SOME, ALL, WHAT_CNT };
static const double rates[WHAT_CNT] = {0, 0, 0.05, 1};

static struct {
	struct shm *shm;
	struct event_base *base;
	struct trace_send *trace;
	struct conf conf[WHAT_CNT];
	struct app app[WHAT_CNT];
	struct svc_strategy strategy;
	struct engine_event ev;
} self;

static NORETURN void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_evidence: %s: %s\n", what, why);
	exit(1);
}

/* ---- the one who takes the rows ----------------------------------------- */

static NORETURN void take_rows(int fd)
{
	static char msg[1 << 20];
	uint64_t taken[EV_CLASS_CNT] = {0};
	struct ev_head head;
	struct ev_row row;
	struct str rest;
	ssize_t n;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, -1) < 0)
			_exit(1);
		n = recv(fd, msg, sizeof(msg), 0);
		if (n <= 0)
			_exit(n < 0);
		if (ev_frame_open((struct str){msg, (size_t)n}, &head, &rest))
			_exit(1);
		while (ev_frame_next(&rest, &row) == 1)
			shm_ev_taken_set(SLOT, row.cls, ++taken[row.cls]);
	}
}

/* ---- what runs ---------------------------------------------------------- */

static struct dsl_program *compile(struct arena *a)
{
	struct json_err jerr;
	struct dsl_error err;
	struct jv ast, norm;

	if (json_parse(a, str_from(program), &json_limits_default, &ast,
		    &jerr) < 0 ||
		dsl_check(a, &ast, &dsl_limits_default, &norm, &err) < 0)
		die("program", "is none");
	return dsl_compile(&norm);
}

static void setup(int fd, struct arena *a)
{
	static struct jv data;
	static const struct engine_analytics none;
	struct trace_send_conf c = {.fd = fd,
		.slot = SLOT,
		.rows_max = 1 << 20,
		.audit_max = 1,
		.ring_bytes = 64u << 20};
	struct svc_strategy *s = &self.strategy;
	struct json_err jerr;

	self.base = event_base_new();
	self.trace = trace_send_new(self.base, &c);
	for (int k = 0; k < WHAT_CNT; k++) {
		conf_init(&self.conf[k]);
		self.conf[k].trace_enabled = k != OFF;
		self.conf[k].trace_sample_rate = rates[k];
		self.app[k].conf = &self.conf[k];
		self.app[k].slot = SLOT;
		self.app[k].trace = self.trace;
		self.app[k].evidence = svc_evidence_new(&self.app[k]);
		arena_init(&self.app[k].run, 1 << 20);
	}
	snprintf(s->id_text, sizeof(s->id_text),
		"5d1a9c1e-7f0b-4a51-9f5e-3b8c0c4f2a11");
	s->version = 3;
	s->realm = STR("gme_live_ab12cd34");
	s->name = STR("bench");
	s->prog = compile(a);
	if (json_parse(a, str_from(event_data), &json_limits_default, &data,
		    &jerr) < 0)
		die("event", "is no JSON");
	self.ev = (struct engine_event){
		.ids = {STR("air-quality"), STR("zone-17"),
			STR("citizen-000123")},
		.data = &data,
		.an = &none};
}

/* As svc_award.c does it. */
static void run_once(struct app *app)
{
	struct engine_custom run = {
		.strategy = {.prog = self.strategy.prog},
		.ev = &self.ev,
		.lim = &dsl_limits_default,
		.arena = &app->run,
		.trace = svc_evidence_trace(app->evidence),
		.arms = svc_evidence_arms(app->evidence, self.strategy.prog),
	};
	struct svc_run facts = {
		.strategy = &self.strategy,
		.ids = self.ev.ids,
		.data = self.ev.data,
		.run = &run,
		.duration_ns = 41050,
		.correlation_id = STR("5f2b8f38-6a0f-4c7e-9d3a-2f6f1b8f6d11"),
		.method = "POST",
		.handler = "/bench",
	};
	struct uuid id;

	arena_reset(&app->run);
	facts.status = engine_custom_score(&run);
	if (facts.status != DSL_STATUS_OK)
		die("run", run.err.message);
	(void)svc_evidence_record(app->evidence, &app->run, &facts, &id);
}

/* ---- measuring ---------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The rows of a round are gone before the next one begins. */
static void settle(void)
{
	while (trace_send_pending(self.trace) > 0 ||
		shm_ev_sent(SLOT, EV_SAMPLE) > shm_ev_taken(SLOT, EV_SAMPLE)) {
		trace_send_flush(self.trace);
		usleep(100);
	}
}

static double round_ns(enum what k)
{
	uint64_t from = cpu_ns(), spent;

	for (int i = 0; i < RUNS; i++) {
		run_once(&self.app[k]);
		if (i % TURN == TURN - 1)
			event_base_loop(self.base, EVLOOP_NONBLOCK);
	}
	spent = cpu_ns() - from;
	settle();
	return (double)spent / RUNS;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static void measure(unsigned rounds)
{
	static double t[WHAT_CNT][ROUNDS_MAX];

	for (int k = 0; k < WHAT_CNT; k++)
		(void)round_ns((enum what)k);
	for (unsigned i = 0; i < rounds; i++)
		for (unsigned n = 0; n < WHAT_CNT; n++) {
			/* each is the first as often */
			unsigned k = (i + n) % WHAT_CNT;

			t[k][i] = round_ns((enum what)k);
		}
	printf("a run and its evidence: off %.0f ns, 0 %% kept %.0f ns, "
	       "5 %% %.0f ns, 100 %% %.0f ns\n",
		median(t[OFF], rounds), median(t[NONE], rounds),
		median(t[SOME], rounds), median(t[ALL], rounds));
}

int main(int argc, char **argv)
{
	int64_t rounds = ROUNDS_DEF;
	struct arena a;
	struct err err;
	int pair[2];
	pid_t pid;

	if (argc > 2 ||
		(argc == 2 && (num_parse_i64(str_from(argv[1]), &rounds) < 0 ||
				      rounds < 1 || rounds > ROUNDS_MAX)))
		die("usage", "bench_evidence [rounds]");
	log_set_level(LOG_L_WARN);
	self.shm = shm_create(&err);
	if (self.shm == NULL || ipc_pair_open(pair, &err) < 0)
		die("setup", err.text);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		shm_attach(self.shm, SLOT + 1, SHM_LOGGER);
		take_rows(pair[1]);
	}
	close(pair[1]);
	shm_attach(self.shm, SLOT, SHM_WORKER);
	arena_init(&a, 0);
	setup(pair[0], &a);
	measure((unsigned)rounds);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return 0;
}
