/*
 * ctl_main.c - gamectl: reads the settings, finds the command and runs it.  A
 * command is a row of the table and a file ctl_<command>.c.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "db/db_sync.h"

#define ASSIGNMENTS_MAX 64

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, const struct conf *conf);
	const char *help;
} commands[] = {
	{"apikey", ctl_apikey, "create, list and revoke API keys"},
	{"awards", ctl_awards, "show the awards of a user and what decided"},
	{"dsl", ctl_dsl, "check or run programs given as JSON lines"},
	{"evidence", ctl_evidence, "put refused evidence rows back"},
	{"kpi", ctl_kpi, "make the figures of a day now"},
	{"ledger", ctl_ledger, "show where the evidence rows are"},
	{"migrate", ctl_migrate, "bring the database to this release's schema"},
	{"reload", ctl_reload, "have the server read its file, and wait"},
	{"status", ctl_status,
		"show processes, rates and queues of the server"},
	{"strategy", ctl_strategy, "check, test, show and publish strategies"},
	{"tail", ctl_tail, "watch kept runs of strategies as they arrive"},
	{"top", ctl_top, "watch processes, strategies and the way of evidence"},
	{"trace", ctl_trace, "show a kept run node by node"},
	{"verify-points", ctl_verify_points,
		"check wallets, ledger and aggregates against the awards"},
};

static struct {
	bool json;
} self;

static void usage(FILE *to)
{
	fprintf(to, "usage: gamectl [-c file] [-o section.key=value] [--json] "
		    "command [argument ...]\n"
		    "       gamectl -V | -h\n");
	for (size_t i = 0; i < NELEM(commands); i++)
		fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].help);
}

bool ctl_json(void)
{
	return self.json;
}

/* Names come from whoever may write a strategy, an event or a file. */
static void put(FILE *to, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

static void put(FILE *to, const char *fmt, va_list ap)
{
	size_t len = strlen(fmt), before = strspn(fmt, "\n"), after = 0;
	struct buf text, out;

	while (after < len - before && fmt[len - 1 - after] == '\n')
		after++;
	buf_init(&text, 0);
	buf_init(&out, 0);
	buf_vprintf(&text, fmt, ap);
	buf_add(&out, fmt, before);
	buf_add_visible(
		&out, (struct str){text.p + before, text.len - before - after});
	buf_add(&out, fmt + len - after, after);
	fwrite(out.p, 1, out.len, to);
	buf_fini(&out);
	buf_fini(&text);
}

static void complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(stderr, fmt, ap);
	va_end(ap);
}

void ctl_print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(stdout, fmt, ap);
	va_end(ap);
}

int ctl_fail(const struct err *err)
{
	complain("gamectl: %s\n", err->text);
	return 1;
}

int ctl_usage(const char *text)
{
	fprintf(stderr, "usage: gamectl %s\n", text);
	return 2;
}

struct json_out *ctl_line_start(struct ctl_line *l)
{
	buf_init(&l->b, 0);
	json_out_init(&l->o, &l->b);
	json_out_obj(&l->o);
	return &l->o;
}

void ctl_line_end(struct ctl_line *l)
{
	json_out_obj_end(&l->o);
	buf_add_char(&l->b, '\n');
	fwrite(l->b.p, 1, l->b.len, stdout);
	buf_fini(&l->b);
}

void ctl_kv_json(struct json_out *o, const char *key, const char *json)
{
	json_out_key(o, key);
	if (json)
		json_out_raw(o, str_from(json));
	else
		json_out_null(o);
}

struct db_sync *ctl_db_open(const struct conf *conf)
{
	struct db_sync *db;
	struct err err;
	struct buf conninfo;

	buf_init(&conninfo, 0);
	conf_db_conninfo(conf, &conninfo);
	db = db_sync_open(conninfo.p, &err);
	buf_fini(&conninfo);
	if (!db)
		(void)ctl_fail(&err);
	return db;
}

/* --json may stand anywhere, since people append it. */
static int take_json(int argc, char **argv)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			self.json = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

static int run(const char *name, int argc, char **argv, const struct conf *conf)
{
	for (size_t i = 0; i < NELEM(commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc, argv, conf);
	complain("gamectl: there is no command %s\n", name);
	usage(stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	static struct conf conf;
	char *assignments[ASSIGNMENTS_MAX];
	unsigned assignments_cnt = 0;
	const char *path = NULL;
	struct err err;
	int c, status;

	log_init("ctl", -1);
	log_set_fd(STDERR_FILENO);
	log_set_level(LOG_L_WARN);
	argc = take_json(argc, argv);
	while ((c = getopt_long(argc, argv, "+c:ho:V", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case 'o':
			if (assignments_cnt == ASSIGNMENTS_MAX) {
				fprintf(stderr, "gamectl: too many -o\n");
				return 2;
			}
			assignments[assignments_cnt++] = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			puts("gamectl " GAMED_VERSION);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	if (conf_load(&conf, path, assignments, assignments_cnt, &err) < 0) {
		(void)ctl_fail(&err);
		return 2;
	}
	argc -= optind;
	argv += optind;
	optind = 0; /* commands have options of their own, in any place */
	status = run(argv[0], argc, argv, &conf);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "gamectl: cannot write: %s\n", strerror(errno));
		return 1;
	}
	return status;
}
