/*
 * shm.h - the shared block (DESIGN 5, STYLE 10, hardening M1 to M3).
 *
 * One anonymous mapping made by the master before the first fork: a header,
 * the label table, then one slot per child.  A slot has one writer, the child
 * that holds it; a successor goes on in it, so totals never go back; gauges
 * are zeroed by the successor.  Relaxed atomics, no locks, no pointers.
 * Readers clamp everything they read.
 */
#ifndef SHM_SHM_H
#define SHM_SHM_H

#include <stdatomic.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/uuid.h"

#define SHM_SLOTS_MAX      64
#define SHM_ROUTES_MAX     128
#define SHM_REALMS_MAX     256 /* the last one is _other */
#define SHM_CODES_MAX      64  /* the last one is _other */
#define SHM_SERIES_MAX     512 /* of realm, type and code; see metric_dsl */
#define SHM_STATUS_CLASSES 5   /* 1xx to 5xx */
#define SHM_DSL_TYPES      2
#define SHM_DSL_STATUSES   4
#define SHM_GENERATIONS    1024
#define SHM_PROGRAMS_MAX   512   /* versions; the last one is _other */
#define SHM_ARMS_MAX       32768 /* of all versions together */
#define SHM_CASES_MAX      1024  /* case names; the last one is _other */
#define SHM_OUTCOMES_MAX   8192  /* of version, status, code and case name */

/* Upper edges of the histograms: text of the label le, nanoseconds. */
#define SHM_HIGHR_EDGES(E)     \
	E("0.01", 10000000)    \
	E("0.025", 25000000)   \
	E("0.05", 50000000)    \
	E("0.075", 75000000)   \
	E("0.1", 100000000)    \
	E("0.25", 250000000)   \
	E("0.5", 500000000)    \
	E("0.75", 750000000)   \
	E("1.0", 1000000000)   \
	E("1.5", 1500000000)   \
	E("2.0", 2000000000)   \
	E("2.5", 2500000000)   \
	E("3.0", 3000000000)   \
	E("3.5", 3500000000)   \
	E("4.0", 4000000000)   \
	E("4.5", 4500000000)   \
	E("5.0", 5000000000)   \
	E("7.5", 7500000000)   \
	E("10.0", 10000000000) \
	E("30.0", 30000000000) \
	E("60.0", 60000000000)
#define SHM_LOWR_EDGES(E)   \
	E("0.1", 100000000) \
	E("0.5", 500000000) \
	E("1.0", 1000000000)
#define SHM_DSL_EDGES(E)     \
	E("0.005", 5000000)  \
	E("0.01", 10000000)  \
	E("0.025", 25000000) \
	E("0.05", 50000000)  \
	E("0.1", 100000000)  \
	E("0.15", 150000000) \
	E("0.2", 200000000)  \
	E("0.25", 250000000) \
	E("0.3", 300000000)  \
	E("0.4", 400000000)  \
	E("0.5", 500000000)  \
	E("0.75", 750000000) \
	E("1.0", 1000000000) \
	E("2.5", 2500000000) \
	E("5.0", 5000000000)
#define SHM_WAIT_EDGES(E)    \
	E("0.001", 1000000)  \
	E("0.005", 5000000)  \
	E("0.01", 10000000)  \
	E("0.025", 25000000) \
	E("0.05", 50000000)  \
	E("0.1", 100000000)  \
	E("0.25", 250000000) \
	E("0.5", 500000000)  \
	E("1.0", 1000000000) \
	E("2.5", 2500000000) \
	E("5.0", 5000000000)
/* With the last one, +Inf. */
#define SHM_HIGHR_BUCKETS 22
#define SHM_LOWR_BUCKETS  4
#define SHM_DSL_BUCKETS   16
#define SHM_WAIT_BUCKETS  12

/*
 * The fine histogram, for percentiles that are true to a sixteenth: below 16
 * microseconds a bucket each, then 16 for every doubling, up to 67 s and what
 * is longer.  Known to sql/0007, too.
 */
#define SHM_FINE_BUCKETS 368

enum shm_role { SHM_FREE, SHM_MASTER, SHM_WORKER, SHM_LOGGER, SHM_STATS };

enum metric_id {
#define METRIC(id, kind, name, label, help) id,
#include "shm/metric_list.h"
	M_CNT
};

enum metric_level {
#define LEVEL(id, queue) id,
#include "shm/metric_list.h"
	L_CNT
};

enum metric_timer {
#define TIMER(id, name, label, help) id,
#include "shm/metric_list.h"
	T_CNT
};

struct shm; /* the mapping, layout in shm_layout.h */
struct shm_slot;

/* Master, before the first fork. */
struct shm *shm_create(struct err *err_r) MUST_CHECK;
/* Child: names the slot it writes from now on, zeroes its gauges and beats;
 * once more for the same slot does nothing.  Tests and tools that have no
 * mapping may call nothing: the functions below then use a private one. */
void shm_attach(struct shm *s, unsigned slot, enum shm_role role);
/* For `gamectl status`. */
void shm_set_generation(unsigned generation);
/* Every second from the loop: heartbeat and the process's own gauges. */
void shm_beat(void);
/* Monotonic milliseconds of the slot's last beat, 0: none. Master's watchdog. */
uint64_t shm_heartbeat_ms(const struct shm *s, unsigned slot);

void metric_add(enum metric_id m, uint64_t n);
void metric_set(enum metric_id m, uint64_t v);
static inline void metric_inc(enum metric_id m)
{
	metric_add(m, 1);
}

/* How much there is now; its most since the last scrape is kept too. */
void metric_level(enum metric_level l, uint64_t v);
void metric_time(enum metric_timer t, uint64_t ns);

/* Route index is the row in the API's route table; a request that no route
 * took has an index from SHM_ROUTES_MAX on. */
void metric_http(unsigned route, int status, uint64_t duration_ns,
	uint64_t request_bytes, uint64_t response_bytes);
/* Of a request that is no probe; beside metric_http. */
void metric_latency(uint64_t duration_ns);
/* type 0 DSL_FULL, 1 DSL_EXTEND; status as enum dsl_status; code NULL: ok. */
void metric_dsl(struct str realm, unsigned type, unsigned status,
	const char *code, uint64_t duration_ns, uint32_t nodes);
void metric_dsl_dropped(struct str realm, unsigned type);
/* Logger: the row of such a run is in the database now. */
void metric_dsl_stored(struct str realm, unsigned type, unsigned status,
	uint64_t duration_ns, const struct uuid *row);
/* The series of the realm exist from now on, at zero. */
void metric_dsl_known(struct str realm);

/*
 * Exact counts of one version of a strategy (DESIGN 5): how its runs ended,
 * and what became of each arm of its program.  A version is its id, its
 * number and the hash of its program.
 */
struct metric_program {
	bool is_claimed;
	unsigned at;        /* in the table; the last one is _other */
	uint32_t arms_from; /* in the table of arms */
	uint32_t arms_cnt;  /* 0: there was no room, or there are none */
};
/* Where an arm stands: section as enum dsl_arm_part, rule in the section,
 * branch in the rule.  Numbers too large are cut. */
struct metric_place {
	unsigned section, rule, branch;
};
#define SHM_SHA256_MAX 16 /* digits of the hash that tell programs apart */
/* Once for each holder of *m_r, which starts cleared.  `about` is for people,
 * at most 112 bytes of UTF-8: type, realm and name, newlines between them. */
void metric_program_claim(struct metric_program *m_r, struct str id,
	int32_t version, struct str sha256, struct str about,
	const struct metric_place *places, unsigned places_cnt);

/* Bits of what became of an arm, as enum dsl_arm_hit. */
#define SHM_ARM_EVALUATED 1
#define SHM_ARM_TAKEN     2
#define SHM_ARM_DECIDED   4
#define SHM_ARM_FAILED    8
struct metric_run {
	unsigned status;      /* as enum dsl_status */
	const char *code;     /* of an error, else NULL */
	struct str case_name; /* p NULL: none */
	uint64_t duration_ns;
	uint32_t nodes;
	double points;
	const uint8_t *arms; /* bits by arm; NULL: none was reached */
};
void metric_program_run(
	const struct metric_program *m, const struct metric_run *run);

/* cls and reason index the tables in evidence.h of ipc. */
void metric_evidence_dropped(unsigned cls, unsigned reason, uint64_t n);

/*
 * Evidence on its way (ipc/evidence.h has the classes and reasons).  For
 * each class c of a worker's slot w
 *	produced[w] = dropped[w] + rows in the worker's hands + sent[w]
 *	sent[w]     = rows in the socket + taken[w]
 * and, all slots together, taken = stored + rows in the logger's hands +
 * dropped by the logger.  A process that died holds no rows: what a worker
 * died with the master finds as the difference, what a logger died with its
 * successor.
 *
 * A row is counted where it goes before it is no longer counted where it
 * was, and a reader goes the same way as the rows: so it may see a row twice,
 * but never nowhere.  What it does not see is lost (metric_read.h).
 */
#define SHM_EV_CLASSES       5
#define SHM_EV_REASONS       14
#define SHM_EV_WORKER_KILLED 3 /* of the reasons */

/* Rows of a worker, or rows of the logger that are not in the spool. */
void shm_ev_held_add(unsigned cls, int64_t n);
/* Logger: and none of what its predecessor held. */
void shm_ev_held_set(unsigned cls, uint64_t n);
/*
 * Master: the holder of that worker's slot was reaped.  Its rows are counted
 * as dropped, lost_r says how many of each class; false: none.
 */
bool shm_ev_bury(unsigned slot, uint64_t lost_r[SHM_EV_CLASSES]);
/* How often the slot was entered; 0: somebody holds it, or never did. */
uint32_t shm_ev_buried(unsigned slot);

/* Own slot. Added before the message is sent, taken back when it was not. */
void shm_ev_sent_add(unsigned cls, int64_t n);
uint64_t shm_ev_sent(unsigned slot, unsigned cls);
/* Logger: rows of that slot it has read, or found missing. */
void shm_ev_taken_set(unsigned slot, unsigned cls, uint64_t n);
uint64_t shm_ev_taken(unsigned slot, unsigned cls);
/* A plain counter and the evidence drops (all reasons) of one slot, with what
 * its holders died with. */
uint64_t metric_slot(unsigned slot, enum metric_id m);
uint64_t metric_evidence_dropped_slot(unsigned slot, unsigned cls);

/* How a child died. */
enum shm_death_cause {
	SHM_DEATH_EXIT,
	SHM_DEATH_SIGNAL,
	SHM_DEATH_STUCK, /* ended by the master */
	SHM_DEATH_CAUSES
};

/* One of the last deaths, behind the counters of gamed_child_restarts_total:
 * the master notes it before it counts it. */
#define SHM_DEATHS_MAX 64
struct shm_death {
	enum shm_role role;
	unsigned slot;
	enum shm_death_cause cause;
	unsigned how; /* number of the signal, or exit status */
};
void shm_death_note(const struct shm_death *d);
/* The newest is 0; false: there is none, or it makes room for another. */
bool shm_death_read(unsigned back, struct shm_death *d_r);

/* Cache generations: whoever changes an object bumps, every cache compares. */
uint32_t shm_generation(struct str key);
void shm_generation_bump(struct str key);
/* Forget everything (the notify connection was lost). */
void shm_generation_bump_all(void);

#endif
