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

#define SHM_SLOTS_MAX     64
#define SHM_ROUTES_MAX    128
#define SHM_REALMS_MAX    256 /* the last one is _other */
#define SHM_CODES_MAX     64  /* the last one is _other */
#define SHM_HIGHR_BUCKETS 22
#define SHM_LOWR_BUCKETS  4
#define SHM_DSL_BUCKETS   16
#define SHM_GENERATIONS   1024

enum shm_role { SHM_FREE, SHM_MASTER, SHM_WORKER, SHM_LOGGER, SHM_STATS };

enum metric_id {
#define METRIC(id, kind, name, label, help) id,
#include "shm/metric_list.h"
#undef METRIC
	M_CNT
};

struct shm; /* the mapping, layout in shm_layout.h */
struct shm_slot;

/* Master, before the first fork. */
struct shm *shm_create(struct err *err_r) MUST_CHECK;
/* Child, once: names the slot it writes from now on and zeroes its gauges.
 * Tests and tools that have no mapping may call nothing: all the writers
 * below then write into a private dummy slot. */
void shm_attach(struct shm *s, unsigned slot, enum shm_role role);
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

/* Route index is the row in the API's route table. */
void metric_http(unsigned route, int status, uint64_t duration_ns,
	uint64_t request_bytes, uint64_t response_bytes);
/* type 0 DSL_FULL, 1 DSL_EXTEND; status as enum dsl_status; code NULL: ok. */
void metric_dsl(struct str realm, unsigned type, unsigned status,
	const char *code, uint64_t duration_ns, uint32_t nodes);
void metric_dsl_dropped(struct str realm, unsigned type);
/* cls and reason index the tables in evidence.h of ipc. */
void metric_evidence_dropped(unsigned cls, unsigned reason, uint64_t n);

/*
 * Evidence on its way (ipc/evidence.h has the classes and reasons).  For
 * each class c of a worker's slot w
 *	produced[w] = dropped[w] + rows in the worker's hands + sent[w]
 *	sent[w]     = rows in the socket + taken[w]
 * and, all slots together, taken = stored + rows in the logger's hands +
 * dropped by the logger.  A process that died holds no rows, so that its
 * successor finds what was lost as the difference.
 */
#define SHM_EV_CLASSES 5
#define SHM_EV_REASONS 9

/* Own slot. Added before the message is sent, taken back when it was not. */
void shm_ev_sent_add(unsigned cls, int64_t n);
uint64_t shm_ev_sent(unsigned slot, unsigned cls);
/* Logger: rows of that slot it has read, or found missing. */
void shm_ev_taken_set(unsigned slot, unsigned cls, uint64_t n);
uint64_t shm_ev_taken(unsigned slot, unsigned cls);
/* A plain counter and the evidence drops (all reasons) of one slot. */
uint64_t metric_slot(unsigned slot, enum metric_id m);
uint64_t metric_evidence_dropped_slot(unsigned slot, unsigned cls);

/* Cache generations: whoever changes an object bumps, every cache compares. */
uint32_t shm_generation(struct str key);
void shm_generation_bump(struct str key);
/* Forget everything (the notify connection was lost). */
void shm_generation_bump_all(void);

#endif
