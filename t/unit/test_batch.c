/*
 * test_batch.c - the awards of users whose rows are locked elsewhere: held in
 * a queue of their own that is bounded, keeps its order and lets no award wait
 * past its deadline, while everybody else's go on.  Against a real Postgres.
 */
#include <event2/event.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "shm/shm.h"
#include "sql_help.h"
#include "svc/app.h"
#include "svc/svc_batch.h"

#define LONG_MS  20000 /* nobody waits so long here */
#define SHORT_MS 300
#define AWARDS   8

struct rig {
	struct conf conf;
	struct app app;
	struct arena arena;
	struct db_sync *db; /* of the one who locks rows */
	unsigned ended_cnt;
};

struct award {
	struct svc_write w;
	char key[16];
	struct rig *rig;
	unsigned place; /* in the order of the ends, from 1; 0: not ended */
};

static void turn(struct rig *r)
{
	/* wakes the loop when nothing else does */
	struct timeval tv = {.tv_usec = 5000};

	event_base_loopexit(r->app.base, &tv);
	event_base_dispatch(r->app.base);
}

/* Runs the loop until the condition holds; 10 s without it is a failure. */
#define RUN_UNTIL(r, cond)                                                    \
	do {                                                                  \
		uint64_t end_ = clock_mono_ms() + 10000;                      \
		while (!(cond)) {                                             \
			cr_assert_lt(clock_mono_ms(), end_, "never: " #cond); \
			turn(r);                                              \
		}                                                             \
	} while (0)

static void rig_open(struct rig *r, const char *name, unsigned write_conns,
	unsigned queue_max, unsigned lock_timeout_ms)
{
	static char info[256];
	struct db_pool_conf pool = {.conninfo = info,
		.app_name = "test-batch",
		.read_conns = 1,
		.write_conns = write_conns,
		.pipeline_depth = 16,
		.queue_max = 100,
		.deadline_ms = LONG_MS + 5000,
		.lock_timeout_ms = lock_timeout_ms};

	memset(r, 0, sizeof(*r));
	log_set_level(LOG_L_ERROR);
	r->db = make_db(name);
	snprintf(info, sizeof(info),
		"host=%s user=postgres dbname=%s sslmode=disable",
		getenv(CLUSTER_ENV), name);
	arena_init(&r->arena, 1 << 20);
	r->conf.db_write_connections = write_conns;
	r->conf.db_queue_max = queue_max;
	r->conf.db_lock_timeout_ms = lock_timeout_ms;
	r->conf.award_batch_max = 2;
	r->conf.conversion_rate = 100;
	r->app.conf = &r->conf;
	r->app.base = event_base_new();
	r->app.db = db_pool_new(r->app.base, &pool);
	r->app.batch = svc_batch_new(&r->app);
	RUN_UNTIL(r, db_pool_healthy(r->app.db));
}

static void rig_close(struct rig *r)
{
	svc_batch_free(&r->app.batch);
	db_pool_free(&r->app.db);
	event_base_free(r->app.base);
	arena_fini(&r->arena);
	db_sync_close(&r->db);
}

static void on_end(struct svc_write *w)
{
	struct award *a = w->arg;

	cr_expect_eq(a->place, 0, "%s: ended twice", a->key);
	a->place = ++a->rig->ended_cnt;
}

/* As svc_batch_submit; the key is the user's name and a number. */
static int submit(struct rig *r, struct award *a, const char *user,
	unsigned number, uint64_t wait_ms)
{
	struct store_award *s = &a->w.award;

	memset(a, 0, sizeof(*a));
	a->rig = r;
	snprintf(a->key, sizeof(a->key), "%s-%u", user, number);
	uuid_make_v7(&s->id);
	uuid_make_v7(&s->new_id);
	cr_assert_eq(uuid_parse(STR("00000000-0000-4000-8000-000000000001"),
			     &s->task_id),
		0);
	s->user = str_from(user);
	s->key = str_from(a->key);
	s->case_name = STR("case");
	s->data_json = STR("{}");
	s->strategy_id = STR("default");
	s->strategy_version = STORE_VERSION_BUILTIN;
	s->points = 1;
	a->w.arena = &r->arena;
	a->w.deadline_ms = clock_mono_ms() + wait_ms;
	a->w.cb = on_end;
	a->w.arg = a;
	return svc_batch_submit(r->app.batch, &a->w);
}

static void must_submit(
	struct rig *r, struct award *a, const char *user, unsigned number)
{
	cr_assert_eq(submit(r, a, user, number, LONG_MS), 0, "%s", a->key);
}

static uint64_t sent_cnt(void)
{
	return metric_slot(0, M_AWARD_BATCHES);
}

/*
 * User "a" exists and its wallet is locked until unlock; `first` has found
 * that out, as alone in its group, and waits on the wire as a held one.
 */
static void lock(struct rig *r, struct award *first)
{
	uint64_t before;

	must_submit(r, first, "a", 99);
	RUN_UNTIL(r, first->place);
	cr_assert_eq(first->w.outcome, SVC_WRITE_DONE);
	script(r->db, "BEGIN; UPDATE wallet SET updated_at = now()");
	r->ended_cnt = 0;
	before = sent_cnt();
	must_submit(r, first, "a", 0);
	RUN_UNTIL(r, sent_cnt() == before + 2);
}

static void unlock(struct rig *r)
{
	script(r->db, "COMMIT");
}

static int64_t stored(struct rig *r, const char *user)
{
	char sql[128];

	snprintf(sql, sizeof(sql),
		"SELECT count(*) FROM userpoints WHERE \"idempotencyKey\" "
		"LIKE '%s-%%'",
		user);
	return number(r->db, sql);
}

Test(held, awards_keep_their_order_and_others_go_on, .timeout = 60)
{
	struct rig r;
	struct award a[AWARDS], b[AWARDS];

	rig_open(&r, "held_order", 2, 100, LONG_MS);
	lock(&r, &a[0]);
	for (unsigned i = 1; i < AWARDS; i++) {
		must_submit(&r, &a[i], "a", i);
		must_submit(&r, &b[i], i % 2 ? "b" : "c", i);
	}
	for (unsigned i = 1; i < AWARDS; i++) {
		RUN_UNTIL(&r, b[i].place);
		cr_expect_eq(b[i].w.outcome, SVC_WRITE_DONE);
	}
	cr_expect_eq(r.ended_cnt, AWARDS - 1, "only those of the others");
	unlock(&r);
	for (unsigned i = 0; i < AWARDS; i++) {
		RUN_UNTIL(&r, a[i].place);
		cr_expect_eq(a[i].w.outcome, SVC_WRITE_DONE);
		cr_expect_eq(
			a[i].place, AWARDS + i, "%s: %u", a[i].key, a[i].place);
	}
	cr_expect_eq(stored(&r, "a"), AWARDS + 1);
	rig_close(&r);
}

Test(held, an_award_is_not_written_after_its_deadline, .timeout = 60)
{
	struct rig r;
	struct award a[3];

	rig_open(&r, "held_late", 2, 100, LONG_MS);
	lock(&r, &a[0]);
	cr_assert_eq(submit(&r, &a[1], "a", 1, 30), 0);
	must_submit(&r, &a[2], "a", 2);
	RUN_UNTIL(&r, clock_mono_ms() > a[1].w.deadline_ms);
	unlock(&r);
	RUN_UNTIL(&r, r.ended_cnt == 3);
	cr_expect_eq(a[0].w.outcome, SVC_WRITE_DONE);
	cr_expect_eq(a[1].w.outcome, SVC_WRITE_LATER);
	cr_expect_eq(a[2].w.outcome, SVC_WRITE_DONE);
	cr_expect_eq(stored(&r, "a"), 3);
	rig_close(&r);
}

Test(held, awards_take_half_of_the_queue_at_most, .timeout = 60)
{
	struct rig r;
	struct award a[AWARDS], b[AWARDS];

	rig_open(&r, "held_bound", 2, 8, LONG_MS);
	lock(&r, &a[0]);
	for (unsigned i = 1; i <= 4; i++)
		must_submit(&r, &a[i], "a", i);
	cr_expect_eq(submit(&r, &a[5], "a", 5, LONG_MS), -1);
	for (unsigned i = 0; i < 4; i++)
		must_submit(&r, &b[i], "b", i);
	cr_expect_eq(submit(&r, &b[4], "b", 4, LONG_MS), -1, "all of it");
	RUN_UNTIL(&r, r.ended_cnt == 4);
	cr_expect_eq(stored(&r, "b"), 4);
	unlock(&r);
	RUN_UNTIL(&r, r.ended_cnt == 9);
	cr_expect_eq(stored(&r, "a"), 6, "there is room again");
	must_submit(&r, &a[5], "a", 5);
	RUN_UNTIL(&r, a[5].place);
	cr_expect_eq(a[5].w.outcome, SVC_WRITE_DONE);
	rig_close(&r);
}

/* With one connection for all the held ones give up sooner. */
static void stays_locked(const char *name, unsigned write_conns)
{
	struct rig r;
	struct award a[4], b[4];

	rig_open(&r, name, write_conns, 100, SHORT_MS);
	lock(&r, &a[0]);
	for (unsigned i = 1; i < 4; i++) {
		must_submit(&r, &a[i], "a", i);
		must_submit(&r, &b[i], "b", i);
	}
	RUN_UNTIL(&r, r.ended_cnt == 7);
	for (unsigned i = 0; i < 4; i++)
		cr_expect_eq(a[i].w.outcome, SVC_WRITE_LATER, "%s", a[i].key);
	for (unsigned i = 1; i < 4; i++)
		cr_expect_eq(b[i].w.outcome, SVC_WRITE_DONE, "%s", b[i].key);
	unlock(&r);
	cr_expect_eq(stored(&r, "a"), 1);
	must_submit(&r, &a[0], "a", 0);
	RUN_UNTIL(&r, a[0].place == 8);
	cr_expect_eq(a[0].w.outcome, SVC_WRITE_DONE, "it is asked again");
	rig_close(&r);
}

Test(held, awards_end_when_their_user_stays_locked, .timeout = 60)
{
	stays_locked("held_locked", 2);
}

Test(held, awards_end_on_the_only_connection_too, .timeout = 60)
{
	stays_locked("held_alone", 1);
}
