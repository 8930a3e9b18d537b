/*
 * ctl_migrate.c - `gamectl migrate [--status]`: applies the files of sql/ that
 * the database lacks.  Safe to run twice and from two places at once.
 */
#include "ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/db_sync.h"
#include "store/store_admin.h"
#include "store/store_schema.h"

/* The directory of an installation, or of a build that is not installed. */
static const char *sql_dir(void)
{
	const char *dir = getenv("GAMED_SQLDIR");

	return dir && *dir ? dir : GAMED_DATADIR "/sql";
}

static void print_step(const char *what, const struct store_migration *m)
{
	struct ctl_line l;
	struct json_out *o;

	if (!ctl_json()) {
		ctl_print("%s %s\n", what, m->name);
		return;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "event", what);
	json_out_kv_int(o, "version", m->version);
	json_out_kv_cstr(o, "name", m->name);
	ctl_line_end(&l);
}

static void on_migrated(void *arg, const struct store_migration *m)
{
	unsigned *applied = arg;

	(*applied)++;
	print_step("applied", m);
	fflush(stdout); /* what follows may take long */
}

static int migrate(struct db_sync *db, const struct store_migration_list *list,
	struct err *err_r)
{
	unsigned applied = 0;
	int64_t partitions;
	struct ctl_line l;
	struct json_out *o;

	if (store_migrate(db, sql_dir(), list, on_migrated, &applied,
		    &partitions, err_r) < 0)
		return -1;
	if (!ctl_json()) {
		ctl_print("schema is version %d, %u applied, %lld partitions "
			  "made\n",
			SCHEMA_VERSION, applied, (long long)partitions);
		return 0;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "event", "done");
	json_out_kv_int(o, "version", SCHEMA_VERSION);
	json_out_kv_int(o, "applied", applied);
	json_out_kv_int(o, "partitions", partitions);
	ctl_line_end(&l);
	return 0;
}

/* 1 when something is to be done, so that scripts can ask. */
static int status(struct db_sync *db, const struct store_migration_list *list,
	int *status_r, struct err *err_r)
{
	int64_t version;
	struct ctl_line l;
	struct json_out *o;

	if (store_schema_version(db, &version, err_r) < 0)
		return -1;
	for (int64_t i = version; i < list->cnt; i++)
		print_step("pending", &list->v[i]);
	*status_r = version == SCHEMA_VERSION ? 0 : 1;
	if (!ctl_json()) {
		ctl_print("schema is version %lld, this program needs %d\n",
			(long long)version, SCHEMA_VERSION);
		return 0;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "event", "status");
	json_out_kv_int(o, "version", version);
	json_out_kv_int(o, "needed", SCHEMA_VERSION);
	ctl_line_end(&l);
	return 0;
}

int ctl_migrate(int argc, char **argv, const struct conf *conf)
{
	struct store_migration_list list;
	struct db_sync *db;
	struct err err;
	bool ask;
	int rc, exit_status = 0;

	ask = argc == 2 && strcmp(argv[1], "--status") == 0;
	if (argc > 1 && !ask)
		return ctl_usage("migrate [--status]");
	if (store_migration_list(sql_dir(), &list, &err) < 0)
		return ctl_fail(&err);
	db = ctl_db_open(conf);
	if (!db) {
		store_migration_list_free(&list);
		return 1;
	}
	rc = ask ? status(db, &list, &exit_status, &err)
		 : migrate(db, &list, &err);
	db_sync_close(&db);
	store_migration_list_free(&list);
	return rc < 0 ? ctl_fail(&err) : exit_status;
}
