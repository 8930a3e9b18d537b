/*
 * api_strategy_metrics.c - how a strategy version has run, and two of them
 * side by side (observability.md 6.4, 6.5).  Counts come from the counters of
 * all runs where those cover the window and are estimated from the stored rows
 * elsewhere; the member `figures` says which, and how far off each may be.
 * Runs in workers.
 */
#include <math.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_figures.h"
#include "api/api_valid.h"
#include "api/api_when.h"
#include "conf/conf.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "store/store_authoring.h"
#include "store/store_metrics.h"
#include "svc/app.h"

#define TOP_MAX       10
#define MEAN_RUNS_MIN 30 /* fewer say nothing about a mean */

enum { OK, ERROR, TIMEOUT, LIMIT, OTHER, TOTAL, COUNTS };
static const char *const count_names[COUNTS] = {
	"ok", "error", "timeout", "limit", "other", "total"};

struct count {
	double n;
	struct api_interval i;
};

struct top {
	struct str name;
	double n;
};

struct side {
	struct uuid id;
	struct str name, status;
	int64_t version, created_us;
	struct store_coverage cover;
	const char *source; /* of what is counted */
	struct count count[COUNTS], success, failure;
	struct top errors[TOP_MAX], cases[TOP_MAX];
	unsigned errors_cnt, cases_cnt;
	double rows; /* stored outside of the coverage */
	double duration_sum, duration_max, nodes_sum, nodes_max;
	double points_sum, points_var;
	struct api_sample durations, points;
};

struct metrics_call {
	struct http_req *req;
	struct app *app;
	struct store_metrics_op op;
	struct api_when since, until;
	struct store_window window;
	bool rows_only;
	struct side side[2];
	unsigned sides_cnt, at;
};

/* ---- what the rows say ------------------------------------------------------ */

static unsigned count_of(struct str status)
{
	for (unsigned i = 0; i < OTHER; i++)
		if (str_is(status, count_names[i]))
			return i;
	return OTHER;
}

static void add_count(struct count *c, const struct count *more)
{
	c->n += more->n;
	c->i.low += more->i.low;
	c->i.high += more->i.high;
}

static void take_status(struct side *s, const struct store_metrics_row *m)
{
	struct count c = {.n = m->exact + m->weight,
		.i = api_count_interval(m->rows, m->weight, m->weight2)};

	c.i.low += m->exact;
	c.i.high += m->exact;
	add_count(&s->count[count_of(m->name)], &c);
	s->rows += m->rows;
	s->duration_sum += m->duration_sum;
	s->duration_max = fmax(s->duration_max, m->duration_max);
	s->nodes_sum += m->nodes_sum;
	s->nodes_max = fmax(s->nodes_max, m->nodes_max);
	s->points_sum += m->points_sum;
	s->points_var += m->points_var;
}

static void take_top(struct metrics_call *c, struct top *top, unsigned *cnt,
	const struct store_metrics_row *m)
{
	if (*cnt == TOP_MAX)
		return;
	top[*cnt].name = api_keep(c->req, m->name);
	top[(*cnt)++].n = m->exact + m->weight;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void take_sample(
	struct metrics_call *c, const struct db_res *res, struct api_sample *s)
{
	s->n = (size_t)db_res_rows(res);
	s->v = api_alloc(c->req, (s->n + 1) * sizeof(*s->v));
	for (size_t i = 0; i < s->n; i++)
		s->v[i] = store_metrics_value(res, (int)i);
	qsort(s->v, s->n, sizeof(*s->v), by_value);
}

/* k of k + rest, both known within bounds only. */
static struct count share(const struct count *k, const struct count *rest)
{
	struct count s = {0};

	if (k->n + rest->n > 0)
		s.n = k->n / (k->n + rest->n);
	if (k->i.low + rest->i.high > 0)
		s.i.low = k->i.low / (k->i.low + rest->i.high);
	if (isinf(k->i.high))
		s.i.high = 1;
	else if (k->i.high + rest->i.low > 0)
		s.i.high = k->i.high / (k->i.high + rest->i.low);
	return s;
}

/* True when part of the window lies where nothing was counted. */
static bool has_edge(const struct metrics_call *c, const struct side *s)
{
	int64_t from = c->window.has_from && c->window.from_us > s->created_us
			       ? c->window.from_us
			       : s->created_us;

	if (!s->cover.is_some || s->cover.from_us > from || s->cover.has_gap)
		return true;
	return c->window.has_until && s->cover.until_us <= c->window.until_us;
}

static void judge_source(struct metrics_call *c, struct side *s)
{
	struct count *ok = &s->count[OK];
	double rate = c->app->conf->trace_sample_rate;
	bool counted = s->count[TOTAL].n > s->rows;

	if (c->rows_only)
		s->source = "rows";
	else if (!has_edge(c, s) && s->rows == 0)
		s->source = "exact";
	else if (s->cover.is_some && (counted || s->rows > 0))
		s->source = "mixed";
	else
		s->source = "estimated";
	/* of successful runs none may have been kept: the rule of three */
	if (!c->rows_only && has_edge(c, s) && ok->n == 0 && rate < 1)
		ok->i.high = rate > 0 ? 3 / rate : INFINITY;
}

static void derive(struct metrics_call *c, struct side *s)
{
	struct count bad = {0}, rest = {0};

	for (unsigned i = 0; i < TOTAL; i++)
		s->count[TOTAL].n += s->count[i].n;
	judge_source(c, s);
	for (unsigned i = 0; i < TOTAL; i++) {
		s->count[TOTAL].i.low += s->count[i].i.low;
		s->count[TOTAL].i.high += s->count[i].i.high;
	}
	for (unsigned i = ERROR; i < OTHER; i++)
		add_count(&bad, &s->count[i]);
	add_count(&rest, &bad);
	add_count(&rest, &s->count[OTHER]);
	s->success = share(&s->count[OK], &rest);
	memset(&rest, 0, sizeof(rest));
	add_count(&rest, &s->count[OK]);
	add_count(&rest, &s->count[OTHER]);
	s->failure = share(&bad, &rest);
}

static double per_run(const struct side *s, double sum)
{
	return s->count[TOTAL].n > 0 ? sum / s->count[TOTAL].n : 0;
}

/* ---- JSON ------------------------------------------------------------------- */

static void kv_float(struct json_out *o, const char *key, double v)
{
	json_out_key(o, key);
	json_out_float(o, v);
}

static void kv_round(struct json_out *o, const char *key, double v)
{
	json_out_key(o, key);
	if (isfinite(v))
		json_out_int(o, (int64_t)(v + 0.5));
	else
		json_out_null(o);
}

static void show_top(struct json_out *o, const char *key, const char *name_key,
	const struct top *top, unsigned cnt)
{
	json_out_key(o, key);
	json_out_arr(o);
	for (unsigned i = 0; i < cnt; i++) {
		json_out_obj(o);
		json_out_kv_str(o, name_key, top[i].name);
		kv_round(o, "count", top[i].n);
		json_out_obj_end(o);
	}
	json_out_arr_end(o);
}

static void show_source(struct json_out *o, const char *key, const char *source)
{
	json_out_key(o, key);
	json_out_obj(o);
	json_out_kv_cstr(o, "source", source);
	json_out_obj_end(o);
}

static void show_bounds(struct json_out *o, const struct api_interval *i)
{
	kv_float(o, "low", i->low);
	kv_float(o, "high", i->high);
}

static void show_interval(struct json_out *o, const char *key,
	const char *source, const struct api_interval *i)
{
	json_out_key(o, key);
	json_out_obj(o);
	json_out_kv_cstr(o, "source", source);
	show_bounds(o, i);
	json_out_obj_end(o);
}

static void show_percentile(struct json_out *o, const char *key,
	const struct api_sample *s, double p)
{
	struct api_interval i;

	json_out_key(o, key);
	if (!api_percentile_interval(s, p, &i)) {
		json_out_null(o);
		return;
	}
	json_out_obj(o);
	show_bounds(o, &i);
	json_out_obj_end(o);
}

static void show_count_bounds(
	struct json_out *o, const char *key, const struct side *s, bool high)
{
	json_out_key(o, key);
	json_out_obj(o);
	for (unsigned i = 0; i < COUNTS; i++)
		kv_round(o, count_names[i],
			high ? s->count[i].i.high : s->count[i].i.low);
	json_out_obj_end(o);
}

static void show_cover(struct json_out *o, const struct store_coverage *cover)
{
	json_out_key(o, "countersFrom");
	api_show_time(o, cover->from_us, CLOCK_TS_Z);
	json_out_key(o, "countersUntil");
	api_show_time(o,
		cover->until_us == INT64_MAX ? cover->flushed_us
					     : cover->until_us,
		CLOCK_TS_Z);
}

static struct api_interval points_interval(const struct side *s)
{
	double half = 1.959963984540054 * sqrt(s->points_var);

	return (struct api_interval){
		s->points_sum - half, s->points_sum + half};
}

static void show_figures(struct json_out *o, const struct side *s)
{
	struct api_interval points = points_interval(s);

	json_out_key(o, "figures");
	json_out_obj(o);
	show_cover(o, &s->cover);
	json_out_key(o, "statusBreakdown");
	json_out_obj(o);
	json_out_kv_cstr(o, "source", s->source);
	show_count_bounds(o, "low", s, false);
	show_count_bounds(o, "high", s, true);
	json_out_obj_end(o);
	show_interval(o, "successRate", s->source, &s->success.i);
	show_interval(o, "errorRate", s->source, &s->failure.i);
	show_source(o, "avgMs", s->source);
	show_source(o, "maxMs", s->source);
	json_out_key(o, "percentiles");
	json_out_obj(o);
	json_out_kv_cstr(o, "source", "sample");
	json_out_kv_int(o, "rows", (int64_t)s->durations.n);
	show_percentile(o, "p50Ms", &s->durations, 0.50);
	show_percentile(o, "p95Ms", &s->durations, 0.95);
	show_percentile(o, "p99Ms", &s->durations, 0.99);
	json_out_obj_end(o);
	show_source(o, "durationHistogram", "sample");
	show_source(o, "topErrors", s->source);
	show_source(o, "topCases", s->source);
	show_source(o, "pointsHistogram", "sample");
	show_interval(o, "pointsSum", s->source, &points);
	show_source(o, "nodesAvg", s->source);
	show_source(o, "nodesMax", s->source);
	json_out_obj_end(o);
}

static void show_duration(struct json_out *o, const struct side *s)
{
	json_out_key(o, "duration");
	json_out_obj(o);
	kv_float(o, "avgMs", per_run(s, s->duration_sum));
	kv_float(o, "p50Ms", api_percentile(&s->durations, 0.50));
	kv_float(o, "p95Ms", api_percentile(&s->durations, 0.95));
	kv_float(o, "p99Ms", api_percentile(&s->durations, 0.99));
	kv_float(o, "maxMs", s->duration_max);
	json_out_kv_int(o, "sampleSize", (int64_t)s->durations.n);
	json_out_obj_end(o);
	json_out_key(o, "durationHistogram");
	api_show_durations(o, &s->durations);
}

static void show_side(
	struct json_out *o, const struct metrics_call *c, const struct side *s)
{
	json_out_obj(o);
	json_out_key(o, "strategyId");
	json_out_uuid(o, &s->id);
	json_out_kv_str(o, "name", s->name);
	json_out_kv_int(o, "version", s->version);
	json_out_kv_str(o, "status", s->status);
	json_out_key(o, "windowFrom");
	api_when_show(o, &c->since);
	json_out_key(o, "windowUntil");
	api_when_show(o, &c->until);
	json_out_key(o, "statusBreakdown");
	json_out_obj(o);
	for (unsigned i = 0; i < COUNTS; i++)
		kv_round(o, count_names[i], s->count[i].n);
	json_out_obj_end(o);
	kv_float(o, "successRate", s->success.n);
	kv_float(o, "errorRate", s->failure.n);
	show_duration(o, s);
	show_top(o, "topErrors", "code", s->errors, s->errors_cnt);
	show_top(o, "topCases", "caseName", s->cases, s->cases_cnt);
	json_out_key(o, "pointsHistogram");
	api_show_points(o, &s->points);
	kv_float(o, "pointsSum", s->points_sum);
	kv_float(o, "nodesAvg", per_run(s, s->nodes_sum));
	kv_round(o, "nodesMax", s->nodes_max);
	show_figures(o, s);
	json_out_obj_end(o);
}

/* ---- two of them ------------------------------------------------------------ */

struct claim {
	const char *name;
	double delta;
	bool is_known; /* an interval can be given */
	struct api_interval i;
};

/* What the counts may be off by comes on top of what runs vary by. */
static struct claim claim_share(const char *name, const struct side *a,
	const struct count *share_a, const struct side *b,
	const struct count *share_b)
{
	double n_a = a->count[TOTAL].n, n_b = b->count[TOTAL].n;
	struct claim c = {.name = name, .delta = share_b->n - share_a->n};

	c.is_known = n_a > 0 && n_b > 0;
	c.i = api_share_difference(
		share_a->n * n_a, n_a, share_b->n * n_b, n_b);
	c.i.low -= share_a->i.high - share_a->n + share_b->n - share_b->i.low;
	c.i.high += share_a->n - share_a->i.low + share_b->i.high - share_b->n;
	return c;
}

/* Runs that were looked at one by one, or all of them. */
static double runs_seen(const struct side *s)
{
	return s->rows > 0 ? fmin(s->rows, s->count[TOTAL].n)
			   : s->count[TOTAL].n;
}

static bool has_mean(const struct side *s)
{
	return s->durations.n >= MEAN_RUNS_MIN && runs_seen(s) >= MEAN_RUNS_MIN;
}

static struct claim claim_duration(const struct side *a, const struct side *b)
{
	double mean_a = per_run(a, a->duration_sum);
	double mean_b = per_run(b, b->duration_sum);
	struct claim c = {.name = "avgMs",
		.delta = mean_b - mean_a,
		.is_known = has_mean(a) && has_mean(b)};

	if (c.is_known)
		c.i = api_mean_difference(mean_a,
			api_variance(&a->durations) / runs_seen(a), mean_b,
			api_variance(&b->durations) / runs_seen(b));
	return c;
}

static struct claim claim_percentile(const struct side *a, const struct side *b)
{
	struct claim c = {.name = "p95Ms",
		.delta = api_percentile(&b->durations, 0.95) -
			 api_percentile(&a->durations, 0.95)};
	struct api_interval i_a, i_b;

	c.is_known = api_percentile_interval(&a->durations, 0.95, &i_a) &&
		     api_percentile_interval(&b->durations, 0.95, &i_b);
	if (c.is_known)
		c.i = (struct api_interval){
			i_b.low - i_a.high, i_b.high - i_a.low};
	return c;
}

/* A run that failed has given 0 points. */
static double points_variance(const struct side *s)
{
	double q = s->success.n, total = s->count[TOTAL].n;
	double mean = 0, square;

	for (size_t i = 0; i < s->points.n; i++)
		mean += s->points.v[i] / (double)s->points.n;
	square = q * (api_variance(&s->points) + mean * mean);
	return (square - q * q * mean * mean) / runs_seen(s) +
	       s->points_var / (total * total);
}

static struct claim claim_points(const struct side *a, const struct side *b)
{
	double mean_a = per_run(a, a->points_sum);
	double mean_b = per_run(b, b->points_sum);
	struct claim c = {.name = "pointsAvg",
		.delta = mean_b - mean_a,
		.is_known = has_mean(a) && has_mean(b)};

	if (c.is_known)
		c.i = api_mean_difference(
			mean_a, points_variance(a), mean_b, points_variance(b));
	return c;
}

static bool is_difference(const struct claim *c)
{
	return c->is_known && (c->i.low > 0 || c->i.high < 0);
}

static void show_claim(struct json_out *o, const struct claim *c)
{
	struct api_interval none = {NAN, NAN};

	json_out_key(o, c->name);
	json_out_obj(o);
	show_bounds(o, c->is_known ? &c->i : &none);
	json_out_kv_cstr(o, "claim",
		!is_difference(c) ? "no difference can be claimed"
		: c->i.low > 0    ? "b is higher"
				  : "b is lower");
	json_out_obj_end(o);
}

static void show_comparison(struct json_out *o, const struct metrics_call *c)
{
	const struct side *a = &c->side[0], *b = &c->side[1];
	struct claim claims[] = {
		claim_share("successRate", a, &a->success, b, &b->success),
		claim_share("errorRate", a, &a->failure, b, &b->failure),
		claim_percentile(a, b), claim_duration(a, b),
		claim_points(a, b)};
	bool any = false;

	json_out_obj(o);
	json_out_key(o, "a");
	show_side(o, c, a);
	json_out_key(o, "b");
	show_side(o, c, b);
	json_out_key(o, "delta");
	json_out_obj(o);
	for (size_t i = 0; i < NELEM(claims); i++) {
		kv_float(o, claims[i].name, claims[i].delta);
		any |= is_difference(&claims[i]);
	}
	json_out_obj_end(o);
	json_out_key(o, "claims");
	json_out_obj(o);
	for (size_t i = 0; i < NELEM(claims); i++)
		show_claim(o, &claims[i]);
	json_out_obj_end(o);
	json_out_kv_cstr(o, "verdict",
		any ? "a difference can be claimed"
		    : "no difference can be claimed");
	json_out_obj_end(o);
}

/* ---- requests --------------------------------------------------------------- */

static void reply(struct metrics_call *c)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	if (c->sides_cnt == 1)
		show_side(&o, c, &c->side[0]);
	else
		show_comparison(&o, c);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void read_metrics(struct metrics_call *c);

static void on_metrics(struct store_op *op, const struct db_reply *rep)
{
	struct metrics_call *c = op->arg;
	struct side *s = &c->side[c->at];
	struct store_metrics_row m;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	store_coverage_row(rep->res[0], &s->cover);
	for (int i = 0; i < db_res_rows(rep->res[1]); i++) {
		store_metrics_row(rep->res[1], i, &m);
		if (m.kind == STORE_METRICS_STATUS)
			take_status(s, &m);
		else if (m.kind == STORE_METRICS_ERROR)
			take_top(c, s->errors, &s->errors_cnt, &m);
		else
			take_top(c, s->cases, &s->cases_cnt, &m);
	}
	take_sample(c, rep->res[2], &s->durations);
	take_sample(c, rep->res[3], &s->points);
	derive(c, s);
	if (++c->at < c->sides_cnt)
		read_metrics(c);
	else
		reply(c);
}

static void read_metrics(struct metrics_call *c)
{
	char *text = api_alloc(c->req, UUID_TEXT_LEN + 1);

	uuid_print(&c->side[c->at].id, text);
	store_op_init(&c->op.op, on_metrics, c);
	store_strategy_metrics(
		&c->op, c->app->db, str_from(text), &c->window, c->rows_only);
}

static void read_definition(struct metrics_call *c);

static void not_found(struct metrics_call *c)
{
	struct str id = http_req_capture(c->req, "id");

	if (id.p == NULL)
		id = http_req_query(c->req, c->at == 0 ? "a" : "b");
	http_reply_error(
		c->req, 404, "Custom strategy not found: %.*s", STR_ARG(id));
}

static void on_definition(struct store_op *op, const struct db_reply *rep)
{
	struct metrics_call *c = op->arg;
	struct side *s = &c->side[c->at];
	struct store_definition d;

	if (rep->outcome != DB_OK) {
		api_reply_db(c->req, rep);
		return;
	}
	if (db_res_rows(rep->res[0]) == 0) {
		not_found(c);
		return;
	}
	store_definition_row(rep->res[0], 0, &d);
	s->name = api_keep(c->req, d.name);
	s->status = api_keep(c->req, d.status);
	s->version = d.version;
	s->created_us = d.created_us;
	if (++c->at < c->sides_cnt) {
		read_definition(c);
		return;
	}
	c->at = 0;
	read_metrics(c);
}

static void read_definition(struct metrics_call *c)
{
	const struct auth_principal *who = api_principal(c->req);
	struct str id = c->sides_cnt == 1
				? http_req_capture(c->req, "id")
				: http_req_query(c->req, c->at ? "b" : "a");

	if (uuid_parse(id, &c->side[c->at].id) < 0) {
		not_found(c);
		return;
	}
	store_op_init(&c->op.op, on_definition, c);
	store_definition_get(&c->op.op, c->app->db, str_from(who->realm),
		who->is_admin, &c->side[c->at].id);
}

static void need_query(struct api_valid *v, const char *name)
{
	struct api_loc loc = {.cnt = 0};

	if (http_req_query(v->req, name).p != NULL)
		return;
	api_loc_add(&loc, "query");
	api_loc_add(&loc, name);
	api_valid_item(v, "missing", &loc, "Field required", NULL);
}

static void read_bound(struct api_valid *v, const char *name,
	struct api_when *w, bool *has_r, int64_t *us_r)
{
	struct str s = http_req_query(v->req, name);
	struct api_loc loc = {.cnt = 0};
	struct jv input = jv_str(s);

	if (s.p == NULL)
		return;
	if (api_when_parse_lax(s, w) == 0) {
		*has_r = true;
		*us_r = w->us;
		return;
	}
	api_loc_add(&loc, "query");
	api_loc_add(&loc, name);
	api_valid_item(v, "datetime_from_date_parsing", &loc,
		"Input should be a valid datetime or date", &input);
}

static void start(struct http_req *req, unsigned sides_cnt)
{
	struct metrics_call *c = api_alloc(req, sizeof(*c));
	struct app *app = req->app;
	struct api_valid v;

	c->req = req;
	c->app = app;
	c->sides_cnt = sides_cnt;
	c->rows_only = str_is(str_from(app->conf->strategy_metrics), "rows");
	api_valid_init(&v, req);
	if (sides_cnt == 2) {
		need_query(&v, "a");
		need_query(&v, "b");
	}
	read_bound(&v, "since", &c->since, &c->window.has_from,
		&c->window.from_us);
	read_bound(&v, "until", &c->until, &c->window.has_until,
		&c->window.until_us);
	if (api_valid_done(&v))
		read_definition(c);
}

void api_customs_metrics(struct http_req *req)
{
	start(req, 1);
}

void api_customs_compare(struct http_req *req)
{
	start(req, 2);
}
