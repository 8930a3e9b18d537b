/* Unit tests of src/auth: what the cache of keys keeps, and for how long. */
#include <criterion/criterion.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "shm/shm.h"

static struct auth *make(int ttl_s)
{
	struct conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.apikey_cache_ttl_s = ttl_s;
	memcpy(conf.realm, "shared", sizeof("shared"));
	return auth_new(&conf);
}

/* Hashes of one set of the cache differ in the last byte only. */
static const uint8_t *hash_of(uint8_t last)
{
	static uint8_t hash[32];

	hash[31] = last;
	return hash;
}

static const struct auth_key active = {.prefix = "gme_a", .active = true};
static const struct auth_key revoked = {.prefix = "gme_r"};
static const struct auth_key unknown;

/* Waits until the cache has forgotten the hash; milliseconds that it took. */
static uint64_t forgotten_after(struct auth *a, const uint8_t hash[32])
{
	uint64_t start = clock_mono_ms();
	struct auth_key found;

	while (auth_find(a, hash, false, &found))
		cr_assert_lt(clock_mono_ms() - start, 30000u);
	return clock_mono_ms() - start;
}

Test(auth, finds_what_it_was_told)
{
	static const struct auth_key *const keys[] = {
		&active, &revoked, &unknown};
	struct auth *a = make(60);
	struct auth_key found;

	cr_expect_not(auth_find(a, hash_of(9), false, &found));
	for (uint8_t i = 0; i < NELEM(keys); i++)
		auth_remember(a, hash_of(i), keys[i]);
	for (uint8_t i = 0; i < NELEM(keys); i++) {
		cr_assert(auth_find(a, hash_of(i), false, &found), "%u", i);
		cr_expect_str_eq(found.prefix, keys[i]->prefix);
		cr_expect_eq(found.active, keys[i]->active);
	}
	auth_free(&a);
	cr_expect_null(a);
}

Test(auth, forgets_a_key_when_its_generation_moves)
{
	struct auth *a = make(60);
	struct auth_key found;

	auth_remember(a, hash_of(1), &active);
	auth_remember(a, hash_of(2), &revoked);
	shm_generation_bump(STR("apikey:gme_a"));
	cr_expect_not(auth_find(a, hash_of(1), false, &found));
	cr_expect(auth_find(a, hash_of(2), false, &found), "another key stays");
	shm_generation_bump_all();
	cr_expect_not(auth_find(a, hash_of(2), false, &found));
	auth_free(&a);
}

Test(auth, keeps_a_good_key_longer_than_a_refused_one)
{
	struct auth *a = make(60);
	struct auth_key found;

	auth_remember(a, hash_of(1), &active);
	auth_remember(a, hash_of(2), &unknown);
	cr_expect_geq(forgotten_after(a, hash_of(2)), 900u);
	cr_expect(auth_find(a, hash_of(1), false, &found));
	cr_expect(auth_find(a, hash_of(2), true, &found),
		"nothing new can be learned");
	cr_expect_not(found.active);
	auth_free(&a);
}

Test(auth, forgets_a_good_key_after_its_time)
{
	struct auth *a = make(1);

	auth_remember(a, hash_of(1), &active);
	cr_expect_geq(forgotten_after(a, hash_of(1)), 900u);
	auth_free(&a);
}

Test(auth, remembers_nothing_without_a_time_to_live)
{
	struct auth *a = make(0);
	struct auth_key found;

	auth_remember(a, hash_of(1), &active);
	auth_remember(a, hash_of(2), &unknown);
	cr_expect_not(auth_find(a, hash_of(1), false, &found));
	cr_expect_not(auth_find(a, hash_of(2), false, &found));
	auth_free(&a);
}

/* A set is full: refused keys make way first, whoever sends many of them. */
Test(auth, lets_refused_keys_push_out_no_good_one)
{
	struct auth *a = make(60);
	struct auth_key found;

	for (uint8_t i = 0; i < 3; i++)
		auth_remember(a, hash_of(i), &active);
	for (uint8_t i = 3; i < 100; i++)
		auth_remember(a, hash_of(i), &unknown);
	for (uint8_t i = 0; i < 3; i++)
		cr_expect(auth_find(a, hash_of(i), false, &found), "%u", i);
	cr_expect(auth_find(a, hash_of(99), false, &found));
	cr_expect_not(auth_find(a, hash_of(3), false, &found));
	auth_free(&a);
}

Test(auth, makes_a_principal_of_a_key)
{
	static const struct auth_key admin = {
		.prefix = "gme_x", .active = true, .is_admin = true};
	struct auth *a = make(1);
	struct auth_principal p;

	auth_principal_of_key(a, &active, &p);
	cr_expect(p.has_key && !p.is_admin && !p.has_subject);
	cr_expect_str_eq(p.key_prefix, "gme_a");
	cr_expect_str_eq(p.realm, "gme_a", "a key is a tenant of its own");
	auth_principal_of_key(a, &admin, &p);
	cr_expect(p.is_admin);
	cr_expect_str_eq(p.realm, "shared");
	auth_free(&a);
}

Test(auth, takes_the_token_of_a_bearer)
{
	static const struct {
		const char *in, *token;
	} cases[] = {{"Bearer abc", "abc"}, {"bEARER  abc ", "abc"},
		{"Bearer ", ""}, {"Bearer", NULL}, {"Basic abc", NULL},
		{"Bearerabc", NULL}, {"", NULL}};

	for (size_t i = 0; i < NELEM(cases); i++) {
		struct str got = auth_bearer(str_from(cases[i].in));

		if (cases[i].token == NULL)
			cr_expect_null(got.p, "%s", cases[i].in);
		else
			cr_expect(
				str_is(got, cases[i].token), "%s", cases[i].in);
	}
}
