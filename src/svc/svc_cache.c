/*
 * svc_cache.c - see svc_cache.h.  Runs in workers; called by the award path.
 *
 * The generation of an object is read before it is loaded: a change that
 * commits while the load is on the wire makes the entry stale at once.  The
 * id of a task is known only from its first load, so there the age limit
 * alone closes that gap.
 */
#include "svc/svc_cache.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "shm/shm.h"
#include "store/store_target.h"
#include "svc/app.h"
#include "svc/svc_lru.h"

enum {
	TARGETS_MAX = 8192,
	STRATEGIES_MAX = 256,
	AGE_MAX_MS = 5000,         /* not served any more */
	AGE_SOFT_MS = 3000,        /* served, and loaded again meanwhile */
	AGE_AWAY_MS = 900000,      /* the first while Postgres is away */
	STORED_NODES_MAX = 100000, /* the most that dsl.max_nodes can be */
	STORED_DEPTH_MAX = 256,    /* the same of dsl.max_depth */
	TASK_BYTES_MAX = 255       /* of an external id, checked before */
};

struct svc_cache {
	struct app *app;
	struct svc_lru targets;    /* game id and external task id */
	struct svc_lru strategies; /* id */
};

static uint32_t generation(const char *key)
{
	return shm_generation(str_from(key));
}

/* ---- values --------------------------------------------------------- */

void svc_target_unref(struct svc_target **t)
{
	struct svc_target *v = *t;

	*t = NULL;
	if (v && --v->refs == 0)
		free(v);
}

void svc_strategy_unref(struct svc_strategy **s)
{
	struct svc_strategy *v = *s;

	*s = NULL;
	if (v == NULL || --v->refs > 0)
		return;
	dsl_program_unref(&v->prog);
	arena_fini(&v->arena);
	free(v);
}

static void target_free(void *val)
{
	struct svc_target *t = val;

	svc_target_unref(&t);
}

static void strategy_free(void *val)
{
	struct svc_strategy *s = val;

	svc_strategy_unref(&s);
}

struct svc_cache *svc_cache_new(struct app *app)
{
	struct svc_cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		fatal("out of memory for the caches");
	c->app = app;
	svc_lru_init(&c->targets, TARGETS_MAX, SIZE_MAX, target_free);
	svc_lru_init(&c->strategies, STRATEGIES_MAX,
		(size_t)app->conf->dsl_program_cache_bytes, strategy_free);
	return c;
}

void svc_cache_free(struct svc_cache **c)
{
	svc_lru_fini(&(*c)->targets);
	svc_lru_fini(&(*c)->strategies);
	free(*c);
	*c = NULL;
}

/* ---- counting ------------------------------------------------------- */

static void count_entries(const struct svc_cache *c)
{
	metric_set(M_CACHE_TASK_ENTRIES, c->targets.cnt);
	metric_set(M_CACHE_PROGRAM_ENTRIES, c->strategies.cnt);
	metric_set(M_CACHE_PROGRAM_BYTES, c->strategies.bytes);
}

static void drop(struct svc_cache *c, struct svc_lru *l, struct svc_slot *slot)
{
	svc_lru_drop(l, slot);
	count_entries(c);
}

static void count_lookup(
	const struct svc_cache *c, bool is_hit, enum metric_id hit)
{
	_Static_assert(M_CACHE_TASK_MISS == M_CACHE_TASK_HIT + 1 &&
			       M_CACHE_PROGRAM_MISS == M_CACHE_PROGRAM_HIT + 1,
		"a miss behind its hit");
	metric_inc(is_hit ? hit : hit + 1);
	if (!is_hit)
		count_entries(c);
}

/* ---- waiting -------------------------------------------------------- */

static void slot_wait(struct svc_slot *s, struct svc_wait *w)
{
	w->next = s->waiters;
	s->waiters = w;
}

static struct svc_wait *load_end(struct svc_slot *s)
{
	struct svc_wait *waiters = s->waiters;

	s->is_loading = false;
	s->waiters = NULL;
	return waiters;
}

/* refs is the count of val, which the caller holds meanwhile. */
static void wake(
	struct svc_wait *waiters, enum svc_load how, void *val, unsigned *refs)
{
	struct svc_wait *next;

	for (; waiters; waiters = next) {
		next = waiters->next;
		if (val)
			++*refs;
		waiters->cb(waiters, how, val);
	}
}

enum freshness { FRESH, AGING, STALE };

/*
 * While Postgres is away nothing can be loaded, and nobody can change what was:
 * scoring that needs no more than this goes on.  After it all is loaded again,
 * since stats moves every generation.
 */
static enum freshness slot_age(const struct svc_slot *s)
{
	uint64_t age_ms = clock_mono_ms() - s->loaded_ms;

	if (age_ms <= AGE_AWAY_MS && !db_pool_healthy(s->cache->app->db))
		return FRESH;
	if (age_ms > AGE_MAX_MS)
		return STALE;
	return age_ms > AGE_SOFT_MS ? AGING : FRESH;
}

static void kind_key(
	char out[SVC_KIND_TEXT_MAX], const char *kind, const struct uuid *id)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_print(id, text);
	snprintf(out, SVC_KIND_TEXT_MAX, "%s:%s", kind, text);
}

/* ---- targets -------------------------------------------------------- */

static enum freshness target_freshness(const struct svc_slot *s)
{
	const struct svc_target *t = s->val;

	if (t == NULL || t->game_gen != generation(t->game_key) ||
		t->task_gen != generation(t->task_key))
		return STALE;
	return slot_age(s);
}

static struct str keep(char **at, struct str s)
{
	struct str copy = {s.p ? *at : NULL, s.len};

	if (s.len)
		memcpy(*at, s.p, s.len);
	*at += s.len;
	return copy;
}

static struct svc_target *target_make(
	const struct svc_slot *slot, const struct store_target *row)
{
	struct str task = {slot->key + sizeof(struct uuid),
		slot->key_len - sizeof(struct uuid)};
	struct svc_target *t;
	char *at;

	t = calloc(1, sizeof(*t) + row->external_game.len + row->owner_key.len +
			      row->owner_subject.len + task.len +
			      row->strategy_id.len);
	if (t == NULL)
		fatal("out of memory for a cache");
	t->refs = 1;
	memcpy(&t->game_id, slot->key, sizeof(t->game_id));
	at = t->text;
	t->external_game = keep(&at, row->external_game);
	t->owner_key = keep(&at, row->owner_key);
	t->owner_subject = keep(&at, row->owner_subject);
	t->external_task = keep(&at, task);
	t->strategy_id = keep(&at, row->strategy_id);
	t->has_task = row->has_task;
	t->task_id = row->task_id;
	kind_key(t->game_key, "game", &t->game_id);
	kind_key(t->task_key, "task", &t->task_id);
	t->game_gen = slot->gen;
	t->task_gen = generation(t->task_key);
	return t;
}

static void target_on_reply(struct store_op *op, const struct db_reply *rep)
{
	struct svc_slot *slot = op->arg;
	struct svc_wait *waiters = load_end(slot);
	struct svc_target *t = NULL;
	enum svc_load how = SVC_LOAD_OK;
	struct store_target row;

	if (rep->outcome != DB_OK)
		how = SVC_LOAD_FAILED;
	else if (!store_target_row(rep->res[0], &row))
		how = SVC_LOAD_NONE;
	else
		t = target_make(slot, &row);
	if (t && t->has_task) {
		target_free(slot->val);
		slot->val = t;
		t->refs++;
		slot->loaded_ms = clock_mono_ms();
	} else if (how != SVC_LOAD_FAILED || slot->val == NULL) {
		drop(slot->cache, &slot->cache->targets, slot);
	}
	wake(waiters, how, t, t ? &t->refs : NULL);
	svc_target_unref(&t);
}

static void target_load(struct svc_cache *c, struct svc_slot *slot)
{
	struct uuid game_id;
	char key[SVC_KIND_TEXT_MAX];
	struct str task = {
		slot->key + sizeof(game_id), slot->key_len - sizeof(game_id)};

	memcpy(&game_id, slot->key, sizeof(game_id));
	kind_key(key, "game", &game_id);
	slot->gen = generation(key);
	slot->is_loading = true;
	slot->cache = c;
	store_op_init(&slot->op, target_on_reply, slot);
	store_target_get(&slot->op, c->app->db, &game_id, task);
}

enum svc_load svc_cache_target(struct svc_cache *c, const struct uuid *game_id,
	struct str external_task, struct svc_wait *w, struct svc_target **v_r)
{
	char key[sizeof(*game_id) + TASK_BYTES_MAX];
	struct svc_slot *slot;
	enum freshness age;

	assert(external_task.len <= TASK_BYTES_MAX);
	memcpy(key, game_id, sizeof(*game_id));
	memcpy(key + sizeof(*game_id), external_task.p, external_task.len);
	slot = svc_lru_get(&c->targets,
		(struct str){key, sizeof(*game_id) + external_task.len});
	if (slot == NULL)
		return SVC_LOAD_FAILED;
	age = target_freshness(slot);
	count_lookup(c, age != STALE, M_CACHE_TASK_HIT);
	if (age == STALE)
		slot_wait(slot, w);
	if (age != FRESH && !slot->is_loading)
		target_load(c, slot);
	if (age == STALE)
		return SVC_LOAD_PENDING;
	*v_r = slot->val;
	(*v_r)->refs++;
	return SVC_LOAD_OK;
}

/* ---- strategies ----------------------------------------------------- */

struct dsl_limits svc_dsl_limits(const struct conf *conf)
{
	return (struct dsl_limits){
		.max_nodes = (int)conf->dsl_max_nodes,
		.max_depth = (int)conf->dsl_max_depth,
		.timeout_ms = (int)conf->dsl_timeout_ms,
		.max_string_bytes = (size_t)conf->dsl_max_string_bytes,
	};
}

static enum freshness strategy_freshness(const struct svc_slot *s)
{
	const struct svc_strategy *v = s->val;

	if (v == NULL || v->gen != generation(v->gen_key))
		return STALE;
	return slot_age(s);
}

int svc_ast_read(struct arena *a, struct str text, struct jv *ast_r,
	struct json_err *err_r)
{
	static const struct json_limits limits = {
		.depth = 512, .values = 4000000, .string_bytes = 8 << 20};

	return json_parse(a, text, &limits, ast_r, err_r);
}

bool svc_ast_hash(struct str text, char hex_r[65])
{
	struct arena scratch;
	struct json_err err;
	struct jv ast;
	bool is_read;

	arena_init(&scratch, 0);
	is_read = svc_ast_read(&scratch, text, &ast, &err) == 0;
	if (is_read)
		dsl_hash(&ast, hex_r);
	arena_fini(&scratch);
	return is_read;
}

/* A stored program that is no JSON: someone wrote the column by hand. */
static void set_unreadable(struct svc_strategy *s, const char *why)
{
	s->is_broken = true;
	memset(&s->fault, 0, sizeof(s->fault));
	s->fault.cls = DSL_CLASS_VALIDATION;
	s->fault.kind = "unreadable";
	snprintf(s->fault.message, sizeof(s->fault.message),
		"the stored program cannot be read: %s", why);
}

/* Sets prog, ast_sha256 and is_broken; what a fault mentions stays alive in
 * the arena. */
static void strategy_compile(
	struct svc_strategy *s, struct str text, const struct conf *conf)
{
	struct dsl_limits lim = svc_dsl_limits(conf);
	struct json_err jerr;
	struct jv ast;

	metric_inc(M_PROGRAM_COMPILES);
	/* limits lowered since it was stored are met by its runs (dsl.md 13) */
	lim.max_nodes = STORED_NODES_MAX;
	lim.max_depth = STORED_DEPTH_MAX;

	if (svc_ast_read(&s->arena, text, &ast, &jerr) != 0) {
		set_unreadable(s, jerr.text);
		return;
	}
	if (ast.type == JV_NULL)
		return;
	dsl_hash(&ast, s->ast_sha256);
	if (dsl_load(&s->arena, &ast, &lim, &s->prog, &s->fault) != 0) {
		s->is_broken = true;
		return;
	}
	arena_fini(&s->arena);
	arena_init(&s->arena, 0);
}

static struct str arena_keep(struct arena *a, struct str s)
{
	return (struct str){s.p ? arena_strndup(a, s.p, s.len) : NULL, s.len};
}

static struct svc_strategy *strategy_make(const struct svc_slot *slot,
	const struct store_strategy *row, const struct conf *conf)
{
	struct svc_strategy *s = calloc(1, sizeof(*s));

	if (s == NULL)
		fatal("out of memory for a strategy");
	s->refs = 1;
	memcpy(&s->id, slot->key, sizeof(s->id));
	uuid_print(&s->id, s->id_text);
	arena_init(&s->arena, 0);
	if (row->ast_text.p)
		strategy_compile(s, row->ast_text, conf);
	if (s->is_broken)
		log_warnx("strategy %s does not pass its check: %s", s->id_text,
			s->fault.message);
	s->version = row->version;
	s->is_extend = row->is_extend;
	s->realm = arena_keep(&s->arena, row->realm);
	metric_dsl_known(s->realm);
	s->name = arena_keep(&s->arena, row->name);
	s->parent = arena_keep(&s->arena, row->parent);
	s->updated_us = row->updated_us;
	kind_key(s->gen_key, "strategy", &s->id);
	s->gen = slot->gen;
	return s;
}

static size_t strategy_bytes(const struct svc_strategy *s)
{
	return sizeof(*s) + s->arena.used_bytes +
	       (s->prog ? dsl_program_bytes(s->prog) : 0);
}

/* The value that the reply stands for, with a reference; NULL: none.  The
 * slot is gone when it is too large to be kept. */
static struct svc_strategy *strategy_of_reply(
	struct svc_slot *slot, const struct db_res *res)
{
	struct svc_cache *c = slot->cache;
	struct svc_strategy *s = slot->val;
	struct store_strategy row;

	if (!store_strategy_row(res, &row))
		return NULL;
	if (!row.is_same || s == NULL) {
		s = strategy_make(slot, &row, c->app->conf);
		strategy_free(slot->val);
		slot->val = s;
	}
	s->refs++;
	slot->loaded_ms = clock_mono_ms();
	svc_lru_charge(&c->strategies, slot, strategy_bytes(s));
	count_entries(c);
	return s;
}

static void strategy_on_reply(struct store_op *op, const struct db_reply *rep)
{
	struct svc_slot *slot = op->arg;
	struct svc_wait *waiters = load_end(slot);
	struct svc_strategy *s = NULL;
	enum svc_load how = SVC_LOAD_FAILED;

	if (rep->outcome == DB_OK) {
		s = strategy_of_reply(slot, rep->res[0]);
		how = s ? SVC_LOAD_OK : SVC_LOAD_NONE;
	}
	if (s == NULL && (how == SVC_LOAD_NONE || slot->val == NULL))
		drop(slot->cache, &slot->cache->strategies, slot);
	wake(waiters, how, s, s ? &s->refs : NULL);
	svc_strategy_unref(&s);
}

static void strategy_load(struct svc_cache *c, struct svc_slot *slot)
{
	const struct svc_strategy *old = slot->val;
	char key[SVC_KIND_TEXT_MAX];
	struct uuid id;

	memcpy(&id, slot->key, sizeof(id));
	kind_key(key, "strategy", &id);
	slot->gen = generation(key);
	slot->is_loading = true;
	slot->cache = c;
	store_op_init(&slot->op, strategy_on_reply, slot);
	/* a notice says that something changed: then read all of it */
	store_strategy_get(&slot->op, c->app->db, &id,
		old && old->gen == slot->gen ? old->updated_us
					     : STORE_STRATEGY_UNKNOWN);
}

enum svc_load svc_cache_strategy(struct svc_cache *c, const struct uuid *id,
	struct svc_wait *w, struct svc_strategy **v_r)
{
	struct svc_slot *slot = svc_lru_get(&c->strategies,
		(struct str){(const char *)id->b, sizeof(id->b)});
	enum freshness age;

	if (slot == NULL)
		return SVC_LOAD_FAILED;
	age = strategy_freshness(slot);
	count_lookup(c, age != STALE, M_CACHE_PROGRAM_HIT);
	if (age == STALE)
		slot_wait(slot, w);
	if (age != FRESH && !slot->is_loading)
		strategy_load(c, slot);
	if (age == STALE)
		return SVC_LOAD_PENDING;
	*v_r = slot->val;
	(*v_r)->refs++;
	return SVC_LOAD_OK;
}
