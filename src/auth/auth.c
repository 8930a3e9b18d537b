/* auth.c - see auth.h. Runs in workers. */
#include "auth/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "shm/shm.h"

#define SETS       256 /* the cache: sets of four, replaced oldest first */
#define WAYS       4
#define REFUSED_MS 1000   /* a refused key is remembered for this, at most */
#define AWAY_MS    900000 /* more for each while Postgres is away */

struct entry {
	uint8_t hash[32];
	struct auth_key key;
	uint64_t until_ms; /* monotonic; 0: empty */
	uint32_t generation;
};

struct auth {
	uint64_t ttl_ms;
	char realm[AUTH_REALM_MAX];
	struct entry entries[SETS][WAYS];
};

struct auth *auth_new(const struct conf *conf)
{
	struct auth *a = calloc(1, sizeof(*a));

	if (a == NULL)
		fatal("out of memory for the key cache");
	a->ttl_ms = (uint64_t)conf->apikey_cache_ttl_s * 1000;
	snprintf(a->realm, sizeof(a->realm), "%s", conf->realm);
	return a;
}

void auth_free(struct auth **a)
{
	free(*a);
	*a = NULL;
}

static uint32_t generation_of(const struct auth_key *key)
{
	char name[AUTH_PREFIX_MAX + 8];

	snprintf(name, sizeof(name), "apikey:%s", key->prefix);
	return shm_generation(str_from(name));
}

bool auth_find(struct auth *a, const uint8_t hash[32], bool is_away,
	struct auth_key *key_r)
{
	struct entry *set = a->entries[hash[0]];
	uint64_t more = is_away ? AWAY_MS : 0, now = clock_mono_ms();

	for (int i = 0; i < WAYS; i++) {
		struct entry *e = &set[i];

		if (e->until_ms == 0 || e->until_ms + more <= now ||
			memcmp(e->hash, hash, sizeof(e->hash)) != 0)
			continue;
		if (e->generation != generation_of(&e->key)) {
			e->until_ms = 0;
			return false;
		}
		*key_r = e->key;
		return true;
	}
	return false;
}

void auth_remember(
	struct auth *a, const uint8_t hash[32], const struct auth_key *key)
{
	struct entry *set = a->entries[hash[0]], *to = &set[0];
	uint64_t ttl_ms = a->ttl_ms;

	if (ttl_ms == 0)
		return;
	if (!key->active && ttl_ms > REFUSED_MS)
		ttl_ms = REFUSED_MS;
	for (int i = 0; i < WAYS; i++) {
		if (memcmp(set[i].hash, hash, sizeof(set[i].hash)) == 0) {
			to = &set[i];
			break;
		}
		if (set[i].until_ms < to->until_ms)
			to = &set[i];
	}
	memcpy(to->hash, hash, sizeof(to->hash));
	to->key = *key;
	to->until_ms = clock_mono_ms() + ttl_ms;
	to->generation = generation_of(key);
}

void auth_principal_of_key(const struct auth *a, const struct auth_key *key,
	struct auth_principal *p_r)
{
	memset(p_r, 0, sizeof(*p_r));
	p_r->has_key = true;
	p_r->is_admin = key->is_admin;
	memcpy(p_r->key_prefix, key->prefix, sizeof(p_r->key_prefix));
	snprintf(p_r->realm, sizeof(p_r->realm), "%s",
		key->is_admin ? a->realm : key->prefix);
}

struct str auth_bearer(struct str authorization)
{
	static const size_t n = sizeof("Bearer ") - 1;

	if (authorization.len < n ||
		strncasecmp(authorization.p, "Bearer ", n) != 0)
		return (struct str){NULL, 0};
	return str_trim(
		(struct str){authorization.p + n, authorization.len - n});
}
