/*
 * ctl_awards.c - `gamectl awards USER`: every award of a user with what
 * decided it, and the way to the run where that was kept.
 */
#include "ctl/ctl.h"

#include <getopt.h>
#include <stdio.h>

#include "base/num.h"
#include "db/db_sync.h"
#include "store/store_user_awards.h"

#define USAGE    "awards [--since TIME] [--until TIME] [-n COUNT] USER"
#define ROWS     100
#define ROWS_MAX 100000

static void print_text(void *arg UNUSED, const struct store_user_award *a)
{
	ctl_print("%s  %s  %s points", a->id, a->at,
		a->points ? a->points : "no");
	if (a->case_name)
		ctl_print(" \"%s\"", a->case_name);
	if (a->game)
		ctl_print("  game %s", a->game);
	if (a->task)
		ctl_print("  task %s", a->task);
	if (a->strategy_name)
		ctl_print("  strategy %s v%s", a->strategy_name, a->version);
	else if (a->strategy_id)
		ctl_print("  strategy %s", a->strategy_id);
	ctl_print("  %s\n", *a->is_kept == 't' ? "run kept" : "run not kept");
}

static void print_json(void *arg UNUSED, const struct store_user_award *a)
{
	struct ctl_line l;
	struct json_out *o = ctl_line_start(&l);

	json_out_kv_cstr(o, "id", a->id);
	json_out_kv_cstr(o, "at", a->at);
	ctl_kv_json(o, "points", a->points);
	json_out_kv_cstr(o, "caseName", a->case_name);
	json_out_kv_cstr(o, "game", a->game);
	json_out_kv_cstr(o, "task", a->task);
	json_out_kv_cstr(o, "idempotencyKey", a->key);
	json_out_kv_cstr(o, "strategyId", a->strategy_id);
	json_out_kv_cstr(o, "strategy", a->strategy_name);
	ctl_kv_json(o, "version", a->version);
	json_out_kv_cstr(o, "astSha256", a->ast_sha256);
	json_out_kv_bool(o, "kept", *a->is_kept == 't');
	ctl_kv_json(o, "data", a->data);
	ctl_line_end(&l);
}

static bool take_count(const char *text, int64_t *n_r)
{
	return num_parse_i64(str_from(text), n_r) == 0 && *n_r >= 1 &&
	       *n_r <= ROWS_MAX;
}

static bool take_options(int argc, char **argv, struct store_award_pick *p)
{
	static const struct option options[] = {
		{"since", required_argument, NULL, 's'},
		{"until", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0}};
	bool fine = true;
	int c;

	opterr = 0;
	while (fine && (c = getopt_long(argc, argv, "n:", options, NULL)) != -1)
		switch (c) {
		case 'n':
			fine = take_count(optarg, &p->limit);
			break;
		case 's':
			p->since = optarg;
			break;
		case 'u':
			p->until = optarg;
			break;
		default:
			fine = false;
		}
	p->user = argv[optind];
	return fine && optind == argc - 1;
}

int ctl_awards(int argc, char **argv, const struct conf *conf)
{
	struct store_award_pick pick = {.limit = ROWS};
	struct db_sync *db;
	struct err err;
	int rc;

	if (!take_options(argc, argv, &pick))
		return ctl_usage(USAGE);
	db = ctl_db_open(conf);
	if (!db)
		return 1;
	rc = store_user_awards(
		db, &pick, ctl_json() ? print_json : print_text, NULL, &err);
	db_sync_close(&db);
	return rc < 0 ? ctl_fail(&err) : 0;
}
