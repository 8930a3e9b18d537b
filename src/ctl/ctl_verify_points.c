/*
 * ctl_verify_points.c - `gamectl verify-points`: for every user the wallet
 * equals awards less conversions, the ledger has one row an award with the
 * same points, and the aggregates equal a count from scratch; no row stands
 * outside of that.  Exit status 1 on any difference.
 */
#include "ctl/ctl.h"

#include <stdio.h>

#include "db/db_sync.h"
#include "store/store_admin.h"

static const char *or_none(const char *s)
{
	return s ? s : "nothing";
}

static void print_text(void *arg UNUSED, const struct store_difference *d)
{
	ctl_print("%s", d->kind);
	if (d->user)
		ctl_print(" user=%s", d->user);
	if (d->task)
		ctl_print(" task=%s", d->task);
	if (d->id)
		ctl_print(" id=%s", d->id);
	ctl_print(": expected %s, found %s\n", or_none(d->expected),
		or_none(d->found));
}

static void print_json(void *arg UNUSED, const struct store_difference *d)
{
	struct ctl_line l;
	struct json_out *o = ctl_line_start(&l);

	json_out_kv_cstr(o, "kind", d->kind);
	json_out_kv_str(o, "user", str_from(d->user));
	json_out_kv_str(o, "task", str_from(d->task));
	json_out_kv_str(o, "id", str_from(d->id));
	json_out_kv_str(o, "expected", str_from(d->expected));
	json_out_kv_str(o, "found", str_from(d->found));
	ctl_line_end(&l);
}

static void print_sum(const struct store_books *b)
{
	struct ctl_line l;
	struct json_out *o;

	if (!ctl_json()) {
		ctl_print("%lld users, %lld awards, %lld ledger rows, "
			  "%lld differences\n",
			(long long)b->users, (long long)b->awards,
			(long long)b->ledger_rows, (long long)b->differences);
		return;
	}
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "kind", "sum");
	json_out_kv_int(o, "users", b->users);
	json_out_kv_int(o, "awards", b->awards);
	json_out_kv_int(o, "ledger_rows", b->ledger_rows);
	json_out_kv_int(o, "differences", b->differences);
	ctl_line_end(&l);
}

int ctl_verify_points(int argc, char **argv UNUSED, const struct conf *conf)
{
	struct store_books books;
	struct db_sync *db;
	struct err err;
	int rc;

	if (argc > 1)
		return ctl_usage("verify-points");
	db = ctl_db_open(conf);
	if (!db)
		return 1;
	rc = store_verify_points(
		db, ctl_json() ? print_json : print_text, NULL, &books, &err);
	db_sync_close(&db);
	if (rc < 0)
		return ctl_fail(&err);
	print_sum(&books);
	return books.differences ? 1 : 0;
}
