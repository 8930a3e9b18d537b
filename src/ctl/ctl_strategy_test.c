/*
 * ctl_strategy_test.c - `gamectl strategy test CASES.yaml`: runs a program on
 * named cases, tells where results differ from what was expected, and which
 * branches no case reached.  The run is the server's own (engine_custom.h);
 * fields stand in for the database.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/ctl_strategy.h"
#include "dsl/dsl_value.h"
#include "engine/engine_custom.h"
#include "json/json_yaml.h"

#define RUN_ARENA_BYTES (1u << 20)
#define MAX_PATH        4096

static const struct json_limits yaml_limits = {64, 100000, 65536};

/* A rule's outcomes: then, else_if 0.., else; the default has one. */
struct place {
	const char *section;
	const struct jv *node;
	bool is_default;
	uint32_t number; /* of its node in the program */
	uint32_t branches, hits_at;
};

struct suite {
	const char *path;
	struct arena *arena;
	const struct conf *conf;
	struct ctl_strategy strategy;
	struct dsl_program *prog;
	struct dsl_trace trace;
	struct place *places;
	uint32_t places_cnt;
	bool *hits;
	uint32_t hits_cnt;
	unsigned cases, failed;
};

struct outcome {
	const char *name;
	const struct jv *expect;
	struct engine_custom *run;
	enum dsl_status status;
	unsigned differences;
	struct buf text; /* of the differences */
	struct arena *arena;
};

static void *must_alloc(struct arena *a, size_t n, size_t size)
{
	void *p = arena_calloc(a, n + 1, size);

	if (p == NULL)
		abort(); /* the arena of a suite has no limit */
	return p;
}

/* ---- what there is to reach ------------------------------------------------ */

static uint32_t length(const struct jv *v)
{
	return v != NULL && v->type == JV_ARR ? v->n : 0;
}

static void add_place(
	struct suite *s, const char *section, const struct jv *node)
{
	struct place *p = &s->places[s->places_cnt];

	p->section = section;
	p->node = node;
	p->number = dsl_program_top(s->prog, s->places_cnt++);
	p->hits_at = s->hits_cnt;
	p->branches = 1 + length(jv_member(node, "else_if")) +
		      (length(jv_member(node, "else")) > 0);
	s->hits_cnt += p->branches;
}

static void add_rules(struct suite *s, const char *section)
{
	const struct jv *rules = jv_member(&s->strategy.norm, section);

	for (uint32_t i = 0; i < length(rules); i++)
		add_place(s, section, &rules->u.arr[i]);
}

/* In the order of dsl_program_top. */
static void find_places(struct suite *s)
{
	const struct jv *norm = &s->strategy.norm,
			*other = jv_member(norm, "default");
	uint32_t cnt = length(jv_member(norm, "rules")) +
		       length(jv_member(norm, "pre_rules")) +
		       length(jv_member(norm, "post_rules")) + 1;

	s->places = must_alloc(s->arena, cnt, sizeof(*s->places));
	add_rules(s, "rules");
	if (other != NULL && other->type == JV_OBJ) {
		s->places[s->places_cnt].is_default = true;
		add_place(s, "default", other);
	}
	add_rules(s, "pre_rules");
	add_rules(s, "post_rules");
	s->hits = must_alloc(s->arena, s->hits_cnt, sizeof(*s->hits));
}

static void note_entry(struct suite *s, const struct dsl_trace_ent *e)
{
	uint32_t at;

	for (uint32_t i = 0; i < s->places_cnt; i++) {
		const struct place *p = &s->places[i];

		if (p->number != e->node)
			continue;
		if (p->is_default || e->branch == DSL_BR_MATCH)
			at = 0;
		else if (e->branch == DSL_BR_ELSEIF)
			at = 1 + e->branch_idx;
		else if (e->branch == DSL_BR_ELSE)
			at = p->branches - 1;
		else
			return;
		if (at < p->branches)
			s->hits[p->hits_at + at] = true;
		return;
	}
}

static void note_reached(struct suite *s)
{
	const struct dsl_trace_ent *e;

	for (uint32_t i = 0; (e = dsl_trace_at(&s->trace, i)) != NULL; i++)
		note_entry(s, e);
}

/* Does a run of this type look at the section at all? */
static bool runs(const struct suite *s, const struct place *p)
{
	bool of_extend = strcmp(p->section, "pre_rules") == 0 ||
			 strcmp(p->section, "post_rules") == 0;

	return s->strategy.is_extend == of_extend;
}

static void name_branch(const struct place *p, uint32_t branch, struct buf *b)
{
	const struct jv *id = jv_member(p->node, "id");
	uint32_t else_ifs = length(jv_member(p->node, "else_if"));

	if (p->is_default) {
		buf_printf(b, "otherwise");
		return;
	}
	buf_add_str(b, STR("rule "));
	buf_add_visible(b, id->u.s); /* a newline ends the line */
	buf_add_str(b, STR(": "));
	if (branch == 0)
		buf_printf(b, "if");
	else if (branch <= else_ifs)
		buf_printf(b, "else if %u", branch - 1);
	else
		buf_printf(b, "else");
	if (strcmp(p->section, "rules") != 0)
		buf_printf(b, " (%s)", p->section);
}

static uint32_t list_unreached(
	const struct suite *s, uint32_t *all_r, struct buf *b)
{
	uint32_t reached = 0;

	*all_r = 0;
	for (uint32_t i = 0; i < s->places_cnt; i++) {
		const struct place *p = &s->places[i];

		for (uint32_t k = 0; runs(s, p) && k < p->branches; k++) {
			++*all_r;
			if (s->hits[p->hits_at + k]) {
				reached++;
				continue;
			}
			name_branch(p, k, b);
			buf_add_char(b, '\n');
		}
	}
	return reached;
}

/* ---- one case ----------------------------------------------------------------- */

static void add_json(struct buf *b, const struct jv *v)
{
	struct json_out o;

	json_out_init(&o, b);
	json_out_val(&o, v);
}

static void differ(struct outcome *c, const char *what, const struct jv *want,
	const struct jv *got)
{
	c->differences++;
	buf_printf(&c->text, "%s: expected ", what);
	add_json(&c->text, want);
	buf_printf(&c->text, ", got ");
	add_json(&c->text, got);
	buf_add_char(&c->text, '\n');
}

/* By value, as == of the language: 5 is 5.0. */
static void expect(struct outcome *c, const char *key, const struct jv *got)
{
	const struct dsl_text text = {c->arena, 65536};
	const struct jv *want = jv_member(c->expect, key);
	bool same = false;

	if (want == NULL)
		return;
	if (dsl_equal(&text, want, got, &same) != DSL_OK || !same)
		differ(c, key, want, got);
}

static void expect_success(struct outcome *c)
{
	const struct engine_custom *r = c->run;
	const struct jv *want = jv_member(c->expect, "error");
	struct jv none = {.type = JV_OBJ}, null = jv_null();

	if (want != NULL)
		differ(c, "error", want, &null);
	expect(c, "points", &r->points);
	expect(c, "case", &r->case_name);
	expect(c, "callback",
		r->callback_data.type == JV_OBJ ? &r->callback_data : &none);
}

static void expect_failure(struct outcome *c)
{
	const struct dsl_error *e = &c->run->err;
	struct jv code = jv_str(str_from(dsl_error_log_code(e))),
		  node = e->node_id.p ? jv_str(e->node_id) : jv_null();

	if (jv_member(c->expect, "error") == NULL) {
		c->differences++;
		buf_printf(&c->text, "failed with %s", dsl_error_log_code(e));
		if (e->node_id.p != NULL) {
			buf_add_str(&c->text, STR(" at node "));
			buf_add_visible(&c->text, e->node_id);
		}
		buf_add_str(&c->text, STR(": "));
		buf_add_visible(&c->text, str_from(e->message));
		if (e->params_cnt > 0 &&
			strcmp(e->params[0].name, "points") == 0) {
			buf_add_str(&c->text, STR(", not "));
			add_json(&c->text, &e->params[0].val);
		}
		buf_add_char(&c->text, '\n');
		return;
	}
	expect(c, "error", &code);
	expect(c, "node", &node);
}

/* An award would fail on some results of runs that do not. */
static enum dsl_status judge(struct engine_custom *run)
{
	const struct jv *name = &run->case_name;
	int32_t points;

	switch (engine_judge(&run->points,
		name->type == JV_STR ? name->u.s : STR(""), &points,
		&run->err)) {
	case ENGINE_AWARD:
	case ENGINE_REFUSED:
		return DSL_STATUS_OK;
	case ENGINE_NO_NUMBER:
		run->err = (struct dsl_error){.cls = DSL_CLASS_EXECUTION,
			.code = "DSL_UNEXPECTED",
			.message = "Points must be a number"};
		break;
	case ENGINE_UNSTORABLE:
		break;
	}
	return DSL_STATUS_ERROR;
}

static void print_case(const struct outcome *c)
{
	struct str rest = buf_str(&c->text);
	struct json_out *o;
	struct ctl_line l;

	if (ctl_json()) {
		o = ctl_line_start(&l);
		json_out_kv_cstr(o, "case", c->name);
		json_out_kv_bool(o, "ok", c->differences == 0);
		json_out_kv_str(
			o, "differences", rest.p ? str_trim(rest) : STR(""));
		ctl_line_end(&l);
		return;
	}
	ctl_print("%-5s%s\n", c->differences ? "FAIL" : "ok", c->name);
	while (rest.len > 0) {
		const char *end = memchr(rest.p, '\n', rest.len);
		size_t len = (size_t)(end - rest.p);

		ctl_print("       %.*s\n", (int)len, rest.p);
		rest.p += len + 1;
		rest.len -= len + 1;
	}
}

static struct str text_of(
	const struct jv *v, const char *key, const char *fallback)
{
	const struct jv *m = jv_member(v, key);

	return m != NULL && m->type == JV_STR ? m->u.s : str_from(fallback);
}

static void run_case(struct suite *s, const struct jv *in, const char *name)
{
	struct dsl_limits lim = ctl_dsl_limits(s->conf);
	struct engine_analytics an;
	struct engine_event ev = {.ids = {text_of(in, "game", "game"),
					  text_of(in, "task", "task"),
					  text_of(in, "user", "user")},
		.data = jv_member(in, "data"),
		.an = &an};
	struct arena scratch;
	struct engine_custom run = {.strategy = {s->prog, s->strategy.is_extend,
					    s->strategy.parent},
		.ev = &ev,
		.lim = &lim,
		.mocks = jv_member(in, "fields"),
		.arena = &scratch,
		.trace = &s->trace};
	struct outcome c = {.name = name,
		.expect = jv_member(in, "expect"),
		.run = &run,
		.arena = s->arena};

	arena_init(&scratch, RUN_ARENA_BYTES);
	buf_init(&c.text, 0);
	dsl_trace_reset(&s->trace);
	engine_analytics_init(&an);
	engine_analytics_mock(&an, run.mocks);
	c.status = engine_custom_score(&run);
	if (c.status == DSL_STATUS_OK)
		c.status = judge(&run);
	note_reached(s);
	if (c.status == DSL_STATUS_OK)
		expect_success(&c);
	else
		expect_failure(&c);
	print_case(&c);
	s->cases++;
	s->failed += c.differences > 0;
	buf_fini(&c.text);
	arena_fini(&scratch);
}

/* ---- the file -------------------------------------------------------------------- */

/* A misspelt member would make a case that tests nothing. */
static int check_keys(const struct suite *s, const char *what,
	const struct jv *v, const char *const *known, struct err *err_r)
{
	if (v->type != JV_OBJ)
		return err_set(err_r, ERR_INVALID, "%s: %s must be a mapping",
			s->path, what);
	for (uint32_t i = 0; i < v->n; i++) {
		unsigned k = 0;

		while (known[k] != NULL && !str_is(v->u.obj[i].key, known[k]))
			k++;
		if (known[k] == NULL)
			return err_set(err_r, ERR_INVALID,
				"%s: %s: unknown member %.*s", s->path, what,
				STR_ARG(v->u.obj[i].key));
	}
	return 0;
}

static int check_fields(const struct suite *s, const char *what,
	const struct jv *fields, struct err *err_r)
{
	const struct engine_strategy strategy = {
		s->prog, s->strategy.is_extend, s->strategy.parent};
	struct engine_mock_fault faults[ENGINE_MOCK_FAULTS_MAX];

	for (uint32_t i = 0; fields != NULL && i < fields->n; i++)
		if (!engine_is_mock(fields->u.obj[i].key))
			return err_set(err_r, ERR_INVALID,
				"%s: %s: %.*s is no field that a strategy can "
				"read",
				s->path, what, STR_ARG(fields->u.obj[i].key));
	if (engine_custom_mock_faults(&strategy, fields, faults) == 0)
		return 0;
	return err_set(err_r, ERR_INVALID, "%s: %s: %s must be %s", s->path,
		what, faults[0].path,
		faults[0].is_mean ? "a number, which the parent reads"
				  : "a whole number from 0 on, which the "
				    "parent reads");
}

/* Members that say how a run ends must say the same. */
static int check_expect(const struct suite *s, uint32_t number,
	const struct jv *wanted, struct err *err_r)
{
	static const char *const keys[] = {
		"points", "case", "callback", "error", "node", NULL};
	static const struct {
		bool of_failure;
		unsigned types; /* 1 << enum jv_type */
		const char *kind;
	} rows[] = {
		{false, 1 << JV_INT | 1 << JV_FLOAT, "a number"},
		{false, 1 << JV_STR, "text"},
		{false, 1 << JV_OBJ, "a mapping"},
		{true, 1 << JV_STR, "text"},
		{true, 1 << JV_STR | 1 << JV_NULL, "text or null"},
	};
	bool is_failure = jv_member(wanted, "error") != NULL;
	char what[64];

	snprintf(what, sizeof(what), "expect of case %u", number);
	if (check_keys(s, what, wanted, keys, err_r) < 0)
		return -1;
	for (size_t i = 0; i < NELEM(rows); i++) {
		const struct jv *v = jv_member(wanted, keys[i]);

		if (v == NULL)
			continue;
		if (!(1u << v->type & rows[i].types))
			return err_set(err_r, ERR_INVALID,
				"%s: %s: %s must be %s", s->path, what, keys[i],
				rows[i].kind);
		if (rows[i].of_failure != is_failure)
			return err_set(err_r, ERR_INVALID, "%s: %s: %s %s",
				s->path, what, keys[i],
				is_failure ? "is of a run that succeeds, error "
					     "of one that fails"
					   : "is of a run that fails, which "
					     "needs error");
	}
	return 0;
}

static int check_case(struct suite *s, const struct jv *in, uint32_t number,
	const char **name_r, struct err *err_r)
{
	static const char *const keys[] = {"name", "game", "task", "user",
		"data", "fields", "expect", NULL};
	struct str name = text_of(in, "name", NULL);
	const struct jv *wanted = jv_member(in, "expect");
	char what[64];

	snprintf(what, sizeof(what), "case %u", number);
	if (check_keys(s, what, in, keys, err_r) < 0)
		return -1;
	if (name.len == 0 || wanted == NULL)
		return err_set(err_r, ERR_INVALID,
			"%s: %s needs name and expect", s->path, what);
	*name_r = name.p; /* ends in NUL: json_yaml.c copies so */
	for (unsigned i = 1; i < 6; i++) {
		const struct jv *v = jv_member(in, keys[i]);
		enum jv_type type = i < 4 ? JV_STR : JV_OBJ;

		if (v != NULL && v->type != type)
			return err_set(err_r, ERR_INVALID,
				"%s: %s: %s must be %s", s->path, what, keys[i],
				type == JV_STR ? "text" : "a mapping");
	}
	if (check_fields(s, what, jv_member(in, "fields"), err_r) < 0)
		return -1;
	return check_expect(s, number, wanted, err_r);
}

/* The strategy's path counts from the folder of the cases. */
static int load_strategy(
	struct suite *s, const struct jv *doc, struct err *err_r)
{
	struct str rel = text_of(doc, "strategy", "");
	const char *slash = strrchr(s->path, '/');
	int dir = slash != NULL && rel.len > 0 && rel.p[0] != '/'
			  ? (int)(slash - s->path + 1)
			  : 0;
	struct dsl_error e;
	char path[MAX_PATH];
	uint32_t cap;

	if (rel.len == 0)
		return err_set(err_r, ERR_INVALID,
			"%s: the member strategy must name a file", s->path);
	if (snprintf(path, sizeof(path), "%.*s%.*s", dir, s->path,
		    STR_ARG(rel)) >= (int)sizeof(path))
		return err_set(err_r, ERR_LIMIT, "%s: path too long", s->path);
	if (ctl_strategy_load(
		    s->arena, path, s->conf, &s->strategy, &e, err_r) < 0)
		return -1;
	s->prog = dsl_compile(&s->strategy.norm);
	/* pre and post count the program node each */
	cap = (uint32_t)dsl_program_nodes(s->prog) + 2;
	s->trace.ents = must_alloc(s->arena, cap, sizeof(*s->trace.ents));
	s->trace.head_cap = cap;
	find_places(s);
	return 0;
}

static int read_suite(struct suite *s, struct jv *doc, struct err *err_r)
{
	static const char *const keys[] = {"strategy", "cases", NULL};
	const struct jv *cases;
	struct str text;
	struct err why;

	if (ctl_read_file(s->arena, s->path, &text, err_r) < 0)
		return -1;
	if (json_yaml_parse(s->arena, text, &yaml_limits, doc, &why) < 0)
		return err_set(err_r, ERR_INVALID, "%s:%s", s->path, why.text);
	if (check_keys(s, "the file", doc, keys, err_r) < 0)
		return -1;
	cases = jv_member(doc, "cases");
	if (cases == NULL || cases->type != JV_ARR || cases->n == 0)
		return err_set(err_r, ERR_INVALID,
			"%s: the member cases must be a list of cases",
			s->path);
	return load_strategy(s, doc, err_r);
}

static void print_sum(const struct suite *s)
{
	struct buf unreached;
	struct json_out *o;
	struct ctl_line l;
	uint32_t reached, all;
	char *line, *at;

	buf_init(&unreached, 0);
	reached = list_unreached(s, &all, &unreached);
	buf_add_char(&unreached, '\0');
	at = unreached.p;
	if (ctl_json()) {
		o = ctl_line_start(&l);
		json_out_kv_int(o, "cases", s->cases);
		json_out_kv_int(o, "failed", s->failed);
		json_out_kv_int(o, "branches", all);
		json_out_key(o, "notReached");
		json_out_arr(o);
		while ((line = strsep(&at, "\n")) != NULL && *line != '\0')
			json_out_cstr(o, line);
		json_out_arr_end(o);
		ctl_line_end(&l);
	} else {
		ctl_print("%u case%s, %u failed; %u of %u branches reached\n",
			s->cases, s->cases == 1 ? "" : "s", s->failed, reached,
			all);
		while ((line = strsep(&at, "\n")) != NULL && *line != '\0')
			ctl_print("not reached: %s\n", line);
	}
	buf_fini(&unreached);
}

static int run_suite(struct suite *s, struct err *err_r)
{
	const struct jv *cases;
	const char *name = "";
	struct jv doc;

	if (read_suite(s, &doc, err_r) < 0)
		return -1;
	cases = jv_member(&doc, "cases");
	for (uint32_t i = 0; i < cases->n; i++)
		if (check_case(s, &cases->u.arr[i], i + 1, &name, err_r) < 0)
			return -1;
	for (uint32_t i = 0; i < cases->n; i++) {
		name = text_of(&cases->u.arr[i], "name", "").p;
		run_case(s, &cases->u.arr[i], name);
	}
	print_sum(s);
	return s->failed ? 1 : 0;
}

int ctl_strategy_test(const char *path, const struct conf *conf)
{
	struct arena a;
	struct suite s = {.path = path, .arena = &a, .conf = conf};
	struct err err;
	int rc;

	arena_init(&a, 0);
	rc = run_suite(&s, &err);
	if (rc < 0)
		rc = ctl_fail(&err);
	dsl_program_unref(&s.prog);
	arena_fini(&a);
	return rc;
}
