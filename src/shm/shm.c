/*
 * shm.c - the mapping itself: create, attach, heartbeat, labels, cache
 * generations.  Runs in every process of the server.
 */
#include "shm/shm.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/shm_layout.h"

#define OTHER         "_other"
#define FDS_EACH      5 /* beats between two counts of the descriptors */
#define FDS_CNT_LIMIT 70000

static struct {
	struct shm *map;
	struct shm_slot *own;
	uint64_t cpu_before_us; /* of the earlier holders of the slot */
	unsigned beats;
} self;

/* ---- the mapping -------------------------------------------------------- */

static void label_write(struct shm_label *l, struct str text)
{
	uint64_t words[SHM_LABEL_MAX / 8] = {0};

	memcpy(words, text.p, text.len);
	for (size_t i = 0; i < NELEM(words); i++)
		shm_put(&l->text[i], words[i]);
	atomic_store_explicit(
		&l->ready, (uint32_t)text.len + 1, memory_order_release);
}

static struct shm *map_new(int flags)
{
	struct shm *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
		MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
	struct shm_head *h;

	if (s == MAP_FAILED)
		return NULL;
	h = &s->head;
	h->magic = SHM_MAGIC;
	h->version = SHM_VERSION;
	h->slots_cnt = SHM_SLOTS_MAX;
	h->size_bytes = sizeof(*s);
	shm_put(&h->boot_us, (uint64_t)clock_wall_us());
	shm_put(&h->boot_ms, clock_mono_ms());
	shm_put32(&h->scrapes, 1);
	label_write(&h->realm[SHM_REALMS_MAX - 1], STR(OTHER));
	label_write(&h->code[SHM_CODES_MAX - 1], STR(OTHER));
	label_write(&h->program[SHM_PROGRAMS_MAX - 1], STR(OTHER));
	label_write(&h->case_name[SHM_CASES_MAX - 1], STR(OTHER));
	for (unsigned status = 0; status < SHM_DSL_STATUSES; status++)
		shm_put(&h->outcome[SHM_OUTCOMES_MAX - SHM_DSL_STATUSES +
				    status],
			SHM_OUTCOME_KEY(SHM_PROGRAMS_MAX - 1, status,
				status == 0 ? SHM_CODES_MAX : SHM_CODES_MAX - 1,
				SHM_CASES_MAX - 1));
	for (unsigned type = 0; type < SHM_DSL_TYPES; type++)
		shm_put(&h->series[SHM_SERIES_MAX - SHM_DSL_TYPES + type],
			SHM_SERIES_KEY(
				SHM_REALMS_MAX - 1, type, SHM_CODES_MAX - 1));
	return s;
}

struct shm *shm_create(struct err *err_r)
{
	struct shm *s = map_new(MAP_SHARED);

	if (s == NULL)
		(void)err_set_errno(err_r, "cannot map the shared block");
	return s;
}

struct shm *shm_map(void)
{
	if (self.map == NULL) {
		self.map = map_new(MAP_PRIVATE);
		if (self.map == NULL)
			fatal("out of memory for a private block");
		self.own = &self.map->slot[0];
		shm_put32(&self.own->starts, 1);
	}
	return self.map;
}

struct shm_slot *shm_own(void)
{
	if (self.own == NULL)
		(void)shm_map();
	return self.own;
}

static void zero_gauges(struct shm_slot *s)
{
	static const char kinds[] = {
#define METRIC(id, kind, name, label, help) #kind[0],
#include "shm/metric_list.h"
	};

	/* a logger finds its rows where the predecessor left them */
	for (unsigned m = 0; m < M_CNT; m++)
		if (kinds[m] != 'C' &&
			(m < M_EV_SPOOLED_AUDIT ||
				m >= M_EV_SPOOLED_AUDIT + SHM_EV_CLASSES))
			shm_put(&s->plain[m], 0);
	for (unsigned l = 0; l < L_CNT; l++)
		for (unsigned i = 0; i < 2; i++) {
			shm_put(&s->level[l].most[i], 0);
			shm_put(&s->level[l].now, 0);
		}
	shm_put(&s->virtual_bytes, 0);
	shm_put(&s->resident_bytes, 0);
	shm_put(&s->fds, 0);
	shm_put32(&s->generation, 0);
}

void shm_attach(struct shm *map, unsigned slot, enum shm_role role)
{
	struct shm_slot *s = &map->slot[slot];
	uint32_t pid = (uint32_t)getpid();

	assert(slot < SHM_SLOTS_MAX);
	assert(map->head.magic == SHM_MAGIC &&
		map->head.version == SHM_VERSION &&
		map->head.size_bytes == sizeof(*map));
	if (self.own == s && shm_get32(&s->pid) == pid)
		return;
	self.map = map;
	self.own = s;
	self.cpu_before_us = shm_get(&s->cpu_us);
	self.beats = 0;
	zero_gauges(s);
	if (role == SHM_WORKER) /* the predecessor's were counted as lost */
		for (unsigned c = 0; c < SHM_EV_CLASSES; c++)
			shm_put(&s->ev_held[c], 0);
	shm_put32(&s->role, role);
	shm_put32(&s->pid, pid);
	atomic_store_explicit(
		&s->starts, shm_get32(&s->starts) + 1, memory_order_release);
	shm_put(&s->started_ms, clock_mono_ms());
	shm_put(&s->started_us, (uint64_t)clock_wall_us());
	shm_beat();
}

void shm_set_generation(unsigned generation)
{
	shm_put32(&shm_own()->generation, generation);
}

/* ---- the process's own gauges ------------------------------------------- */

static uint64_t tv_us(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec;
}

static void beat_cpu(struct shm_slot *s)
{
	struct rusage use;

	if (getrusage(RUSAGE_SELF, &use) == 0)
		shm_put(&s->cpu_us, self.cpu_before_us + tv_us(use.ru_utime) +
					    tv_us(use.ru_stime));
}

static void beat_memory(struct shm_slot *s)
{
	unsigned long long pages, resident,
		page = (unsigned long long)sysconf(_SC_PAGESIZE);
	char text[128];
	ssize_t n;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu", &pages, &resident) != 2)
		return;
	shm_put(&s->virtual_bytes, pages * page);
	shm_put(&s->resident_bytes, resident * page);
}

static void beat_fds(struct shm_slot *s)
{
	struct rlimit limit;
	struct dirent *entry;
	uint64_t cnt = 0;
	DIR *dir = opendir("/proc/self/fd");

	if (dir) {
		while (cnt < FDS_CNT_LIMIT && (entry = readdir(dir)) != NULL)
			cnt += entry->d_name[0] != '.';
		closedir(dir);
		shm_put(&s->fds, cnt - (cnt > 0)); /* without dir itself */
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		shm_put(&s->fds_max, limit.rlim_cur);
}

void shm_beat(void)
{
	struct shm_slot *s = shm_own();
	int saved = errno;

	shm_put(&s->heartbeat_ms, clock_mono_ms());
	beat_cpu(s);
	beat_memory(s);
	if (self.beats++ % FDS_EACH == 0)
		beat_fds(s);
	errno = saved;
}

uint64_t shm_heartbeat_ms(const struct shm *map, unsigned slot)
{
	assert(slot < SHM_SLOTS_MAX);
	return shm_get(&map->slot[slot].heartbeat_ms);
}

/* ---- labels ------------------------------------------------------------- */

bool shm_label_read(const struct shm_label *l, char *text_r, size_t *len_r)
{
	uint32_t ready = atomic_load_explicit(&l->ready, memory_order_acquire);
	uint64_t words[SHM_LABEL_MAX / 8];

	if (ready == 0 || ready > SHM_LABEL_MAX + 1)
		return false;
	for (size_t i = 0; i < NELEM(words); i++)
		words[i] = shm_get(&l->text[i]);
	memcpy(text_r, words, sizeof(words));
	*len_r = ready - 1;
	return true;
}

/* The label of l is text: it says so, or it is about to be. */
static bool label_is(struct shm_label *l, struct str text)
{
	uint32_t ready = atomic_load_explicit(&l->ready, memory_order_acquire);

	if (ready == 0) {
		label_write(l, text);
		return true;
	}
	if (ready != text.len + 1)
		return false;
	for (size_t at = 0; at < text.len; at += 8) {
		size_t len = text.len - at < 8 ? text.len - at : 8;
		uint64_t word = 0;

		memcpy(&word, text.p + at, len);
		if (shm_get(&l->text[at / 8]) != word)
			return false;
	}
	return true;
}

unsigned shm_label_claim(struct shm_label *table, unsigned cnt, struct str text)
{
	unsigned room = cnt - 1; /* the last one is _other */
	uint64_t hash = str_hash(text, 0) | 1, seen;

	if (text.len > SHM_LABEL_MAX)
		return room;
	for (unsigned i = 0; i < room; i++) {
		unsigned at = (unsigned)((hash >> 1) + i) % room;
		struct shm_label *l = &table[at];

		seen = shm_get(&l->hash);
		if (seen == 0 &&
			atomic_compare_exchange_strong(&l->hash, &seen, hash)) {
			label_write(l, text);
			return at;
		}
		if (seen == hash && label_is(l, text))
			return at;
	}
	return room;
}

void shm_label_put(struct shm_label *l, struct str text)
{
	uint64_t hash = str_hash(text, 0) | 1, seen = 0;

	if (text.len > SHM_LABEL_MAX)
		return;
	if (atomic_compare_exchange_strong(&l->hash, &seen, hash))
		label_write(l, text);
	else if (seen == hash)
		(void)label_is(l, text); /* finishes what another began */
}

/* ---- deaths ------------------------------------------------------------- */

void shm_death_note(const struct shm_death *d)
{
	struct shm_head *h = &shm_map()->head;
	uint64_t n = shm_get(&h->deaths);

	shm_put(&h->death[n % SHM_DEATHS_MAX],
		SHM_DEATH(n, d->role, d->slot, d->cause, d->how & 0xff));
	atomic_store_explicit(&h->deaths, n + 1, memory_order_release);
}

bool shm_death_read(unsigned back, struct shm_death *d_r)
{
	struct shm_head *h = &shm_map()->head;
	uint64_t n = atomic_load_explicit(&h->deaths, memory_order_acquire);
	uint64_t v;

	if (back >= SHM_DEATHS_MAX || back >= n)
		return false;
	n -= back + 1;
	v = shm_get(&h->death[n % SHM_DEATHS_MAX]);
	*d_r = (struct shm_death){
		.role = v >> 24 & 0xff,
		.slot = v >> 16 & 0xff,
		.cause = v >> 8 & 0xff,
		.how = v & 0xff,
	};
	return v >> 32 == (uint32_t)n && d_r->slot < SHM_SLOTS_MAX;
}

/* ---- cache generations -------------------------------------------------- */

static shm_u32 *generation_of(struct str key)
{
	return &shm_map()->head.generation[str_hash(key, 0) % SHM_GENERATIONS];
}

uint32_t shm_generation(struct str key)
{
	/* the sum changes whenever one of the two does */
	return shm_get32(generation_of(key)) +
	       shm_get32(&shm_map()->head.generation_all);
}

void shm_generation_bump(struct str key)
{
	atomic_fetch_add(generation_of(key), 1);
}

void shm_generation_bump_all(void)
{
	atomic_fetch_add(&shm_map()->head.generation_all, 1);
}
