/*
 * dsl_error.h - one typed error of the strategy language (dsl.md 7, 12, 21).
 */
#ifndef DSL_DSL_ERROR_H
#define DSL_DSL_ERROR_H

#include "base/arena.h"
#include "base/str.h"
#include "json/json_val.h"

enum dsl_class {
	DSL_CLASS_VALIDATION, /* DslValidationError, HTTP 400 */
	DSL_CLASS_EXECUTION,  /* DslExecutionError, HTTP 400 */
	DSL_CLASS_LIMIT,      /* DslLimitExceededError */
	DSL_CLASS_TIMEOUT     /* DslTimeoutError */
};

/* `status` of a run, as metrics and the execution log name it. */
enum dsl_status {
	DSL_STATUS_OK,
	DSL_STATUS_ERROR,
	DSL_STATUS_TIMEOUT,
	DSL_STATUS_LIMIT
};

#define DSL_ERROR_PARAMS_MAX 4
#define DSL_ERROR_INFO_MAX   2

struct dsl_error {
	enum dsl_class cls;
	const char *kind;   /* name used in dsl.md, static */
	const char *code;   /* stable code, static; NULL when it has none */
	struct str node_id; /* in the program's or the run's arena; p may be
				 NULL */
	struct {
		const char *name; /* static */
		struct jv val;
	} params[DSL_ERROR_PARAMS_MAX]; /* in wire order, nodeId first */
	unsigned params_cnt;
	struct jv info;    /* facts for the message; see vectors */
	char message[256]; /* one English sentence, never empty */
};

const char *dsl_class_name(enum dsl_class c);
const char *dsl_status_name(enum dsl_status s);
/* What the execution log stores as errorCode (dsl.md 16); never NULL. */
const char *dsl_error_log_code(const struct dsl_error *e);
enum dsl_status dsl_error_status(const struct dsl_error *e);

/* Appends; silently ignored when full or when the arena is spent. */
void dsl_error_param(struct dsl_error *e, const char *name, struct jv val);
void dsl_error_info(
	struct dsl_error *e, struct arena *a, const char *name, struct jv val);

#endif
