/* stats_db.c - see stats_db.h.  Lives as long as the stats process. */
#include "stats/stats_db.h"

#include <stdlib.h>

#include "base/log.h"
#include "shm/shm.h"
#include "store/store_upkeep.h"

#define MONTHS_AHEAD      3
#define PARTITIONS_MS     3600000 /* between two rounds that succeeded */
#define RETRY_MS          60000   /* after one that failed */
#define UPKEEP_TIMEOUT_MS 30000

struct stats_db {
	struct db_pool *pool;
	struct store_op op;
	bool is_busy;    /* op is on its way */
	uint64_t now_ms; /* of the last tick */
	uint64_t due_ms; /* of the next round */
};

static void on_notify(void *arg, const char *payload)
{
	(void)arg;
	if (payload == NULL) {
		shm_generation_bump_all();
		return;
	}
	metric_inc(M_CACHE_NOTICES);
	if (strcmp(payload, "*") == 0)
		shm_generation_bump_all();
	else
		shm_generation_bump(str_from(payload));
}

static void on_state(void *arg, bool healthy)
{
	struct stats_db *d = arg;

	if (healthy)
		d->due_ms = d->now_ms;
	else
		log_warnx("no connection to Postgres: changes of cached "
			  "objects are not heard");
}

/* The next tick asks again until none is missing. */
static void on_partition(struct store_op *op, const struct db_reply *rep)
{
	struct stats_db *d = op->arg;
	struct str name;

	d->is_busy = false;
	if (rep->outcome != DB_OK) {
		d->due_ms = d->now_ms + RETRY_MS;
		log_warnx("cannot make a partition: %s", rep->message);
		return;
	}
	if (db_row_str(rep->res[0], 0, 0, &name))
		log_info("partition made table=%.*s", STR_ARG(name));
	else
		d->due_ms = d->now_ms + PARTITIONS_MS;
}

void stats_db_tick(struct stats_db *d, uint64_t now_ms)
{
	d->now_ms = now_ms;
	if (d->is_busy || now_ms < d->due_ms || !db_pool_healthy(d->pool))
		return;
	d->is_busy = true;
	store_op_init(&d->op, on_partition, d);
	d->op.job.deadline_ms = UPKEEP_TIMEOUT_MS;
	store_make_partition(d->pool, &d->op, MONTHS_AHEAD);
}

bool stats_db_healthy(const struct stats_db *d)
{
	return db_pool_healthy(d->pool);
}

struct db_pool *stats_db_pool(const struct stats_db *d)
{
	return d->pool;
}

struct stats_db *stats_db_new(struct event_base *base, const struct conf *conf)
{
	struct stats_db *d = calloc(1, sizeof(*d));
	struct db_pool_conf pc = {
		.app_name = "game-stats",
		.read_conns = 1,
		.write_conns = 1,
		.pipeline_depth = 1,
		.queue_max = 16,
		.deadline_ms = (uint32_t)conf->db_deadline_ms,
		.statement_timeout_ms = UPKEEP_TIMEOUT_MS,
		.lock_timeout_ms = (uint32_t)conf->db_lock_timeout_ms,
		.listen_channel = "gamed_cache",
		.on_notify = on_notify,
		.on_state = on_state,
		.arg = d,
	};
	struct buf conninfo;

	if (d == NULL)
		fatal("out of memory for the database connections");
	buf_init(&conninfo, 0);
	conf_db_conninfo(conf, &conninfo);
	buf_add_char(&conninfo, '\0');
	pc.conninfo = conninfo.p;
	d->pool = db_pool_new(base, &pc);
	buf_fini(&conninfo);
	return d;
}
