/*
 * svc_lru.h - the table under svc_cache: key bytes -> value, bounded by the
 * number of slots and by the bytes of the values, oldest use evicted first,
 * with the people who wait for a value to be loaded.
 *
 * A slot that is being loaded is never evicted.  Keys come from strangers, so
 * the hash is seeded with random bytes.
 */
#ifndef SVC_SVC_LRU_H
#define SVC_SVC_LRU_H

#include "base/str.h"
#include "store/store_op.h"
#include "svc/svc_cache.h"

struct svc_slot {
	struct svc_slot *chain;         /* next in the bucket */
	struct svc_slot *older, *newer; /* by last use */
	uint64_t hash;
	void *val;    /* NULL: never loaded */
	size_t bytes; /* of val, as charged */
	uint64_t loaded_ms;
	bool is_loading;
	uint32_t gen;             /* of the object, read before the load */
	struct svc_wait *waiters; /* newest first */
	struct store_op op;       /* the load */
	struct svc_cache *cache;
	size_t key_len;
	char key[];
};

struct svc_lru {
	struct svc_slot **buckets;
	size_t buckets_cnt; /* power of two */
	size_t cnt, max;    /* slots */
	size_t bytes,
		max_bytes; /* charged; values that are not count nothing */
	uint64_t seed;
	struct svc_slot *newest, *oldest;
	void (*val_free)(void *val);
};

void svc_lru_init(struct svc_lru *l, size_t max, size_t max_bytes,
	void (*val_free)(void *val));
void svc_lru_fini(struct svc_lru *l);
/* The slot of key, made if missing and now the newest; NULL when every slot
 * is being loaded. */
struct svc_slot *svc_lru_get(struct svc_lru *l, struct str key);
/* Not while it is being loaded. */
void svc_lru_drop(struct svc_lru *l, struct svc_slot *s);
/*
 * Says how large the value of s is, which is not being loaded; others make
 * room for it.  One that is larger than all may be is dropped itself.
 */
void svc_lru_charge(struct svc_lru *l, struct svc_slot *s, size_t bytes);

#endif
