/* stats_report.c - see stats_report.h.  Runs in the stats process. */
#include "stats/stats_report.h"

#include "base/clock.h"
#include "dsl/dsl_error.h"
#include "ipc/evidence.h"
#include "json/json_out.h"
#include "stats/stats_prom.h"

static void line_start(struct json_out *o, struct buf *b, const char *kind)
{
	json_out_init(o, b);
	json_out_obj(o);
	json_out_kv_cstr(o, "kind", kind);
}

static void line_end(struct json_out *o)
{
	json_out_obj_end(o);
	buf_add_char(o->b, '\n');
}

static void kv_uint(struct json_out *o, const char *key, uint64_t v)
{
	json_out_key(o, key);
	json_out_uint(o, v);
}

static void kv_float(struct json_out *o, const char *key, double v)
{
	json_out_key(o, key);
	json_out_float(o, v);
}

/* ---- status ------------------------------------------------------------- */

static void report_server(struct buf *b, const struct stats_report *r)
{
	const struct metric_totals *t = r->totals;
	unsigned workers = 0;
	struct json_out o;

	for (unsigned i = 0; i < t->process_cnt; i++)
		workers += t->process[i].role == SHM_WORKER;
	line_start(&o, b, "server");
	json_out_kv_cstr(&o, "version", GAMED_VERSION);
	json_out_key(&o, "started");
	json_out_time(&o, (int64_t)t->boot_us, CLOCK_TS_Z);
	kv_uint(&o, "uptime_s", t->uptime_ms / 1000);
	kv_uint(&o, "generation", t->plain[M_GENERATION]);
	kv_uint(&o, "workers", workers);
	kv_uint(&o, "reloads_begun", t->plain[M_RELOADS_BEGUN]);
	kv_uint(&o, "reloads_ended",
		t->plain[M_RELOADS_OK] + t->plain[M_RELOADS_REFUSED] +
			t->plain[M_RELOADS_FAILED]);
	json_out_kv_bool(&o, "config_in_force", t->plain[M_RELOAD_OK] != 0);
	json_out_kv_bool(&o, "database", r->has_db);
	line_end(&o);
}

static void report_process(struct buf *b, const struct metric_process *p)
{
	static const char *const roles[] = {
		"free", "master", "worker", "logger", "stats"};
	uint64_t now_ms = clock_mono_ms();
	struct json_out o;

	line_start(&o, b, "process");
	json_out_kv_cstr(&o, "role", roles[p->role]);
	kv_uint(&o, "slot", p->slot);
	json_out_kv_int(&o, "pid", p->pid);
	kv_uint(&o, "generation", p->generation);
	kv_uint(&o, "starts", p->starts);
	kv_uint(&o, "uptime_s",
		now_ms > p->started_ms ? (now_ms - p->started_ms) / 1000 : 0);
	kv_uint(&o, "heartbeat_age_ms", p->beat_age_ms);
	kv_uint(&o, "resident_bytes", p->resident_bytes);
	kv_uint(&o, "fds", p->fds);
	kv_uint(&o, "connections", p->connections);
	kv_uint(&o, "cpu_us", p->cpu_us);
	kv_uint(&o, "requests_in_hand", metric_slot(p->slot, M_HTTP_IN_HAND));
	kv_uint(&o, "awards", metric_slot(p->slot, M_AWARDS));
	line_end(&o);
}

static void report_rates(struct buf *b, const struct stats_report *r)
{
	double requests, awards, window_s;
	struct json_out o;

	stats_rates_get(r->rates, &requests, &awards, &window_s);
	line_start(&o, b, "rates");
	kv_float(&o, "window_s", window_s);
	kv_float(&o, "requests_per_s", requests);
	kv_float(&o, "awards_per_s", awards);
	kv_uint(&o, "requests", stats_requests(r->totals));
	kv_uint(&o, "awards", r->totals->plain[M_AWARDS]);
	line_end(&o);
}

static void report_queues(struct buf *b, const struct metric_totals *t)
{
	struct json_out o;

	line_start(&o, b, "queues");
	kv_uint(&o, "requests_in_hand", t->plain[M_HTTP_IN_HAND]);
	kv_uint(&o, "db_queued", t->plain[M_DB_QUEUED]);
	kv_uint(&o, "db_in_flight", t->plain[M_DB_IN_FLIGHT]);
	kv_uint(&o, "db_idle", t->plain[M_DB_IDLE]);
	kv_uint(&o, "db_busy", t->plain[M_DB_BUSY]);
	kv_uint(&o, "db_down", t->plain[M_DB_DOWN]);
	kv_uint(&o, "evidence_lag_ms", t->plain[M_EV_LAG_MS]);
	line_end(&o);
}

static void report_status(struct buf *b, const struct stats_report *r)
{
	const struct metric_totals *t = r->totals;
	struct json_out o;

	report_server(b, r);
	for (unsigned i = 0; i < t->process_cnt; i++)
		report_process(b, &t->process[i]);
	report_rates(b, r);
	report_queues(b, t);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		const struct metric_evidence *e = &t->evidence[c];

		line_start(&o, b, "evidence");
		json_out_kv_cstr(&o, "class", evidence_class_name(c));
		kv_uint(&o, "produced", e->produced);
		kv_uint(&o, "stored", e->stored);
		kv_uint(&o, "spooled", e->spooled);
		kv_uint(&o, "queued", e->queued);
		kv_uint(&o, "dropped", e->dropped_all);
		line_end(&o);
	}
}

/* ---- top ---------------------------------------------------------------- */

/* The next part of what a version says about itself, or empty. */
static struct str label_part(struct str *rest)
{
	const char *nl = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;
	struct str part = {rest->p, nl ? (size_t)(nl - rest->p) : rest->len};
	size_t taken = part.len + (nl != NULL);

	*rest = (struct str){rest->p + taken, rest->len - taken};
	return part;
}

static void report_strategy(struct buf *b, const struct metric_strategy *m)
{
	struct str rest = {m->about.text, m->about.len};
	struct json_out o;

	line_start(&o, b, "strategy");
	json_out_kv_str(
		&o, "id", m->version.is_other ? STR("_other") : m->version.id);
	json_out_kv_int(&o, "version", m->version.version);
	json_out_kv_str(&o, "type", label_part(&rest));
	json_out_kv_str(&o, "realm", label_part(&rest));
	json_out_kv_str(&o, "name", rest);
	for (unsigned i = 0; i < SHM_DSL_STATUSES; i++)
		kv_uint(&o, dsl_status_name(i), m->runs[i]);
	kv_uint(&o, "nodes", m->nodes);
	kv_uint(&o, "duration_us", m->duration_ns / 1000);
	json_out_key(&o, "buckets"); /* of all statuses, not cumulative */
	json_out_arr(&o);
	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		json_out_uint(&o, m->bucket[i]);
	json_out_arr_end(&o);
	json_out_kv_str(&o, "code",
		(struct str){m->code.len ? m->code.text : NULL, m->code.len});
	line_end(&o);
}

static void report_pipeline(struct buf *b, const struct metric_totals *t)
{
	uint64_t failed = 0;
	struct json_out o;

	for (unsigned i = 0; i < SHM_ROUTES_MAX; i++)
		failed += t->route[i].status[4];
	line_start(&o, b, "pipeline");
	kv_uint(&o, "at_ms", clock_mono_ms());
	kv_uint(&o, "uptime_ms", t->uptime_ms);
	kv_uint(&o, "requests", stats_requests(t));
	kv_uint(&o, "requests_5xx", failed);
	kv_uint(&o, "awards", t->plain[M_AWARDS]);
	kv_uint(&o, "awards_failed", t->plain[M_AWARD_FAILED]);
	kv_uint(&o, "connections", t->plain[M_HTTP_CONNECTIONS]);
	kv_uint(&o, "batches", t->plain[M_EV_BATCHES]);
	kv_uint(&o, "batches_refused", t->plain[M_EV_BATCHES_REFUSED]);
	kv_uint(&o, "batches_lost", t->plain[M_EV_BATCHES_LOST]);
	kv_uint(&o, "spool_bytes", t->plain[M_SPOOL_BYTES]);
	kv_uint(&o, "spool_segments", t->plain[M_SPOOL_SEGMENTS]);
	line_end(&o);
}

static void report_top(struct buf *b, const struct stats_report *r)
{
	static struct metric_strategy list[SHM_PROGRAMS_MAX];
	const struct metric_totals *t = r->totals;
	unsigned n;

	report_status(b, r);
	n = metric_read_strategies(list);
	for (unsigned i = 0; i < n; i++)
		report_strategy(b, &list[i]);
	report_pipeline(b, t);
}

/* ---- ledger ------------------------------------------------------------- */

static void report_ledger(struct buf *b, const struct stats_report *r)
{
	struct json_out o;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		const struct metric_evidence *e = &r->totals->evidence[c];

		line_start(&o, b, "ledger");
		json_out_kv_cstr(&o, "class", evidence_class_name(c));
		kv_uint(&o, "produced", e->produced);
		kv_uint(&o, "stored", e->stored);
		kv_uint(&o, "spooled", e->spooled);
		kv_uint(&o, "queued", e->queued);
		kv_uint(&o, "dropped", e->dropped_all);
		kv_uint(&o, "missing", e->missing);
		json_out_kv_bool(&o, "balanced", e->missing == 0);
		kv_uint(&o, "queued_in_workers", e->in_workers);
		kv_uint(&o, "queued_in_sockets", e->in_sockets);
		kv_uint(&o, "queued_in_logger", e->in_logger);
		json_out_key(&o, "reasons");
		json_out_obj(&o);
		for (unsigned i = 0; i < EV_REASON_CNT; i++)
			if (e->dropped[i])
				kv_uint(&o, evidence_reason_name(i),
					e->dropped[i]);
		json_out_obj_end(&o);
		line_end(&o);
	}
}

static void report_metrics(struct buf *b, const struct stats_report *r)
{
	(void)r;
	stats_render(b);
}

int stats_report(
	struct buf *out, struct str command, const struct stats_report *r)
{
	static const struct {
		const char *name;
		void (*print)(struct buf *b, const struct stats_report *r);
	} commands[] = {
		{"ledger", report_ledger},
		{"metrics", report_metrics},
		{"status", report_status},
		{"top", report_top},
	};
	struct json_out o;

	for (size_t i = 0; i < NELEM(commands); i++)
		if (str_is(command, commands[i].name)) {
			commands[i].print(out, r);
			return 0;
		}
	line_start(&o, out, "error");
	json_out_kv_cstr(&o, "error", "there is no such command");
	json_out_kv_str(&o, "command", command);
	line_end(&o);
	return -1;
}
