/*
 * test_svc.c - the bounded table under the award path's caches, and the
 * sampler of runs.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "svc/svc_lru.h"
#include "svc/svc_sample.h"

static unsigned freed;

static void val_free(void *val)
{
	(void)val;
	freed++;
}

static struct svc_slot *get(struct svc_lru *l, const char *key)
{
	return svc_lru_get(l, str_from(key));
}

static struct svc_slot *put(struct svc_lru *l, const char *key)
{
	static char some;
	struct svc_slot *s = get(l, key);

	cr_assert_not_null(s);
	if (s->val == NULL)
		s->val = &some;
	return s;
}

Test(svc_lru, finds_what_it_made)
{
	struct svc_lru l;
	struct svc_slot *a, *b;

	svc_lru_init(&l, 8, SIZE_MAX, val_free);
	a = put(&l, "a");
	b = put(&l, "b");
	cr_assert_neq(a, b);
	cr_assert_eq(get(&l, "a"), a);
	cr_assert_eq(get(&l, "b"), b);
	cr_assert_eq(l.cnt, 2);
	svc_lru_fini(&l);
}

Test(svc_lru, evicts_the_one_used_longest_ago)
{
	struct svc_lru l;
	struct svc_slot *a;

	svc_lru_init(&l, 3, SIZE_MAX, val_free);
	a = put(&l, "a");
	put(&l, "b");
	put(&l, "c");
	get(&l, "a");
	freed = 0;
	put(&l, "d"); /* "b" goes */
	cr_assert_eq(freed, 1);
	cr_assert_eq(l.cnt, 3);
	cr_assert_eq(get(&l, "a"), a);
	cr_assert_not_null(get(&l, "c")->val);
	cr_assert_not_null(get(&l, "d")->val);
	cr_assert_null(get(&l, "b")->val, "made anew");
	svc_lru_fini(&l);
}

Test(svc_lru, keeps_what_is_being_loaded)
{
	struct svc_lru l;
	struct svc_slot *a, *b;

	svc_lru_init(&l, 2, SIZE_MAX, val_free);
	a = get(&l, "a");
	a->is_loading = true;
	b = put(&l, "b");
	cr_assert_eq(get(&l, "b"), b);
	put(&l, "c"); /* "b" goes though "a" is older */
	cr_assert_eq(get(&l, "a"), a);
	get(&l, "c")->is_loading = true;
	cr_assert_null(get(&l, "d"), "every slot is being loaded");
	svc_lru_fini(&l);
}

Test(svc_lru, evicts_until_the_bytes_fit)
{
	struct svc_lru l;
	struct svc_slot *a;

	freed = 0;
	svc_lru_init(&l, 8, 100, val_free);
	a = put(&l, "a");
	svc_lru_charge(&l, a, 40);
	svc_lru_charge(&l, put(&l, "b"), 30);
	svc_lru_charge(&l, put(&l, "c"), 30);
	cr_assert_eq(freed, 0);
	cr_assert_eq(l.bytes, 100);
	get(&l, "a");
	svc_lru_charge(&l, put(&l, "d"), 31);
	cr_assert_eq(freed, 2); /* b and c: one alone is too little */
	cr_assert_eq(l.bytes, 71);
	cr_assert_not_null(get(&l, "a")->val);
	cr_assert_not_null(get(&l, "d")->val);
	svc_lru_charge(&l, a, 69); /* it has changed */
	cr_assert_eq(l.bytes, 100);
	svc_lru_charge(&l, a, 70);
	cr_assert_eq(freed, 3);
	cr_assert_eq(get(&l, "a"), a);
	cr_assert_eq(l.bytes, 70);
	svc_lru_drop(&l, a);
	cr_assert_eq(l.bytes, 0);
	svc_lru_fini(&l);
}

Test(svc_lru, does_not_keep_what_is_larger_than_all)
{
	struct svc_lru l;

	freed = 0;
	svc_lru_init(&l, 8, 100, val_free);
	svc_lru_charge(&l, put(&l, "a"), 60);
	svc_lru_charge(&l, put(&l, "b"), 101);
	cr_assert_eq(freed, 1);
	cr_assert_eq(l.cnt, 1);
	cr_assert_eq(l.bytes, 60);
	cr_assert_not_null(get(&l, "a")->val);
	svc_lru_charge(&l, get(&l, "a"), 100);
	cr_assert_eq(l.cnt, 1);
	svc_lru_fini(&l);
}

Test(svc_lru, bytes_leave_what_is_being_loaded)
{
	struct svc_lru l;
	struct svc_slot *a;

	freed = 0;
	svc_lru_init(&l, 8, 100, val_free);
	a = put(&l, "a");
	svc_lru_charge(&l, a, 60);
	a->is_loading = true;
	svc_lru_charge(&l, put(&l, "b"), 60);
	cr_assert_eq(freed, 0);
	a->is_loading = false;
	svc_lru_charge(&l, a, 60);
	cr_assert_eq(freed, 1);
	cr_assert_eq(l.cnt, 1);
	cr_assert_not_null(get(&l, "a")->val);
	svc_lru_fini(&l);
}

Test(svc_lru, drops_and_makes_again)
{
	struct svc_lru l;
	char key[16];

	svc_lru_init(&l, 64, SIZE_MAX, val_free);
	freed = 0;
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i % 100);
		put(&l, key);
		cr_assert(l.cnt <= 64);
	}
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		svc_lru_drop(&l, get(&l, key));
	}
	cr_assert(l.cnt <= 64);
	freed = 0;
	svc_lru_fini(&l);
	cr_assert_null(l.buckets);
}

/* ---- sampling ---------------------------------------------------------------- */

#define RUNS  10000
#define TIMES 200

/* xorshift64*: uniform in [0, 1), the same from the same seed. */
static double draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (double)(*state * UINT64_C(2685821657736338717) >> 11) *
	       0x1.0p-53;
}

/* Points of a run: most get little, one of a hundred gets a thousand. */
static double points_of(unsigned run)
{
	return run % 100 == 7 ? 1000 : run % 10;
}

struct sums {
	double runs, points;
};

/* What the rows of one sample say about all runs. */
static struct sums estimate(double rate, uint64_t seed)
{
	struct sums s = {0, 0};

	for (unsigned i = 0; i < RUNS; i++)
		if (svc_sample_keeps(rate, draw(&seed))) {
			s.runs += svc_sample_weight(rate);
			s.points += svc_sample_weight(rate) * points_of(i);
		}
	return s;
}

/* True totals, and the standard error of their estimates. */
static void truth(double rate, struct sums *total_r, struct sums *error_r)
{
	double odds = (1 - rate) / rate, squares = 0;

	*total_r = (struct sums){RUNS, 0};
	for (unsigned i = 0; i < RUNS; i++) {
		total_r->points += points_of(i);
		squares += points_of(i) * points_of(i);
	}
	error_r->runs = sqrt(RUNS * odds);
	error_r->points = sqrt(squares * odds);
}

Test(svc_sample, weighted_totals_are_unbiased)
{
	static const double rates[] = {0.01, 0.05, 0.3, 0.9, 1};

	for (size_t r = 0; r < NELEM(rates); r++) {
		struct sums total, error, mean = {0, 0};

		truth(rates[r], &total, &error);
		for (unsigned t = 0; t < TIMES; t++) {
			struct sums s = estimate(rates[r], 1000003 * (t + 1));

			cr_expect_leq(fabs(s.runs - total.runs),
				5 * error.runs + 1e-6, "rate %g seed %u",
				rates[r], t);
			mean.runs += s.runs / TIMES;
			mean.points += s.points / TIMES;
		}
		/* the mean of many comes as much nearer */
		cr_expect_leq(fabs(mean.runs - total.runs),
			4 * error.runs / sqrt(TIMES) + 1e-6, "rate %g: %g runs",
			rates[r], mean.runs);
		cr_expect_leq(fabs(mean.points - total.points),
			4 * error.points / sqrt(TIMES) + 1e-6,
			"rate %g: %g of %g points", rates[r], mean.points,
			total.points);
	}
}

Test(svc_sample, ends_of_the_scale)
{
	cr_expect_not(svc_sample_keeps(0, 0), "none");
	cr_expect(svc_sample_keeps(1, 1 - 0x1.0p-53), "all");
	cr_expect_eq(svc_sample_weight(1), 1);
	cr_expect_eq(svc_sample_weight(0.05), 20);
}
