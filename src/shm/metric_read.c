/*
 * metric_read.c - see metric_read.h.  Reads all slots, writes none but the
 * count of refused values in its own.
 */
#include "shm/metric_read.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "base/clock.h"
#include "shm/shm_layout.h"

/* A process without a beat for so long is gone, or will be killed soon. */
#define LIVE_MS 15000

const struct metric_info *metric_info(enum metric_id m)
{
	static const struct metric_info info[] = {
#define METRIC(id, kind, name, label, help) {#kind[0], name, label, help},
#include "shm/metric_list.h"
	};

	assert(m < M_CNT);
	return &info[m];
}

const struct metric_info *metric_timer_info(enum metric_timer t)
{
	static const struct metric_info info[] = {
#define TIMER(id, name, label, help) {'H', name, label, help},
#include "shm/metric_list.h"
	};

	assert(t < T_CNT);
	return &info[t];
}

const char *metric_queue_name(enum metric_level l)
{
	static const char *const names[] = {
#define LEVEL(id, queue) queue,
#include "shm/metric_list.h"
	};

	assert(l < L_CNT);
	return names[l];
}

static void sum(uint64_t *to, const shm_u64 *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += shm_get(&from[i]);
}

/* ---- processes ---------------------------------------------------------- */

static bool is_alive(const struct shm_slot *s, uint64_t now_ms)
{
	uint32_t pid = shm_get32(&s->pid);
	uint64_t beat_ms = shm_get(&s->heartbeat_ms);

	if (pid == 0 || pid > INT_MAX)
		return false;
	if (beat_ms < now_ms && now_ms - beat_ms > LIVE_MS)
		return false;
	return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

static void read_gauges(struct metric_totals *t, const struct shm_slot *s)
{
	for (unsigned m = 0; m < M_CNT; m++) {
		uint64_t v = shm_get(&s->plain[m]);

		switch (metric_info(m)->kind) {
		case 'G':
			t->plain[m] += v;
			break;
		case 'M':
			if (v > t->plain[m])
				t->plain[m] = v;
			break;
		}
	}
}

/* Nothing that changed in the interval leaves what there is now. */
static uint64_t read_most(const struct shm_level *c, uint32_t scrapes)
{
	uint64_t most = shm_get(&c->most[scrapes % 2]);

	return most >> 32 == scrapes ? (uint32_t)most : shm_get(&c->now);
}

static void read_levels(
	struct metric_totals *t, const struct shm_slot *s, uint32_t scrapes)
{
	for (unsigned l = 0; l < L_CNT; l++) {
		uint64_t most = read_most(&s->level[l], scrapes);

		t->level[l].now += shm_get(&s->level[l].now);
		if (most > t->level[l].most)
			t->level[l].most = most;
	}
}

static void read_process(struct metric_totals *t, const struct shm_slot *s,
	unsigned slot, enum shm_role role, uint32_t scrapes)
{
	uint64_t now_ms = clock_mono_ms();
	struct metric_process *p = &t->process[t->process_cnt];
	uint64_t beat_ms = shm_get(&s->heartbeat_ms);

	if (!is_alive(s, now_ms))
		return;
	t->process_cnt++;
	p->slot = slot;
	p->role = role;
	p->pid = (pid_t)shm_get32(&s->pid);
	p->generation = shm_get32(&s->generation);
	p->starts = shm_get32(&s->starts);
	p->started_ms = shm_get(&s->started_ms);
	p->beat_age_ms = now_ms > beat_ms ? now_ms - beat_ms : 0;
	p->virtual_bytes = shm_get(&s->virtual_bytes);
	p->resident_bytes = shm_get(&s->resident_bytes);
	p->fds = shm_get(&s->fds);
	p->fds_max = shm_get(&s->fds_max);
	p->started_us = shm_get(&s->started_us);
	p->lag_max_us = read_most(&s->level[L_LOOP_LAG_US], scrapes);
	p->connections = shm_get(&s->plain[M_HTTP_CONNECTIONS]);
	p->cpu_us = shm_get(&s->cpu_us);
	read_gauges(t, s);
	read_levels(t, s, scrapes);
}

/* ---- labels ------------------------------------------------------------- */

static bool read_label(const struct shm_label *from, struct metric_label *l_r)
{
	_Static_assert(sizeof(l_r->text) == SHM_LABEL_MAX, "label size");
	if (!shm_label_read(from, l_r->text, &l_r->len))
		return false;
	if (str_is_utf8((struct str){l_r->text, l_r->len}))
		return true;
	metric_inc(M_TORN_READS);
	return false;
}

/*
 * Which realms and codes there are; at[i] is where label i stands in the
 * totals, ABSENT for one that is free, not whole or unreadable.
 */
struct names {
	unsigned realm_at[SHM_REALMS_MAX];
	struct metric_label code[SHM_CODES_MAX];
	bool has_code[SHM_CODES_MAX];
};
#define ABSENT UINT_MAX

static void read_names(struct metric_totals *t, struct names *n)
{
	const struct shm_head *h = &shm_map()->head;
	/* an error without a series counts there, whatever its realm */
	uint64_t folded = t->plain[M_LABEL_OVERFLOW_REALM] +
			  t->plain[M_LABEL_OVERFLOW_SERIES];

	for (unsigned i = 0; i < SHM_REALMS_MAX; i++) {
		bool other = i == SHM_REALMS_MAX - 1;

		n->realm_at[i] = ABSENT;
		if (other ? folded == 0 : shm_get(&h->realm[i].hash) == 0)
			continue;
		if (!read_label(&h->realm[i], &t->realm[t->realm_cnt].label))
			continue;
		n->realm_at[i] = t->realm_cnt;
		t->realm[t->realm_cnt].at = i;
		t->realm_cnt++;
	}
	for (unsigned i = 0; i < SHM_CODES_MAX; i++)
		n->has_code[i] = (i == SHM_CODES_MAX - 1 ||
					 shm_get(&h->code[i].hash) != 0) &&
				 read_label(&h->code[i], &n->code[i]);
}

/* ---- counts of one slot ------------------------------------------------- */

static void read_routes(
	struct metric_totals *t, const struct shm_slot *s, unsigned routes_cnt)
{
	for (unsigned i = 0; i < routes_cnt; i++) {
		const struct shm_route *from = &s->route[i];
		struct metric_route *r = &t->route[i];

		sum(r->status, from->status, SHM_STATUS_CLASSES);
		sum(r->bucket, from->bucket, SHM_LOWR_BUCKETS);
		r->duration_ns += shm_get(&from->duration_ns);
		r->request_bytes += shm_get(&from->request_bytes);
		r->response_bytes += shm_get(&from->response_bytes);
		t->highr_ns += shm_get(&from->duration_ns);
	}
}

static void read_dsl(struct metric_dsl_sum *d, const struct shm_dsl *from)
{
	for (unsigned i = 0; i < SHM_DSL_STATUSES; i++)
		sum(d->bucket[i], from->bucket[i], SHM_DSL_BUCKETS);
	sum(d->duration_ns, from->duration_ns, SHM_DSL_STATUSES);
	d->nodes += shm_get(&from->nodes);
	d->dropped += shm_get(&from->dropped);
}

static void read_slot(struct metric_totals *t, const struct shm_slot *s,
	enum shm_role role, unsigned routes_cnt)
{
	t->cpu_us += shm_get(&s->cpu_us);
	t->role_cpu_us[role] += shm_get(&s->cpu_us);
	sum(t->highr, s->highr, SHM_HIGHR_BUCKETS);
	for (unsigned i = 0; i < T_CNT; i++) {
		sum(t->timer[i].bucket, s->timer[i].bucket, SHM_WAIT_BUCKETS);
		t->timer[i].ns += shm_get(&s->timer[i].ns);
	}
	if (role != SHM_WORKER && role != SHM_FREE)
		return; /* their pages for requests and runs do not exist */
	sum(t->fine, s->fine, SHM_FINE_BUCKETS);
	read_routes(t, s, routes_cnt);
	for (unsigned i = 0; i < t->realm_cnt; i++)
		for (unsigned type = 0; type < SHM_DSL_TYPES; type++)
			read_dsl(&t->realm[i].type[type],
				&s->dsl[t->realm[i].at][type]);
}

static void read_counters(struct metric_totals *t, const struct shm_slot *s)
{
	for (unsigned m = 0; m < M_CNT; m++)
		if (metric_info(m)->kind == 'C')
			t->plain[m] += shm_get(&s->plain[m]);
}

/* ---- errors ------------------------------------------------------------- */

static uint64_t sum_errors(unsigned series)
{
	uint64_t cnt = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct shm_slot *s = &shm_map()->slot[i];

		if (shm_get32(&s->starts) != 0)
			cnt += shm_get(&s->errors[series]);
	}
	return cnt;
}

static void read_errors(struct metric_totals *t, const struct names *n)
{
	for (unsigned i = 0; i < SHM_SERIES_MAX; i++) {
		uint64_t key = shm_get(&shm_map()->head.series[i]);
		unsigned realm = key >> 16 & 0xff, type = key >> 8 & 0xff,
			 code = key & 0xff;
		struct metric_error *e = &t->error[t->error_cnt];

		if (key == 0)
			continue;
		if (key != SHM_SERIES_KEY(realm, type, code) ||
			type >= SHM_DSL_TYPES || code >= SHM_CODES_MAX) {
			metric_inc(M_TORN_READS);
			continue;
		}
		if (n->realm_at[realm] == ABSENT || !n->has_code[code])
			continue;
		e->cnt = sum_errors(i);
		e->realm = n->realm_at[realm];
		e->type = type;
		e->code = n->code[code];
		t->error_cnt++;
	}
}

/* ---- evidence ----------------------------------------------------------- */

static uint64_t above(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* In all slots that were ever entered; what was read before stays before. */
static uint64_t sum_plain(enum metric_id m)
{
	uint64_t cnt = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		if (shm_get32(&shm_map()->slot[i].starts) != 0)
			cnt += metric_slot(i, m);
	atomic_thread_fence(memory_order_acquire);
	return cnt;
}

/* The dead hold nothing: the master has counted it as lost. */
static void read_held(struct metric_evidence *e, unsigned cls)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct shm_slot *s = &shm_map()->slot[i];
		uint32_t role = shm_get32(&s->role);

		if (role == SHM_WORKER && shm_ev_buried(i) == 0)
			e->in_workers += shm_get(&s->ev_held[cls]);
	}
	atomic_thread_fence(memory_order_acquire);
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		uint64_t taken = shm_ev_taken(i, cls);

		atomic_thread_fence(memory_order_acquire);
		if (shm_get32(&shm_map()->slot[i].starts) != 0)
			e->in_sockets += above(shm_ev_sent(i, cls), taken);
	}
	atomic_thread_fence(memory_order_acquire);
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct shm_slot *s = &shm_map()->slot[i];

		if (shm_get32(&s->role) == SHM_LOGGER)
			e->in_logger += shm_get(&s->ev_held[cls]);
	}
	atomic_thread_fence(memory_order_acquire);
}

static void read_dropped(struct metric_evidence *e, unsigned cls)
{
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct shm_slot *s = &shm_map()->slot[i];

		if (shm_get32(&s->starts) == 0)
			continue;
		sum(e->dropped, s->ev_dropped[cls], SHM_EV_REASONS);
		e->dropped[SHM_EV_WORKER_KILLED] +=
			shm_get(&shm_map()->head.ev_lost[i][cls]);
	}
	for (unsigned r = 0; r < SHM_EV_REASONS; r++)
		e->dropped_all += e->dropped[r];
	atomic_thread_fence(memory_order_acquire);
}

/*
 * In the order in which rows go: none is overlooked, though some may be seen
 * in two places.  So rows that were produced before the look began and stand
 * nowhere are missing.  What was produced is read once more at the end, for
 * the sum that is told.
 */
static void read_evidence(struct metric_evidence *e, unsigned cls)
{
	uint64_t made = sum_plain(M_EV_PRODUCED_AUDIT + cls), spooled, rest;

	read_held(e, cls);
	spooled = sum_plain(M_EV_SPOOLED_AUDIT + cls);
	e->stored = sum_plain(M_EV_STORED_AUDIT + cls);
	read_dropped(e, cls);
	e->missing = above(made, e->in_workers + e->in_sockets + e->in_logger +
					 spooled + e->stored + e->dropped_all);
	e->produced = sum_plain(M_EV_PRODUCED_AUDIT + cls);
	rest = above(e->produced, e->stored + e->dropped_all);
	e->spooled = spooled < rest ? spooled : rest;
	e->queued = rest - e->spooled - e->missing;
}

/* ---- all ---------------------------------------------------------------- */

/* Read once: it may change, and it is an index. */
static bool read_role(const struct shm_slot *s, enum shm_role *role_r)
{
	uint32_t role = shm_get32(&s->role);

	if (shm_get32(&s->starts) == 0)
		return false;
	if (role > SHM_STATS) {
		metric_inc(M_TORN_READS);
		return false;
	}
	*role_r = role;
	return true;
}

/* `scrapes` names the interval of the levels' most. */
static void read_all(
	struct metric_totals *t, unsigned routes_cnt, uint32_t scrapes)
{
	const struct shm *map = shm_map();
	uint64_t now_ms = clock_mono_ms(), boot_ms;
	enum shm_role role;
	struct names n;

	assert(routes_cnt <= SHM_ROUTES_MAX);
	memset(t, 0, sizeof(*t));
	t->boot_us = shm_get(&map->head.boot_us);
	boot_ms = shm_get(&map->head.boot_ms);
	t->uptime_ms = now_ms > boot_ms ? now_ms - boot_ms : 0;
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct shm_slot *s = &map->slot[i];

		if (!read_role(s, &role))
			continue;
		read_counters(t, s);
		read_process(t, s, i, role, scrapes);
	}
	read_names(t, &n);
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		if (read_role(&map->slot[i], &role))
			read_slot(t, &map->slot[i], role, routes_cnt);
	read_errors(t, &n);
	for (unsigned c = 0; c < SHM_EV_CLASSES; c++) {
		read_evidence(&t->evidence[c], c);
		t->plain[M_EV_PRODUCED_AUDIT + c] = t->evidence[c].produced;
		t->plain[M_EV_STORED_AUDIT + c] = t->evidence[c].stored;
		t->plain[M_EV_SPOOLED_AUDIT + c] = t->evidence[c].spooled;
	}
}

void metric_read(struct metric_totals *t, unsigned routes_cnt)
{
	read_all(t, routes_cnt, shm_get32(&shm_map()->head.scrapes));
}

void metric_read_scrape(struct metric_totals *t, unsigned routes_cnt)
{
	read_all(t, routes_cnt, atomic_fetch_add(&shm_map()->head.scrapes, 1));
}
