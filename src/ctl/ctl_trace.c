/*
 * ctl_trace.c - `gamectl trace`: one kept run as a tree of the program that
 * ran, each node with what it came to.
 *
 * The trace is a list of the nodes in the order in which they finished.  The
 * tree comes from the program as it is stored now, and only when its hash is
 * the one of the run; else the list is printed as it is.
 */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "db/db_sync.h"
#include "dsl/dsl_run.h"
#include "json/json_in.h"
#include "store/store_trace.h"

#define USAGE "trace [--json] ROW-ID | --last [--failed]"

/* Deeper and longer than any stored document can be. */
static const struct json_limits limits = {
	.depth = 160, .values = 1000000, .string_bytes = 1u << 24};

struct tree {
	const struct jv *trace; /* array, or NULL */
	uint32_t shown;         /* entries printed in the tree */
	struct buf text;        /* scratch */
};

/* Members that hold parts of a node, in the order of evaluation. */
static const char *const part_keys[] = {"pre_rules", "rules", "default",
	"post_rules", "when", "condition", "left", "right", "arg", "args",
	"value", "then", "else_if", "else"};

static const struct jv *parse(struct arena *a, const char *json)
{
	struct jv *v = arena_calloc(a, 1, sizeof(*v));
	struct json_err err;

	if (json == NULL || v == NULL ||
		json_parse(a, str_from(json), &limits, v, &err) < 0)
		return NULL;
	return v;
}

static struct str member_text(const struct jv *v, const char *key)
{
	const struct jv *m = jv_member(v, key);

	return m != NULL && m->type == JV_STR ? m->u.s : STR("");
}

static const struct jv *entry_of(const struct tree *t, struct str id)
{
	if (t->trace == NULL || t->trace->type != JV_ARR)
		return NULL;
	for (uint32_t i = 0; i < t->trace->n; i++)
		if (str_eq(member_text(&t->trace->u.arr[i], "nodeId"), id))
			return &t->trace->u.arr[i];
	return NULL;
}

static void print_value(struct tree *t, const struct jv *v)
{
	struct json_out o;

	buf_reset(&t->text);
	json_out_init(&o, &t->text);
	json_out_val(&o, v);
	ctl_print("%.*s", STR_ARG(buf_str(&t->text)));
}

/* " = value  branch" */
static void print_outcome(struct tree *t, const struct jv *entry)
{
	const struct jv *value = jv_member(entry, "value");
	struct str branch = member_text(entry, "branch");

	if (value != NULL) {
		ctl_print(" = ");
		print_value(t, value);
	}
	if (branch.len > 0)
		ctl_print("  %.*s", STR_ARG(branch));
}

/* What the author would call the node: its operator, path or name. */
static void print_node_name(const struct jv *node)
{
	static const char *const keys[] = {"op", "path", "name", "key"};

	ctl_print("%.*s", STR_ARG(member_text(node, "type")));
	for (size_t i = 0; i < NELEM(keys); i++) {
		struct str s = member_text(node, keys[i]);

		if (s.len > 0)
			ctl_print(" %.*s", STR_ARG(s));
	}
}

static void print_node(struct tree *t, const struct jv *node, unsigned depth,
	const char *part);

static void print_part(
	struct tree *t, const struct jv *v, unsigned depth, const char *part)
{
	if (v->type == JV_OBJ)
		print_node(t, v, depth, part);
	else if (v->type == JV_ARR)
		for (uint32_t i = 0; i < v->n; i++)
			print_part(t, &v->u.arr[i], depth, part);
}

static void print_parts(struct tree *t, const struct jv *node, unsigned depth)
{
	for (size_t i = 0; i < NELEM(part_keys); i++) {
		const struct jv *v = jv_member(node, part_keys[i]);

		if (v != NULL)
			print_part(t, v, depth, part_keys[i]);
	}
}

/* True when the node or anything below it left an entry. */
static bool was_reached(const struct tree *t, const struct jv *v)
{
	if (v->type == JV_OBJ) {
		struct str id = member_text(v, "id");

		if (id.len > 0 && entry_of(t, id) != NULL)
			return true;
		for (uint32_t i = 0; i < v->n; i++)
			if (was_reached(t, &v->u.obj[i].val))
				return true;
	} else if (v->type == JV_ARR)
		for (uint32_t i = 0; i < v->n; i++)
			if (was_reached(t, &v->u.arr[i]))
				return true;
	return false;
}

static void print_node(
	struct tree *t, const struct jv *node, unsigned depth, const char *part)
{
	struct str id = member_text(node, "id");
	struct str type = member_text(node, "type");
	const struct jv *entry = id.len > 0 ? entry_of(t, id) : NULL;

	if (type.len == 0 || str_is(type, "program")) {
		print_parts(t, node, depth); /* a branch, or the root */
		return;
	}
	if (!was_reached(t, node)) {
		if (str_is(type, "rule"))
			ctl_print("%*srule %.*s  not reached\n", (int)depth * 2,
				"", STR_ARG(id));
		return;
	}
	ctl_print("%*s", (int)depth * 2, "");
	if (str_is(type, "rule"))
		ctl_print("rule %.*s", STR_ARG(id));
	else {
		if (strcmp(part, "args") != 0 && strcmp(part, "value") != 0)
			ctl_print("%s ", part);
		print_node_name(node);
	}
	if (entry != NULL) {
		t->shown++;
		print_outcome(t, entry);
	}
	ctl_print("\n");
	print_parts(t, node, depth + 1);
}

static void print_list(struct tree *t)
{
	if (t->trace == NULL || t->trace->type != JV_ARR)
		return;
	for (uint32_t i = 0; i < t->trace->n; i++) {
		const struct jv *e = &t->trace->u.arr[i];

		ctl_print("  %.*s %.*s", STR_ARG(member_text(e, "type")),
			STR_ARG(member_text(e, "nodeId")));
		print_outcome(t, e);
		ctl_print("\n");
	}
}

static void print_head(const struct store_trace *r)
{
	ctl_print("run %s strategy %s v%s status %s", r->id,
		r->strategy_name ? r->strategy_name : r->strategy_id,
		r->version, r->status);
	if (r->error_code)
		ctl_print(" %s", r->error_code);
	if (r->points)
		ctl_print(" %s points", r->points);
	if (r->case_name)
		ctl_print(" \"%s\"", r->case_name);
	ctl_print(" in %s ms, %s nodes", r->duration_ms, r->nodes);
	if (r->reason)
		ctl_print(", kept because %s", r->reason);
	if (r->weight)
		ctl_print(" (weight %s)", r->weight);
	ctl_print("\n  at %s", r->at);
	if (r->game)
		ctl_print(" game %s", r->game);
	if (r->task)
		ctl_print(" task %s", r->task);
	if (r->user)
		ctl_print(" user %s", r->user);
	if (r->correlation_id)
		ctl_print(" correlation %s", r->correlation_id);
	ctl_print("\n");
	if (r->notes)
		ctl_print("  notes: %s\n", r->notes);
}

static void print_inputs(
	struct tree *t, struct arena *a, const struct store_trace *r)
{
	const struct jv *fields = parse(a, r->fields);

	if (r->data)
		ctl_print("  data: %s\n", r->data);
	if (fields == NULL || fields->type != JV_OBJ)
		return;
	for (uint32_t i = 0; i < fields->n; i++) {
		ctl_print("  field %.*s = ", STR_ARG(fields->u.obj[i].key));
		print_value(t, &fields->u.obj[i].val);
		ctl_print("\n");
	}
}

/* The program that ran, or NULL when it cannot be had any more. */
static const struct jv *program_of(struct arena *a, const struct store_trace *r)
{
	const struct jv *ast = parse(a, r->ast);
	char hex[65];

	if (ast == NULL || r->ast_sha256 == NULL)
		return NULL;
	dsl_hash(ast, hex);
	return strcmp(hex, r->ast_sha256) == 0 ? ast : NULL;
}

static int print_text(void *arg UNUSED, const struct store_trace *r)
{
	struct tree t = {0};
	const struct jv *ast;
	struct arena a;

	arena_init(&a, 0);
	buf_init(&t.text, 0);
	t.trace = parse(&a, r->trace);
	ast = program_of(&a, r);
	print_head(r);
	print_inputs(&t, &a, r);
	if (ast != NULL)
		print_node(&t, ast, 1, "");
	else if (t.trace != NULL) {
		ctl_print(
			"  (the program has changed since or is gone: nodes in "
			"the order in which they finished)\n");
		print_list(&t);
	}
	if (ast != NULL && t.trace != NULL && t.shown < t.trace->n)
		ctl_print("  %u entries belong to no node of the program\n",
			t.trace->n - t.shown);
	buf_fini(&t.text);
	arena_fini(&a);
	return 0;
}

static int print_json(void *arg UNUSED, const struct store_trace *r)
{
	const struct {
		const char *key, *value;
	} texts[] = {{"id", r->id}, {"at", r->at},
		{"strategyId", r->strategy_id}, {"strategy", r->strategy_name},
		{"type", r->type}, {"realm", r->realm}, {"game", r->game},
		{"task", r->task}, {"user", r->user}, {"status", r->status},
		{"errorCode", r->error_code}, {"caseName", r->case_name},
		{"reason", r->reason}, {"correlationId", r->correlation_id},
		{"astSha256", r->ast_sha256}, {"notes", r->notes}};
	struct ctl_line l;
	struct json_out *o = ctl_line_start(&l);

	for (size_t i = 0; i < NELEM(texts); i++)
		json_out_kv_cstr(o, texts[i].key, texts[i].value);
	/* numbers and documents are JSON as Postgres prints them */
	ctl_kv_json(o, "version", r->version);
	ctl_kv_json(o, "points", r->points);
	ctl_kv_json(o, "durationMs", r->duration_ms);
	ctl_kv_json(o, "nodes", r->nodes);
	ctl_kv_json(o, "weight", r->weight);
	ctl_kv_json(o, "data", r->data);
	ctl_kv_json(o, "fields", r->fields);
	ctl_kv_json(o, "trace", r->trace);
	ctl_line_end(&l);
	return 0;
}

static int pick_run(int argc, char **argv, enum store_trace_pick *pick_r)
{
	if (argc == 2 && strcmp(argv[1], "--last") == 0)
		*pick_r = STORE_TRACE_LAST;
	else if (argc == 3 && strcmp(argv[1], "--last") == 0 &&
		 strcmp(argv[2], "--failed") == 0)
		*pick_r = STORE_TRACE_LAST_FAILED;
	else if (argc == 2 && argv[1][0] != '-')
		*pick_r = STORE_TRACE_BY_ID;
	else
		return -1;
	return 0;
}

int ctl_trace(int argc, char **argv, const struct conf *conf)
{
	enum store_trace_pick pick;
	struct db_sync *db;
	struct uuid id;
	struct err err;
	int rc = 1;

	if (pick_run(argc, argv, &pick) < 0)
		return ctl_usage(USAGE);
	if (pick == STORE_TRACE_BY_ID &&
		uuid_parse(str_from(argv[1]), &id) < 0) {
		err_set(&err, ERR_INVALID, "%s is no row id", argv[1]);
		return ctl_fail(&err);
	}
	db = ctl_db_open(conf);
	if (db == NULL)
		return 1;
	if (store_trace_read(db, pick, argv[1],
		    ctl_json() ? print_json : print_text, NULL, &rc, &err) < 0)
		rc = ctl_fail(&err);
	db_sync_close(&db);
	return rc;
}
