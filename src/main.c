/*
 * main.c - argv of gamed: check, print, or hand over to the master; nothing
 * else (gamed(8)).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "master/master.h"

#define ASSIGNMENTS_MAX 64

enum action { ACT_SERVE, ACT_CHECK, ACT_PRINT };

static struct {
	struct conf conf;
	char *assignments[ASSIGNMENTS_MAX];
	unsigned assignments_cnt;
	char workers[32];
} self;

static void usage(FILE *out)
{
	fputs("usage: gamed [-c file] [-o section.key=value] [-w workers] "
	      "[-t | -T]\n"
	      "       gamed -V | -h\n"
	      "  -c file   read this file instead of " CONF_DEFAULT_PATH "\n"
	      "  -o ...    one setting, may be repeated; see gamed.yaml(5)\n"
	      "  -w n      number of worker processes\n"
	      "  -t        check the configuration and leave\n"
	      "  -T        print the settings in force and leave\n"
	      "  -V        print the version; --version too\n"
	      "  -h        print this; --help too\n",
		out);
}

static int complain(const char *text)
{
	fprintf(stderr, "gamed: %s\n", text);
	return 2;
}

static int add_assignment(char *text)
{
	if (self.assignments_cnt == ASSIGNMENTS_MAX)
		return -1;
	self.assignments[self.assignments_cnt++] = text;
	return 0;
}

static int print_conf(void)
{
	struct buf out;
	bool done;

	buf_init(&out, 0);
	conf_print(&self.conf, &out);
	done = fwrite(out.p, 1, out.len, stdout) == out.len &&
	       fflush(stdout) == 0;
	buf_fini(&out);
	return done ? 0 : 1;
}

static int act(enum action action, struct master_args *args)
{
	struct err err;

	args->assignments = self.assignments;
	args->assignments_cnt = self.assignments_cnt;
	if (conf_load(&self.conf, args->conf_path, self.assignments,
		    self.assignments_cnt, &err) < 0)
		return complain(err.text);
	switch (action) {
	case ACT_CHECK:
		puts("the configuration is good");
		return 0;
	case ACT_PRINT:
		return print_conf();
	case ACT_SERVE:
		break;
	}
	return master_run(&self.conf, args);
}

/* Their default is the end; they wait until the master catches them. */
static void hold_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	struct master_args args = {0};
	enum action action = ACT_SERVE;
	int opt;

	hold_signals();
	while ((opt = getopt_long(argc, argv, "c:o:w:tTVh", longs, NULL)) !=
		-1) {
		switch (opt) {
		case 'c':
			args.conf_path = optarg;
			break;
		case 'w':
			snprintf(self.workers, sizeof(self.workers),
				"server.workers=%s", optarg);
			optarg = self.workers;
			/* fall through */
		case 'o':
			if (add_assignment(optarg) < 0)
				return complain("too many settings");
			break;
		case 't':
			action = ACT_CHECK;
			break;
		case 'T':
			action = ACT_PRINT;
			break;
		case 'V':
			puts("gamed " GAMED_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc)
		return complain("unexpected argument, see gamed -h");
	return act(action, &args);
}
