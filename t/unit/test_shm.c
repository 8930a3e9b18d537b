/* test_shm.c - the shared block: slots, labels, counters, generations. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
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
	for (unsigned r = 0; r < SHM_REALMS_MAX; r++)
		for (unsigned t = 0; t < SHM_DSL_TYPES; t++)
			for (unsigned i = 0; i < 4 * SHM_DSL_BUCKETS; i++)
				runs += s->slot[1].dsl[r][t].bucket[0][i];
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
