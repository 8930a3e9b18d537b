/*
 * ctl_top_frame.h - what `gamectl top` shows at one moment: a sample is the
 * answer of the admin socket to `top`, its counters as they stand; a frame is
 * the difference of two samples as rates.  Everything is in the caller's
 * storage, about 150 kB a sample: static.
 */
#ifndef CTL_CTL_TOP_FRAME_H
#define CTL_CTL_TOP_FRAME_H

#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"
#include "shm/shm.h"

#define TOP_NAME_MAX       116 /* bytes of a realm or a code, with the NUL */
#define TOP_MS_FIRST       5   /* first of SHM_DSL_EDGES */
#define TOP_STRATEGIES_MAX SHM_PROGRAMS_MAX

struct top_process {
	char role[16];
	int64_t slot, pid, generation, starts, uptime_s;
	int64_t beat_age_ms, resident_bytes, fds, connections;
	int64_t in_hand, awards, cpu_us;
	/* rates */
	double awards_s, cpu_percent;
};

struct top_strategy {
	char id[40]; /* "_other": those without counters of their own */
	char name[TOP_NAME_MAX], realm[TOP_NAME_MAX], type[16];
	int64_t version;
	int64_t runs[SHM_DSL_STATUSES]; /* ok, error, timeout, limit */
	int64_t nodes, duration_us;
	int64_t bucket[SHM_DSL_BUCKETS]; /* not cumulative */
	char code[TOP_NAME_MAX];         /* of a late failure, or "" */
	/* rates */
	double runs_s, errors_s;
	double mean_ms, p50_ms, p99_ms; /* -1: no run */
};

struct top_evidence {
	char name[16];
	int64_t produced, stored, spooled, queued, dropped;
	double produced_s, stored_s, dropped_s;
};

struct top_pipeline {
	int64_t at_ms; /* monotonic, of the server */
	int64_t uptime_ms;
	int64_t requests, requests_5xx, awards, awards_failed;
	int64_t in_hand, connections;
	int64_t db_queued, db_in_flight, db_idle, db_busy, db_down;
	int64_t batches, batches_refused, batches_lost;
	int64_t spool_bytes, spool_segments, lag_ms;
	double requests_s, failed_s, awards_s, awards_failed_s;
	double batches_s, bad_batches_s;
};

struct top_sample {
	char version[32], started[40];
	int64_t uptime_s, generation, workers;
	bool config_in_force, has_database;
	struct top_process process[SHM_SLOTS_MAX];
	unsigned process_cnt;
	struct top_strategy strategy[TOP_STRATEGIES_MAX];
	unsigned strategy_cnt;
	struct top_evidence evidence[SHM_EV_CLASSES];
	unsigned evidence_cnt;
	struct top_pipeline pipeline;
	double window_s; /* that the rates are over */
	bool since_start;
};

enum top_sort { TOP_BY_RUNS, TOP_BY_ERRORS, TOP_BY_P99, TOP_BY_NAME };
#define TOP_SORT_CNT 4
const char *top_sort_name(enum top_sort s);

/* Asks the server.  Errors as of ctl_admin_ask. */
int top_sample_take(const struct conf *conf, struct top_sample *s,
	struct err *err_r) MUST_CHECK;
/* The rates of s since `before`, or since the server's start when that is
 * NULL or a sample of another boot. */
void top_sample_rate(struct top_sample *s, const struct top_sample *before);
/* Sorts the strategies; ties by name. */
void top_sample_sort(struct top_sample *s, enum top_sort by);

#endif
