/*
 * api_coverage.c - a custom strategy's program beside what its runs did to
 * each arm of it, exactly, since the server was started.  Runs in workers.
 *
 *	{"strategyId", "version", "name", "type", "status", "since", "runs",
 *	 "runsByStatus": {"ok", "error", "timeout", "limit"},
 *	 "outcomes": [{"status", "code", "caseName", "runs", "averageMs",
 *	               "points"}],
 *	 "arms": [{"section", "rule", "kind", "branch", "id", "evaluated",
 *	           "taken", "decided", "failed"}],
 *	 "neverReached": [id], "neverTrue": [id], "astJson": {...}}
 *
 * Simulations are not among the runs.
 */
#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "dsl/dsl_run.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "shm/metric_read.h"
#include "svc/app.h"
#include "svc/svc_cache.h"

/* As for programs that are stored: the most that may be configured. */
#define NODES_MAX 100000
#define DEPTH_MAX 256

struct coverage {
	struct http_req *req;
	struct store_op op;
	struct uuid id;
	struct jv ast;
	struct dsl_program *prog; /* NULL: none, or it cannot be run */
	const struct dsl_arm *arms;
	struct metric_arm *counts; /* of each of them */
	unsigned arms_cnt;
	struct metric_version version;
	bool has_version; /* it has run */
};

/* ---- gathering -------------------------------------------------------- */

static void find_version(struct coverage *c, const struct store_definition *d)
{
	char id[UUID_TEXT_LEN + 1], hex[65] = "";
	struct str sha = {hex, SHM_SHA256_MAX};

	uuid_print(&d->id, id);
	if (c->ast.type != JV_NULL)
		dsl_hash(&c->ast, hex);
	for (unsigned i = 0; i < SHM_PROGRAMS_MAX && !c->has_version; i++)
		c->has_version = metric_read_version(i, &c->version) &&
				 !c->version.is_other &&
				 str_is(c->version.id, id) &&
				 c->version.version == d->version &&
				 str_eq(c->version.sha256, sha);
}

static void read_program(struct coverage *c, struct str text)
{
	struct dsl_limits lim = dsl_limits_default;
	struct dsl_error err;
	struct json_err jerr;

	lim.max_nodes = NODES_MAX;
	lim.max_depth = DEPTH_MAX;
	c->ast = jv_null();
	if (text.p == NULL ||
		svc_ast_read(&c->req->arena, text, &c->ast, &jerr) < 0 ||
		dsl_load(&c->req->arena, &c->ast, &lim, &c->prog, &err) < 0 ||
		c->prog == NULL)
		return;
	c->arms = dsl_program_arms(c->prog, &c->arms_cnt);
}

static void read_counts(struct coverage *c)
{
	c->counts = api_alloc(c->req, (c->arms_cnt + 1) * sizeof(*c->counts));
	if (!c->has_version || c->version.arms_cnt != c->arms_cnt)
		return;
	for (unsigned i = 0; i < c->arms_cnt; i++)
		metric_read_arm(&c->version, i, &c->counts[i]);
}

/* ---- showing ---------------------------------------------------------- */

static void show_outcome(struct json_out *o, const struct metric_outcome *m)
{
	json_out_obj(o);
	json_out_kv_cstr(
		o, "status", dsl_status_name((enum dsl_status)m->status));
	json_out_kv_str(o, "code",
		(struct str){m->has_code ? m->code.text : NULL, m->code.len});
	json_out_kv_str(o, "caseName",
		(struct str){m->has_case ? m->case_name.text : NULL,
			m->case_name.len});
	json_out_kv_int(o, "runs", (int64_t)m->runs);
	json_out_key(o, "averageMs");
	json_out_float(o,
		m->runs ? (double)m->duration_ns / 1e6 / (double)m->runs : 0);
	json_out_key(o, "points");
	json_out_float(o, m->points);
	json_out_obj_end(o);
}

static void show_runs(struct json_out *o, const struct coverage *c)
{
	uint64_t by_status[SHM_DSL_STATUSES] = {0}, runs = 0;
	struct metric_outcome m;

	json_out_key(o, "outcomes");
	json_out_arr(o);
	for (unsigned i = 0; c->has_version && i < SHM_OUTCOMES_MAX; i++) {
		if (!metric_read_outcome(i, &m) || m.version != c->version.at)
			continue;
		by_status[m.status] += m.runs;
		runs += m.runs;
		show_outcome(o, &m);
	}
	json_out_arr_end(o);
	json_out_kv_int(o, "runs", (int64_t)runs);
	json_out_key(o, "runsByStatus");
	json_out_obj(o);
	for (unsigned i = 0; i < SHM_DSL_STATUSES; i++)
		json_out_kv_int(o, dsl_status_name((enum dsl_status)i),
			(int64_t)by_status[i]);
	json_out_obj_end(o);
}

static void show_arm(struct json_out *o, const struct dsl_arm *arm,
	const struct metric_arm *m)
{
	json_out_obj(o);
	json_out_kv_cstr(o, "section",
		dsl_arm_part_name((enum dsl_arm_part)arm->section));
	json_out_kv_int(o, "rule", arm->rule);
	json_out_kv_cstr(
		o, "kind", dsl_arm_kind_name((enum dsl_arm_kind)arm->kind));
	json_out_kv_int(o, "branch", arm->branch);
	json_out_kv_str(o, "id", arm->id);
	json_out_kv_int(o, "evaluated", (int64_t)m->evaluated);
	json_out_kv_int(o, "taken", (int64_t)m->taken);
	json_out_kv_int(o, "decided", (int64_t)m->decided);
	json_out_kv_int(o, "failed", (int64_t)m->failed);
	json_out_obj_end(o);
}

static void show_arms(struct json_out *o, const struct coverage *c)
{
	json_out_key(o, "arms");
	json_out_arr(o);
	for (unsigned i = 0; i < c->arms_cnt; i++)
		show_arm(o, &c->arms[i], &c->counts[i]);
	json_out_arr_end(o);
	json_out_key(o, "neverReached");
	json_out_arr(o);
	for (unsigned i = 0; i < c->arms_cnt; i++)
		if (c->counts[i].evaluated == 0)
			json_out_str(o, c->arms[i].id);
	json_out_arr_end(o);
	json_out_key(o, "neverTrue");
	json_out_arr(o);
	for (unsigned i = 0; i < c->arms_cnt; i++)
		if (c->counts[i].evaluated > 0 && c->counts[i].taken == 0)
			json_out_str(o, c->arms[i].id);
	json_out_arr_end(o);
}

static void reply(struct coverage *c, const struct store_definition *d)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "strategyId");
	json_out_uuid(&o, &d->id);
	json_out_kv_int(&o, "version", d->version);
	json_out_kv_str(&o, "name", d->name);
	json_out_kv_str(&o, "type", d->type);
	json_out_kv_str(&o, "status", d->status);
	json_out_key(&o, "since");
	api_show_time(&o, metric_boot_us(), CLOCK_TS_Z);
	show_runs(&o, c);
	show_arms(&o, c);
	json_out_key(&o, "astJson");
	json_out_val(&o, &c->ast);
	json_out_obj_end(&o);
	dsl_program_unref(&c->prog);
	http_reply_json(c->req, 200, &b);
	buf_fini(&b);
}

static void on_row(struct store_op *op, const struct db_reply *rep)
{
	struct coverage *c = op->arg;
	struct store_definition d;

	if (api_no_strategy(c->req, rep))
		return;
	store_definition_row(rep->res[0], 0, &d);
	read_program(c, d.ast_json);
	find_version(c, &d);
	read_counts(c);
	reply(c, &d);
}

void api_coverage_get(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct coverage *c = api_alloc(req, sizeof(*c));
	struct app *app = req->app;

	c->req = req;
	if (uuid_parse(http_req_capture(req, "id"), &c->id) < 0) {
		http_reply_error(req, 404, "strategy does not exist");
		return;
	}
	store_op_init(&c->op, on_row, c);
	store_definition_get(
		&c->op, app->db, str_from(who->realm), who->is_admin, &c->id);
}
