/*
 * metric_read.h - the sum over all slots, for a scrape and for gamectl.  Run
 * by stats and by a worker that serves /metrics.
 *
 * The block is taken for hostile (hardening M3): what has no meaning is left
 * out and counted in M_TORN_READS; counts are used as they are.
 */
#ifndef SHM_METRIC_READ_H
#define SHM_METRIC_READ_H

#include <sys/types.h>

#include "shm/shm.h"

#define METRIC_LABEL_MAX 112

struct metric_label {
	char text[METRIC_LABEL_MAX]; /* valid UTF-8 */
	size_t len;
};

/* A process that is alive: it was seen to beat and the kernel knows it. */
struct metric_process {
	unsigned slot;
	enum shm_role role;
	pid_t pid;
	unsigned generation;  /* of workers, else 0 */
	unsigned starts;      /* holders of the slot so far */
	uint64_t started_ms;  /* monotonic */
	uint64_t beat_age_ms; /* since the last sign of life */
	uint64_t virtual_bytes, resident_bytes;
	uint64_t fds, fds_max;
	uint64_t started_us; /* wall time */
	uint64_t lag_max_us; /* of the loop, since the last scrape */
	uint64_t connections;
	uint64_t cpu_us; /* of all holders of the slot together */
};

struct metric_route {
	uint64_t status[SHM_STATUS_CLASSES];
	uint64_t bucket[SHM_LOWR_BUCKETS]; /* not cumulative */
	uint64_t duration_ns, request_bytes, response_bytes;
};

struct metric_dsl_sum {
	uint64_t bucket[SHM_DSL_STATUSES][SHM_DSL_BUCKETS];
	uint64_t duration_ns[SHM_DSL_STATUSES];
	uint64_t nodes, dropped;
};

struct metric_realm {
	struct metric_label label;
	unsigned at; /* as metric_read_exemplar wants it */
	struct metric_dsl_sum type[SHM_DSL_TYPES];
};

/* In all live slots, and the most of one of them. */
struct metric_level_sum {
	uint64_t now, most;
};

struct metric_timer_sum {
	uint64_t bucket[SHM_WAIT_BUCKETS]; /* not cumulative */
	uint64_t ns;
};

struct metric_error {
	unsigned realm, type; /* realm is an index of realm[] below */
	struct metric_label code;
	uint64_t cnt;
};

/*
 * Rows of one class at one time: produced = stored + dropped_all + spooled +
 * queued + missing.  The queued ones are in one of the three places, which
 * are counted by who holds them; one that moved meanwhile may be in two.
 */
struct metric_evidence {
	uint64_t produced, stored;
	uint64_t dropped[SHM_EV_REASONS], dropped_all;
	uint64_t spooled, queued;
	uint64_t in_workers, in_sockets, in_logger;
	uint64_t missing; /* nowhere: the books do not balance */
};

/* About 500 kB: static or on the heap. */
struct metric_totals {
	uint64_t boot_us; /* wall time */
	uint64_t uptime_ms;
	uint64_t cpu_us; /* of all processes there ever were */
	uint64_t role_cpu_us[SHM_STATS + 1];
	struct metric_process process[SHM_SLOTS_MAX];
	unsigned process_cnt;
	uint64_t plain[M_CNT];
	struct metric_level_sum level[L_CNT];
	struct metric_timer_sum timer[T_CNT];
	struct metric_evidence evidence[SHM_EV_CLASSES];
	uint64_t highr[SHM_HIGHR_BUCKETS]; /* not cumulative */
	uint64_t highr_ns;
	uint64_t fine[SHM_FINE_BUCKETS]; /* not cumulative, without probes */
	struct metric_route route[SHM_ROUTES_MAX]; /* the first routes_cnt */
	struct metric_realm realm[SHM_REALMS_MAX];
	unsigned realm_cnt;
	struct metric_error error[SHM_SERIES_MAX];
	unsigned error_cnt;
};

void metric_read(struct metric_totals *t, unsigned routes_cnt);
/* The same for a scrape: with it ends the interval of the levels' most. */
void metric_read_scrape(struct metric_totals *t, unsigned routes_cnt);
/* Label of the queue families, NULL: it is no queue. */
const char *metric_queue_name(enum metric_level l);

/*
 * Exact counts of strategies, all slots together.  They begin with the boot of
 * the server (boot_us above) and never fall until it stops; who keeps hours
 * stores differences.  Runs of simulations are never among them.
 */
struct metric_version {
	unsigned at;   /* index, as outcomes have it */
	bool is_other; /* what found no room: no id, no arms */
	struct str id; /* in `label` */
	int32_t version;
	struct str sha256; /* first SHM_SHA256_MAX digits, in `label` */
	struct metric_label label;
	uint32_t arms_from, arms_cnt;
};
/* i below SHM_PROGRAMS_MAX; false: there is none at i. */
bool metric_read_version(unsigned i, struct metric_version *v_r);

struct metric_arm {
	struct metric_place place;
	uint64_t evaluated, taken, decided, failed;
};
/* The k-th arm, in the order of the program; k below arms_cnt. */
void metric_read_arm(
	const struct metric_version *v, uint32_t k, struct metric_arm *a_r);

/* A run whose row in strategyexecutionlog was seen to be stored. */
struct metric_exemplar {
	struct uuid row; /* its id */
	uint64_t duration_ns;
};
/* Of a bucket of dsl_execution_duration_seconds; false: there is none. */
bool metric_read_exemplar(unsigned realm_at, unsigned type, unsigned status,
	unsigned bucket, struct metric_exemplar *e_r);

struct metric_outcome {
	unsigned version; /* `at` of its version */
	unsigned status;  /* as enum dsl_status */
	bool has_code, has_case;
	struct metric_label code, case_name;
	uint64_t runs;
	uint64_t duration_ns, duration_max_ns;
	uint64_t nodes, nodes_max;
	double points;
	uint64_t bucket[SHM_DSL_BUCKETS]; /* not cumulative */
};
/* Wall time of the server's start. */
int64_t metric_boot_us(void);
/* i below SHM_OUTCOMES_MAX; false: there is none at i. */
bool metric_read_outcome(unsigned i, struct metric_outcome *o_r);

/* The outcomes of one version together. */
struct metric_strategy {
	struct metric_version version;
	struct metric_label about; /* as of metric_program_claim, or empty */
	uint64_t runs[SHM_DSL_STATUSES];
	uint64_t bucket[SHM_DSL_BUCKETS]; /* not cumulative */
	uint64_t duration_ns, nodes;
	struct metric_label code; /* of most failures, or empty */
};
/* Fills list_r and returns how many there are. */
unsigned metric_read_strategies(
	struct metric_strategy list_r[SHM_PROGRAMS_MAX]);

/* 'C' counter, 'G' gauge, 'M' maximum. */
struct metric_info {
	char kind;
	const char *name, *label, *help;
};
const struct metric_info *metric_info(enum metric_id m);
/* `kind` is 'H'. */
const struct metric_info *metric_timer_info(enum metric_timer t);

#endif
