/*
 * ctl_strategy.c - `gamectl strategy`: what an author does with a program
 * before and after it goes to the server.  The cases of `strategy test` are in
 * ctl_strategy_test.c.
 */
#include "ctl/ctl_strategy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "db/db_sync.h"
#include "dsl/dsl_svg.h"
#include "dsl/dsl_tree.h"
#include "engine/engine.h"
#include "json/json_in.h"
#include "store/store_program.h"

#define FILE_BYTES_MAX (8u << 20)
#define NAME_CHARS_MAX 200 /* as the API's */
#define USAGE                                                           \
	"strategy validate FILE | show [--svg] ID|FILE | publish ID | " \
	"test CASES.yaml"

struct dsl_limits ctl_dsl_limits(const struct conf *conf)
{
	return (struct dsl_limits){.max_nodes = (int)conf->dsl_max_nodes,
		.max_depth = (int)conf->dsl_max_depth,
		.timeout_ms = (int)conf->dsl_timeout_ms,
		.max_string_bytes = (size_t)conf->dsl_max_string_bytes};
}

/* ---- files ---------------------------------------------------------------- */

int ctl_read_file(struct arena *a, const char *path, struct str *text_r,
	struct err *err_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	size_t len = 0;
	ssize_t n = 0;
	char *p;

	if (fd < 0)
		return err_set_errno(err_r, "cannot open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		st.st_size > FILE_BYTES_MAX) {
		close(fd);
		return err_set(err_r, ERR_INVALID,
			"%s is not a regular file of at most %u bytes", path,
			FILE_BYTES_MAX);
	}
	p = arena_alloc(a, (size_t)st.st_size + 1);
	while (p != NULL && len < (size_t)st.st_size &&
		(n = read(fd, p + len, (size_t)st.st_size - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		err_set_errno(err_r, "cannot read %s", path);
	close(fd);
	*text_r = (struct str){p, len};
	return n < 0 ? -1 : 0;
}

/* err_r: "FILE: node ID: sentence (CODE)" */
static int refuse(
	const char *path, const struct dsl_error *e, struct err *err_r)
{
	char code[64] = "";

	if (e->code != NULL)
		snprintf(code, sizeof(code), " (%s)", e->code);
	if (e->node_id.p == NULL)
		return err_set(
			err_r, ERR_INVALID, "%s: %s%s", path, e->message, code);
	return err_set(err_r, ERR_INVALID, "%s: node %.*s: %s%s", path,
		STR_ARG(e->node_id), e->message, code);
}

/* A member of a file for the API; absent and null leave *text_r. */
static int read_text(const char *path, const struct jv *doc, const char *key,
	struct str *text_r, struct err *err_r)
{
	const struct jv *v = jv_member(doc, key);

	if (v == NULL || v->type == JV_NULL)
		return 0;
	if (v->type != JV_STR)
		return err_set(err_r, ERR_INVALID, "%s: %s must be a string",
			path, key);
	*text_r = v->u.s;
	return 0;
}

static int read_type(const char *path, const struct jv *doc,
	struct ctl_strategy *s, struct err *err_r)
{
	const struct jv *v = jv_member(doc, "type");

	if (v != NULL)
		s->type = v->type == JV_STR ? v->u.s : STR("");
	for (unsigned i = 0; engine_types[i] != NULL; i++)
		if (str_is(s->type, engine_types[i]))
			return 0;
	return err_set(err_r, ERR_INVALID,
		"%s: type must be BUILT_IN, DSL_EXTEND or DSL_FULL", path);
}

/* What surrounds the program, as the API judges it. */
static int read_members(const char *path, const struct jv *doc,
	struct ctl_strategy *s, struct err *err_r)
{
	struct err why;
	size_t n;

	if (read_text(path, doc, "name", &s->name, err_r) < 0 ||
		read_type(path, doc, s, err_r) < 0 ||
		read_text(path, doc, "parentStrategyId", &s->parent, err_r) < 0)
		return -1;
	n = s->name.p != NULL ? str_utf8_cnt(s->name) : 1;
	if (n < 1 || n > NAME_CHARS_MAX)
		return err_set(err_r, ERR_INVALID,
			"%s: name must have 1 to %d characters", path,
			NAME_CHARS_MAX);
	if (engine_check_parent(s->type, s->parent, &why) < 0)
		return err_set(err_r, why.code, "%s: %s", path, why.text);
	s->is_extend = str_is(s->type, "DSL_EXTEND");
	return 0;
}

int ctl_strategy_load(struct arena *a, const char *path,
	const struct conf *conf, struct ctl_strategy *s_r,
	struct dsl_error *dsl_r, struct err *err_r)
{
	struct dsl_limits lim = ctl_dsl_limits(conf);
	struct json_err why;
	const struct jv *ast;
	struct str text;
	struct jv doc;

	memset(dsl_r, 0, sizeof(*dsl_r));
	*s_r = (struct ctl_strategy){.type = STR("DSL_FULL")};
	if (ctl_read_file(a, path, &text, err_r) < 0)
		return -1;
	if (json_parse(a, text, &json_limits_default, &doc, &why) < 0)
		return err_set(err_r, ERR_INVALID, "%s: %s at byte %zu", path,
			why.text, why.offset);
	ast = jv_member(&doc, "astJson");
	if (ast == NULL)
		ast = &doc;
	else if (read_members(path, &doc, s_r, err_r) < 0)
		return -1;
	if (dsl_check(a, ast, &lim, &s_r->norm, dsl_r) < 0)
		return refuse(path, dsl_r, err_r);
	return 0;
}

/* ---- validate --------------------------------------------------------------- */

static void print_invalid(const struct dsl_error *e, const struct err *err)
{
	struct ctl_line l;
	struct json_out *o = ctl_line_start(&l);

	json_out_kv_bool(o, "ok", false);
	json_out_kv_str(o, "code", str_from(e->code));
	json_out_kv_str(o, "nodeId", e->node_id);
	json_out_kv_cstr(o, "message", err->text);
	ctl_line_end(&l);
}

static void print_valid(const char *path, const struct ctl_strategy *s,
	int nodes, int max_nodes)
{
	struct ctl_line l;
	struct json_out *o;
	char hex[65];

	dsl_hash(&s->norm, hex);
	if (!ctl_json()) {
		ctl_print("%s: valid, %d of %d nodes, %s\n", path, nodes,
			max_nodes, hex);
		return;
	}
	o = ctl_line_start(&l);
	json_out_kv_bool(o, "ok", true);
	json_out_kv_int(o, "nodes", nodes);
	json_out_kv_cstr(o, "astSha256", hex);
	ctl_line_end(&l);
}

static int validate(const char *path, const struct conf *conf)
{
	struct dsl_program *prog;
	struct ctl_strategy s;
	struct dsl_error e;
	struct arena a;
	struct err err;
	int rc = 1;

	arena_init(&a, 0);
	if (ctl_strategy_load(&a, path, conf, &s, &e, &err) < 0) {
		if (ctl_json())
			print_invalid(&e, &err);
		else
			(void)ctl_fail(&err);
	} else {
		prog = dsl_compile(&s.norm);
		print_valid(path, &s, dsl_program_nodes(prog),
			(int)conf->dsl_max_nodes);
		dsl_program_unref(&prog);
		rc = 0;
	}
	arena_fini(&a);
	return rc;
}

/* ---- show -------------------------------------------------------------------- */

static void print_line(void *arg UNUSED, unsigned depth, struct str text)
{
	ctl_print("%*s%.*s\n", (int)(depth + 1) * 2, "", STR_ARG(text));
}

/* A heading, and what feeds the lines of the tree to a callback. */
struct shown {
	struct buf title;
	const struct engine_builtin *builtin; /* NULL: norm */
	struct jv norm;
	bool svg;
};

static void walk(const struct shown *w, dsl_tree_cb cb, void *arg)
{
	if (w->builtin != NULL)
		dsl_tree_walk_text(engine_flow(w->builtin), cb, arg);
	else
		dsl_tree_walk(&w->norm, cb, arg);
}

static void put_json_line(void *arg, unsigned depth, struct str text)
{
	struct json_out *o = arg;

	json_out_obj(o);
	json_out_kv_int(o, "depth", depth);
	json_out_kv_str(o, "text", text);
	json_out_obj_end(o);
}

static void print_shown(struct shown *w)
{
	struct dsl_svg graph;
	struct ctl_line l;
	struct json_out *o;
	struct buf out;

	if (w->svg) {
		buf_init(&out, 0);
		dsl_svg_init(&graph);
		walk(w, dsl_svg_line, &graph);
		dsl_svg_end(&graph, buf_str(&w->title), &out);
		fwrite(out.p, 1, out.len, stdout);
		buf_fini(&out);
	} else if (ctl_json()) {
		o = ctl_line_start(&l);
		json_out_kv_str(o, "strategy", buf_str(&w->title));
		json_out_key(o, "tree");
		json_out_arr(o);
		walk(w, put_json_line, o);
		json_out_arr_end(o);
		ctl_line_end(&l);
	} else {
		ctl_print("%.*s\n", STR_ARG(buf_str(&w->title)));
		walk(w, print_line, NULL);
	}
}

static void add_type(struct buf *title, struct str type, struct str parent)
{
	buf_add_char(title, ' ');
	buf_add_str(title, type);
	if (parent.len > 0)
		buf_add_str(title, STR(" of "));
	buf_add_str(title, parent);
}

static int show_row(void *arg, const struct store_program *p)
{
	struct shown *w = arg;
	struct dsl_limits any = {.max_nodes = 100000, .max_depth = 256};
	struct json_err why;
	struct dsl_error e;
	struct arena a;
	struct err err;
	struct jv ast;
	int rc = -1;

	arena_init(&a, 0);
	buf_printf(&w->title, "%s v%s %s", p->name, p->version, p->status);
	add_type(&w->title, str_from(p->type), str_from(p->parent));
	if (p->ast == NULL)
		err_set(&err, ERR_NOT_FOUND, "%s v%s has no program", p->name,
			p->version);
	else if (json_parse(&a, str_from(p->ast), &json_limits_default, &ast,
			 &why) < 0)
		err_set(&err, ERR_INVALID,
			"the program of %s cannot be read: %s", p->name,
			why.text);
	else if (dsl_check(&a, &ast, &any, &w->norm, &e) < 0)
		refuse(p->name, &e, &err);
	else
		rc = 0;
	if (rc == 0)
		print_shown(w);
	else
		(void)ctl_fail(&err);
	arena_fini(&a);
	return rc == 0 ? 0 : 1;
}

/* "custom:<uuid>" or the bare uuid */
static const char *bare_id(const char *id)
{
	return strncmp(id, "custom:", 7) == 0 ? id + 7 : id;
}

static int show_stored(struct shown *w, const char *id, const struct conf *conf)
{
	struct db_sync *db = ctl_db_open(conf);
	struct err err;
	int rc = 1;

	if (db == NULL)
		return 1;
	if (store_program_read(db, id, show_row, w, &rc, &err) < 0)
		rc = ctl_fail(&err);
	db_sync_close(&db);
	return rc;
}

static int show_file(struct shown *w, const char *path, const struct conf *conf)
{
	struct ctl_strategy s;
	struct dsl_error e;
	struct arena a;
	struct err err;
	int rc = 0;

	arena_init(&a, 0);
	if (ctl_strategy_load(&a, path, conf, &s, &e, &err) < 0) {
		rc = ctl_fail(&err);
	} else {
		w->norm = s.norm;
		buf_printf(&w->title, "%.*s",
			STR_ARG(s.name.p ? s.name : str_from(path)));
		add_type(&w->title, s.type, s.parent);
		print_shown(w);
	}
	arena_fini(&a);
	return rc;
}

static int show(const char *what, bool svg, const struct conf *conf)
{
	struct shown w = {.svg = svg};
	struct uuid id;
	int rc = 0;

	buf_init(&w.title, 0);
	w.builtin = engine_find(str_from(what));
	if (w.builtin != NULL) {
		const struct engine_info *i = engine_info(w.builtin);

		buf_printf(&w.title, "%s %s, a built-in", i->id, i->version);
		print_shown(&w);
	} else if (uuid_parse(str_from(bare_id(what)), &id) == 0) {
		rc = show_stored(&w, bare_id(what), conf);
	} else {
		rc = show_file(&w, what, conf);
	}
	buf_fini(&w.title);
	return rc;
}

/* ---- publish ------------------------------------------------------------------ */

static int print_published(void *arg UNUSED, const struct store_program *p)
{
	struct ctl_line l;
	struct json_out *o;
	struct err err;

	if (strcmp(p->status, "PUBLISHED") != 0) {
		err_set(&err, ERR_CONFLICT, "%s v%s %s and cannot be published",
			p->name, p->version,
			strcmp(p->status, "ARCHIVED") == 0 ? "is archived"
							   : "has no program");
		return ctl_fail(&err);
	}
	if (!ctl_json()) {
		ctl_print("%s v%s is published\n", p->name, p->version);
		return 0;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "id", p->id);
	json_out_kv_cstr(o, "name", p->name);
	json_out_key(o, "version");
	json_out_raw(o, str_from(p->version));
	json_out_kv_cstr(o, "status", p->status);
	ctl_line_end(&l);
	return 0;
}

static int publish(const char *id, const struct conf *conf)
{
	struct db_sync *db;
	struct uuid u;
	struct err err;
	int rc = 1;

	if (uuid_parse(str_from(bare_id(id)), &u) < 0) {
		err_set(&err, ERR_INVALID, "%s is no id of a stored strategy",
			id);
		return ctl_fail(&err);
	}
	db = ctl_db_open(conf);
	if (db == NULL)
		return 1;
	if (store_program_publish(
		    db, bare_id(id), print_published, NULL, &rc, &err) < 0)
		rc = ctl_fail(&err);
	db_sync_close(&db);
	return rc;
}

int ctl_strategy(int argc, char **argv, const struct conf *conf)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (argc == 3 && argv[2][0] == '-')
		return ctl_usage(USAGE);
	if (argc == 3 && strcmp(verb, "validate") == 0)
		return validate(argv[2], conf);
	if (argc == 3 && strcmp(verb, "show") == 0)
		return show(argv[2], false, conf);
	if (argc == 4 && strcmp(verb, "show") == 0 &&
		strcmp(argv[2], "--svg") == 0)
		return show(argv[3], true, conf);
	if (argc == 3 && strcmp(verb, "publish") == 0)
		return publish(argv[2], conf);
	if (argc == 3 && strcmp(verb, "test") == 0)
		return ctl_strategy_test(argv[2], conf);
	return ctl_usage(USAGE);
}
