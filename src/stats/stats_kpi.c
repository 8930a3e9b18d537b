/* stats_kpi.c - see stats_kpi.h.  Lives as long as the stats process. */
#include "stats/stats_kpi.h"

#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "dsl/dsl_run.h"
#include "master/inherit.h"
#include "stats/stats_uptime.h"
#include "json/json_out.h"
#include "store/store_kpi.h"

#define US_PER_MIN  60000000LL
#define BEAT_MS     5000 /* what a gap may be wrong by */
#define DAILY_MS    60000
#define EXPIRY_MS   3600000
#define RETRY_MS    10000
#define JOB_MS      30000
#define STOP_MS     1500 /* below what the master waits for */
#define SAMPLES_MAX 1440 /* kept while the database is away: a day */
#define NAME_BYTES  1024

enum job {
	JOB_FLUSH,
	JOB_STRATEGIES,
	JOB_STOPPED, /* before the first beat */
	JOB_BEAT,
	JOB_SAMPLE,
	JOB_DAILY,
	JOB_EXPIRY,
	JOBS
};

struct sample {
	int64_t at_us;
	bool healthy;
};

struct stats_kpi {
	struct event_base *base;
	struct db_pool *db;
	const struct conf *conf;
	const struct metric_totals *totals;
	char name[NAME_BYTES];
	struct store_server server;
	char note[CONF_STR_MAX + 32]; /* path: that a stop was wanted */
	struct store_server before;   /* who left the note, and when; 0: none */
	int64_t before_us;
	struct stats_uptime *uptime;
	struct store_op op;
	bool is_busy; /* op is on its way */
	enum job job; /* of op */
	uint64_t now_ms;
	uint64_t due_ms[JOBS];
	uint64_t flush_ms; /* at the latest, unless a minute ends before */
	int64_t minute_us; /* in which what is not written yet was counted */
	struct store_requests requests;
	struct store_expiry expiry;
	struct buf series;                  /* of strategies, as JSON */
	struct buf arms;                    /* of their programs, as JSON */
	int64_t hour_us;                    /* as minute_us, of strategies */
	struct sample samples[SAMPLES_MAX]; /* ring */
	unsigned samples_at, samples_cnt;
	/* stopping */
	struct event *ev_stop;
	void (*on_stopped)(void *arg);
	void *stop_arg;
	bool is_flushed;
};

/* ---- what is written -------------------------------------------------------- */

static uint64_t route_requests(const struct metric_route *r)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < SHM_STATUS_CLASSES; c++)
		n += r->status[c];
	return n;
}

static void run_flush(struct stats_kpi *k)
{
	struct store_requests *r = &k->requests;

	store_requests_begin(r);
	for (size_t i = 0; i < api_routes_cnt; i++) {
		const struct metric_route *m = &k->totals->route[i];

		if (api_routes[i].unmetered || route_requests(m) == 0)
			continue;
		for (unsigned c = 0; c < SHM_STATUS_CLASSES; c++)
			if (m->status[c] > 0)
				store_requests_add(r,
					str_from(api_routes[i].template),
					str_from(api_routes[i].method),
					(int)(c + 1) * 100, m->status[c],
					(double)m->duration_ns / 1e6);
	}
	for (unsigned i = 0; i < SHM_FINE_BUCKETS; i++)
		db_array_i64(&r->buckets, (int64_t)k->totals->fine[i]);
	store_requests_flush(&k->op, k->db, &k->server, k->minute_us, r);
}

/* What found no room of its own counts as one version, too. */
static void put_version(struct json_out *o, const struct metric_version *v)
{
	json_out_kv_str(o, "id", v->is_other ? STR("_other") : v->id);
	json_out_kv_int(o, "version", v->version);
	json_out_kv_str(o, "sha", v->is_other ? STR("") : v->sha256);
}

static void put_outcome(struct json_out *o, const struct metric_outcome *m)
{
	struct metric_version v;

	if (!metric_read_version(m->version, &v))
		return;
	json_out_obj(o);
	put_version(o, &v);
	json_out_kv_cstr(
		o, "status", dsl_status_name((enum dsl_status)m->status));
	if (m->has_code)
		json_out_kv_str(
			o, "code", (struct str){m->code.text, m->code.len});
	if (m->has_case)
		json_out_kv_str(o, "case_name",
			(struct str){m->case_name.text, m->case_name.len});
	json_out_kv_int(o, "runs", (int64_t)m->runs);
	json_out_key(o, "ms");
	json_out_float(o, (double)m->duration_ns / 1e6);
	json_out_key(o, "ms_max");
	json_out_float(o, (double)m->duration_max_ns / 1e6);
	json_out_kv_int(o, "nodes", (int64_t)m->nodes);
	json_out_kv_int(o, "nodes_max", (int64_t)m->nodes_max);
	json_out_key(o, "points");
	json_out_float(o, m->points);
	json_out_key(o, "buckets");
	json_out_arr(o);
	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		json_out_uint(o, m->bucket[i]);
	json_out_arr_end(o);
	json_out_obj_end(o);
}

static void put_arms(struct json_out *o, const struct metric_version *v)
{
	struct metric_arm a;

	for (uint32_t k = 0; k < v->arms_cnt; k++) {
		metric_read_arm(v, k, &a);
		if (a.evaluated == 0)
			continue;
		json_out_obj(o);
		put_version(o, v);
		json_out_kv_cstr(o, "section",
			dsl_arm_part_name((enum dsl_arm_part)a.place.section));
		json_out_kv_int(o, "rule", a.place.rule);
		json_out_kv_int(o, "branch", a.place.branch);
		json_out_kv_int(o, "evaluated", (int64_t)a.evaluated);
		json_out_kv_int(o, "taken", (int64_t)a.taken);
		json_out_kv_int(o, "decided", (int64_t)a.decided);
		json_out_kv_int(o, "failed", (int64_t)a.failed);
		json_out_obj_end(o);
	}
}

static void run_strategies(struct stats_kpi *k)
{
	struct metric_version v;
	struct metric_outcome m;
	struct json_out o;

	buf_reset(&k->series);
	json_out_init(&o, &k->series);
	json_out_arr(&o);
	for (unsigned i = 0; i < SHM_OUTCOMES_MAX; i++)
		if (metric_read_outcome(i, &m) && m.runs > 0)
			put_outcome(&o, &m);
	json_out_arr_end(&o);
	buf_add_char(&k->series, '\0');
	buf_reset(&k->arms);
	json_out_init(&o, &k->arms);
	json_out_arr(&o);
	for (unsigned i = 0; i < SHM_PROGRAMS_MAX; i++)
		if (metric_read_version(i, &v))
			put_arms(&o, &v);
	json_out_arr_end(&o);
	buf_add_char(&k->arms, '\0');
	store_strategies_flush(&k->op, k->db, &k->server, k->hour_us,
		k->series.p, k->arms.p, k->is_flushed);
}

static void run_sample(struct stats_kpi *k)
{
	const struct sample *s = &k->samples[k->samples_at];

	store_uptime_sample(&k->op, k->db, &k->server, s->at_us, s->healthy);
}

static void run_expiry(struct stats_kpi *k)
{
	const struct store_retention r = {.logs = k->conf->keep_logs_days,
		.api_requests = k->conf->keep_api_requests_days,
		.traces = k->conf->keep_traces_days,
		.uptime = k->conf->keep_uptime_days,
		.request_minutes = k->conf->keep_request_minutes_days};

	store_drop_expired(&k->op, k->db, &r, &k->expiry);
}

static void on_reply(struct store_op *op, const struct db_reply *rep);

static void run(struct stats_kpi *k, enum job job)
{
	k->is_busy = true;
	k->job = job;
	store_op_init(&k->op, on_reply, k);
	k->op.deadline_ms = JOB_MS;
	switch (job) {
	case JOB_FLUSH:
		run_flush(k);
		return;
	case JOB_STRATEGIES:
		run_strategies(k);
		return;
	case JOB_STOPPED:
		store_uptime_stopped(&k->op, k->db, &k->before, k->before_us);
		return;
	case JOB_BEAT:
		store_uptime_beat(
			&k->op, k->db, &k->server, k->on_stopped != NULL);
		return;
	case JOB_SAMPLE:
		run_sample(k);
		return;
	case JOB_DAILY:
		store_kpi_catch_up(&k->op, k->db);
		return;
	case JOB_EXPIRY:
		run_expiry(k);
		return;
	case JOBS:
		break;
	}
	fatal("job %d of the key figures", (int)job);
}

/* ---- what came of it -------------------------------------------------------- */

/* When the job is due again; res holds what it did, if anything. */
static uint64_t after(struct stats_kpi *k, bool has_done, struct str what)
{
	switch (k->job) {
	case JOB_FLUSH:
		k->minute_us = clock_wall_us();
		k->flush_ms = k->now_ms + (uint64_t)k->conf->kpi_flush_s * 1000;
		return 0;
	case JOB_STRATEGIES:
		k->hour_us = clock_wall_us();
		return (uint64_t)k->conf->kpi_flush_s * 1000;
	case JOB_STOPPED:
		k->before_us = 0;
		unlink(k->note);
		return 0;
	case JOB_BEAT:
		if (k->on_stopped != NULL)
			unlink(k->note);
		if (has_done)
			log_info("a time without this server was noted "
				 "cause=%.*s",
				STR_ARG(what));
		return BEAT_MS;
	case JOB_SAMPLE:
		k->samples_at = (k->samples_at + 1) % SAMPLES_MAX;
		k->samples_cnt--;
		return 0;
	case JOB_DAILY:
		if (has_done)
			log_info("daily figures made day=%.*s", STR_ARG(what));
		return has_done ? 0 : DAILY_MS;
	case JOB_EXPIRY:
		if (has_done)
			log_info("retention: %.*s", STR_ARG(what));
		return has_done ? 0 : EXPIRY_MS;
	case JOBS:
		break;
	}
	return RETRY_MS;
}

static void run_next(struct stats_kpi *k);
static void stop_next(struct stats_kpi *k, bool ok);

static void on_reply(struct store_op *op, const struct db_reply *rep)
{
	struct stats_kpi *k = op->arg;
	bool ok = rep->outcome == DB_OK;
	struct str what = {NULL, 0};

	k->is_busy = false;
	if (ok) {
		bool has_done = db_res_rows(rep->res[0]) > 0 &&
				db_row_str(rep->res[0], 0, 0, &what);

		k->due_ms[k->job] = k->now_ms + after(k, has_done, what);
	} else {
		k->due_ms[k->job] = k->now_ms + RETRY_MS;
		log_warnx("key figures: statement %d failed: %s", (int)k->job,
			rep->message);
	}
	if (k->on_stopped != NULL)
		stop_next(k, ok);
	else if (ok)
		run_next(k);
}

/* ---- by the clock ----------------------------------------------------------- */

/* The oldest gives way when the database is away for more than a day. */
static void on_sample(void *arg, int64_t at_us, bool answered)
{
	struct stats_kpi *k = arg;
	struct sample s = {at_us, answered && db_pool_healthy(k->db)};

	if (k->samples_cnt == SAMPLES_MAX) {
		k->samples_at = (k->samples_at + 1) % SAMPLES_MAX;
		k->samples_cnt--;
	}
	k->samples[(k->samples_at + k->samples_cnt++) % SAMPLES_MAX] = s;
}

/*
 * A minute that is over is written at once, so that a day ends with its last
 * minute.  What could not be written in time counts where it began.
 */
static bool is_due(struct stats_kpi *k, enum job job)
{
	if (job == JOB_SAMPLE && k->samples_cnt == 0)
		return false;
	if ((job == JOB_STOPPED && k->before_us == 0) ||
		(job == JOB_BEAT && k->before_us != 0))
		return false;
	if (job == JOB_FLUSH && k->now_ms < k->flush_ms &&
		k->minute_us / US_PER_MIN == clock_wall_us() / US_PER_MIN)
		return false;
	return k->now_ms >= k->due_ms[job];
}

/* In turn, so that none waits for one that is always due. */
static void run_next(struct stats_kpi *k)
{
	if (k->is_busy || !db_pool_healthy(k->db))
		return;
	for (unsigned i = 1; i <= JOBS; i++) {
		enum job job = (enum job)((k->job + i) % JOBS);

		if (is_due(k, job)) {
			run(k, job);
			return;
		}
	}
}

void stats_kpi_tick(struct stats_kpi *k, uint64_t now_ms)
{
	k->now_ms = now_ms;
	if (k->on_stopped != NULL)
		return;
	if (k->uptime != NULL)
		stats_uptime_tick(k->uptime, now_ms);
	run_next(k);
}

/* ---- the end ---------------------------------------------------------------- */

/*
 * That the stop was wanted, for the successor: the database may be away.  It
 * is removed when the database knows.
 */
static void write_note(const struct stats_kpi *k)
{
	FILE *f = fopen(k->note, "we");

	if (f == NULL ||
		fprintf(f, "%llu %lld\n", (unsigned long long)k->server.boot_us,
			(long long)clock_wall_us()) < 0)
		log_warn("cannot write %s", k->note);
	if (f != NULL)
		fclose(f);
}

static void read_note(struct stats_kpi *k)
{
	unsigned long long boot_us;
	long long at_us;
	FILE *f;

	snprintf(k->note, sizeof(k->note), "%s/uptime-stopped",
		k->conf->state_dir);
	f = fopen(k->note, "re");
	if (f == NULL)
		return;
	if (fscanf(f, "%llu %lld", &boot_us, &at_us) == 2 &&
		boot_us != k->server.boot_us) {
		k->before = k->server;
		k->before.boot_us = boot_us;
		k->before_us = at_us;
	}
	fclose(f);
}

static void stopped(struct stats_kpi *k)
{
	void (*on_stopped)(void *arg) = k->on_stopped;

	if (on_stopped == NULL)
		return;
	event_del(k->ev_stop);
	k->on_stopped = NULL;
	on_stopped(k->stop_arg);
}

static void on_stop_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stopped(arg);
}

/* The counters, then the word that this is the end. */
static void stop_next(struct stats_kpi *k, bool ok)
{
	if (!ok || (k->is_flushed && k->job == JOB_BEAT)) {
		stopped(k);
	} else if (!k->is_flushed) {
		k->is_flushed = true;
		run(k, JOB_FLUSH);
	} else if (k->job == JOB_FLUSH) {
		run(k, JOB_STRATEGIES);
	} else {
		run(k, JOB_BEAT);
	}
}

void stats_kpi_stop(struct stats_kpi *k, void (*on_done)(void *arg), void *arg)
{
	static const struct timeval late = {
		STOP_MS / 1000, STOP_MS % 1000 * 1000};

	if (k->on_stopped != NULL)
		return;
	k->on_stopped = on_done;
	k->stop_arg = arg;
	write_note(k);
	event_add(k->ev_stop, &late);
	if (!k->is_busy)
		stop_next(k, db_pool_healthy(k->db));
}

static void make_name(struct stats_kpi *k)
{
	char host[HOST_NAME_MAX + 1] = "";

	if (gethostname(host, sizeof(host) - 1) < 0)
		log_warn("cannot find the name of this host");
	snprintf(k->name, sizeof(k->name), "%s:%s", host, k->conf->run_dir);
	k->server.name = str_from(k->name);
	k->server.boot_us = k->totals->boot_us;
}

struct stats_kpi *stats_kpi_new(struct event_base *base, struct db_pool *db,
	const struct inherit *in, const struct metric_totals *totals)
{
	struct stats_kpi *k = calloc(1, sizeof(*k));
	const struct conf *conf = in->conf;
	struct stats_uptime_conf uptime = {
		.address = in->api_address,
		.port = in->api_port,
		.sample_s = (uint64_t)conf->uptime_sample_s,
		.cb = on_sample,
		.arg = k,
	};

	if (k == NULL)
		fatal("out of memory for the key figures");
	k->base = base;
	k->db = db;
	k->conf = conf;
	k->totals = totals;
	make_name(k);
	read_note(k);
	k->minute_us = clock_wall_us();
	k->hour_us = k->minute_us;
	buf_init(&k->series, 0);
	buf_init(&k->arms, 0);
	k->now_ms = clock_mono_ms();
	k->flush_ms = k->now_ms + (uint64_t)conf->kpi_flush_s * 1000;
	if (conf->uptime_enabled)
		k->uptime = stats_uptime_new(base, &uptime);
	k->ev_stop = evtimer_new(base, on_stop_late, k);
	if (k->ev_stop == NULL)
		fatal("cannot make the timer of the key figures");
	return k;
}
