/*
 * svc_cache.h - a worker's own copy of what every award needs: the task with
 * its game, and the stored strategy, compiled.
 *
 * An entry is good while the generation of its objects stands (shm.h, bumped
 * by whoever changes them) and for at most 5 s, or 15 minutes while Postgres
 * is away.  One load serves everyone who waits for it; what does not exist is
 * not remembered.  Bounded, by entries and, for programs, by
 * dsl.program_cache_bytes: the entry used longest ago goes first, and a
 * program larger than that is not kept.
 *
 * Values are immutable and counted: whoever got one holds it until
 * svc_*_unref, whatever the cache does meanwhile.
 */
#ifndef SVC_SVC_CACHE_H
#define SVC_SVC_CACHE_H

#include "base/uuid.h"
#include "dsl/dsl_run.h"
#include "json/json_in.h"
#include "shm/shm.h"

struct app;
struct conf;
struct svc_cache;

#define SVC_KIND_TEXT_MAX 48 /* "strategy:" and a uuid */

struct svc_target {
	unsigned refs;
	struct uuid game_id;
	struct str external_game;
	struct str owner_key, owner_subject; /* p NULL: none */
	bool has_task;
	struct uuid task_id;
	struct str external_task;
	struct str strategy_id;           /* as the task names it */
	char game_key[SVC_KIND_TEXT_MAX]; /* names of the generations */
	char task_key[SVC_KIND_TEXT_MAX];
	uint32_t game_gen, task_gen;
	char text[]; /* the strings above */
};

struct svc_strategy {
	unsigned refs;
	struct uuid id;
	char id_text[UUID_TEXT_LEN + 1];
	int32_t version;
	bool is_extend;
	struct str realm, name, parent;
	char ast_sha256[65];
	struct dsl_program *prog;     /* NULL: none, or broken */
	struct metric_program counts; /* claimed by the first run */
	bool is_broken;               /* the stored program does not pass */
	struct dsl_error fault;       /* then */
	int64_t updated_us;
	char gen_key[SVC_KIND_TEXT_MAX];
	uint32_t gen;
	struct arena arena; /* of the strings and of fault */
};

/* Limits of the language as configured. */
struct dsl_limits svc_dsl_limits(const struct conf *conf);

/* A stored program; what it was allowed to be may have been more than now. */
int svc_ast_read(struct arena *a, struct str text, struct jv *ast_r,
	struct json_err *err_r) MUST_CHECK;
/* What an award by the program carries; false: it cannot be read. */
bool svc_ast_hash(struct str text, char hex_r[65]) MUST_CHECK;

struct svc_cache *svc_cache_new(struct app *app);
void svc_cache_free(struct svc_cache **c);

enum svc_load {
	SVC_LOAD_OK,
	SVC_LOAD_PENDING, /* the callback will tell */
	SVC_LOAD_NONE,    /* it does not exist */
	SVC_LOAD_FAILED   /* the database cannot tell now */
};

/* Storage of a caller that waits for a load; one use at a time. */
struct svc_wait {
	/* v is NULL unless SVC_LOAD_OK; the receiver owns the reference. */
	void (*cb)(struct svc_wait *w, enum svc_load how, void *v);
	void *arg;
	struct svc_wait *next;
};

/*
 * SVC_LOAD_OK: *v_r is the value.  SVC_LOAD_PENDING: w->cb runs later, once.
 * Else SVC_LOAD_FAILED.  The bytes of the key are copied.
 */
enum svc_load svc_cache_target(struct svc_cache *c, const struct uuid *game_id,
	struct str external_task, struct svc_wait *w,
	struct svc_target **v_r) MUST_CHECK;
enum svc_load svc_cache_strategy(struct svc_cache *c, const struct uuid *id,
	struct svc_wait *w, struct svc_strategy **v_r) MUST_CHECK;

void svc_target_unref(struct svc_target **t);
void svc_strategy_unref(struct svc_strategy **s);

#endif
