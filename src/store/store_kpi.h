/*
 * store_kpi.h - key figures as the stats process and gamectl keep them
 * (observability.md 5.2): counters of requests, roll-ups, samples and gaps of
 * uptime, retention.  The statements are functions of sql/0006 and 0007.
 */
#ifndef STORE_STORE_KPI_H
#define STORE_STORE_KPI_H

#include "base/err.h"
#include "db/db_array.h"
#include "store/store_op.h"

struct db_sync;

/* Who counts: a name that a restart keeps, and the wall time of the start. */
struct store_server {
	struct str name;
	uint64_t boot_us;
};

/* Totals since the boot; arrays live until the callback ran. */
struct store_requests {
	struct db_array handler, method; /* text */
	struct db_array status;          /* int2: 100, 200, ... */
	struct db_array cnt;             /* int8 */
	struct db_array latency_ms;      /* float8, of the whole route */
	struct db_array buckets;         /* int8: fine histogram, no probes */
};
void store_requests_begin(struct store_requests *r);
void store_requests_add(struct store_requests *r, struct str handler,
	struct str method, int status, uint64_t cnt, double latency_ms);
/* What is new goes to the minute of that time. */
void store_requests_flush(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t minute_us,
	struct store_requests *r);

/* Runs of strategies since the boot, and arms of their programs; JSON arrays,
 * their objects as gamed.flush_outcomes and gamed.flush_arms read them,
 * NUL-terminated and kept meanwhile.  What is new goes to the hour of that
 * time.  is_last: nothing is counted after it. */
void store_strategies_flush(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t hour_us, const char *series,
	const char *arms, bool is_last);

/* Text: the day rolled up, NULL when none was due. */
void store_kpi_catch_up(struct store_op *op, struct db_pool *db);

/* Text: the cause of the gap before this start, NULL when there was none. */
/* What a server that stopped at at_us could not say itself. */
void store_uptime_stopped(struct store_op *op, struct db_pool *db,
	const struct store_server *stopped, int64_t at_us);
void store_uptime_beat(struct store_op *op, struct db_pool *db,
	const struct store_server *server, bool is_stopping);
void store_uptime_sample(struct store_op *op, struct db_pool *db,
	const struct store_server *server, int64_t at_us, bool healthy);

/* Days that rows are kept, 0 for ever. */
struct store_retention {
	int64_t logs, api_requests, traces, uptime, request_minutes;
};
/* Text: what one step has done, NULL when nothing is too old. */
struct store_expiry {
	struct db_array tables, days;
};
void store_drop_expired(struct store_op *op, struct db_pool *db,
	const struct store_retention *r, struct store_expiry *e);

/*
 * gamectl's: one day (text, YYYY-MM-DD), whatever is there for it; p NULL: the
 * next that is due, *day_r is "" when none is.
 */
#define STORE_DAY_MAX 16
int store_kpi_rollup(struct db_sync *db, const char *day,
	char day_r[STORE_DAY_MAX], struct err *err_r) MUST_CHECK;

#endif
