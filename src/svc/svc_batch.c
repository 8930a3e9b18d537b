/*
 * svc_batch.c - see svc_batch.h.  Runs in workers; called by svc_award.
 *
 * Fresh awards wait in one queue, failed writes as groups in another that is
 * served first.  As many groups are on the wire as there are connections for
 * writes; inside a statement the rows are ordered by user, so two groups may
 * hold awards of one user without a deadlock.
 *
 * A row that somebody else has locked must be waited for by its own user
 * only.  So a group waits for locks a short time; one that fails is sent
 * again by user, and a user whose group fails alone is remembered: its awards
 * are held in a queue of their own, from which one group at a time goes on the
 * wire and waits as long as a session may.
 */
#include "svc/svc_batch.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "db/db_sqlstate.h"
#include "shm/shm.h"
#include "svc/app.h"

enum {
	RETRIES_MAX = 3, /* of a serialisation failure or deadlock */
	RETRY_BASE_MS = 5,
	LOOKUPS_MAX = 2,           /* of one award whose fate is unknown */
	QUICK_LOCK_MS = 200,       /* wait of a group for locks */
	HELD_ALONE_MS = 20,        /* of held awards on the only connection */
	SUSPECTS_MAX = 64,         /* users remembered as locked */
	SUSPECT_MS = 10000,        /* for so long */
	GROUP_BYTES_MAX = 1 << 20, /* of data in a statement of several */
	KEEP_BYTES_MAX = 256 << 10 /* of buffer kept by an idle group */
};

/* Awards that are written together. */
struct group {
	struct svc_batch *owner;
	struct group *next;
	unsigned cnt;
	size_t data_bytes;
	unsigned retries_cnt;
	bool is_held; /* of one user whose rows were locked elsewhere */
	struct svc_write *writes[STORE_AWARDS_MAX];
	struct store_award *awards[STORE_AWARDS_MAX];
	struct store_award_write op;
	struct event *timer; /* before a retry */
};

/* A user whose rows were found locked; another with the same hash may share
 * its fate. */
struct suspect {
	uint64_t hash;
	uint64_t until_ms; /* 0: not in use */
};

struct svc_batch {
	struct app *app;
	struct event *pump_ev; /* runs once the turn's requests are in */
	struct svc_write *first, **lastp;     /* fresh awards */
	struct svc_write *held, **held_lastp; /* of suspects */
	unsigned waiting_cnt;                 /* fresh and held */
	unsigned held_cnt;
	struct group *again, **again_lastp; /* groups to be sent again */
	struct group *spare;                /* empty, to be used again */
	unsigned on_wire, on_wire_max;      /* groups */
	unsigned held_on_wire;
	bool held_turn;     /* with one connection they alternate */
	unsigned group_max; /* awards in a group */
	struct suspect suspects[SUSPECTS_MAX];
	unsigned suspects_cnt;
};

static void on_written(struct db_job *job, const struct db_reply *rep);

/* ---- groups --------------------------------------------------------- */

static void group_retry_on_timer(evutil_socket_t fd, short what, void *arg);

static struct group *group_new(struct svc_batch *b)
{
	struct group *g = b->spare;

	if (g) {
		b->spare = g->next;
	} else {
		g = calloc(1, sizeof(*g));
		if (g == NULL)
			fatal("out of memory for a batch of awards");
		g->owner = b;
		g->timer =
			event_new(b->app->base, -1, 0, group_retry_on_timer, g);
		if (g->timer == NULL)
			fatal("out of memory for a batch of awards");
	}
	g->next = NULL;
	g->cnt = 0;
	g->data_bytes = 0;
	g->retries_cnt = 0;
	g->is_held = false;
	return g;
}

static void group_done(struct group *g)
{
	store_award_write_shrink(&g->op, KEEP_BYTES_MAX);
	g->next = g->owner->spare;
	g->owner->spare = g;
}

static bool group_has_room(const struct group *g, const struct svc_write *w)
{
	if (g->cnt == 0)
		return true;
	return g->cnt < g->owner->group_max &&
	       g->data_bytes + w->award.data_json.len <= GROUP_BYTES_MAX;
}

static void group_add(struct group *g, struct svc_write *w)
{
	assert(g->cnt < STORE_AWARDS_MAX);
	g->data_bytes += w->award.data_json.len;
	g->writes[g->cnt] = w;
	g->awards[g->cnt] = &w->award;
	g->cnt++;
}

static void group_queue(struct group *g)
{
	struct svc_batch *b = g->owner;

	g->next = NULL;
	*b->again_lastp = g;
	b->again_lastp = &g->next;
}

/* Parts of at most `size` awards, queued; g is empty then. */
static void group_split(struct group *g, unsigned size)
{
	struct group *part = NULL;
	unsigned i;

	metric_inc(M_AWARD_SPLITS);
	for (i = 0; i < g->cnt; i++) {
		if (i % size == 0) {
			part = group_new(g->owner);
			part->is_held = g->is_held;
			group_queue(part);
		}
		group_add(part, g->writes[i]);
	}
	g->cnt = 0;
}

/* One part for each user, queued; g is empty then. */
static void group_split_users(struct group *g)
{
	struct group *parts[STORE_AWARDS_MAX];
	unsigned i, k, parts_cnt = 0;

	metric_inc(M_AWARD_SPLITS);
	for (i = 0; i < g->cnt; i++) {
		for (k = 0; k < parts_cnt; k++)
			if (str_eq(parts[k]->awards[0]->user,
				    g->awards[i]->user))
				break;
		if (k == parts_cnt) {
			parts[parts_cnt++] = group_new(g->owner);
			group_queue(parts[k]);
		}
		group_add(parts[k], g->writes[i]);
	}
	g->cnt = 0;
}

static bool group_is_of_one_user(const struct group *g)
{
	for (unsigned i = 1; i < g->cnt; i++)
		if (!str_eq(g->awards[i]->user, g->awards[0]->user))
			return false;
	return true;
}

/* ---- users whose rows are locked ------------------------------------- */

static uint64_t user_hash(struct str user)
{
	return str_hash(user, 0);
}

static struct suspect *suspect_find(struct svc_batch *b, struct str user)
{
	uint64_t hash, now_ms;

	if (b->suspects_cnt == 0)
		return NULL;
	hash = user_hash(user);
	now_ms = clock_mono_ms();
	for (unsigned i = 0; i < SUSPECTS_MAX; i++) {
		struct suspect *s = &b->suspects[i];

		if (s->until_ms != 0 && s->until_ms <= now_ms) {
			s->until_ms = 0;
			b->suspects_cnt--;
		}
		if (s->until_ms != 0 && s->hash == hash)
			return s;
	}
	return NULL;
}

/* In place of the one that would be forgotten first. */
static void suspect_add(struct svc_batch *b, struct str user)
{
	struct suspect *s = suspect_find(b, user);

	if (s == NULL) {
		s = &b->suspects[0];
		for (unsigned i = 1; i < SUSPECTS_MAX; i++)
			if (b->suspects[i].until_ms < s->until_ms)
				s = &b->suspects[i];
		b->suspects_cnt += s->until_ms == 0;
	}
	s->hash = user_hash(user);
	s->until_ms = clock_mono_ms() + SUSPECT_MS;
}

static void suspect_cleared(struct svc_batch *b, struct str user)
{
	struct suspect *s = suspect_find(b, user);

	if (s == NULL)
		return;
	s->until_ms = 0;
	b->suspects_cnt--;
}

static void count_waiting(struct svc_batch *b, int more)
{
	b->waiting_cnt += (unsigned)more;
	metric_level(L_QUEUE_AWARD, b->waiting_cnt);
}

static void hold(struct svc_batch *b, struct svc_write *w)
{
	w->next = NULL;
	*b->held_lastp = w;
	b->held_lastp = &w->next;
	b->held_cnt++;
	count_waiting(b, 1);
}

/* Takes *wp off the queue. */
static struct svc_write *unhold(struct svc_batch *b, struct svc_write **wp)
{
	struct svc_write *w = *wp;

	*wp = w->next;
	if (*wp == NULL)
		b->held_lastp = wp;
	b->held_cnt--;
	count_waiting(b, -1);
	return w;
}

/* g is empty then. */
static void group_hold(struct group *g)
{
	suspect_add(g->owner, g->awards[0]->user);
	for (unsigned i = 0; i < g->cnt; i++)
		hold(g->owner, g->writes[i]);
	g->cnt = 0;
}

/* Held awards of one user, as many as fit, taken off the queue. */
static struct group *held_group(struct svc_batch *b)
{
	struct group *g = group_new(b);
	struct svc_write **wp = &b->held;

	g->is_held = true;
	while (*wp != NULL) {
		struct svc_write *w = *wp;

		if ((g->cnt > 0 &&
			    !str_eq(w->award.user, g->awards[0]->user)) ||
			!group_has_room(g, w)) {
			wp = &w->next;
			continue;
		}
		group_add(g, unhold(b, wp));
	}
	return g;
}

/* ---- ends ----------------------------------------------------------- */

static void write_end(struct svc_write *w, enum svc_write_outcome outcome)
{
	w->outcome = outcome;
	w->cb(w);
}

static void group_end(struct group *g, enum svc_write_outcome outcome)
{
	for (unsigned i = 0; i < g->cnt; i++)
		write_end(g->writes[i], outcome);
}

/* Still locked: nobody waits for the same again. */
static void group_end_held(struct group *g)
{
	struct svc_batch *b = g->owner;
	struct str user = g->awards[0]->user;
	struct svc_write *ended = NULL, **wp = &b->held;

	suspect_add(b, user);
	while (*wp != NULL) {
		struct svc_write *w = *wp;

		if (!str_eq(w->award.user, user)) {
			wp = &w->next;
			continue;
		}
		unhold(b, wp);
		w->next = ended;
		ended = w;
	}
	/* a callback may submit the next award */
	while (ended != NULL) {
		struct svc_write *w = ended;

		ended = w->next;
		write_end(w, SVC_WRITE_LATER);
	}
	group_end(g, SVC_WRITE_LATER);
}

static void pump_later(struct svc_batch *b)
{
	event_active(b->pump_ev, 0, 0);
}

/* Sends one award again by itself. */
static void write_again(struct svc_write *w)
{
	struct group *g = group_new(w->batch);

	group_add(g, w);
	group_queue(g);
	pump_later(w->batch);
}

/* ---- look-up of a key ------------------------------------------------ */

static void on_found(struct store_op *op, const struct db_reply *rep)
{
	struct svc_write *w = op->arg;

	if (rep->outcome != DB_OK) {
		write_end(w, SVC_WRITE_LATER);
	} else if (store_award_found(w->arena, rep->res[0], &w->stored)) {
		bool is_mine = uuid_eq(&w->stored.id, &w->award.id);

		/* not known any more */
		w->award.made_user = false;
		w->award.has_user_id = false;
		w->award.created_us = w->stored.created_us;
		write_end(w, is_mine ? SVC_WRITE_DONE : SVC_WRITE_TAKEN);
	} else if (w->lookups_cnt < LOOKUPS_MAX &&
		   clock_mono_ms() < w->deadline_ms) {
		write_again(w);
	} else {
		write_end(w, SVC_WRITE_LATER);
	}
}

static void look_up(struct svc_write *w)
{
	w->lookups_cnt++;
	store_op_init(&w->op, on_found, w);
	store_award_find(&w->op, w->batch->app->db, &w->award.task_id,
		w->award.user, w->award.key);
}

static void group_look_up(struct group *g)
{
	for (unsigned i = 0; i < g->cnt; i++)
		look_up(g->writes[i]);
}

/* It was sent before, with its outcome unknown, and may be there by now. */
static bool may_be_stored(const struct svc_write *w)
{
	return w->lookups_cnt > 0 && w->lookups_cnt < LOOKUPS_MAX;
}

static void group_unavailable(struct group *g)
{
	for (unsigned i = 0; i < g->cnt; i++) {
		struct svc_write *w = g->writes[i];

		if (may_be_stored(w))
			look_up(w);
		else
			write_end(w, SVC_WRITE_LATER);
	}
}

/* ---- what a failure means -------------------------------------------- */

static void group_retry_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct group *g = arg;

	(void)fd;
	(void)what;
	group_queue(g);
	pump_later(g->owner);
}

/* 5, 10, 20 ms, each half to one and a half of it. */
static void group_retry(struct group *g)
{
	double ms = (RETRY_BASE_MS << g->retries_cnt) * (0.5 + rnd_unit());
	struct timeval tv = {0, (suseconds_t)(ms * 1000)};

	g->retries_cnt++;
	event_add(g->timer, &tv);
}

static void group_refused(struct group *g, const struct db_reply *rep)
{
	log_warnx_limited("award refused by the database: %s sqlstate=%s",
		rep->message, rep->sqlstate);
	memcpy(g->writes[0]->sqlstate, rep->sqlstate, sizeof(rep->sqlstate));
	group_end(g, SVC_WRITE_REFUSED);
}

/*
 * The first sending committed while the second ran.  That is mostly seen as a
 * key that is taken; but a backend that had entered the row's id in its index
 * and not yet its key makes the second one fail on the id.
 */
static bool is_own_double(const struct group *g, const struct db_reply *rep)
{
	return db_sqlstate_class(rep->sqlstate) == DB_SQL_UNIQUE &&
	       may_be_stored(g->writes[0]);
}

/* True when the group lives on (it waits for its retry). */
static bool group_failed(struct group *g, const struct db_reply *rep)
{
	switch (db_sqlstate_class(rep->sqlstate)) {
	case DB_SQL_RETRY:
		if (g->retries_cnt < RETRIES_MAX) {
			group_retry(g);
			return true;
		}
		group_end(g, SVC_WRITE_LATER);
		return false;
	case DB_SQL_LOCKED:
		if (g->is_held)
			group_end_held(g);
		else if (group_is_of_one_user(g))
			group_hold(g);
		else
			group_split_users(g);
		return false;
	case DB_SQL_CANCELLED:
		/* in halves every part would be as slow again */
		if (g->cnt > 1)
			group_split(g, 1);
		else
			group_end(g, SVC_WRITE_LATER);
		return false;
	case DB_SQL_OTHER:
	case DB_SQL_UNIQUE:
	case DB_SQL_FOREIGN_KEY:
		if (g->cnt > 1)
			group_split(g, (g->cnt + 1) / 2);
		else if (is_own_double(g, rep))
			look_up(g->writes[0]);
		else
			group_refused(g, rep);
		return false;
	case DB_SQL_RESOURCES:
		group_end(g, SVC_WRITE_LATER);
		return false;
	case DB_SQL_CONNECTION:
		group_look_up(g);
		return false;
	}
	return false;
}

/* ---- on the wire ----------------------------------------------------- */

static void group_stored(struct group *g, const struct db_reply *rep)
{
	store_award_written(rep, g->awards, g->cnt);
	for (unsigned i = 0; i < g->cnt; i++) {
		struct svc_write *w = g->writes[i];

		if (w->award.is_written) {
			suspect_cleared(g->owner, w->award.user);
			write_end(w, SVC_WRITE_DONE);
		} else {
			look_up(w);
		}
	}
}

static void pump(struct svc_batch *b);

static void on_written(struct db_job *job, const struct db_reply *rep)
{
	struct group *g = job->arg;
	struct svc_batch *b = g->owner;
	bool lives_on = false, was_held = g->is_held;

	b->on_wire--;
	/* the connection first, the answers after it */
	pump(b);
	switch (rep->outcome) {
	case DB_OK:
		group_stored(g, rep);
		break;
	case DB_SQL_ERROR:
		lives_on = group_failed(g, rep);
		break;
	case DB_TIMEOUT:
	case DB_LOST:
		group_look_up(g);
		break;
	case DB_UNAVAILABLE:
		group_unavailable(g);
		break;
	}
	b->held_on_wire -= was_held;
	if (!lives_on)
		group_done(g);
	if (b->again || b->first || b->held)
		pump_later(b);
}

static bool is_turn_of_held(const struct svc_batch *b)
{
	if (b->held == NULL || b->held_on_wire > 0)
		return false;
	return b->on_wire_max > 1 || b->held_turn ||
	       (b->again == NULL && b->first == NULL);
}

/* The next group: held awards, of which one group waits at a time, one that
 * failed before, else the awards that wait. */
static struct group *next_group(struct svc_batch *b)
{
	struct group *g = b->again;

	b->held_turn = !b->held_turn;
	if (is_turn_of_held(b))
		return held_group(b);
	if (g) {
		b->again = g->next;
		if (b->again == NULL)
			b->again_lastp = &b->again;
		return g;
	}
	if (b->first == NULL)
		return NULL;
	g = group_new(b);
	while (b->first && group_has_room(g, b->first)) {
		group_add(g, b->first);
		b->first = b->first->next;
		count_waiting(b, -1);
	}
	if (b->first == NULL)
		b->lastp = &b->first;
	return g;
}

/* Ends the awards that waited too long. */
static void drop_late(struct group *g)
{
	uint64_t now_ms = clock_mono_ms();
	unsigned i, kept = 0;

	for (i = 0; i < g->cnt; i++) {
		struct svc_write *w = g->writes[i];

		if (w->deadline_ms <= now_ms) {
			write_end(w, SVC_WRITE_LATER);
			continue;
		}
		g->writes[kept] = w;
		g->awards[kept++] = &w->award;
	}
	g->cnt = kept;
}

/* 0: as long as the session may, for held awards beside another connection. */
static unsigned lock_timeout_of(const struct group *g)
{
	unsigned max_ms = (unsigned)g->owner->app->conf->db_lock_timeout_ms;
	unsigned ms = QUICK_LOCK_MS;

	if (g->is_held && g->owner->on_wire_max > 1)
		return 0;
	if (g->is_held)
		ms = HELD_ALONE_MS;
	return max_ms == 0 || max_ms > ms ? ms : 0;
}

static void pump(struct svc_batch *b)
{
	struct group *g;

	while (b->on_wire < b->on_wire_max && (g = next_group(b)) != NULL) {
		drop_late(g);
		if (g->cnt == 0) {
			group_done(g);
			continue;
		}
		b->on_wire++;
		b->held_on_wire += g->is_held;
		metric_inc(M_AWARD_BATCHES);
		store_award_write(&g->op, b->app->db, g->awards, g->cnt,
			b->app->conf->conversion_rate, lock_timeout_of(g),
			on_written, g);
	}
}

static void pump_on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

/* ---- interface ------------------------------------------------------- */

struct svc_batch *svc_batch_new(struct app *app)
{
	struct svc_batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		fatal("out of memory for the award queue");
	b->app = app;
	b->lastp = &b->first;
	b->held_lastp = &b->held;
	b->again_lastp = &b->again;
	b->on_wire_max = (unsigned)app->conf->db_write_connections;
	b->group_max = (unsigned)app->conf->award_batch_max;
	b->pump_ev = event_new(app->base, -1, 0, pump_on_event, b);
	if (b->pump_ev == NULL)
		fatal("out of memory for the award queue");
	return b;
}

void svc_batch_free(struct svc_batch **bp)
{
	struct svc_batch *b = *bp;
	struct group *g;

	*bp = NULL;
	assert(b->on_wire == 0 && b->waiting_cnt == 0 && b->again == NULL);
	while ((g = b->spare) != NULL) {
		b->spare = g->next;
		store_award_write_fini(&g->op);
		event_free(g->timer);
		free(g);
	}
	event_free(b->pump_ev);
	free(b);
}

int svc_batch_submit(struct svc_batch *b, struct svc_write *w)
{
	unsigned max = (unsigned)b->app->conf->db_queue_max;
	bool is_held;

	if (b->waiting_cnt >= max)
		return -1;
	is_held = suspect_find(b, w->award.user) != NULL;
	/* they wait long; the queue must not fill with them */
	if (is_held && b->held_cnt >= max / 2)
		return -1;
	w->batch = b;
	w->lookups_cnt = 0;
	if (is_held) {
		hold(b, w);
	} else {
		w->next = NULL;
		*b->lastp = w;
		b->lastp = &w->next;
		count_waiting(b, 1);
	}
	if (b->on_wire < b->on_wire_max)
		pump_later(b);
	return 0;
}
