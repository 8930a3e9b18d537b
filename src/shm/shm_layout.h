/*
 * shm_layout.h - the shared block byte for byte (STYLE 10, hardening M1).
 * For the files of shm/ and their test only.
 *
 * The master maps it zeroed before the first fork.  Pages that nobody wrote
 * do not exist, and reading one would make it exist: readers look only at
 * slots that were attached and at labels that were claimed.
 *
 * Writers: a field of the head is written by the one that its comment names;
 * a field of a slot by the child that holds the slot.
 */
#ifndef SHM_SHM_LAYOUT_H
#define SHM_SHM_LAYOUT_H

#include "shm/shm.h"

#define SHM_MAGIC   0x316d6873646d6167ULL /* "gamdshm1" */
#define SHM_VERSION 8

typedef _Atomic uint64_t shm_u64;
typedef _Atomic uint32_t shm_u32;

#define SHM_LABEL_MAX 112 /* bytes; a longer label counts under _other */

/*
 * Claimed by compare-and-swap of the hash, by any process.  The text follows;
 * until it is whole, everybody who wants the same label writes the same
 * bytes, so that a claimer that dies leaves nothing locked.  Never freed.
 */
struct shm_label {
	shm_u64 hash;  /* 0: free */
	shm_u32 ready; /* length + 1 of the text, 0: not whole yet */
	shm_u32 unused;
	shm_u64 text[SHM_LABEL_MAX / 8];
};

/* A run of a bucket whose row is stored; metric_exemplar.c. */
struct shm_exemplar {
	shm_u64 changes; /* odd: being written */
	shm_u64 row[2];  /* bytes of the row's id */
	shm_u64 duration_ns;
};

struct shm_head {
	uint64_t magic;
	uint32_t version;
	uint32_t slots_cnt;
	uint64_t size_bytes;
	shm_u64 boot_us; /* master: wall time of the start */
	shm_u64 boot_ms; /* the same, monotonic */
	/* Master: deaths so far, and the last ones as SHM_DEATH. */
	shm_u64 deaths;
	shm_u64 death[SHM_DEATHS_MAX];
	/* Scrapes so far and one: stats and workers, atomic additions. */
	shm_u32 scrapes;
	/* Logger: rows it has read of each slot and class, or found missing. */
	HOT_ALIGNED shm_u64 ev_taken[SHM_SLOTS_MAX][SHM_EV_CLASSES];
	/* Master: rows that workers of the slot died with, and the `starts`
	 * of the last one that was reaped. */
	HOT_ALIGNED shm_u64 ev_lost[SHM_SLOTS_MAX][SHM_EV_CLASSES];
	shm_u32 buried[SHM_SLOTS_MAX]; /* 0: none */
	/* Anybody: atomic additions. */
	HOT_ALIGNED shm_u32 generation_all;
	shm_u32 generation[SHM_GENERATIONS];
	struct shm_label realm[SHM_REALMS_MAX]; /* the last one is _other */
	struct shm_label code[SHM_CODES_MAX];   /* the last one is _other */
	/* Anybody, once: SHM_SERIES_KEY of realm, type and code; 0: free. */
	shm_u64 series[SHM_SERIES_MAX];
	/* Exact counts: metric_program.c. */
	struct shm_label program[SHM_PROGRAMS_MAX]; /* id:version:hash */
	struct shm_label about[SHM_PROGRAMS_MAX];   /* type\nrealm\nname */
	/* SHM_ARMS_KEY, once; 0: none yet. */
	shm_u64 program_arms[SHM_PROGRAMS_MAX];
	shm_u32 arms_used; /* of arm_place and the slots' arm */
	shm_u32 unused;
	shm_u32 arm_place[SHM_ARMS_MAX]; /* SHM_PLACE */
	struct shm_label case_name[SHM_CASES_MAX];
	shm_u64 outcome[SHM_OUTCOMES_MAX]; /* SHM_OUTCOME_KEY; 0: free */
	/* Logger: whether a realm has any, and the last one of each bucket. */
	HOT_ALIGNED shm_u32 exemplars[SHM_REALMS_MAX];
	struct shm_exemplar exemplar[SHM_REALMS_MAX][SHM_DSL_TYPES]
				    [SHM_DSL_STATUSES][SHM_DSL_BUCKETS];
};

#define SHM_SERIES_KEY(realm, type, code) \
	(1ULL << 63 | (uint64_t)(realm) << 16 | (uint64_t)(type) << 8 | (code))

/* The number of the death tells a reader whether it is the one it wants. */
#define SHM_DEATH(number, role, slot, cause, how)                      \
	((uint64_t)(uint32_t)(number) << 32 | (uint64_t)(role) << 24 | \
		(uint64_t)(slot) << 16 | (uint64_t)(cause) << 8 | (how))

#define SHM_ARMS_KEY(from, cnt) \
	(1ULL << 63 | (uint64_t)(from) << 32 | (uint64_t)(cnt))
#define SHM_PLACE(section, rule, branch) \
	((uint32_t)(section) << 28 | (uint32_t)(rule) << 12 | (branch))
#define SHM_PLACE_RULE_MAX   0xffffU
#define SHM_PLACE_BRANCH_MAX 0xfffU
/* code SHM_CODES_MAX: none; name SHM_CASES_MAX: none */
#define SHM_OUTCOME_KEY(at, status, code, name)                         \
	(1ULL << 63 | (uint64_t)(at) << 32 | (uint64_t)(status) << 24 | \
		(uint64_t)(code) << 16 | (name))

/* How often an arm of a program was gone through. */
struct shm_arm {
	shm_u64 evaluated, taken, decided, failed;
};

/* Runs that ended alike. */
struct shm_outcome {
	shm_u64 runs;
	shm_u64 duration_ns, duration_max_ns;
	shm_u64 nodes, nodes_max;
	shm_u64 points;                  /* bits of a double */
	shm_u64 bucket[SHM_DSL_BUCKETS]; /* not cumulative */
	shm_u64 unused[2];
};

/*
 * The most of two intervals between scrapes, this one and the one before, so
 * that a scrape takes one that is over; the writer begins each.  The upper
 * half says which interval it is of: the head's `scrapes` then.
 */
struct shm_level {
	shm_u64 now;
	shm_u64 most[2];
};
#define SHM_MOST(scrapes, v) ((uint64_t)(scrapes) << 32 | (v))

struct shm_timer {
	shm_u64 bucket[SHM_WAIT_BUCKETS]; /* not cumulative */
	shm_u64 ns;
};

/* One row of the API's route table; 2 cache lines. */
struct shm_route {
	shm_u64 status[SHM_STATUS_CLASSES]; /* requests, 1xx to 5xx */
	shm_u64 bucket[SHM_LOWR_BUCKETS];   /* requests, not cumulative */
	shm_u64 duration_ns;
	shm_u64 request_bytes;
	shm_u64 response_bytes;
	shm_u64 unused[4];
};

struct shm_dsl {
	shm_u64 bucket[SHM_DSL_STATUSES][SHM_DSL_BUCKETS]; /* not cumulative */
	shm_u64 duration_ns[SHM_DSL_STATUSES];
	shm_u64 nodes;
	shm_u64 dropped;
	shm_u64 unused[10];
};

struct shm_slot {
	shm_u32 role; /* enum shm_role, of the last holder */
	shm_u32 pid;
	shm_u32 generation;   /* of workers */
	shm_u32 starts;       /* holders so far; 0: the rest is untouched */
	shm_u64 started_ms;   /* monotonic */
	shm_u64 heartbeat_ms; /* monotonic */
	shm_u64 cpu_us;       /* of all holders together */
	shm_u64 virtual_bytes;
	shm_u64 resident_bytes;
	shm_u64 fds;
	shm_u64 fds_max;    /* RLIMIT_NOFILE */
	shm_u64 started_us; /* wall time */
	shm_u64 unused[5];

	HOT_ALIGNED shm_u64 plain[M_CNT];
	struct shm_level level[L_CNT];
	struct shm_timer timer[T_CNT];
	shm_u64 ev_sent[SHM_EV_CLASSES];
	shm_u64 ev_held[SHM_EV_CLASSES]; /* now, in its memory alone */
	shm_u64 ev_dropped[SHM_EV_CLASSES][SHM_EV_REASONS];
	HOT_ALIGNED shm_u64 highr[SHM_HIGHR_BUCKETS]; /* not cumulative */
	HOT_ALIGNED shm_u64 fine[SHM_FINE_BUCKETS];   /* not cumulative */
	HOT_ALIGNED struct shm_route route[SHM_ROUTES_MAX];
	shm_u64 errors[SHM_SERIES_MAX];
	struct shm_dsl dsl[SHM_REALMS_MAX][SHM_DSL_TYPES];
	HOT_ALIGNED struct shm_arm arm[SHM_ARMS_MAX];
	struct shm_outcome outcome[SHM_OUTCOMES_MAX];
};

struct shm {
	HOT_ALIGNED struct shm_head head;
	HOT_ALIGNED struct shm_slot slot[SHM_SLOTS_MAX];
};

_Static_assert(sizeof(struct shm_label) == 128, "label");
_Static_assert(sizeof(struct shm_route) == 128, "route");
_Static_assert(sizeof(struct shm_dsl) % 128 == 0, "dsl");
_Static_assert(offsetof(struct shm_slot, plain) == 128, "slot head");
_Static_assert(sizeof(struct shm_slot) % 128 == 0, "slot");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics are lock-free");

/* The mapping of this process; a private one when it never attached. */
struct shm *shm_map(void);
/* The slot that this process writes. */
struct shm_slot *shm_own(void);
/* Index of the label, claimed if it is new; cnt - 1 when it has no room. */
unsigned shm_label_claim(
	struct shm_label *table, unsigned cnt, struct str text);
/* Gives the label its text, unless it has one; at most SHM_LABEL_MAX. */
void shm_label_put(struct shm_label *l, struct str text);
/* Index of a realm, "unknown" for an empty one. */
unsigned shm_realm_claim(struct str realm);
/* Index of the code of an error, unknown for ""; counts what overflows. */
unsigned shm_code_claim(const char *code);
/* Bucket of a run's time. */
unsigned shm_dsl_bucket(uint64_t duration_ns);
/* False while the label is free or not whole; text_r has SHM_LABEL_MAX. */
bool shm_label_read(const struct shm_label *l, char *text_r, size_t *len_r);

static inline uint64_t shm_get(const shm_u64 *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void shm_put(shm_u64 *c, uint64_t v)
{
	atomic_store_explicit(c, v, memory_order_relaxed);
}

/* By the only writer of the cell: no locked instruction. */
static inline void shm_add(shm_u64 *c, uint64_t n)
{
	shm_put(c, shm_get(c) + n);
}

static inline uint32_t shm_get32(const shm_u32 *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void shm_put32(shm_u32 *c, uint32_t v)
{
	atomic_store_explicit(c, v, memory_order_relaxed);
}

#endif
