/*
 * metric.c - counting: every function writes into the slot of its process,
 * with plain loads and stores.  Runs in every process, in workers for each
 * request; metric_http stays below 150 ns.
 */
#include <assert.h>

#include "shm/shm_layout.h"

static const uint64_t highr_ns[SHM_HIGHR_BUCKETS - 1] = {
#define EDGE(text, ns) ns,
	SHM_HIGHR_EDGES(EDGE)
#undef EDGE
};
static const uint64_t lowr_ns[SHM_LOWR_BUCKETS - 1] = {
#define EDGE(text, ns) ns,
	SHM_LOWR_EDGES(EDGE)
#undef EDGE
};
static const uint64_t dsl_ns[SHM_DSL_BUCKETS - 1] = {
#define EDGE(text, ns) ns,
	SHM_DSL_EDGES(EDGE)
#undef EDGE
};

static const uint64_t wait_ns[SHM_WAIT_BUCKETS - 1] = {
#define EDGE(text, ns) ns,
	SHM_WAIT_EDGES(EDGE)
#undef EDGE
};

/* From below: most observations end in the first buckets. */
static unsigned bucket_of(const uint64_t *edges, unsigned cnt, uint64_t ns)
{
	unsigned i = 0;

	while (i < cnt && ns > edges[i])
		i++;
	return i;
}

unsigned shm_dsl_bucket(uint64_t duration_ns)
{
	return bucket_of(dsl_ns, NELEM(dsl_ns), duration_ns);
}

void metric_add(enum metric_id m, uint64_t n)
{
	assert(m < M_CNT);
	shm_add(&shm_own()->plain[m], n);
}

void metric_set(enum metric_id m, uint64_t v)
{
	assert(m < M_CNT);
	shm_put(&shm_own()->plain[m], v);
}

uint64_t metric_slot(unsigned slot, enum metric_id m)
{
	assert(slot < SHM_SLOTS_MAX && m < M_CNT);
	return shm_get(&shm_map()->slot[slot].plain[m]);
}

void metric_level(enum metric_level l, uint64_t v)
{
	struct shm_level *c = &shm_own()->level[l];
	uint32_t scrapes = shm_get32(&shm_map()->head.scrapes);
	shm_u64 *most = &c->most[scrapes % 2];
	uint64_t before = shm_get(&c->now), seen = shm_get(most);

	assert(l < L_CNT);
	if (v > UINT32_MAX)
		v = UINT32_MAX;
	shm_put(&c->now, v);
	if (seen >> 32 == scrapes)
		before = (uint32_t)seen;
	else
		seen = 0; /* the interval begins with what there was */
	if (seen == 0 || v > before)
		shm_put(most, SHM_MOST(scrapes, v > before ? v : before));
}

void metric_time(enum metric_timer t, uint64_t ns)
{
	struct shm_timer *c = &shm_own()->timer[t];

	assert(t < T_CNT);
	if (ns > INT64_MAX) /* a difference that went below 0 */
		ns = 0;
	shm_add(&c->bucket[bucket_of(wait_ns, NELEM(wait_ns), ns)], 1);
	shm_add(&c->ns, ns);
}

/* ---- HTTP --------------------------------------------------------------- */

void metric_http(unsigned route, int status, uint64_t duration_ns,
	uint64_t request_bytes, uint64_t response_bytes)
{
	struct shm_slot *s = shm_own();
	unsigned cls = (unsigned)status / 100 - 1;
	struct shm_route *r;

	if (duration_ns > INT64_MAX) /* a difference that went below 0 */
		duration_ns = 0;
	if (cls >= SHM_STATUS_CLASSES)
		cls = SHM_STATUS_CLASSES - 1;
	if (route >= SHM_ROUTES_MAX) {
		shm_add(&s->plain[M_HTTP_UNROUTED], 1);
		return;
	}
	r = &s->route[route];
	shm_add(&r->status[cls], 1);
	shm_add(&r->bucket[bucket_of(lowr_ns, NELEM(lowr_ns), duration_ns)], 1);
	shm_add(&r->duration_ns, duration_ns);
	shm_add(&r->request_bytes, request_bytes);
	shm_add(&r->response_bytes, response_bytes);
	shm_add(&s->highr[bucket_of(highr_ns, NELEM(highr_ns), duration_ns)],
		1);
}

_Static_assert(SHM_FINE_BUCKETS == 16 * (26 - 4) + 16, "up to 2^26 us");

static unsigned fine_bucket(uint64_t us)
{
	unsigned log2;

	if (us < 16)
		return (unsigned)us;
	log2 = 63 - (unsigned)__builtin_clzll(us);
	if (log2 > 25)
		return SHM_FINE_BUCKETS - 1;
	return 16 * (log2 - 4) + (unsigned)(us >> (log2 - 4));
}

void metric_latency(uint64_t duration_ns)
{
	if (duration_ns > INT64_MAX)
		duration_ns = 0;
	shm_add(&shm_own()->fine[fine_bucket(duration_ns / 1000)], 1);
}

/* ---- strategies --------------------------------------------------------- */

static struct str or_unknown(struct str s)
{
	return s.len ? s : STR("unknown");
}

unsigned shm_realm_claim(struct str realm)
{
	return shm_label_claim(
		shm_map()->head.realm, SHM_REALMS_MAX, or_unknown(realm));
}

static unsigned realm_of(struct str realm)
{
	unsigned at = shm_realm_claim(realm);

	if (at == SHM_REALMS_MAX - 1)
		metric_inc(M_LABEL_OVERFLOW_REALM);
	return at;
}

unsigned shm_code_claim(const char *code)
{
	unsigned at = shm_label_claim(shm_map()->head.code, SHM_CODES_MAX,
		or_unknown(str_from(code)));

	if (at == SHM_CODES_MAX - 1)
		metric_inc(M_LABEL_OVERFLOW_CODE);
	return at;
}

static unsigned series_of(
	struct shm_head *h, unsigned realm, unsigned type, unsigned code)
{
	const unsigned room = SHM_SERIES_MAX - SHM_DSL_TYPES;
	uint64_t key = SHM_SERIES_KEY(realm, type, code), seen;

	for (unsigned i = 0; i < room; i++) {
		shm_u64 *cell =
			&h->series[(realm * 31 + type * 7 + code + i) % room];

		seen = shm_get(cell);
		if (seen == key ||
			(seen == 0 && (atomic_compare_exchange_strong(
					       cell, &seen, key) ||
					      seen == key)))
			return (unsigned)(cell - h->series);
	}
	metric_inc(M_LABEL_OVERFLOW_SERIES);
	return room + type;
}

void metric_dsl(struct str realm, unsigned type, unsigned status,
	const char *code, uint64_t duration_ns, uint32_t nodes)
{
	struct shm_head *h = &shm_map()->head;
	struct shm_slot *s = shm_own();
	unsigned at = realm_of(realm);
	struct shm_dsl *d;

	assert(type < SHM_DSL_TYPES && status < SHM_DSL_STATUSES);
	if (duration_ns > INT64_MAX)
		duration_ns = 0;
	d = &s->dsl[at][type];
	shm_add(&d->bucket[status]
			  [bucket_of(dsl_ns, NELEM(dsl_ns), duration_ns)],
		1);
	shm_add(&d->duration_ns[status], duration_ns);
	shm_add(&d->nodes, nodes);
	if (status != 0)
		shm_add(&s->errors[series_of(
				h, at, type, shm_code_claim(code))],
			1);
}

void metric_dsl_dropped(struct str realm, unsigned type)
{
	unsigned at = realm_of(realm);

	assert(type < SHM_DSL_TYPES);
	shm_add(&shm_own()->dsl[at][type].dropped, 1);
}

void metric_dsl_known(struct str realm)
{
	(void)shm_realm_claim(realm);
}

/* ---- evidence ----------------------------------------------------------- */

void metric_evidence_dropped(unsigned cls, unsigned reason, uint64_t n)
{
	assert(cls < SHM_EV_CLASSES && reason < SHM_EV_REASONS);
	shm_add(&shm_own()->ev_dropped[cls][reason], n);
}

uint64_t metric_evidence_dropped_slot(unsigned slot, unsigned cls)
{
	uint64_t sum = 0;

	assert(slot < SHM_SLOTS_MAX && cls < SHM_EV_CLASSES);
	for (unsigned r = 0; r < SHM_EV_REASONS; r++)
		sum += shm_get(&shm_map()->slot[slot].ev_dropped[cls][r]);
	return sum + shm_get(&shm_map()->head.ev_lost[slot][cls]);
}

/* Whatever was counted before is seen before, and after after. */
void shm_ev_held_add(unsigned cls, int64_t n)
{
	assert(cls < SHM_EV_CLASSES);
	atomic_thread_fence(memory_order_release);
	shm_add(&shm_own()->ev_held[cls], (uint64_t)n);
	atomic_thread_fence(memory_order_release);
}

void shm_ev_held_set(unsigned cls, uint64_t n)
{
	assert(cls < SHM_EV_CLASSES);
	atomic_thread_fence(memory_order_release);
	shm_put(&shm_own()->ev_held[cls], n);
	atomic_thread_fence(memory_order_release);
}

bool shm_ev_bury(unsigned slot, uint64_t lost_r[SHM_EV_CLASSES])
{
	struct shm_head *h = &shm_map()->head;
	bool any = false;

	for (unsigned c = 0; c < SHM_EV_CLASSES; c++) {
		uint64_t made = metric_slot(slot, M_EV_PRODUCED_AUDIT + c);
		uint64_t gone = metric_evidence_dropped_slot(slot, c) +
				shm_ev_sent(slot, c);

		lost_r[c] = made > gone ? made - gone : 0;
		shm_add(&h->ev_lost[slot][c], lost_r[c]);
		any |= lost_r[c] > 0;
	}
	atomic_store_explicit(&h->buried[slot],
		shm_get32(&shm_map()->slot[slot].starts), memory_order_release);
	return any;
}

uint32_t shm_ev_buried(unsigned slot)
{
	uint32_t buried;

	assert(slot < SHM_SLOTS_MAX);
	buried = atomic_load_explicit(
		&shm_map()->head.buried[slot], memory_order_acquire);
	return buried == atomic_load_explicit(&shm_map()->slot[slot].starts,
				 memory_order_acquire)
		       ? buried
		       : 0;
}

void shm_ev_sent_add(unsigned cls, int64_t n)
{
	assert(cls < SHM_EV_CLASSES);
	shm_add(&shm_own()->ev_sent[cls], (uint64_t)n);
}

uint64_t shm_ev_sent(unsigned slot, unsigned cls)
{
	assert(slot < SHM_SLOTS_MAX && cls < SHM_EV_CLASSES);
	return shm_get(&shm_map()->slot[slot].ev_sent[cls]);
}

void shm_ev_taken_set(unsigned slot, unsigned cls, uint64_t n)
{
	assert(slot < SHM_SLOTS_MAX && cls < SHM_EV_CLASSES);
	shm_put(&shm_map()->head.ev_taken[slot][cls], n);
}

uint64_t shm_ev_taken(unsigned slot, unsigned cls)
{
	assert(slot < SHM_SLOTS_MAX && cls < SHM_EV_CLASSES);
	return shm_get(&shm_map()->head.ev_taken[slot][cls]);
}
