/*
 * ctl_strategy.h - what the files of `gamectl strategy` share: a strategy as
 * a file or the database has it, ready to be shown or run.
 */
#ifndef CTL_CTL_STRATEGY_H
#define CTL_CTL_STRATEGY_H

#include "base/arena.h"
#include "conf/conf.h"
#include "dsl/dsl_run.h"

struct ctl_strategy {
	struct str name; /* p NULL: none */
	struct str type;
	bool is_extend;
	struct str parent; /* p NULL: none */
	struct jv norm;    /* the program with its ids */
};

struct dsl_limits ctl_dsl_limits(const struct conf *conf);
/* Whole file into the arena. */
int ctl_read_file(struct arena *a, const char *path, struct str *text_r,
	struct err *err_r) MUST_CHECK;
/*
 * A file with a program, or with what the API takes and gives: astJson, type,
 * parentStrategyId, name.  *dsl_r is set when the language refuses it: then
 * err_r has file, node and sentence in one line.
 */
int ctl_strategy_load(struct arena *a, const char *path,
	const struct conf *conf, struct ctl_strategy *s_r,
	struct dsl_error *dsl_r, struct err *err_r) MUST_CHECK;
/* gamectl strategy test; 0 when all cases pass. */
int ctl_strategy_test(const char *path, const struct conf *conf);

#endif
