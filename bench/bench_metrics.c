/*
 * bench_metrics.c - what counting costs a request, and what a scrape costs
 * (DESIGN 9: at most 150 ns and, with 64 slots and 500 series, 1 ms).
 *
 * All 64 slots have been held by a worker and counted every route and run.
 * Times are of the processor, medians of rounds.  Beside the scrape stands
 * the reading of its cells alone: what any printer would have to do.
 *
 *   bench_metrics [rounds]      default 101
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/api.h"
#include "base/num.h"
#include "stats/stats_prom.h"

#define ROUNDS_DEF 101
#define ROUNDS_MAX 10000
#define REQUESTS   100000 /* of a round */
#define REALMS     2

/* ---- time --------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
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

/* ---- counting ----------------------------------------------------------- */

static const struct metric_place places[] = {{0, 0, 0}, {0, 1, 0}, {1, 0, 0}};
static const uint8_t hits[] = {
	SHM_ARM_EVALUATED, SHM_ARM_EVALUATED | SHM_ARM_TAKEN, 0};

/* What every request counts. */
static void count_request(unsigned i)
{
	metric_http(i % (unsigned)api_routes_cnt, i % 8 ? 200 : 422,
		1000000 + i * 997 % 5000000, 180, 420);
}

/* What an award of a stored strategy counts beside: its run, two look-ups in
 * caches, the queue and the job of its statement. */
static void count_award(const struct metric_program *m, unsigned i)
{
	struct metric_run run = {.case_name = STR("PriorityZone"),
		.duration_ns = 40000 + i,
		.nodes = 9,
		.points = 7.5,
		.arms = hits};

	metric_dsl(STR("gme_live_ab12cd34"), 0, 0, NULL, run.duration_ns, 9);
	metric_program_run(m, &run);
	metric_inc(M_AWARDS);
	metric_inc(M_CACHE_TASK_HIT);
	metric_inc(M_CACHE_PROGRAM_HIT);
	metric_level(L_QUEUE_AWARD, i % 64);
	metric_level(L_QUEUE_DB_WRITE, 0);
	metric_inc(M_DB_JOBS_WRITE_OK);
	metric_time(T_DB_WAIT_WRITE, 30000);
	metric_time(T_DB_JOB_WRITE, 800000 + i);
}

static double requests_ns(const struct metric_program *m, bool is_award)
{
	uint64_t from = cpu_ns();

	for (unsigned i = 0; i < REQUESTS; i++) {
		count_request(i);
		if (is_award)
			count_award(m, i);
	}
	return (double)(cpu_ns() - from) / REQUESTS;
}

static void bench_counting(unsigned rounds)
{
	static double request[ROUNDS_MAX], award[ROUNDS_MAX];
	struct metric_program m;

	metric_program_claim(&m, STR("5d1a9c1e-7f0b-4a51-9f5e-3b8c0c4f2a11"), 3,
		STR("0123456789abcdef"), STR("DSL_FULL\nbench\nbench"), places,
		NELEM(places));
	for (unsigned r = 0; r < rounds; r++) {
		request[r] = requests_ns(&m, false);
		award[r] = requests_ns(&m, true);
	}
	printf("counting a request %.1f ns, an award %.1f ns\n",
		median(request, rounds), median(award, rounds));
}

/* ---- scraping ----------------------------------------------------------- */

static void count_everything(struct shm *shm)
{
	char realm[32];

	for (unsigned slot = 0; slot < SHM_SLOTS_MAX; slot++) {
		shm_attach(shm, slot, SHM_WORKER);
		for (unsigned i = 0; i < 8 * api_routes_cnt; i++)
			count_request(i);
		for (unsigned i = 0; i < 64 * REALMS; i++) {
			snprintf(realm, sizeof(realm), "gme_live_%u",
				i % REALMS);
			metric_dsl(str_from(realm), i / REALMS % 2, i % 4,
				i % 4 ? "DSL_TIMEOUT" : NULL, i * 10000000ULL,
				9);
		}
		for (unsigned i = 0; i < T_CNT; i++)
			metric_time((enum metric_timer)i, 1000000);
	}
}

static unsigned lines_of(struct str text)
{
	unsigned cnt = 0;

	for (size_t i = 0; i < text.len; i++)
		cnt += text.p[i] == '\n' &&
		       (i + 1 == text.len || text.p[i + 1] != '#');
	return cnt;
}

static double scrape_us(struct buf *b, struct str accept)
{
	uint64_t from = cpu_ns();

	buf_reset(b);
	(void)stats_render_for(b, accept);
	return (double)(cpu_ns() - from) / 1e3;
}

static double read_us(void)
{
	static struct metric_totals t;
	uint64_t from = cpu_ns();

	metric_read(&t, (unsigned)api_routes_cnt);
	return (double)(cpu_ns() - from) / 1e3;
}

static void bench_scrape(unsigned rounds)
{
	static double classic[ROUNDS_MAX], open[ROUNDS_MAX], cells[ROUNDS_MAX];
	static const struct str accept = {"application/openmetrics-text", 28};
	struct buf b;
	unsigned lines;

	buf_init(&b, 0);
	for (unsigned r = 0; r < rounds; r++) {
		open[r] = scrape_us(&b, accept);
		classic[r] = scrape_us(&b, (struct str){NULL, 0});
		cells[r] = read_us();
	}
	lines = lines_of(buf_str(&b));
	printf("scrape of %u slots, %u samples, %zu bytes: classic %.0f us, "
	       "OpenMetrics %.0f us, reading alone %.0f us\n",
		SHM_SLOTS_MAX, lines, b.len, median(classic, rounds),
		median(open, rounds), median(cells, rounds));
	buf_fini(&b);
}

int main(int argc, char **argv)
{
	int64_t rounds = ROUNDS_DEF;
	struct err err;
	struct shm *shm = shm_create(&err);

	if (argc > 2 ||
		(argc == 2 && (num_parse_i64(str_from(argv[1]), &rounds) < 0 ||
				      rounds < 1 || rounds > ROUNDS_MAX))) {
		fprintf(stderr, "usage: bench_metrics [rounds]\n");
		return 2;
	}
	if (shm == NULL) {
		fprintf(stderr, "bench_metrics: %s\n", err.text);
		return 1;
	}
	count_everything(shm);
	bench_scrape((unsigned)rounds); /* while the slots' beats are young */
	bench_counting((unsigned)rounds);
	return 0;
}
