/*
 * ctl_kpi.c - `gamectl kpi rollup [--day YYYY-MM-DD]`: the daily figures that
 * the stats process makes, now: those that are due, or those of one day.
 */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "db/db_sync.h"
#include "store/store_kpi.h"

static void print_day(const char *day)
{
	struct ctl_line l;
	struct json_out *o;

	if (!ctl_json()) {
		ctl_print("%s\n", day);
		return;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "day", day);
	ctl_line_end(&l);
}

static int rollup(struct db_sync *db, const char *day, struct err *err_r)
{
	char done[STORE_DAY_MAX];

	do {
		if (store_kpi_rollup(db, day, done, err_r) < 0)
			return -1;
		if (done[0] != '\0')
			print_day(done);
	} while (day == NULL && done[0] != '\0');
	return 0;
}

int ctl_kpi(int argc, char **argv, const struct conf *conf)
{
	const char *day = NULL;
	struct db_sync *db;
	struct err err;
	int rc;

	if (argc == 4 && strcmp(argv[2], "--day") == 0)
		day = argv[3];
	if (argc < 2 || strcmp(argv[1], "rollup") != 0 ||
		(argc != 2 && day == NULL))
		return ctl_usage("kpi rollup [--day YYYY-MM-DD]");
	db = ctl_db_open(conf);
	if (!db)
		return 1;
	rc = rollup(db, day, &err);
	db_sync_close(&db);
	return rc < 0 ? ctl_fail(&err) : 0;
}
