/*
 * metric_exemplar.c - of each bucket of the runs' time the last run whose row
 * is stored (shm.h, metric_read.h).
 *
 * The logger writes, the only process that knows of a commit; whoever scrapes
 * reads.  A cell is a change counter around the rest: a reader takes it when
 * the counter was even and the same before and after.  A writer that died in
 * between leaves it odd, and its successor makes it even.
 */
#include <assert.h>

#include "shm/metric_read.h"
#include "shm/shm_layout.h"

#define TRIES_MAX 8 /* a writer is done after a few stores, or never */

static void cell_write(
	struct shm_exemplar *c, const struct uuid *row, uint64_t duration_ns)
{
	uint64_t words[2], changes = shm_get(&c->changes) | 1;

	_Static_assert(sizeof(words) == sizeof(row->b), "size of an id");
	memcpy(words, row->b, sizeof(words));
	shm_put(&c->changes, changes);
	atomic_thread_fence(memory_order_release);
	shm_put(&c->row[0], words[0]);
	shm_put(&c->row[1], words[1]);
	shm_put(&c->duration_ns, duration_ns);
	atomic_store_explicit(&c->changes, changes + 1, memory_order_release);
}

static bool cell_read(const struct shm_exemplar *c, struct metric_exemplar *e_r)
{
	uint64_t before, words[2];

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		before =
			atomic_load_explicit(&c->changes, memory_order_acquire);
		words[0] = shm_get(&c->row[0]);
		words[1] = shm_get(&c->row[1]);
		e_r->duration_ns = shm_get(&c->duration_ns);
		atomic_thread_fence(memory_order_acquire);
		if (before % 2 == 0 && before == shm_get(&c->changes)) {
			memcpy(e_r->row.b, words, sizeof(words));
			return before != 0;
		}
	}
	return false;
}

void metric_dsl_stored(struct str realm, unsigned type, unsigned status,
	uint64_t duration_ns, const struct uuid *row)
{
	struct shm_head *h = &shm_map()->head;
	unsigned at = shm_realm_claim(realm);

	assert(type < SHM_DSL_TYPES && status < SHM_DSL_STATUSES);
	if (duration_ns > INT64_MAX) /* as metric_dsl counted it */
		duration_ns = 0;
	cell_write(&h->exemplar[at][type][status][shm_dsl_bucket(duration_ns)],
		row, duration_ns);
	shm_put32(&h->exemplars[at], 1);
}

bool metric_read_exemplar(unsigned realm_at, unsigned type, unsigned status,
	unsigned bucket, struct metric_exemplar *e_r)
{
	const struct shm_head *h = &shm_map()->head;

	assert(realm_at < SHM_REALMS_MAX && type < SHM_DSL_TYPES &&
		status < SHM_DSL_STATUSES && bucket < SHM_DSL_BUCKETS);
	if (shm_get32(&h->exemplars[realm_at]) == 0 ||
		!cell_read(&h->exemplar[realm_at][type][status][bucket], e_r))
		return false;
	if (shm_dsl_bucket(e_r->duration_ns) == bucket)
		return true;
	metric_inc(M_TORN_READS);
	return false;
}
