/* svc_lru.c - see svc_lru.h.  Runs in workers. */
#include "svc/svc_lru.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"

void svc_lru_init(struct svc_lru *l, size_t max, size_t max_bytes,
	void (*val_free)(void *val))
{
	memset(l, 0, sizeof(*l));
	l->max = max;
	l->max_bytes = max_bytes;
	l->val_free = val_free;
	for (l->buckets_cnt = 16; l->buckets_cnt < max;)
		l->buckets_cnt *= 2;
	l->buckets = calloc(l->buckets_cnt, sizeof(*l->buckets));
	if (l->buckets == NULL)
		fatal("out of memory for a cache");
	rnd_bytes(&l->seed, sizeof(l->seed));
}

static struct svc_slot **bucket_of(struct svc_lru *l, uint64_t hash)
{
	return &l->buckets[hash & (l->buckets_cnt - 1)];
}

static void unlink_use(struct svc_lru *l, struct svc_slot *s)
{
	*(s->newer ? &s->newer->older : &l->newest) = s->older;
	*(s->older ? &s->older->newer : &l->oldest) = s->newer;
}

static void link_newest(struct svc_lru *l, struct svc_slot *s)
{
	s->newer = NULL;
	s->older = l->newest;
	*(s->older ? &s->older->newer : &l->oldest) = s;
	l->newest = s;
}

void svc_lru_drop(struct svc_lru *l, struct svc_slot *s)
{
	struct svc_slot **at = bucket_of(l, s->hash);

	assert(!s->is_loading && s->waiters == NULL);
	while (*at != s)
		at = &(*at)->chain;
	*at = s->chain;
	unlink_use(l, s);
	l->cnt--;
	l->bytes -= s->bytes;
	if (s->val)
		l->val_free(s->val);
	free(s);
}

void svc_lru_fini(struct svc_lru *l)
{
	while (l->oldest) {
		l->oldest->is_loading = false;
		l->oldest->waiters = NULL;
		svc_lru_drop(l, l->oldest);
	}
	free(l->buckets);
	memset(l, 0, sizeof(*l));
}

void svc_lru_charge(struct svc_lru *l, struct svc_slot *s, size_t bytes)
{
	struct svc_slot *old, *newer;

	l->bytes += bytes - s->bytes;
	s->bytes = bytes;
	if (bytes > l->max_bytes) {
		svc_lru_drop(l, s);
		return;
	}
	for (old = l->oldest; old && l->bytes > l->max_bytes; old = newer) {
		newer = old->newer;
		if (old != s && !old->is_loading)
			svc_lru_drop(l, old);
	}
}

static int make_room(struct svc_lru *l)
{
	struct svc_slot *s = l->oldest;

	if (l->cnt < l->max)
		return 0;
	while (s && s->is_loading)
		s = s->newer;
	if (s == NULL)
		return -1;
	svc_lru_drop(l, s);
	return 0;
}

struct svc_slot *svc_lru_get(struct svc_lru *l, struct str key)
{
	uint64_t hash = str_hash(key, l->seed);
	struct svc_slot *s;

	for (s = *bucket_of(l, hash); s; s = s->chain) {
		if (s->hash != hash ||
			!str_eq((struct str){s->key, s->key_len}, key))
			continue;
		if (s != l->newest) {
			unlink_use(l, s);
			link_newest(l, s);
		}
		return s;
	}
	if (make_room(l) != 0)
		return NULL;
	s = calloc(1, sizeof(*s) + key.len + 1);
	if (s == NULL)
		fatal("out of memory for a cache");
	s->hash = hash;
	s->key_len = key.len;
	memcpy(s->key, key.p, key.len);
	s->chain = *bucket_of(l, hash);
	*bucket_of(l, hash) = s;
	link_newest(l, s);
	l->cnt++;
	return s;
}
