/*
 * auth.h - who a caller is, and a worker's memory of API keys already checked
 * (api.md 3).  Knows no SQL: the layer above looks a key up and puts it here.
 *
 * An entry is good until its time to live has passed or the generation
 * "apikey:<prefix>" moved (shm.h), so a revocation is seen by every worker at
 * once.  A key that does not exist or is not active is remembered for a second
 * at most: a client that insists costs no query each time.  Bounded.  Bearer
 * tokens come to stand beside the keys here.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/base.h"
#include "base/str.h"

struct auth;
struct conf;

#define AUTH_PREFIX_MAX  128
#define AUTH_SUBJECT_MAX 256
#define AUTH_REALM_MAX   512

struct auth_principal {
	bool has_key;
	char key_prefix[AUTH_PREFIX_MAX]; /* public part of the key */
	bool has_subject;
	char subject[AUTH_SUBJECT_MAX]; /* of a token */
	bool is_admin;
	char realm[AUTH_REALM_MAX]; /* tenant of custom strategies */
};

/* A row of apikey; without prefix: there is none. */
struct auth_key {
	char prefix[AUTH_PREFIX_MAX];
	bool active;
	bool is_admin;
};

struct auth *auth_new(const struct conf *conf);
void auth_free(struct auth **a);

/*
 * The key's hash is SHA-256 over the whole header value.  is_away: no key can
 * be looked up or revoked now, so one whose time has passed is good for up to
 * a quarter of an hour more.
 */
bool auth_find(struct auth *a, const uint8_t hash[32], bool is_away,
	struct auth_key *key_r);
void auth_remember(
	struct auth *a, const uint8_t hash[32], const struct auth_key *key);

/* From an active key; the shared realm belongs to administrators. */
void auth_principal_of_key(const struct auth *a, const struct auth_key *key,
	struct auth_principal *p_r);
/* Value of "Authorization: Bearer"; p NULL when that is not what it is. */
struct str auth_bearer(struct str authorization);

#endif
