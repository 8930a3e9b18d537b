/* svc_evidence.c - see svc_evidence.h.  Runs in workers. */
#include "svc/svc_evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "ipc/trace_send.h"
#include "json/json_out.h"
#include "shm/shm.h"
#include "svc/app.h"
#include "svc/svc_sample.h"

enum {
	MASK_MAX = 32,    /* keys whose values are hidden */
	TRACE_ALL = 8192, /* entries kept when no limit is set */
	TEXT_KEEP_BYTES = 256 << 10,
	LABEL_MAX = 112, /* metric_program_claim */
	REALM_END = 64   /* the rest is for the name */
};

struct svc_evidence {
	struct app *app;
	struct dsl_trace trace;
	struct buf text; /* event data as JSON */
	struct buf arms; /* uint8_t */
	struct str mask[MASK_MAX];
	unsigned mask_cnt;
};

static void read_mask(struct svc_evidence *e)
{
	struct str rest = str_from(e->app->conf->trace_mask);

	while (rest.len && e->mask_cnt < MASK_MAX) {
		const char *comma = memchr(rest.p, ',', rest.len);
		size_t len = comma ? (size_t)(comma - rest.p) : rest.len;
		struct str key = str_trim((struct str){rest.p, len});

		if (key.len)
			e->mask[e->mask_cnt++] = key;
		len += comma != NULL;
		rest = (struct str){rest.p + len, rest.len - len};
	}
	if (rest.len)
		log_warnx("evidence.mask: only the first %d keys are used",
			MASK_MAX);
}

/* The first half of the limit is kept from the head of a trace. */
static void make_trace(struct svc_evidence *e)
{
	const struct conf *conf = e->app->conf;
	uint32_t head = TRACE_ALL, tail = 0;

	if (!conf->trace_enabled)
		return;
	if (conf->trace_limit > 0) {
		tail = (uint32_t)conf->trace_limit / 2;
		head = (uint32_t)conf->trace_limit - tail;
	}
	e->trace.head_cap = head;
	e->trace.tail_cap = tail;
	e->trace.ents = calloc(head + tail, sizeof(*e->trace.ents));
	if (e->trace.ents == NULL)
		fatal("out of memory for the trace buffer");
}

struct svc_evidence *svc_evidence_new(struct app *app)
{
	struct svc_evidence *e = calloc(1, sizeof(*e));

	if (e == NULL)
		fatal("out of memory for the evidence");
	e->app = app;
	buf_init(&e->text, 0);
	buf_init(&e->arms, 0);
	read_mask(e);
	make_trace(e);
	return e;
}

void svc_evidence_free(struct svc_evidence **e)
{
	buf_fini(&(*e)->text);
	buf_fini(&(*e)->arms);
	free((*e)->trace.ents);
	free(*e);
	*e = NULL;
}

struct dsl_trace *svc_evidence_trace(struct svc_evidence *e)
{
	dsl_trace_reset(&e->trace);
	return &e->trace;
}

uint8_t *svc_evidence_arms(
	struct svc_evidence *e, const struct dsl_program *prog)
{
	unsigned cnt;

	buf_reset(&e->arms);
	if (prog == NULL)
		return NULL;
	dsl_program_arms(prog, &cnt);
	return memset(buf_reserve(&e->arms, cnt + 1), 0, cnt + 1);
}

/* ---- masked event data ----------------------------------------------- */

bool svc_evidence_is_masked(const struct svc_evidence *e, struct str key)
{
	for (unsigned i = 0; i < e->mask_cnt; i++)
		if (str_eq(e->mask[i], key))
			return true;
	return false;
}

/* Depth is bounded by the limits of json_in. */
static void put_masked(
	const struct svc_evidence *e, struct json_out *o, const struct jv *v)
{
	if (v->type == JV_ARR) {
		json_out_arr(o);
		for (uint32_t i = 0; i < v->n; i++)
			put_masked(e, o, &v->u.arr[i]);
		json_out_arr_end(o);
	} else if (v->type == JV_OBJ) {
		json_out_obj(o);
		for (uint32_t i = 0; i < v->n; i++) {
			const struct jv_member *m = &v->u.obj[i];

			json_out_key_str(o, m->key);
			if (svc_evidence_is_masked(e, m->key))
				json_out_cstr(o, "***");
			else
				put_masked(e, o, &m->val);
		}
		json_out_obj_end(o);
	} else {
		json_out_val(o, v);
	}
}

struct str svc_evidence_text(struct svc_evidence *e, const struct jv *v)
{
	struct json_out o;

	if (e->text.cap > TEXT_KEEP_BYTES)
		buf_fini(&e->text);
	buf_reset(&e->text);
	json_out_init(&o, &e->text);
	if (e->mask_cnt)
		put_masked(e, &o, v);
	else
		json_out_val(&o, v);
	return buf_str(&e->text);
}

static const struct jv masked = {
	.type = JV_STR, .u.s = {"***", sizeof("***") - 1}};

static bool is_masked_field(
	const struct svc_evidence *e, const struct dsl_field_ref *ref)
{
	return ref != NULL && ref->field == DSL_F_DATA &&
	       svc_evidence_is_masked(e, ref->key);
}

/* What a pre phase set, when it may be made of what is masked; NULL: nothing.
 * Which of it is cannot be told from outside of the run. */
static const struct jv *tainted_data(
	const struct svc_evidence *e, const struct svc_run *run)
{
	const struct engine_phase *pre = &run->run->phases[0];
	const struct dsl_field_ref *refs;
	unsigned cnt;

	if (!e->mask_cnt || run->run->phases_cnt == 0 ||
		pre->kind != ENGINE_PHASE_PRE || pre->failed)
		return NULL;
	refs = dsl_program_fields(run->strategy->prog, &cnt);
	for (unsigned i = 0; i < cnt; i++)
		if (is_masked_field(e, &refs[i]))
			return &pre->working_data;
	return NULL;
}

/* The event's own values are taken over as they are. */
static bool is_set(
	const struct jv *working, const struct jv *data, struct str key)
{
	const struct jv *v = jv_get(working, key), *own = jv_get(data, key);

	return v != NULL && (own == NULL || memcmp(v, own, sizeof(*v)) != 0);
}

static bool is_secret(const struct svc_evidence *e, const struct svc_run *run,
	const struct dsl_field_ref *ref)
{
	return is_masked_field(e, ref) ||
	       (ref != NULL && ref->field == DSL_F_DATA &&
		       is_set(tainted_data(e, run), run->data, ref->key));
}

static bool has_secret(const struct svc_evidence *e, const struct jv *v)
{
	if (v->type == JV_ARR)
		for (uint32_t i = 0; i < v->n; i++)
			if (has_secret(e, &v->u.arr[i]))
				return true;
	if (v->type == JV_OBJ)
		for (uint32_t i = 0; i < v->n; i++)
			if (svc_evidence_is_masked(e, v->u.obj[i].key) ||
				has_secret(e, &v->u.obj[i].val))
				return true;
	return false;
}

static const struct jv *field_value(const struct svc_evidence *e,
	const struct svc_run *run, const struct dsl_field_ref *ref,
	const struct jv *v)
{
	if (!e->mask_cnt)
		return v;
	return is_secret(e, run, ref) || has_secret(e, v) ? &masked : v;
}

static const struct jv *ent_value(const struct svc_evidence *e,
	const struct svc_run *run, const struct dsl_trace_ent *ent,
	struct dsl_taint *taint)
{
	const struct dsl_trace *t = &e->trace;

	if (!e->mask_cnt)
		return &ent->value;
	return dsl_taint_step(taint, t, ent,
		       is_secret(e, run, dsl_ent_field(t, ent))) ||
			       has_secret(e, &ent->value)
		       ? &masked
		       : &ent->value;
}

/* ---- the row ---------------------------------------------------------- */

/* Fields of a run being put together; storage for what no phase keeps. */
struct field_list {
	struct run_field *f;
	unsigned n;
	struct jv values[ENGINE_R_CNT];
};

static bool has_field(const struct field_list *l, struct str path)
{
	for (unsigned i = 0; i < l->n; i++)
		if (str_eq(l->f[i].path, path))
			return true;
	return false;
}

static void add_field(
	struct field_list *l, struct str path, const struct jv *value)
{
	l->f[l->n].path = path;
	l->f[l->n++].value = value;
}

static void add_phase(const struct svc_evidence *e, const struct svc_run *run,
	struct field_list *l, const struct engine_phase *phase,
	const struct dsl_field_ref *refs, unsigned cnt)
{
	for (unsigned i = 0; i < cnt; i++)
		if (phase->fields_set[i])
			add_field(l, refs[i].path,
				field_value(
					e, run, &refs[i], &phase->fields[i]));
}

/* What the program did not read itself. */
static void add_parent(struct field_list *l, const struct engine_phase *parent,
	const struct engine_analytics *an)
{
	struct str path;

	for (unsigned r = 0; r < ENGINE_R_CNT; r++)
		if ((parent->reads & UINT32_C(1) << r) &&
			engine_read_value((enum engine_read)r, an, &path,
				&l->values[r]) &&
			!has_field(l, path))
			add_field(l, path, &l->values[r]);
}

/*
 * Values of the last phase that resolved any: a post phase has all that its
 * pre phase had, but for data.* of the event, which the row holds itself.
 */
static void put_fields(const struct svc_evidence *e, struct arena *a,
	const struct svc_run *run, struct run_rec *rec)
{
	const struct engine_phase *phase = NULL, *parent = NULL;
	struct field_list *l = arena_calloc(a, 1, sizeof(*l));
	const struct dsl_field_ref *refs;
	unsigned i, cnt;

	refs = dsl_program_fields(run->strategy->prog, &cnt);
	if (l != NULL)
		l->f = arena_calloc(a, cnt + ENGINE_R_CNT, sizeof(*l->f));
	if (l == NULL || l->f == NULL)
		return;
	for (i = 0; i < run->run->phases_cnt; i++) {
		if (run->run->phases[i].fields != NULL)
			phase = &run->run->phases[i];
		if (run->run->phases[i].kind == ENGINE_PHASE_PARENT)
			parent = &run->run->phases[i];
	}
	if (phase != NULL)
		add_phase(e, run, l, phase, refs, cnt);
	if (parent != NULL)
		add_parent(l, parent, run->run->ev->an);
	rec->fields = l->f;
	rec->fields_cnt = l->n;
}

#define BRANCH_MAX 32

/* What the parent gave, as an entry of its own; storage for one. */
struct parent_ent {
	struct jv value;
	struct jv_member members[2];
};

static void put_parent(struct run_ent *ent, struct parent_ent *p,
	const struct engine_phase *phase, struct str parent)
{
	ent->node_id = parent;
	ent->type = "parent";
	ent->value = &p->value;
	p->value = jv_null();
	if (phase->failed) {
		ent->branch = "failed";
		return;
	}
	p->members[0].key = STR("points");
	p->members[0].val = phase->points;
	p->members[1].key = STR("caseName");
	p->members[1].val = phase->case_name;
	p->value = (struct jv){.type = JV_OBJ, .n = 2, .u.obj = p->members};
}

static const struct engine_phase *parent_phase(const struct engine_custom *c)
{
	for (unsigned i = 0; i < c->phases_cnt; i++)
		if (c->phases[i].kind == ENGINE_PHASE_PARENT)
			return &c->phases[i];
	return NULL;
}

/* Place of the kept entry i among all that were produced. */
static uint32_t ent_place(const struct dsl_trace *t, uint32_t i)
{
	return i < t->head_cap ? i : t->total - dsl_trace_kept(t) + i;
}

static void put_trace(const struct svc_evidence *e, struct arena *a,
	const struct svc_run *run, struct parent_ent *parent,
	struct run_rec *rec)
{
	const struct dsl_trace *t = &e->trace;
	const struct engine_phase *phase = parent_phase(run->run);
	struct dsl_taint taint = {0};
	uint32_t i, n = 0, cnt = dsl_trace_kept(t);
	struct run_ent *ents = arena_calloc(a, cnt + 1, sizeof(*ents));
	char(*branch)[BRANCH_MAX] = arena_calloc(a, cnt + 1, sizeof(*branch));

	if (ents == NULL || branch == NULL)
		return;
	for (i = 0; i < cnt; i++) {
		const struct dsl_trace_ent *ent = dsl_trace_at(t, i);

		if (phase != NULL && ent_place(t, i) >= phase->trace_from) {
			put_parent(&ents[n++], parent, phase,
				rec->parent_strategy);
			phase = NULL;
		}
		if (i > 0 && ent_place(t, i) != ent_place(t, i - 1) + 1)
			taint = dsl_taint_unknown;
		ents[n].node_id = dsl_ent_node_id(t, ent);
		ents[n].type = dsl_ent_type(t, ent);
		ents[n].branch = dsl_branch_text(ent, branch[i]);
		ents[n++].value = ent_value(e, run, ent, &taint);
	}
	if (phase != NULL)
		put_parent(&ents[n++], parent, phase, rec->parent_strategy);
	rec->ents = ents;
	rec->ents_cnt = n;
	rec->ents_cut = t->total - cnt;
}

static void put_result(const struct svc_run *run, struct run_rec *rec)
{
	const struct engine_custom *r = run->run;

	if (run->status != DSL_STATUS_OK) {
		rec->error_code = str_from(dsl_error_log_code(&r->err));
		rec->error_message = str_from(r->err.message);
		rec->error_node = r->err.node_id;
		return;
	}
	rec->has_points =
		r->points.type == JV_INT || r->points.type == JV_FLOAT;
	if (rec->has_points)
		rec->points = r->points.type == JV_INT ? (double)r->points.u.i
						       : r->points.u.d;
	if (r->case_name.type == JV_STR)
		rec->case_name = r->case_name.u.s;
}

/* Why the run is kept; NULL: it is not. */
static const char *keep_reason(
	const struct svc_evidence *e, const struct svc_run *run)
{
	double rate = e->app->conf->trace_sample_rate;

	if (run->status != DSL_STATUS_OK)
		return dsl_status_name(run->status);
	if (run->is_refused)
		return "refused";
	return rate > 0 && svc_sample_keeps(rate, rnd_unit()) ? "sampled"
							      : NULL;
}

static bool send_row(struct svc_evidence *e, struct arena *a,
	const struct svc_run *run, const char *reason, const struct uuid *id)
{
	const struct svc_strategy *s = run->strategy;
	struct parent_ent parent;
	bool is_sample = run->status == DSL_STATUS_OK && !run->is_refused;
	struct run_rec rec = {
		.id = *id,
		.at_us = clock_wall_us(),
		.strategy_id = str_from(s->id_text),
		.strategy_version = s->version,
		.strategy_type =
			s->is_extend ? STR("DSL_EXTEND") : STR("DSL_FULL"),
		.realm = s->realm,
		.game = run->ids.game,
		.task = run->ids.task,
		.user = run->ids.user,
		.status = str_from(dsl_status_name(run->status)),
		.duration_ns = run->duration_ns,
		.nodes = e->trace.total,
		.sampled = is_sample,
		.weight = 1,
		.reason = str_from(reason),
		.correlation_id = run->correlation_id,
		.ast_sha256 = str_from(s->ast_sha256),
		.parent_strategy = s->parent,
		.data_json = svc_evidence_text(e, run->data),
	};

	if (is_sample)
		rec.weight = svc_sample_weight(e->app->conf->trace_sample_rate);
	put_result(run, &rec);
	if (s->prog) {
		put_fields(e, a, run, &rec);
		put_trace(e, a, run, &parent, &rec);
	}
	return trace_send_run(
		e->app->trace, is_sample ? EV_SAMPLE : EV_ERROR, &rec);
}

/* ---- exact counts ----------------------------------------------------- */

_Static_assert(DSL_ARM_EVALUATED == SHM_ARM_EVALUATED &&
		       DSL_ARM_TAKEN == SHM_ARM_TAKEN &&
		       DSL_ARM_DECIDED == SHM_ARM_DECIDED &&
		       DSL_ARM_FAILED == SHM_ARM_FAILED,
	"the bits of an arm");

/* As much of s as the label has room for, whole code points. */
static size_t label_add(char *to, size_t at, size_t limit, struct str s)
{
	size_t len = s.len < limit - at ? s.len : limit - at;

	while (len < s.len && len > 0 &&
		((unsigned char)s.p[len] & 0xc0) == 0x80)
		len--;
	if (len > 0)
		memcpy(to + at, s.p, len);
	return at + len;
}

static void claim_counts(struct svc_strategy *s)
{
	const struct dsl_arm *arms = NULL;
	struct metric_place *places;
	char about[LABEL_MAX];
	unsigned cnt = 0;
	size_t len;

	if (s->prog != NULL)
		arms = dsl_program_arms(s->prog, &cnt);
	places = calloc(cnt + 1, sizeof(*places));
	if (places == NULL)
		fatal("out of memory for the arms of a program");
	for (unsigned i = 0; i < cnt; i++)
		places[i] = (struct metric_place){
			arms[i].section, arms[i].rule, arms[i].branch};
	len = (size_t)snprintf(about, sizeof(about), "%s\n",
		s->is_extend ? "DSL_EXTEND" : "DSL_FULL");
	len = label_add(about, len, REALM_END, s->realm);
	about[len++] = '\n';
	len = label_add(about, len, LABEL_MAX, s->name);
	metric_program_claim(&s->counts, str_from(s->id_text), s->version,
		str_from(s->ast_sha256), (struct str){about, len}, places, cnt);
	free(places);
}

static void count_run(const struct svc_evidence *e, const struct svc_run *run)
{
	const struct engine_custom *c = run->run;
	struct metric_run m = {
		.status = run->status,
		.duration_ns = run->duration_ns,
		.nodes = e->trace.total,
		.arms = c->arms,
	};

	if (run->status != DSL_STATUS_OK) {
		m.code = dsl_error_log_code(&c->err);
	} else {
		if (c->case_name.type == JV_STR)
			m.case_name = c->case_name.u.s;
		if (c->points.type == JV_INT)
			m.points = (double)c->points.u.i;
		else if (c->points.type == JV_FLOAT)
			m.points = c->points.u.d;
	}
	if (!run->strategy->counts.is_claimed)
		claim_counts(run->strategy);
	metric_program_run(&run->strategy->counts, &m);
}

/* For Sentry: where it failed and how; the event only where it is wanted. */
static void send_fault(struct svc_evidence *e, const struct svc_run *run)
{
	const struct svc_strategy *s = run->strategy;
	struct fault_rec rec = {
		.kind = FAULT_RUN,
		.at_us = clock_wall_us(),
		.duration_ns = run->duration_ns,
		.slot = e->app->slot,
		.role = STR("worker"),
		.method = str_from(run->method),
		.handler = str_from(run->handler),
		.correlation_id = run->correlation_id,
		.strategy = str_from(s->id_text),
		.version = s->version,
		.strategy_type =
			s->is_extend ? STR("DSL_EXTEND") : STR("DSL_FULL"),
		.realm = s->realm,
		.code = str_from(dsl_error_log_code(&run->run->err)),
		.node = run->run->err.node_id,
	};

	if (*e->app->conf->sentry_dsn == '\0')
		return;
	if (e->app->conf->sentry_send_default_pii) {
		rec.data = svc_evidence_text(e, run->data);
		if (rec.data.len > FAULT_DATA_MAX)
			rec.data = (struct str){NULL, 0};
	}
	trace_send_fault(e->app->trace, &rec);
}

bool svc_evidence_record(struct svc_evidence *e, struct arena *a,
	const struct svc_run *run, struct uuid *id_r)
{
	const struct svc_strategy *s = run->strategy;
	const char *reason;
	const char *code = run->status == DSL_STATUS_OK
				   ? NULL
				   : dsl_error_log_code(&run->run->err);

	metric_dsl(s->realm, s->is_extend, run->status, code, run->duration_ns,
		e->trace.total);
	count_run(e, run);
	if (run->status != DSL_STATUS_OK)
		send_fault(e, run);
	if (!e->app->conf->trace_enabled)
		return false;
	reason = keep_reason(e, run);
	if (reason == NULL)
		return false;
	uuid_make_v7(id_r);
	return send_row(e, a, run, reason, id_r);
}
