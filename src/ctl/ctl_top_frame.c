/* ctl_top_frame.c - see ctl_top_frame.h. */
#include "ctl/ctl_top_frame.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_admin.h"
#include "json/json_in.h"

#define num  ctl_admin_num
#define text ctl_admin_text

static struct {
	struct top_sample *into;
} self;

#define EDGE(le, ns) (ns) / 1e6,
static const double edge_ms[] = {SHM_DSL_EDGES(EDGE)};
#undef EDGE
_Static_assert(NELEM(edge_ms) == SHM_DSL_BUCKETS - 1, "edges of the buckets");

static const char *const statuses[SHM_DSL_STATUSES] = {
	"ok", "error", "timeout", "limit"};

/* ---- a sample ----------------------------------------------------------- */

static void copy(char *to, size_t size, struct str from)
{
	size_t len = from.len < size - 1 ? from.len : size - 1;

	memcpy(to, from.p, len);
	to[len] = '\0';
}

static bool is_true(const struct jv *v, const char *key)
{
	const struct jv *m = jv_member(v, key);

	return m && m->type == JV_BOOL && m->u.b;
}

static void take_server(struct top_sample *s, const struct jv *v)
{
	copy(s->version, sizeof(s->version), text(v, "version"));
	copy(s->started, sizeof(s->started), text(v, "started"));
	s->uptime_s = num(v, "uptime_s");
	s->generation = num(v, "generation");
	s->workers = num(v, "workers");
	s->config_in_force = is_true(v, "config_in_force");
	s->has_database = is_true(v, "database");
}

static void take_process(struct top_sample *s, const struct jv *v)
{
	struct top_process *p = &s->process[s->process_cnt];

	if (s->process_cnt == NELEM(s->process))
		return;
	s->process_cnt++;
	copy(p->role, sizeof(p->role), text(v, "role"));
	p->slot = num(v, "slot");
	p->pid = num(v, "pid");
	p->generation = num(v, "generation");
	p->starts = num(v, "starts");
	p->uptime_s = num(v, "uptime_s");
	p->beat_age_ms = num(v, "heartbeat_age_ms");
	p->resident_bytes = num(v, "resident_bytes");
	p->fds = num(v, "fds");
	p->connections = num(v, "connections");
	p->in_hand = num(v, "requests_in_hand");
	p->awards = num(v, "awards");
	p->cpu_us = num(v, "cpu_us");
}

static void take_strategy(struct top_sample *s, const struct jv *v)
{
	struct top_strategy *t = &s->strategy[s->strategy_cnt];
	const struct jv *buckets = jv_member(v, "buckets");

	if (s->strategy_cnt == NELEM(s->strategy))
		return;
	s->strategy_cnt++;
	copy(t->id, sizeof(t->id), text(v, "id"));
	copy(t->name, sizeof(t->name), text(v, "name"));
	copy(t->realm, sizeof(t->realm), text(v, "realm"));
	copy(t->code, sizeof(t->code), text(v, "code"));
	t->version = num(v, "version");
	copy(t->type, sizeof(t->type), text(v, "type"));
	for (size_t i = 0; i < NELEM(statuses); i++)
		t->runs[i] = num(v, statuses[i]);
	t->nodes = num(v, "nodes");
	t->duration_us = num(v, "duration_us");
	if (buckets && buckets->type == JV_ARR)
		for (uint32_t i = 0; i < buckets->n && i < SHM_DSL_BUCKETS; i++)
			if (buckets->u.arr[i].type == JV_INT)
				t->bucket[i] = buckets->u.arr[i].u.i;
}

static void take_evidence(struct top_sample *s, const struct jv *v)
{
	struct top_evidence *e = &s->evidence[s->evidence_cnt];

	if (s->evidence_cnt == NELEM(s->evidence))
		return;
	s->evidence_cnt++;
	copy(e->name, sizeof(e->name), text(v, "class"));
	e->produced = num(v, "produced");
	e->stored = num(v, "stored");
	e->spooled = num(v, "spooled");
	e->queued = num(v, "queued");
	e->dropped = num(v, "dropped");
}

static void take_queues(struct top_sample *s, const struct jv *v)
{
	struct top_pipeline *p = &s->pipeline;

	p->in_hand = num(v, "requests_in_hand");
	p->db_queued = num(v, "db_queued");
	p->db_in_flight = num(v, "db_in_flight");
	p->db_idle = num(v, "db_idle");
	p->db_busy = num(v, "db_busy");
	p->db_down = num(v, "db_down");
	p->lag_ms = num(v, "evidence_lag_ms");
}

static void take_pipeline(struct top_sample *s, const struct jv *v)
{
	struct top_pipeline *p = &s->pipeline;

	p->at_ms = num(v, "at_ms");
	p->uptime_ms = num(v, "uptime_ms");
	p->requests = num(v, "requests");
	p->requests_5xx = num(v, "requests_5xx");
	p->awards = num(v, "awards");
	p->awards_failed = num(v, "awards_failed");
	p->connections = num(v, "connections");
	p->batches = num(v, "batches");
	p->batches_refused = num(v, "batches_refused");
	p->batches_lost = num(v, "batches_lost");
	p->spool_bytes = num(v, "spool_bytes");
	p->spool_segments = num(v, "spool_segments");
}

/* Kinds that this release does not know are left out. */
static void take_line(const struct jv *v)
{
	static const struct {
		const char *kind;
		void (*take)(struct top_sample *s, const struct jv *v);
	} kinds[] = {
		{"server", take_server},
		{"process", take_process},
		{"strategy", take_strategy},
		{"evidence", take_evidence},
		{"queues", take_queues},
		{"pipeline", take_pipeline},
	};

	for (size_t i = 0; i < NELEM(kinds); i++)
		if (str_is(text(v, "kind"), kinds[i].kind))
			kinds[i].take(self.into, v);
}

int top_sample_take(
	const struct conf *conf, struct top_sample *s, struct err *err_r)
{
	struct buf out;
	int rc;

	memset(s, 0, sizeof(*s));
	buf_init(&out, 0);
	rc = ctl_admin_ask(conf, "top", &out, err_r);
	self.into = s;
	if (rc == 0)
		rc = ctl_admin_lines(buf_str(&out), take_line, err_r);
	buf_fini(&out);
	if (rc == 0 && s->pipeline.at_ms == 0)
		rc = err_set(err_r, ERR_INVALID,
			"the server is of another release: it does not know "
			"the command top");
	return rc;
}

/* ---- rates -------------------------------------------------------------- */

/* A counter that fell counts from zero: its holder is another one. */
static int64_t grown(int64_t now, int64_t before)
{
	return now >= before ? now - before : now;
}

static double per_s(int64_t now, int64_t before, double window_s)
{
	return window_s > 0 ? (double)grown(now, before) / window_s : 0;
}

static void rate_process(const struct top_sample *s, struct top_process *p,
	const struct top_sample *before)
{
	static const struct top_process none;
	const struct top_process *b = &none;
	int64_t ms;

	for (unsigned i = 0; before && i < before->process_cnt; i++)
		if (before->process[i].slot == p->slot)
			b = &before->process[i];
	p->awards_s = per_s(p->awards, b->awards, s->window_s);
	/* CPU time is taken at a beat. */
	ms = b == &none ? s->pipeline.uptime_ms
			: (s->pipeline.at_ms - p->beat_age_ms) -
				  (before->pipeline.at_ms - b->beat_age_ms);
	p->cpu_percent =
		ms > 0 ? (double)grown(p->cpu_us, b->cpu_us) / 10 / (double)ms
		       : b->cpu_percent;
}

/* Inside a bucket runs are taken to be evenly spread, as Prometheus does. */
static double quantile_ms(const int64_t *bucket, double q)
{
	int64_t all = 0, below = 0;
	double rank;

	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		all += bucket[i];
	if (all == 0)
		return -1;
	rank = q * (double)all;
	for (unsigned i = 0; i < NELEM(edge_ms); i++) {
		double from = i ? edge_ms[i - 1] : 0;

		if ((double)(below + bucket[i]) >= rank && bucket[i] > 0)
			return from + (edge_ms[i] - from) *
					      (rank - (double)below) /
					      (double)bucket[i];
		below += bucket[i];
	}
	return edge_ms[NELEM(edge_ms) - 1];
}

static void rate_strategy(const struct top_sample *s, struct top_strategy *t,
	const struct top_sample *before)
{
	static const struct top_strategy none;
	const struct top_strategy *b = &none;
	int64_t bucket[SHM_DSL_BUCKETS], runs = 0, errors = 0, us;

	for (unsigned i = 0; before && i < before->strategy_cnt; i++)
		if (strcmp(before->strategy[i].id, t->id) == 0 &&
			strcmp(before->strategy[i].name, t->name) == 0)
			b = &before->strategy[i];
	for (unsigned i = 0; i < SHM_DSL_STATUSES; i++) {
		runs += grown(t->runs[i], b->runs[i]);
		errors += i ? grown(t->runs[i], b->runs[i]) : 0;
	}
	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		bucket[i] = grown(t->bucket[i], b->bucket[i]);
	us = grown(t->duration_us, b->duration_us);
	t->runs_s = per_s(runs, 0, s->window_s);
	t->errors_s = per_s(errors, 0, s->window_s);
	t->mean_ms = runs ? (double)us / 1e3 / (double)runs : -1;
	t->p50_ms = quantile_ms(bucket, 0.5);
	t->p99_ms = quantile_ms(bucket, 0.99);
}

static void rate_pipeline(struct top_sample *s, const struct top_sample *before)
{
	static const struct top_pipeline none;
	const struct top_pipeline *b = before ? &before->pipeline : &none;
	struct top_pipeline *p = &s->pipeline;
	double w = s->window_s;

	p->requests_s = per_s(p->requests, b->requests, w);
	p->failed_s = per_s(p->requests_5xx, b->requests_5xx, w);
	p->awards_s = per_s(p->awards, b->awards, w);
	p->awards_failed_s = per_s(p->awards_failed, b->awards_failed, w);
	p->batches_s = per_s(p->batches, b->batches, w);
	p->bad_batches_s = per_s(p->batches_refused + p->batches_lost,
		b->batches_refused + b->batches_lost, w);
	for (unsigned i = 0; i < s->evidence_cnt; i++) {
		static const struct top_evidence zero;
		const struct top_evidence *was =
			before ? &before->evidence[i] : &zero;
		struct top_evidence *e = &s->evidence[i];

		e->produced_s = per_s(e->produced, was->produced, w);
		e->stored_s = per_s(e->stored, was->stored, w);
		e->dropped_s = per_s(e->dropped, was->dropped, w);
	}
}

void top_sample_rate(struct top_sample *s, const struct top_sample *before)
{
	if (before && (strcmp(before->started, s->started) != 0 ||
			      before->pipeline.at_ms >= s->pipeline.at_ms))
		before = NULL;
	s->since_start = before == NULL;
	s->window_s =
		before ? (double)(s->pipeline.at_ms - before->pipeline.at_ms) /
				 1e3
		       : (double)s->pipeline.uptime_ms / 1e3;
	for (unsigned i = 0; i < s->process_cnt; i++)
		rate_process(s, &s->process[i], before);
	for (unsigned i = 0; i < s->strategy_cnt; i++)
		rate_strategy(s, &s->strategy[i], before);
	rate_pipeline(s, before);
}

/* ---- order -------------------------------------------------------------- */

const char *top_sort_name(enum top_sort s)
{
	static const char *const names[TOP_SORT_CNT] = {
		"runs", "errors", "p99", "name"};

	return names[s];
}

static int by_name(const void *a, const void *b)
{
	const struct top_strategy *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	if (c == 0)
		c = (x->version > y->version) - (x->version < y->version);
	return c ? c : strcmp(x->id, y->id);
}

static int falling(double a, double b, const void *x, const void *y)
{
	return a > b ? -1 : a < b ? 1 : by_name(x, y);
}

static int by_runs(const void *a, const void *b)
{
	const struct top_strategy *x = a, *y = b;

	return falling(x->runs_s, y->runs_s, a, b);
}

static int by_errors(const void *a, const void *b)
{
	const struct top_strategy *x = a, *y = b;

	return falling(x->errors_s, y->errors_s, a, b);
}

static int by_p99(const void *a, const void *b)
{
	const struct top_strategy *x = a, *y = b;

	return falling(x->p99_ms, y->p99_ms, a, b);
}

void top_sample_sort(struct top_sample *s, enum top_sort by)
{
	static int (*const orders[TOP_SORT_CNT])(const void *, const void *) = {
		by_runs, by_errors, by_p99, by_name};

	qsort(s->strategy, s->strategy_cnt, sizeof(s->strategy[0]), orders[by]);
}
