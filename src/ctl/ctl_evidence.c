/*
 * ctl_evidence.c - `gamectl evidence reinject FILE`: rows that Postgres
 * refused, back into their tables once the cause is gone.  By row id, so that
 * a file may be given twice.  The file stays as it is.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/ctl_admin.h"
#include "db/db_sync.h"
#include "json/json_in.h"
#include "store/store_evidence.h"

#define USAGE "evidence reinject file"

struct counts {
	int64_t lines, stored, present, refused;
};

static int reinject_line(
	struct db_sync *db, struct arena *a, struct str line, struct err *err_r)
{
	struct json_err json_err;
	/* a column is one string, of any size that the logger made */
	struct json_limits lim = json_limits_default;
	const struct jv *row;
	struct json_out o;
	struct buf text;
	struct jv v;
	int rc;

	lim.string_bytes = (uint32_t)line.len;
	if (json_parse(a, line, &lim, &v, &json_err) < 0)
		return err_set(err_r, ERR_INVALID, "%s", json_err.text);
	row = v.type == JV_OBJ ? jv_member(&v, "row") : NULL;
	if (row == NULL || row->type != JV_OBJ)
		return err_set(err_r, ERR_INVALID, "there is no row in it");
	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_out_val(&o, row);
	buf_add_char(&text, '\0');
	rc = store_evidence_reinject(
		db, ctl_admin_text(&v, "table"), text.p, err_r);
	buf_fini(&text);
	return rc;
}

static void complain(const char *path, int64_t line, const struct err *why)
{
	struct err err;

	err_set(&err, why->code, "%s:%lld: %s", path, (long long)line,
		why->text);
	(void)ctl_fail(&err);
}

static void reinject(
	struct db_sync *db, FILE *f, const char *path, struct counts *n)
{
	char *line = NULL;
	size_t cap = 0;
	struct arena a;
	struct err err;
	ssize_t len;

	arena_init(&a, 0);
	while ((len = getline(&line, &cap, f)) > 0) {
		int rc = reinject_line(db, &a,
			str_trim((struct str){line, (size_t)len}), &err);

		n->lines++;
		n->stored += rc == 1;
		n->present += rc == 0;
		n->refused += rc < 0;
		if (rc < 0)
			complain(path, n->lines, &err);
		arena_reset(&a);
	}
	free(line);
	arena_fini(&a);
}

static void print(const struct counts *n)
{
	struct ctl_line l;
	struct json_out *o;

	if (!ctl_json()) {
		ctl_print("%lld rows: %lld stored, %lld were there, %lld "
			  "refused\n",
			(long long)n->lines, (long long)n->stored,
			(long long)n->present, (long long)n->refused);
		return;
	}
	o = ctl_line_start(&l);
	json_out_kv_int(o, "rows", n->lines);
	json_out_kv_int(o, "stored", n->stored);
	json_out_kv_int(o, "present", n->present);
	json_out_kv_int(o, "refused", n->refused);
	ctl_line_end(&l);
}

int ctl_evidence(int argc, char **argv, const struct conf *conf)
{
	struct counts n = {0};
	struct db_sync *db;
	struct err err;
	FILE *f;

	if (argc != 3 || strcmp(argv[1], "reinject") != 0)
		return ctl_usage(USAGE);
	f = fopen(argv[2], "re");
	if (f == NULL) {
		err_set_errno(&err, "cannot open %s", argv[2]);
		return ctl_fail(&err);
	}
	db = ctl_db_open(conf);
	if (db != NULL) {
		reinject(db, f, argv[2], &n);
		print(&n);
		db_sync_close(&db);
	} else
		n.refused = 1;
	fclose(f);
	return n.refused > 0;
}
