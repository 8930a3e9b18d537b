/*
 * ctl_main.c - gamectl: finds the command and runs it.  A command is a row of
 * the table and a file ctl_<command>.c.
 */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, const struct conf *conf);
	const char *help;
} commands[] = {
	{"dsl", ctl_dsl, "check or run programs given as JSON lines"},
};

static void usage(FILE *to)
{
	fprintf(to, "usage: gamectl command [argument ...]\n");
	for (size_t i = 0; i < NELEM(commands); i++)
		fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < NELEM(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1, NULL);
	usage(stderr);
	return 2;
}
