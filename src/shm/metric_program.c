/*
 * metric_program.c - exact counts of strategies (shm.h, metric_read.h).
 *
 * A version claims its name and a stretch of the table of arms once; a pair
 * of processes that race for the stretch leaves one of the two unused.  Runs
 * in workers for every run of a stored strategy, and in whoever reads.
 */
#include <assert.h>
#include <stdio.h>

#include "shm/metric_read.h"
#include "shm/shm_layout.h"

#define OTHER_VERSION (SHM_PROGRAMS_MAX - 1)
#define OTHER_CASE    (SHM_CASES_MAX - 1)
#define OTHER_OUTCOME (SHM_OUTCOMES_MAX - SHM_DSL_STATUSES)
#define PROBES_MAX    64

/* ---- claiming ----------------------------------------------------------- */

static uint32_t place_of(const struct metric_place *p)
{
	unsigned rule = p->rule, branch = p->branch;

	if (rule > SHM_PLACE_RULE_MAX)
		rule = SHM_PLACE_RULE_MAX;
	if (branch > SHM_PLACE_BRANCH_MAX)
		branch = SHM_PLACE_BRANCH_MAX;
	return SHM_PLACE(p->section & 3, rule, branch);
}

/* Beginning of cnt arms nobody has, SHM_ARMS_MAX when there are not so many. */
static uint32_t arms_take(struct shm_head *h, uint32_t cnt)
{
	uint32_t used = shm_get32(&h->arms_used);

	do {
		if (used > SHM_ARMS_MAX || cnt > SHM_ARMS_MAX - used)
			return SHM_ARMS_MAX;
	} while (!atomic_compare_exchange_weak(
		&h->arms_used, &used, used + cnt));
	return used;
}

static bool arms_read(uint64_t key, uint32_t *from_r, uint32_t *cnt_r)
{
	*from_r = key >> 32 & 0x7fffffff;
	*cnt_r = (uint32_t)key;
	return key != 0 && *from_r <= SHM_ARMS_MAX &&
	       *cnt_r <= SHM_ARMS_MAX - *from_r;
}

static void claim_arms(struct metric_program *m,
	const struct metric_place *places, uint32_t cnt)
{
	struct shm_head *h = &shm_map()->head;
	shm_u64 *cell = &h->program_arms[m->at];
	uint64_t seen = shm_get(cell);
	uint32_t from;

	if (seen == 0) {
		from = arms_take(h, cnt);
		if (from == SHM_ARMS_MAX)
			return;
		for (uint32_t i = 0; i < cnt; i++)
			shm_put32(
				&h->arm_place[from + i], place_of(&places[i]));
		if (atomic_compare_exchange_strong(
			    cell, &seen, SHM_ARMS_KEY(from, cnt)))
			seen = SHM_ARMS_KEY(from, cnt);
	}
	if (arms_read(seen, &m->arms_from, &m->arms_cnt) && m->arms_cnt == cnt)
		return;
	m->arms_cnt = 0;
	metric_inc(M_TORN_READS);
}

void metric_program_claim(struct metric_program *m_r, struct str id,
	int32_t version, struct str sha256, struct str about,
	const struct metric_place *places, unsigned places_cnt)
{
	char name[SHM_LABEL_MAX + 1];
	size_t digits =
		sha256.len < SHM_SHA256_MAX ? sha256.len : SHM_SHA256_MAX;
	int len = snprintf(name, sizeof(name), "%.*s:%d:%.*s", STR_ARG(id),
		version, (int)digits, sha256.p);

	*m_r = (struct metric_program){.is_claimed = true};
	m_r->at = OTHER_VERSION;
	if (len > 0 && len < (int)sizeof(name))
		m_r->at = shm_label_claim(shm_map()->head.program,
			SHM_PROGRAMS_MAX, (struct str){name, (size_t)len});
	if (m_r->at == OTHER_VERSION)
		return;
	shm_label_put(&shm_map()->head.about[m_r->at], about);
	if (places_cnt > 0)
		claim_arms(m_r, places, places_cnt);
}

/* ---- counting ----------------------------------------------------------- */

static unsigned case_claim(struct str name)
{
	unsigned at;

	if (name.p == NULL)
		return SHM_CASES_MAX;
	at = shm_label_claim(shm_map()->head.case_name, SHM_CASES_MAX, name);
	if (at == OTHER_CASE)
		metric_inc(M_LABEL_OVERFLOW_CASE);
	return at;
}

static unsigned outcome_claim(uint64_t key, unsigned status)
{
	shm_u64 *table = shm_map()->head.outcome;
	uint64_t hash = key * 0x9e3779b97f4a7c15ULL >> 32, seen;

	for (unsigned i = 0; i < PROBES_MAX; i++) {
		unsigned at = (unsigned)((hash + i) % OTHER_OUTCOME);

		seen = shm_get(&table[at]);
		if (seen == key ||
			(seen == 0 && (atomic_compare_exchange_strong(
					       &table[at], &seen, key) ||
					      seen == key)))
			return at;
	}
	metric_inc(M_LABEL_OVERFLOW_OUTCOME);
	return OTHER_OUTCOME + status;
}

static double bits_double(uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

static void add_double(shm_u64 *c, double d)
{
	double sum = bits_double(shm_get(c)) + d;
	uint64_t bits;

	memcpy(&bits, &sum, sizeof(bits));
	shm_put(c, bits);
}

static void put_max(shm_u64 *c, uint64_t v)
{
	if (v > shm_get(c))
		shm_put(c, v);
}

static void count_outcome(unsigned version, const struct metric_run *run)
{
	unsigned code =
		run->status == 0 ? SHM_CODES_MAX : shm_code_claim(run->code);
	uint64_t ns = run->duration_ns > INT64_MAX ? 0 : run->duration_ns;
	unsigned at = outcome_claim(SHM_OUTCOME_KEY(version, run->status, code,
					    case_claim(run->case_name)),
		run->status);
	struct shm_outcome *o = &shm_own()->outcome[at];

	shm_add(&o->runs, 1);
	shm_add(&o->duration_ns, ns);
	put_max(&o->duration_max_ns, ns);
	shm_add(&o->nodes, run->nodes);
	put_max(&o->nodes_max, run->nodes);
	add_double(&o->points, run->points);
	shm_add(&o->bucket[shm_dsl_bucket(ns)], 1);
}

static void count_arm(struct shm_arm *a, uint8_t hit)
{
	if (hit & SHM_ARM_EVALUATED)
		shm_add(&a->evaluated, 1);
	if (hit & SHM_ARM_TAKEN)
		shm_add(&a->taken, 1);
	if (hit & SHM_ARM_DECIDED)
		shm_add(&a->decided, 1);
	if (hit & SHM_ARM_FAILED)
		shm_add(&a->failed, 1);
}

void metric_program_run(
	const struct metric_program *m, const struct metric_run *run)
{
	struct shm_slot *s = shm_own();

	assert(m->is_claimed && run->status < SHM_DSL_STATUSES);
	if (m->at == OTHER_VERSION)
		metric_inc(M_LABEL_OVERFLOW_PROGRAM);
	count_outcome(m->at, run);
	if (run->arms == NULL)
		return;
	if (m->arms_cnt == 0)
		metric_inc(M_LABEL_OVERFLOW_ARM);
	for (uint32_t i = 0; i < m->arms_cnt; i++)
		if (run->arms[i])
			count_arm(&s->arm[m->arms_from + i], run->arms[i]);
}

/* ---- reading ------------------------------------------------------------ */

static bool read_text(const struct shm_label *from, struct metric_label *l_r)
{
	if (!shm_label_read(from, l_r->text, &l_r->len))
		return false;
	if (str_is_utf8((struct str){l_r->text, l_r->len}))
		return true;
	metric_inc(M_TORN_READS);
	return false;
}

/* id:version:hash */
static bool split_name(struct metric_version *v)
{
	const char *text = v->label.text, *end = text + v->label.len;
	const char *a = memchr(text, ':', v->label.len), *b;
	int64_t version = 0;

	b = a ? memchr(a + 1, ':', (size_t)(end - a - 1)) : NULL;
	if (b == NULL)
		return false;
	for (const char *p = a + 1; p < b; p++) {
		if (*p < '0' || *p > '9' || version > INT32_MAX)
			return false;
		version = version * 10 + (*p - '0');
	}
	v->id = (struct str){text, (size_t)(a - text)};
	v->version = (int32_t)version;
	v->sha256 = (struct str){b + 1, (size_t)(end - b - 1)};
	return version <= INT32_MAX;
}

bool metric_read_version(unsigned i, struct metric_version *v_r)
{
	const struct shm_head *h = &shm_map()->head;
	uint64_t key;

	assert(i < SHM_PROGRAMS_MAX);
	memset(v_r, 0, sizeof(*v_r));
	v_r->at = i;
	v_r->is_other = i == OTHER_VERSION;
	if (v_r->is_other)
		return true;
	if (shm_get(&h->program[i].hash) == 0 ||
		!read_text(&h->program[i], &v_r->label))
		return false;
	key = shm_get(&h->program_arms[i]);
	if (split_name(v_r) &&
		(key == 0 || arms_read(key, &v_r->arms_from, &v_r->arms_cnt)))
		return true;
	metric_inc(M_TORN_READS);
	return false;
}

static bool is_counting(const struct shm_slot *s)
{
	uint32_t role = shm_get32(&s->role);

	/* pages of others do not exist */
	return shm_get32(&s->starts) != 0 &&
	       (role == SHM_WORKER || role == SHM_FREE);
}

void metric_read_arm(
	const struct metric_version *v, uint32_t k, struct metric_arm *a_r)
{
	const struct shm *map = shm_map();
	uint32_t at = v->arms_from + k, place;

	assert(k < v->arms_cnt && at < SHM_ARMS_MAX);
	place = shm_get32(&map->head.arm_place[at]);
	*a_r = (struct metric_arm){
		.place = {place >> 28 & 3, place >> 12 & SHM_PLACE_RULE_MAX,
			place & SHM_PLACE_BRANCH_MAX}};
	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++) {
		const struct shm_arm *a = &map->slot[i].arm[at];

		if (!is_counting(&map->slot[i]))
			continue;
		a_r->evaluated += shm_get(&a->evaluated);
		a_r->taken += shm_get(&a->taken);
		a_r->decided += shm_get(&a->decided);
		a_r->failed += shm_get(&a->failed);
	}
}

static void sum_outcome(
	struct metric_outcome *to, const struct shm_outcome *from)
{
	uint64_t duration_max_ns = shm_get(&from->duration_max_ns);
	uint64_t nodes_max = shm_get(&from->nodes_max);

	to->runs += shm_get(&from->runs);
	to->duration_ns += shm_get(&from->duration_ns);
	to->nodes += shm_get(&from->nodes);
	to->points += bits_double(shm_get(&from->points));
	if (duration_max_ns > to->duration_max_ns)
		to->duration_max_ns = duration_max_ns;
	if (nodes_max > to->nodes_max)
		to->nodes_max = nodes_max;
	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		to->bucket[i] += shm_get(&from->bucket[i]);
}

static bool read_key(uint64_t key, struct metric_outcome *o)
{
	const struct shm_head *h = &shm_map()->head;
	unsigned code = key >> 16 & 0xff, name = key & 0xffff;

	o->version = (unsigned)(key >> 32 & 0xffff);
	o->status = key >> 24 & 0xff;
	if (key != SHM_OUTCOME_KEY(o->version, o->status, code, name) ||
		o->version >= SHM_PROGRAMS_MAX ||
		o->status >= SHM_DSL_STATUSES || code > SHM_CODES_MAX ||
		name > SHM_CASES_MAX) {
		metric_inc(M_TORN_READS);
		return false;
	}
	o->has_code = code < SHM_CODES_MAX;
	o->has_case = name < SHM_CASES_MAX;
	return (!o->has_code || read_text(&h->code[code], &o->code)) &&
	       (!o->has_case || read_text(&h->case_name[name], &o->case_name));
}

int64_t metric_boot_us(void)
{
	return (int64_t)shm_get(&shm_map()->head.boot_us);
}

bool metric_read_outcome(unsigned i, struct metric_outcome *o_r)
{
	const struct shm *map = shm_map();
	uint64_t key;

	assert(i < SHM_OUTCOMES_MAX);
	key = shm_get(&map->head.outcome[i]);
	if (key == 0)
		return false;
	memset(o_r, 0, sizeof(*o_r));
	if (!read_key(key, o_r))
		return false;
	for (unsigned s = 0; s < SHM_SLOTS_MAX; s++)
		if (is_counting(&map->slot[s]))
			sum_outcome(o_r, &map->slot[s].outcome[i]);
	return true;
}

/* `worst` holds the most failures of one code so far. */
static void add_outcome(struct metric_strategy *s,
	const struct metric_outcome *o, uint64_t *worst)
{
	s->runs[o->status] += o->runs;
	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		s->bucket[i] += o->bucket[i];
	s->duration_ns += o->duration_ns;
	s->nodes += o->nodes;
	if (!o->has_code || o->runs <= *worst)
		return;
	*worst = o->runs;
	s->code = o->code;
}

unsigned metric_read_strategies(struct metric_strategy list_r[SHM_PROGRAMS_MAX])
{
	const struct shm_head *h = &shm_map()->head;
	struct metric_strategy *of[SHM_PROGRAMS_MAX] = {NULL};
	uint64_t worst[SHM_PROGRAMS_MAX] = {0};
	struct metric_outcome o;
	unsigned n = 0;

	for (unsigned i = 0; i < SHM_OUTCOMES_MAX; i++) {
		struct metric_strategy *s;

		if (!metric_read_outcome(i, &o) || o.runs == 0)
			continue;
		s = of[o.version];
		if (s == NULL) {
			s = &list_r[n];
			memset(s, 0, sizeof(*s));
			if (!metric_read_version(o.version, &s->version))
				continue;
			(void)!read_text(&h->about[o.version], &s->about);
			of[o.version] = s;
			n++;
		}
		add_outcome(s, &o, &worst[o.version]);
	}
	return n;
}
