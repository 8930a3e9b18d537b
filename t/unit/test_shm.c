/* test_shm.c - the shared block: slots, labels, counters, generations. */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/metric_read.h"
#include "shm/shm_layout.h"

static struct shm *fresh(unsigned slot, enum shm_role role)
{
	struct err err;
	struct shm *s = shm_create(&err);

	cr_assert_not_null(s, "%s", err.text);
	shm_attach(s, slot, role);
	return s;
}

/* Runs fn(arg) in a child; its exit status must be 0. */
static pid_t start(
	void (*fn)(struct shm *s, unsigned i), struct shm *s, unsigned i)
{
	pid_t pid = fork();

	if (pid == 0) {
		fn(s, i);
		_exit(0);
	}
	cr_assert_gt(pid, 0);
	return pid;
}

static void finish(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		"child status %x", (unsigned)status);
}

Test(shm, works_without_a_mapping)
{
	metric_inc(M_AWARDS);
	metric_http(0, 200, 1, 1, 1);
	metric_dsl(STR("r"), 0, 1, "DSL_X", 1, 1);
	shm_beat();
	cr_assert_eq(metric_slot(0, M_AWARDS), 1);
}

Test(shm, successor_continues_counters_and_zeroes_gauges)
{
	struct shm *s = fresh(3, SHM_WORKER);

	metric_add(M_AWARDS, 7);
	metric_set(M_HTTP_CONNECTIONS, 9);
	shm_set_generation(4);
	shm_attach(s, 3, SHM_WORKER); /* the same holder: nothing */
	cr_assert_eq(metric_slot(3, M_HTTP_CONNECTIONS), 9);
	cr_assert_eq(s->slot[3].generation, 4);
	s->slot[3].pid = 1; /* the holder was another one */
	shm_attach(s, 3, SHM_WORKER);
	cr_assert_eq(metric_slot(3, M_AWARDS), 7);
	cr_assert_eq(metric_slot(3, M_HTTP_CONNECTIONS), 0);
	cr_assert_eq(s->slot[3].generation, 0);
	cr_assert_eq(s->slot[3].starts, 2);
	cr_assert_eq(s->slot[3].pid, (uint32_t)getpid());
}

Test(shm, beat_tells_life_and_gauges)
{
	uint64_t before = clock_mono_ms();
	struct shm *s = fresh(2, SHM_LOGGER);

	cr_assert_geq(shm_heartbeat_ms(s, 2), before);
	cr_assert_eq(shm_heartbeat_ms(s, 5), 0);
	cr_assert_gt(s->slot[2].resident_bytes, 100000);
	cr_assert_gt(s->slot[2].virtual_bytes, s->slot[2].resident_bytes);
	cr_assert_gt(s->slot[2].fds, 2);
	cr_assert_gt(s->slot[2].fds_max, 2);
}

static void die_counting(struct shm *s, unsigned i)
{
	shm_attach(s, 1, SHM_WORKER);
	metric_inc(M_AWARDS);
	metric_http(i % 5, 200 + 100 * (int)(i % 3), i * 1000000, 10, 20);
	metric_dsl(STR("gme_live_1"), i % 2, i % 4, "DSL_TIMEOUT", i, 3);
	kill(getpid(), SIGKILL);
}

Test(shm, totals_are_exact_after_a_thousand_deaths)
{
	struct shm *s = fresh(0, SHM_MASTER);
	uint64_t requests = 0, runs = 0;
	int status;

	for (unsigned i = 0; i < 1000; i++)
		cr_assert_gt(waitpid(start(die_counting, s, i), &status, 0), 0);
	cr_assert_eq(metric_slot(1, M_AWARDS), 1000);
	cr_assert_eq(s->slot[1].starts, 1000);
	for (unsigned r = 0; r < 5; r++)
		for (unsigned c = 0; c < SHM_STATUS_CLASSES; c++)
			requests += s->slot[1].route[r].status[c];
	cr_assert_eq(requests, 1000);
	for (unsigned r = 0; r < SHM_REALMS_MAX * SHM_DSL_TYPES; r++)
		for (unsigned i = 0; i < SHM_DSL_STATUSES; i++)
			for (unsigned b = 0; b < SHM_DSL_BUCKETS; b++)
				runs += s->slot[1]
						.dsl[r / SHM_DSL_TYPES]
						    [r % SHM_DSL_TYPES]
						.bucket[i][b];
	cr_assert_eq(runs, 1000);
}

static void claim_all(struct shm *s, unsigned i)
{
	char name[16];

	shm_attach(s, i + 1, SHM_WORKER);
	for (int n = 0; n < 200; n++) {
		snprintf(name, sizeof(name), "realm-%d", n);
		metric_dsl(str_from(name), 0, 0, NULL, 1, 1);
	}
}

Test(shm, processes_agree_on_labels_claimed_in_a_race)
{
	struct shm *s = fresh(0, SHM_MASTER);
	pid_t pid[8];
	unsigned used = 0;

	for (unsigned i = 0; i < NELEM(pid); i++)
		pid[i] = start(claim_all, s, i);
	for (unsigned i = 0; i < NELEM(pid); i++)
		finish(pid[i]);
	for (unsigned r = 0; r < SHM_REALMS_MAX - 1; r++) {
		uint64_t sum = 0;

		if (s->head.realm[r].hash == 0)
			continue;
		used++;
		for (unsigned i = 1; i <= NELEM(pid); i++)
			sum += s->slot[i].dsl[r][0].bucket[0][0];
		cr_assert_eq(sum, NELEM(pid));
	}
	cr_assert_eq(used, 200);
}

Test(shm, a_claimer_that_died_is_finished_by_the_next)
{
	struct shm *s = fresh(1, SHM_WORKER);
	unsigned at =
		shm_label_claim(s->head.realm, SHM_REALMS_MAX, STR("half"));
	char text[SHM_LABEL_MAX];
	size_t len;

	s->head.realm[at].ready = 0;
	s->head.realm[at].text[0] = 0;
	cr_assert_not(shm_label_read(&s->head.realm[at], text, &len));
	cr_assert_eq(
		shm_label_claim(s->head.realm, SHM_REALMS_MAX, STR("half")),
		at);
	cr_assert(shm_label_read(&s->head.realm[at], text, &len));
	cr_assert(str_is((struct str){text, len}, "half"));
}

Test(shm, overflow_counts_under_other_and_is_visible)
{
	struct shm *s = fresh(1, SHM_WORKER);
	char name[200];

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "realm-%d", i);
		metric_dsl(str_from(name), 1, 1, name, 1, 1);
	}
	memset(name, 'x', sizeof(name));
	metric_dsl((struct str){name, sizeof(name)}, 1, 0, NULL, 1, 1);
	cr_assert_eq(metric_slot(1, M_LABEL_OVERFLOW_REALM), 300 - 255 + 1);
	cr_assert_eq(metric_slot(1, M_LABEL_OVERFLOW_CODE), 300 - 63);
	cr_assert_eq(s->slot[1].dsl[SHM_REALMS_MAX - 1][1].nodes, 46);
}

static void bump(struct shm *s, unsigned i)
{
	shm_attach(s, i + 1, SHM_WORKER);
	for (int n = 0; n < 10000; n++)
		shm_generation_bump(STR("game:1"));
}

Test(shm, generations_count_every_bump)
{
	struct shm *s = fresh(0, SHM_MASTER);
	uint32_t before = shm_generation(STR("game:1"));
	uint32_t other = shm_generation(STR("game:2"));
	pid_t pid[4];

	for (unsigned i = 0; i < NELEM(pid); i++)
		pid[i] = start(bump, s, i);
	for (unsigned i = 0; i < NELEM(pid); i++)
		finish(pid[i]);
	cr_assert_eq(shm_generation(STR("game:1")) - before, 40000);
	cr_assert_eq(shm_generation(STR("game:2")), other);
	shm_generation_bump_all();
	cr_assert_eq(shm_generation(STR("game:2")), other + 1);
}

Test(shm, evidence_counts_are_kept_apart)
{
	(void)fresh(6, SHM_WORKER);
	shm_ev_sent_add(2, 5);
	shm_ev_sent_add(2, -2);
	cr_assert_eq(shm_ev_sent(6, 2), 3);
	shm_ev_taken_set(6, 2, 2);
	cr_assert_eq(shm_ev_taken(6, 2), 2);
	cr_assert_eq(shm_ev_taken(6, 1), 0);
	metric_evidence_dropped(2, 0, 4);
	metric_evidence_dropped(2, 8, 1);
	cr_assert_eq(metric_evidence_dropped_slot(6, 2), 5);
}

/* Pages that nobody wrote must not come into being (hardening M1). */
Test(shm, untouched_pages_stay_away)
{
	struct shm *s = fresh(1, SHM_WORKER);
	static unsigned char in[sizeof(struct shm) / 4096 + 1];
	size_t present = 0;

	metric_http(3, 200, 1, 1, 1);
	metric_dsl(STR("one"), 0, 1, "A", 1, 1);
	cr_assert_eq(mincore(s, sizeof(*s), in), 0);
	for (size_t i = 0; i < NELEM(in); i++)
		present += in[i] & 1;
	cr_assert_lt(present, 32, "%zu pages", present);
}

static uint64_t total(const uint64_t *v, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i];
	return sum;
}

static void work(struct shm *s, unsigned i)
{
	shm_attach(s, i + 1, SHM_WORKER);
	for (unsigned n = 0; n < 500; n++) {
		metric_http(n % 3, n % 10 ? 200 : 503, n * 1000000ULL, 2, 3);
		metric_dsl(STR("master"), 0, n % 4, n % 2 ? "A" : "B",
			n * 1000000ULL, 5);
	}
	metric_dsl_dropped(STR("master"), 1);
	metric_set(M_HTTP_CONNECTIONS, 5);
	metric_http(SHM_ROUTES_MAX, 404, 1, 0, 0);
}

Test(shm, totals_sum_all_slots_and_histograms_equal_counts)
{
	static struct metric_totals t;
	struct shm *s = fresh(0, SHM_MASTER);
	uint64_t status = 0, bucket = 0;

	for (unsigned i = 0; i < 4; i++)
		finish(start(work, s, i));
	metric_read(&t, 10);
	for (unsigned r = 0; r < 10; r++) {
		status += total(t.route[r].status, SHM_STATUS_CLASSES);
		bucket += total(t.route[r].bucket, SHM_LOWR_BUCKETS);
	}
	cr_assert_eq(status, 2000);
	cr_assert_eq(bucket, 2000);
	cr_assert_eq(total(t.highr, SHM_HIGHR_BUCKETS), 2000);
	cr_assert_eq(t.highr[0], 4 * 11); /* 0 to 10 ms, the edge included */
	cr_assert_eq(t.route[0].request_bytes, 4 * 167 * 2);
	cr_assert_eq(t.plain[M_HTTP_UNROUTED], 4);
	cr_assert_eq(t.realm_cnt, 1);
	cr_assert_eq(t.realm[0].type[0].nodes, 10000);
	cr_assert_eq(t.realm[0].type[1].dropped, 4);
	for (unsigned i = 0; i < SHM_DSL_STATUSES; i++)
		cr_assert_eq(
			total(t.realm[0].type[0].bucket[i], SHM_DSL_BUCKETS),
			500);
	cr_assert_eq(t.error_cnt, 2);
	cr_assert_eq(t.error[0].cnt + t.error[1].cnt, 1500);
}

Test(shm, gauges_are_of_the_living_only)
{
	static struct metric_totals t;
	struct shm *s = fresh(0, SHM_MASTER);

	finish(start(work, s, 0)); /* dead, with 5 connections */
	shm_attach(s, 7, SHM_WORKER);
	shm_set_generation(3);
	metric_set(M_HTTP_CONNECTIONS, 2);
	metric_read(&t, 10);
	cr_assert_eq(t.plain[M_HTTP_CONNECTIONS], 2);
	/* this process holds two slots here */
	cr_assert_eq(t.process_cnt, 2);
	cr_assert_eq(t.process[1].slot, 7);
	cr_assert_eq(t.process[1].generation, 3);
	cr_assert_eq(t.process[1].role, SHM_WORKER);
	s->slot[7].heartbeat_ms = 1;
	metric_read(&t, 10);
	cr_assert_eq(t.process_cnt, 1);
}

Test(shm, evidence_is_accounted_for)
{
	static struct metric_totals t;
	struct shm *s = fresh(1, SHM_WORKER);
	const struct metric_evidence *e = &t.evidence[1];

	metric_add(M_EV_PRODUCED_ERROR, 100);
	metric_evidence_dropped(1, 0, 10);
	shm_ev_sent_add(1, 70);
	shm_ev_held_add(1, 20);
	shm_attach(s, 61, SHM_LOGGER);
	shm_ev_taken_set(1, 1, 60);
	shm_ev_held_add(1, 15);
	metric_add(M_EV_STORED_ERROR, 40);
	metric_evidence_dropped(1, 6, 5);
	metric_read(&t, 0);
	cr_assert_eq(e->produced, 100);
	cr_assert_eq(e->stored, 40);
	cr_assert_eq(e->dropped_all, 15);
	cr_assert_eq(e->queued, 45);
	cr_assert_eq(e->in_workers, 20);
	cr_assert_eq(e->in_sockets, 10);
	cr_assert_eq(e->in_logger, 15);
	cr_assert_eq(e->missing, 0);

	/* a row that leaves without a word */
	shm_ev_held_add(1, -1);
	metric_read(&t, 0);
	cr_assert_eq(e->missing, 1);
	cr_assert_eq(e->queued, 44);
	/* and one that is seen in two places */
	shm_ev_held_add(1, 2);
	metric_read(&t, 0);
	cr_assert_eq(e->missing, 0);
	cr_assert_eq(e->queued, 45);
}

Test(shm, the_dead_hold_no_rows)
{
	static struct metric_totals t;
	struct shm *s = fresh(1, SHM_WORKER);
	const struct metric_evidence *e = &t.evidence[1];
	uint64_t lost[SHM_EV_CLASSES];

	cr_assert_eq(shm_ev_buried(1), 0);
	shm_ev_held_add(1, 30);
	metric_add(M_EV_PRODUCED_ERROR, 30);
	metric_evidence_dropped(1, 0, 10);
	shm_ev_held_add(1, -10);
	shm_ev_sent_add(1, 5);
	shm_attach(s, 0, SHM_MASTER);
	cr_assert(shm_ev_bury(1, lost));
	cr_assert_eq(lost[0], 0);
	cr_assert_eq(lost[1], 15);
	cr_assert_eq(shm_ev_buried(1), 1);
	metric_read(&t, 0);
	cr_assert_eq(e->dropped[SHM_EV_WORKER_KILLED], 15);
	cr_assert_eq(e->in_workers, 0);
	cr_assert_eq(e->in_sockets, 5);
	cr_assert_eq(e->queued, 5);
	cr_assert_eq(e->missing, 0);

	shm_attach(s, 1, SHM_WORKER); /* a successor */
	cr_assert_eq(shm_ev_buried(1), 0);
	shm_ev_held_add(1, 1);
	metric_add(M_EV_PRODUCED_ERROR, 1);
	metric_read(&t, 0);
	cr_assert_eq(e->in_workers, 1);
	cr_assert_eq(e->queued, 6);
}

static void spoil(void *p, size_t n, unsigned *seed)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)p)[i] = (unsigned char)rand_r(seed);
}

static void note_death(unsigned slot, unsigned how)
{
	struct shm_death d = {SHM_WORKER, slot, SHM_DEATH_SIGNAL, how};

	shm_death_note(&d);
}

Test(shm, remembers_the_last_deaths)
{
	struct shm *s = fresh(0, SHM_MASTER);
	struct shm_death d;

	cr_expect_not(shm_death_read(0, &d));
	note_death(3, 6);
	note_death(63, 11);
	cr_assert(shm_death_read(0, &d));
	cr_expect_eq(d.role, SHM_WORKER);
	cr_expect_eq(d.slot, 63);
	cr_expect_eq(d.cause, SHM_DEATH_SIGNAL);
	cr_expect_eq(d.how, 11);
	cr_assert(shm_death_read(1, &d));
	cr_expect_eq(d.slot, 3);
	cr_expect_not(shm_death_read(2, &d));
	for (unsigned i = 0; i < 2 * SHM_DEATHS_MAX; i++)
		note_death(i % SHM_SLOTS_MAX, 9);
	cr_assert(shm_death_read(SHM_DEATHS_MAX - 1, &d));
	cr_expect_eq(d.slot, 0);
	cr_expect_not(shm_death_read(SHM_DEATHS_MAX, &d));
	(void)munmap(s, sizeof(*s));
}

Test(shm, uptime_is_monotonic)
{
	static struct metric_totals t;
	uint64_t before_ms = clock_mono_ms();
	struct shm *s = fresh(0, SHM_MASTER);

	s->head.boot_us += 3600000000U; /* the wall clock went back */
	s->head.boot_ms -= 5000;
	metric_read(&t, SHM_ROUTES_MAX);
	cr_expect_geq(t.uptime_ms, 5000);
	cr_expect_leq(t.uptime_ms, 5000 + clock_mono_ms() - before_ms);
	s->head.boot_ms = UINT64_MAX;
	metric_read(&t, SHM_ROUTES_MAX);
	cr_expect_eq(t.uptime_ms, 0);
	(void)munmap(s, sizeof(*s));
}

/* Hardening M3: a child that went mad must not take the reader with it. */
Test(shm, readers_survive_random_contents)
{
	static struct metric_totals t;

	for (unsigned seed = 1; seed <= 20; seed++) {
		unsigned state = seed;
		struct shm *s = fresh(0, SHM_MASTER);

		spoil((char *)&s->head + offsetof(struct shm_head, boot_us),
			sizeof(s->head) - offsetof(struct shm_head, boot_us),
			&state);
		for (unsigned i = 1; i < 5; i++)
			spoil(&s->slot[i], sizeof(s->slot[i]), &state);
		for (unsigned i = 2; i < 5; i++)
			s->slot[i].role = SHM_WORKER;
		for (unsigned i = 0; i < SHM_REALMS_MAX; i += 2)
			s->head.realm[i].ready = i % 120;
		metric_read(&t, SHM_ROUTES_MAX);
		cr_assert_leq(t.process_cnt, 5);
		cr_assert_leq(t.realm_cnt, SHM_REALMS_MAX);
		cr_assert_leq(t.error_cnt, SHM_SERIES_MAX);
		cr_assert_gt(metric_slot(0, M_TORN_READS), 0);
		for (unsigned i = 0; i < SHM_DEATHS_MAX; i++) {
			struct shm_death d;

			if (shm_death_read(i, &d))
				cr_assert_lt(d.slot, SHM_SLOTS_MAX);
		}
		(void)munmap(s, sizeof(*s));
	}
}

/* As gamed.bucket_edge of sql/0007 says it, in microseconds. */
static uint64_t fine_edge(unsigned i)
{
	return i < 16 ? i : (uint64_t)(i % 16 + 16) << (i / 16 - 1);
}

Test(shm, the_fine_histogram_is_true_to_a_sixteenth)
{
	static struct metric_totals t;
	uint64_t us = 0, n = 0;
	unsigned at = 0;

	(void)fresh(1, SHM_WORKER);
	for (; us < 200000000; us = us * 257 / 256 + 1) {
		while (at < SHM_FINE_BUCKETS - 1 && us >= fine_edge(at + 1))
			at++;
		metric_latency(us * 1000 + 999);
		n++;
		metric_read(&t, 0);
		for (unsigned i = 0; i < SHM_FINE_BUCKETS; i++)
			n -= i <= at ? t.fine[i] : 0;
		cr_assert_eq(n, 0, "%llu us", (unsigned long long)us);
		for (unsigned i = 0; i < SHM_FINE_BUCKETS; i++)
			n += t.fine[i];
		cr_assert_gt(t.fine[at], 0);
	}
	metric_latency(UINT64_MAX); /* a difference below 0 */
	metric_read(&t, 0);
	cr_assert_eq(t.fine[0], 2);
}

/* A bound far above what it costs, for machines that do other things too. */
Test(shm, counting_a_request_is_cheap)
{
	const unsigned n = 200000;
	uint64_t best = UINT64_MAX;

	(void)fresh(1, SHM_WORKER);
	for (unsigned round = 0; round < 5; round++) {
		uint64_t t0 = clock_mono_ns(), t;

		for (unsigned i = 0; i < n; i++)
			metric_http(i % 60, 200, i * 50, 100, 200);
		t = clock_mono_ns() - t0;
		if (t < best)
			best = t;
	}
	cr_log_info("%llu ns", (unsigned long long)(best / n));
	cr_assert_lt(best / n, 1000);
}

/* ---- exact counts of strategies ------------------------------------------- */

static const struct metric_place places[] = {
	{0, 0, 0}, {0, 0, 1}, {1, 0, 0}, {3, 70000, 5000}};

static void run_some(struct shm *s, unsigned i)
{
	static const uint8_t arms[] = {1, 1 | 2 | 4, 0, 1 | 8};
	struct metric_run run = {.case_name = STR("Gold"),
		.duration_ns = 7000000,
		.nodes = 3,
		.points = 2.5,
		.arms = arms};
	struct metric_program m;

	shm_attach(s, i + 1, SHM_WORKER);
	metric_program_claim(&m, STR("id-1"), 4, STR("0123456789abcdef0123"),
		i & 1 ? STR("DSL_FULL\nr\nold") : STR("DSL_FULL\nr\nnew"),
		places, 4);
	for (int n = 0; n < 1000; n++)
		metric_program_run(&m, &run);
	run = (struct metric_run){.status = 1,
		.code = "DSL_X",
		.duration_ns = 9000000000,
		.nodes = 5};
	metric_program_run(&m, &run);
}

static unsigned find_version(const char *id, struct metric_version *v_r)
{
	unsigned found = 0;
	struct metric_version v;

	for (unsigned i = 0; i < SHM_PROGRAMS_MAX; i++)
		if (metric_read_version(i, &v) && str_is(v.id, id)) {
			found++;
			metric_read_version(i, v_r);
		}
	return found;
}

Test(shm, counts_of_a_strategy_are_exact_over_processes)
{
	static struct metric_strategy list[SHM_PROGRAMS_MAX];
	struct shm *s = fresh(0, SHM_MASTER);
	struct metric_outcome o;
	struct metric_version v;
	struct metric_arm a[4];
	unsigned outcomes = 0;
	pid_t pid[8];

	for (unsigned i = 0; i < NELEM(pid); i++)
		pid[i] = start(run_some, s, i);
	for (unsigned i = 0; i < NELEM(pid); i++)
		finish(pid[i]);
	cr_assert_eq(find_version("id-1", &v), 1);
	cr_assert_eq(v.version, 4);
	cr_assert(str_is(v.sha256, "0123456789abcdef"));
	cr_assert_eq(v.arms_cnt, 4);
	for (unsigned k = 0; k < 4; k++)
		metric_read_arm(&v, k, &a[k]);
	cr_assert_eq(a[0].evaluated, 8000);
	cr_assert_eq(a[0].taken, 0);
	cr_assert_eq(a[1].taken, 8000);
	cr_assert_eq(a[1].decided, 8000);
	cr_assert_eq(a[1].place.branch, 1);
	cr_assert_eq(a[2].evaluated, 0);
	cr_assert_eq(a[2].place.section, 1);
	cr_assert_eq(a[3].failed, 8000);
	cr_assert_eq(a[3].place.rule, SHM_PLACE_RULE_MAX);
	cr_assert_eq(a[3].place.branch, SHM_PLACE_BRANCH_MAX);
	for (unsigned i = 0; i < SHM_OUTCOMES_MAX - SHM_DSL_STATUSES; i++) {
		if (!metric_read_outcome(i, &o))
			continue;
		outcomes++;
		cr_assert_eq(o.version, v.at);
		if (o.status == 0) {
			cr_assert_eq(o.runs, 8000);
			cr_assert_eq(o.points, 20000);
			cr_assert_eq(o.nodes, 24000);
			cr_assert_eq(o.bucket[1], 8000);
			cr_assert_eq(o.duration_ns, 8000 * UINT64_C(7000000));
			cr_assert_not(o.has_code);
			cr_assert_str_eq(o.case_name.text, "Gold");
		} else {
			cr_assert_eq(o.runs, 8);
			cr_assert_eq(o.nodes_max, 5);
			cr_assert_eq(o.duration_max_ns, 9000000000);
			cr_assert_eq(o.bucket[SHM_DSL_BUCKETS - 1], 8);
			cr_assert_not(o.has_case);
			cr_assert_str_eq(o.code.text, "DSL_X");
		}
	}
	cr_assert_eq(outcomes, 2);
	cr_assert_eq(metric_read_strategies(list), 1);
	cr_assert_eq(list[0].runs[0], 8000);
	cr_assert_eq(list[0].runs[1], 8);
	cr_assert_eq(list[0].nodes, 24040);
	cr_assert_eq(list[0].version.version, 4);
	cr_assert_str_eq(list[0].code.text, "DSL_X");
	cr_assert(str_is((struct str){list[0].about.text, list[0].about.len},
			  "DSL_FULL\nr\nold") ||
		  str_is((struct str){list[0].about.text, list[0].about.len},
			  "DSL_FULL\nr\nnew"));
}

/* The table of errors may be full while that of realms is not. */
Test(shm, errors_without_a_series_count_under_other)
{
	static struct metric_totals t;
	uint64_t cnt = 0, other = 0;
	char realm[16], code[16];

	(void)fresh(1, SHM_WORKER);
	for (int i = 0; i < 1200; i++) {
		snprintf(realm, sizeof(realm), "realm-%d", i / 60);
		snprintf(code, sizeof(code), "CODE_%d", i % 60);
		metric_dsl(str_from(realm), 0, 1, code, 1, 1);
	}
	metric_read(&t, 0);
	for (unsigned i = 0; i < t.error_cnt; i++) {
		cnt += t.error[i].cnt;
		if (strcmp(t.error[i].code.text, "_other") == 0)
			other += t.error[i].cnt;
	}
	cr_expect_eq(cnt, 1200);
	cr_expect_eq(other, 1200 - (SHM_SERIES_MAX - SHM_DSL_TYPES));
	cr_expect_eq(t.plain[M_LABEL_OVERFLOW_SERIES], other);
}

/* What finds no room is counted in _other, and that it was. */
Test(shm, more_label_sets_than_room_keep_the_totals)
{
	static const uint8_t arms[1] = {1};
	static struct metric_totals t;
	struct metric_outcome o;
	struct metric_version v;
	struct metric_program m;
	uint64_t runs = 0, other = 0;
	char id[16], name[32];

	(void)fresh(1, SHM_WORKER);
	for (int i = 0; i < 600; i++) {
		snprintf(id, sizeof(id), "id-%d", i);
		metric_program_claim(
			&m, str_from(id), 1, STR("h"), STR("a"), places, 1);
		for (int k = 0; k < 20; k++) {
			snprintf(name, sizeof(name), "case-%d", i * 20 + k);
			metric_program_run(
				&m, &(struct metric_run){.arms = arms,
					    .case_name = str_from(name)});
		}
	}
	for (unsigned i = 0; i < SHM_OUTCOMES_MAX; i++) {
		if (!metric_read_outcome(i, &o))
			continue;
		runs += o.runs;
		cr_assert(metric_read_version(o.version, &v));
		other += v.is_other ? o.runs : 0;
	}
	cr_assert_eq(runs, 12000);
	cr_assert_geq(other, (600 - SHM_PROGRAMS_MAX + 1) * 20);
	metric_read(&t, 0);
	cr_assert_eq(t.plain[M_LABEL_OVERFLOW_PROGRAM],
		(600 - SHM_PROGRAMS_MAX + 1) * 20);
	cr_assert_eq(
		t.plain[M_LABEL_OVERFLOW_CASE], 12000 - (SHM_CASES_MAX - 1));
	metric_program_claim(&m, STR("id-0"), 1, STR("h"), STR("a"), places, 2);
	cr_assert_eq(m.arms_cnt, 0, "the program has other arms");
}

/* Read as a scrape does it. */
static struct metric_level_sum scrape_level(enum metric_level l)
{
	static struct metric_totals t;

	metric_read_scrape(&t, 0);
	return t.level[l];
}

Test(level, most_is_of_the_time_since_the_last_scrape)
{
	static struct metric_totals t;
	struct metric_level_sum v;

	(void)fresh(1, SHM_WORKER);
	v = scrape_level(L_QUEUE_AWARD);
	cr_expect_eq(v.now, 0);
	cr_expect_eq(v.most, 0);
	metric_level(L_QUEUE_AWARD, 5);
	metric_level(L_QUEUE_AWARD, 9);
	metric_level(L_QUEUE_AWARD, 3);
	metric_read(&t, 0); /* no scrape: takes nothing away */
	cr_expect_eq(t.level[L_QUEUE_AWARD].most, 9);
	v = scrape_level(L_QUEUE_AWARD);
	cr_expect_eq(v.now, 3);
	cr_expect_eq(v.most, 9);
	v = scrape_level(L_QUEUE_AWARD);
	cr_expect_eq(v.most, 3, "nothing has changed since");
	metric_level(L_QUEUE_AWARD, 1);
	v = scrape_level(L_QUEUE_AWARD);
	cr_expect_eq(v.now, 1);
	cr_expect_eq(v.most, 3, "it began with 3");
	v = scrape_level(L_QUEUE_AWARD);
	cr_expect_eq(v.most, 1);
	cr_expect_eq(t.level[L_QUEUE_DB_READ].most, 0);
}

static void hold_level(struct shm *s, unsigned i)
{
	shm_attach(s, i, SHM_WORKER);
	metric_level(L_QUEUE_AWARD, i == 2 ? UINT64_MAX : 10);
	metric_level(L_QUEUE_AWARD, 10);
	pause();
}

Test(level, is_summed_and_its_most_is_of_one_process)
{
	struct shm *s = fresh(0, SHM_MASTER);
	struct metric_level_sum v;
	pid_t one = start(hold_level, s, 1), two = start(hold_level, s, 2);
	int status;

	while (s->slot[1].level[L_QUEUE_AWARD].now != 10 ||
		s->slot[2].level[L_QUEUE_AWARD].now != 10)
		sched_yield();
	v = scrape_level(L_QUEUE_AWARD);
	cr_expect_eq(v.now, 20);
	cr_expect_eq(v.most, UINT32_MAX, "cut to what the cell holds");
	kill(one, SIGKILL);
	kill(two, SIGKILL);
	cr_assert_gt(waitpid(one, &status, 0), 0);
	cr_assert_gt(waitpid(two, &status, 0), 0);
	cr_expect_eq(scrape_level(L_QUEUE_AWARD).now, 0, "of the living");
}

Test(timer, counts_by_edge_and_survives_its_process)
{
	static struct metric_totals t;
	struct shm *s = fresh(1, SHM_WORKER);

	metric_time(T_DB_WAIT_READ, 0);
	metric_time(T_DB_WAIT_READ, 1000000);
	metric_time(T_DB_WAIT_READ, 1000001);
	metric_time(T_DB_WAIT_READ, 6000000000);
	metric_time(T_DB_WAIT_READ, (uint64_t)-5); /* a clock that fell */
	s->slot[1].pid = 1;
	shm_attach(s, 1, SHM_WORKER);
	metric_read(&t, 0);
	cr_expect_eq(t.timer[T_DB_WAIT_READ].bucket[0], 3);
	cr_expect_eq(t.timer[T_DB_WAIT_READ].bucket[1], 1);
	cr_expect_eq(t.timer[T_DB_WAIT_READ].bucket[SHM_WAIT_BUCKETS - 1], 1);
	cr_expect_eq(t.timer[T_DB_WAIT_READ].ns, 6002000001);
	cr_expect_eq(t.timer[T_DB_WAIT_WRITE].ns, 0);
}

/* An id and a time that belong together. */
static struct uuid id_of(uint64_t duration_ns)
{
	uint64_t words[2] = {duration_ns * 3, duration_ns * 5};
	struct uuid id;

	memcpy(id.b, words, sizeof(id.b));
	return id;
}

static void store_rows(struct shm *s, unsigned i)
{
	shm_attach(s, i, SHM_LOGGER);
	for (uint64_t n = 1;; n++) {
		struct uuid id = id_of(n % 1000);

		metric_dsl_stored(STR("one"), 1, 2, n % 1000, &id);
	}
}

static unsigned realm_at(const char *realm)
{
	static struct metric_totals t;

	metric_read(&t, 0);
	for (unsigned i = 0; i < t.realm_cnt; i++)
		if (str_is((struct str){t.realm[i].label.text,
				   t.realm[i].label.len},
			    realm))
			return t.realm[i].at;
	return SHM_REALMS_MAX;
}

Test(exemplar, is_whole_whoever_writes_or_dies)
{
	struct shm *s = fresh(0, SHM_MASTER);
	struct metric_exemplar e;
	unsigned at, seen = 0;
	int status;
	pid_t pid;

	metric_dsl_known(STR("one"));
	at = realm_at("one");
	cr_assert_lt(at, SHM_REALMS_MAX);
	cr_expect_not(metric_read_exemplar(at, 1, 2, 0, &e), "none yet");
	for (unsigned i = 0; i < 20; i++) {
		pid = start(store_rows, s, 1);
		for (unsigned k = 0; k < 2000 || seen <= i; k++) {
			struct uuid id;

			if (!metric_read_exemplar(at, 1, 2, 0, &e))
				continue;
			seen++;
			id = id_of(e.duration_ns);
			cr_assert(uuid_eq(&id, &e.row), "torn");
		}
		kill(pid, SIGKILL);
		cr_assert_gt(waitpid(pid, &status, 0), 0);
	}
	cr_expect_not(metric_read_exemplar(at, 0, 2, 0, &e), "other type");
	cr_expect_not(metric_read_exemplar(at, 1, 2, 1, &e), "other bucket");
}

Test(exemplar, of_a_writer_that_died_is_not_read_until_the_next)
{
	struct shm *s = fresh(1, SHM_LOGGER);
	struct uuid id = id_of(7000000);
	struct shm_exemplar *c;
	struct metric_exemplar e;
	unsigned at;

	metric_dsl_stored(STR("one"), 0, 0, 7000000, &id);
	at = realm_at("one");
	cr_assert(metric_read_exemplar(at, 0, 0, 1, &e));
	cr_expect_eq(e.duration_ns, 7000000);
	cr_expect(uuid_eq(&id, &e.row));
	c = &s->head.exemplar[at][0][0][1];
	c->changes++; /* it died between two stores */
	c->row[0] = 1;
	cr_expect_not(metric_read_exemplar(at, 0, 0, 1, &e));
	metric_dsl_stored(STR("one"), 0, 0, 7000000, &id);
	cr_assert(metric_read_exemplar(at, 0, 0, 1, &e));
	cr_expect(uuid_eq(&id, &e.row));
	c->duration_ns = 1; /* of another bucket: the block is not trusted */
	cr_expect_not(metric_read_exemplar(at, 0, 0, 1, &e));
	cr_expect_eq(metric_slot(1, M_TORN_READS), 1);
}
