/* test_svc.c - the bounded table under the award path's caches. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "svc/svc_lru.h"

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

	svc_lru_init(&l, 8, val_free);
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

	svc_lru_init(&l, 3, val_free);
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

	svc_lru_init(&l, 2, val_free);
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

Test(svc_lru, drops_and_makes_again)
{
	struct svc_lru l;
	char key[16];

	svc_lru_init(&l, 64, val_free);
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
