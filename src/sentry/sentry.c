/* sentry.c - see sentry.h.  Logger process. */
#include "sentry/sentry.h"

#include <event2/event.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf_dsn.h"
#include "ipc/evidence.h"
#include "json/json_out.h"
#include "sentry/sentry_http.h"
#include "sentry/sentry_json.h"
#include "sentry/sentry_limit.h"
#include "shm/shm.h"

#define REPORT_MS 30000 /* between two client reports */

/* Why something was lost, in Sentry's words. */
enum loss {
	LOSS_QUEUE,
	LOSS_RATE_LIMIT,
	LOSS_NETWORK,
	LOSS_SEND,
	LOSS_SAMPLE,
	LOSS_CNT
};

static const char *const loss_names[LOSS_CNT] = {"queue_overflow",
	"ratelimit_backoff", "network_error", "send_error", "sample_rate"};

struct envelope {
	STAILQ_ENTRY(envelope) entry;
	enum sentry_cat cat;
	unsigned spans; /* of a transaction, the root included */
	uint64_t rows;  /* of evidence that are in it */
	char id[SENTRY_ID_LEN + 1];
	struct buf trace;   /* header of a transaction, "" for none */
	struct buf payload; /* empty: a client report alone */
};

/* Faults with one fingerprint. */
struct group {
	struct buf key;   /* empty: free */
	uint64_t sent_ms; /* of its last event */
	uint64_t seen_ms;
	uint64_t waiting; /* faults since then */
	uint64_t rows;    /* of evidence among these */
	int64_t first_us; /* of the oldest that waits */
	struct buf last;  /* the newest that waits, encoded */
};

struct sentry {
	const struct conf *conf;
	struct conf_dsn dsn;
	char server_name[HOST_NAME_MAX + 1];
	struct sentry_ctx ctx;
	struct sentry_http *http;
	struct sentry_limits limits;
	struct event *ev_leave;
	bool is_leaving;
	STAILQ_HEAD(, envelope) queue;
	unsigned queue_cnt;
	struct envelope *flying;
	struct buf out;
	struct group groups[SENTRY_GROUPS_MAX];
	uint64_t lost[SENTRY_CAT_CNT][LOSS_CNT];
	uint64_t told[SENTRY_CAT_CNT][LOSS_CNT];   /* in what is on its way */
	uint64_t report_ms;                        /* of the last report */
	uint64_t unsampled, dropped[EV_CLASS_CNT]; /* already counted */
	void (*on_idle)(void *arg);
	void *arg;
};

/* ---- losses and their reports ------------------------------------------- */

static void lose(struct sentry *s, const struct envelope *e, enum loss why)
{
	if (e->cat != SENTRY_CAT_INTERNAL)
		s->lost[e->cat][why]++;
	s->lost[SENTRY_CAT_SPAN][why] += e->spans;
}

static bool has_losses(const struct sentry *s)
{
	for (unsigned c = 0; c < SENTRY_CAT_CNT; c++)
		for (unsigned w = 0; w < LOSS_CNT; w++)
			if (s->lost[c][w] > 0)
				return true;
	return false;
}

static void put_loss(
	struct json_out *o, const char *category, unsigned why, uint64_t n)
{
	json_out_obj(o);
	json_out_kv_cstr(o, "reason", loss_names[why]);
	json_out_kv_cstr(o, "category", category);
	json_out_kv_int(o, "quantity", (int64_t)n);
	json_out_obj_end(o);
}

static void add_item(struct buf *out, const char *type, struct str payload)
{
	buf_printf(out,
		"{\"type\":\"%s\",\"length\":%zu,"
		"\"content_type\":\"application/json\"}\n",
		type, payload.len);
	buf_add_str(out, payload);
	buf_add_char(out, '\n');
}

/* What was lost moves from `lost` to `told`, until the answer is there. */
static void add_report(struct sentry *s)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "timestamp");
	json_out_float(&o, (double)clock_wall_us() / 1e6);
	json_out_key(&o, "discarded_events");
	json_out_arr(&o);
	for (unsigned c = 0; c < SENTRY_CAT_CNT; c++)
		for (unsigned w = 0; w < LOSS_CNT; w++) {
			uint64_t n = s->lost[c][w];

			s->told[c][w] = n;
			s->lost[c][w] = 0;
			if (n == 0)
				continue;
			put_loss(&o, sentry_cat_name(c), w, n);
		}
	json_out_arr_end(&o);
	json_out_obj_end(&o);
	add_item(&s->out, "client_report", buf_str(&b));
	buf_fini(&b);
	s->report_ms = clock_mono_ms();
}

static void forget_report(struct sentry *s, bool was_heard)
{
	for (unsigned c = 0; c < SENTRY_CAT_CNT; c++)
		for (unsigned w = 0; w < LOSS_CNT; w++) {
			if (!was_heard)
				s->lost[c][w] += s->told[c][w];
			s->told[c][w] = 0;
		}
}

/* ---- rows of evidence --------------------------------------------------- */

static bool is_row(const struct fault_rec *rec)
{
	return rec->kind < FAULT_CRASH;
}

static void rows_stored(uint64_t n)
{
	metric_add(M_EV_STORED_SENTRY, n);
	shm_ev_held_add(EV_SENTRY, -(int64_t)n);
}

/* Told to Sentry as a loss, not as one more fault. */
static void rows_dropped(struct sentry *s, uint64_t n, enum evidence_reason why)
{
	s->dropped[EV_SENTRY] += n;
	metric_evidence_dropped(EV_SENTRY, why, n);
	shm_ev_held_add(EV_SENTRY, -(int64_t)n);
}

/* ---- envelopes ---------------------------------------------------------- */

static struct envelope *envelope_new(enum sentry_cat cat)
{
	struct envelope *e = calloc(1, sizeof(*e));

	if (e == NULL)
		fatal("out of memory for Sentry");
	e->cat = cat;
	sentry_make_id(e->id);
	buf_init(&e->trace, 0);
	buf_init(&e->payload, 0);
	return e;
}

static void envelope_free(struct envelope *e)
{
	buf_fini(&e->trace);
	buf_fini(&e->payload);
	free(e);
}

static void envelope_lost(
	struct sentry *s, struct envelope *e, enum evidence_reason why)
{
	rows_dropped(s, e->rows, why);
	envelope_free(e);
}

static void compose(struct sentry *s, const struct envelope *e)
{
	char now[CLOCK_TEXT_MAX];
	uint64_t age_ms = clock_mono_ms() - s->report_ms;

	clock_print(clock_wall_us(), CLOCK_TS_Z, now);
	buf_reset(&s->out);
	buf_add_char(&s->out, '{');
	if (e->payload.len > 0)
		buf_printf(&s->out, "\"event_id\":\"%s\",", e->id);
	buf_printf(&s->out,
		"\"sent_at\":\"%s\","
		"\"sdk\":{\"name\":\"game-c\",\"version\":\"%s\"}",
		now, GAMED_VERSION);
	if (e->trace.len > 0) {
		buf_add_str(&s->out, STR(",\"trace\":"));
		buf_add_str(&s->out, buf_str(&e->trace));
	}
	buf_add_str(&s->out, STR("}\n"));
	if (e->payload.len > 0)
		add_item(&s->out,
			e->cat == SENTRY_CAT_ERROR ? "event" : "transaction",
			buf_str(&e->payload));
	if (e->payload.len == 0 || (age_ms >= REPORT_MS && has_losses(s)))
		add_report(s);
}

static void tell_idle(struct sentry *s)
{
	if (s->is_leaving && sentry_is_idle(s))
		s->on_idle(s->arg);
}

/* The next envelope that no limit holds back. */
static void send_next(struct sentry *s)
{
	struct envelope *e;

	while (s->flying == NULL && (e = STAILQ_FIRST(&s->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->queue, entry);
		s->queue_cnt--;
		if (sentry_limits_block(&s->limits, e->cat, clock_mono_ms())) {
			lose(s, e, LOSS_RATE_LIMIT);
			metric_inc(M_SENTRY_RATELIMITED);
			envelope_lost(s, e, EV_DROP_RATE_LIMITED);
			continue;
		}
		compose(s, e);
		s->flying = e;
		sentry_http_post(s->http, &s->out);
	}
}

/* The payload is complete. */
static void enqueue(struct sentry *s, struct envelope *e)
{
	if (sentry_limits_block(&s->limits, e->cat, clock_mono_ms())) {
		lose(s, e, LOSS_RATE_LIMIT);
		metric_inc(M_SENTRY_RATELIMITED);
		envelope_lost(s, e, EV_DROP_RATE_LIMITED);
		return;
	}
	if (s->http == NULL) { /* on_leave has given up */
		metric_inc(M_SENTRY_FAILED);
		envelope_lost(s, e, EV_DROP_SHUTDOWN);
		return;
	}
	if (s->queue_cnt >= SENTRY_QUEUE_MAX) {
		lose(s, e, LOSS_QUEUE);
		metric_inc(M_SENTRY_QUEUE_FULL);
		log_warnx_limited("an envelope for Sentry found no room");
		envelope_lost(s, e, EV_DROP_LOGGER_QUEUE);
		return;
	}
	STAILQ_INSERT_TAIL(&s->queue, e, entry);
	s->queue_cnt++;
	send_next(s);
}

static void on_answer(void *arg, const struct sentry_answer *a)
{
	struct sentry *s = arg;
	struct envelope *e = s->flying;
	bool was_heard = a->status >= 200 && a->status < 300;

	s->flying = NULL;
	sentry_limits_hear(&s->limits, a->status, a->rate_limits,
		a->retry_after, clock_mono_ms());
	forget_report(s, was_heard);
	if (was_heard) {
		metric_inc(M_SENTRY_SENT);
		rows_stored(e->rows);
		envelope_free(e);
	} else if (a->status == 429) { /* the server counts it */
		metric_inc(M_SENTRY_RATELIMITED);
		envelope_lost(s, e, EV_DROP_RATE_LIMITED);
	} else {
		lose(s, e, a->status == 413 ? LOSS_SEND : LOSS_NETWORK);
		metric_inc(M_SENTRY_FAILED);
		log_warnx_limited("Sentry did not take an envelope status=%u "
				  "reason=\"%s%.*s\"",
			a->status, a->error, STR_ARG(a->reason));
		envelope_lost(s, e, EV_DROP_UNDELIVERED);
	}
	send_next(s);
	tell_idle(s);
}

static void send_report(struct sentry *s)
{
	if (has_losses(s) && !sentry_limits_block(&s->limits,
				     SENTRY_CAT_INTERNAL, clock_mono_ms()))
		enqueue(s, envelope_new(SENTRY_CAT_INTERNAL));
}

/* ---- groups ------------------------------------------------------------- */

static void send_event(struct sentry *s, struct group *g,
	const struct fault_rec *rec, const struct sentry_seen *seen)
{
	struct envelope *e = envelope_new(SENTRY_CAT_ERROR);

	sentry_json_event(&e->payload, &s->ctx, e->id, rec, seen);
	e->rows = is_row(rec) ? seen->cnt : 0;
	g->sent_ms = clock_mono_ms();
	g->waiting = g->rows = 0;
	enqueue(s, e);
}

static void send_waiting(struct sentry *s, struct group *g)
{
	struct sentry_seen seen = {g->waiting, g->first_us};
	struct fault_rec rec;

	if (g->waiting > 0 && fault_rec_decode(buf_str(&g->last), &rec) == 0)
		send_event(s, g, &rec, &seen);
}

/* The group of that key: an old one, a free one, or the one that was seen
 * longest ago, after what it held back. */
static struct group *group_get(struct sentry *s, struct str key, bool *new_r)
{
	struct group *to = &s->groups[0];

	*new_r = false;
	for (size_t i = 0; i < NELEM(s->groups); i++) {
		struct group *g = &s->groups[i];

		if (g->key.len > 0 && str_eq(buf_str(&g->key), key))
			return g;
		if (to->key.len > 0 &&
			(g->key.len == 0 || g->seen_ms < to->seen_ms))
			to = g;
	}
	send_waiting(s, to);
	buf_reset(&to->key);
	buf_add_str(&to->key, key);
	*new_r = true;
	return to;
}

static uint64_t interval_ms(const struct sentry *s)
{
	return (uint64_t)s->conf->sentry_group_interval_s * 1000;
}

static void take_fault(
	struct sentry *s, const struct fault_rec *rec, uint64_t cnt)
{
	struct sentry_seen seen = {cnt, rec->at_us};
	uint64_t now = clock_mono_ms();
	struct group *g;
	struct buf key;
	bool is_new;

	buf_init(&key, 0);
	sentry_json_key(&key, rec);
	g = group_get(s, buf_str(&key), &is_new);
	buf_fini(&key);
	g->seen_ms = now;
	if (is_new || (g->waiting == 0 && now - g->sent_ms >= interval_ms(s))) {
		send_event(s, g, rec, &seen);
		return;
	}
	if (g->waiting == 0)
		g->first_us = rec->at_us;
	g->waiting += cnt;
	g->rows += is_row(rec) ? cnt : 0;
	buf_reset(&g->last);
	fault_rec_encode(&g->last, rec);
}

static void take_txn(struct sentry *s, const struct fault_rec *rec)
{
	struct envelope *e = envelope_new(SENTRY_CAT_TRANSACTION);

	e->spans = sentry_json_spans(rec);
	e->rows = 1;
	sentry_json_txn(&e->payload, &e->trace, &s->ctx, e->id, rec);
	enqueue(s, e);
}

void sentry_take(struct sentry *s, const struct fault_rec *rec, uint64_t cnt)
{
	if (s == NULL || cnt == 0)
		return;
	if (is_row(rec))
		shm_ev_held_add(EV_SENTRY, (int64_t)cnt);
	if (rec->kind == FAULT_TXN)
		take_txn(s, rec);
	else
		take_fault(s, rec, cnt);
}

/* ---- what the shared block tells ----------------------------------------- */

static uint64_t sum(enum metric_id m)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		n += metric_slot(i, m);
	return n;
}

static void take_deaths(struct sentry *s, enum shm_role role,
	enum shm_death_cause cause, uint64_t cnt)
{
	static const char *const roles[] = {"worker", "logger", "stats"};
	static const char *const causes[] = {"exit", "signal", "stuck"};
	struct fault_rec rec = {
		.kind = FAULT_CRASH,
		.at_us = clock_wall_us(),
		.role = str_from(roles[role - SHM_WORKER]),
		.code = str_from(causes[cause]),
	};
	struct shm_death d;

	for (unsigned back = 0; cnt > 0 && back < SHM_DEATHS_MAX; back++) {
		if (!shm_death_read(back, &d) || d.role != role ||
			d.cause != cause)
			continue;
		rec.slot = d.slot;
		rec.how = d.how;
		sentry_take(s, &rec, 1);
		cnt--;
	}
	/* too many at once: of the others the number is known */
	rec.slot = rec.how = 0;
	sentry_take(s, &rec, cnt);
}

/*
 * The master counts the dead; M_SENTRY_CRASHES_* count those reported, so
 * that a logger which died itself is reported by its successor.
 */
static void look_for_crashes(struct sentry *s)
{
	for (int i = 0; i < 3 * SHM_DEATH_CAUSES; i++) {
		uint64_t died = sum(M_DEATHS_WORKER_EXIT + i);
		uint64_t told = sum(M_SENTRY_CRASHES_WORKER_EXIT + i);

		if (died <= told)
			continue;
		metric_add(M_SENTRY_CRASHES_WORKER_EXIT + i, died - told);
		take_deaths(s, SHM_WORKER + i / SHM_DEATH_CAUSES,
			i % SHM_DEATH_CAUSES, died - told);
	}
}

static uint64_t dropped_of(unsigned cls)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SHM_SLOTS_MAX; i++)
		n += metric_evidence_dropped_slot(i, cls);
	return n;
}

static void look_for_drops(struct sentry *s)
{
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		uint64_t n = dropped_of(c), more = n - s->dropped[c];
		struct fault_rec rec = {
			.kind = FAULT_LOSS,
			.at_us = clock_wall_us(),
			.role = STR("logger"),
			.code = str_from(evidence_class_name(c)),
		};

		if (n <= s->dropped[c])
			continue;
		s->dropped[c] = n;
		sentry_take(s, &rec, more);
	}
}

void sentry_look(struct sentry *s)
{
	uint64_t now = clock_mono_ms(), unsampled;

	if (s == NULL || s->is_leaving)
		return;
	unsampled = sum(M_SENTRY_UNSAMPLED);
	s->lost[SENTRY_CAT_TRANSACTION][LOSS_SAMPLE] +=
		unsampled - s->unsampled;
	/* nobody knows of their spans but the root */
	s->lost[SENTRY_CAT_SPAN][LOSS_SAMPLE] += unsampled - s->unsampled;
	s->unsampled = unsampled;
	look_for_crashes(s);
	look_for_drops(s);
	for (size_t i = 0; i < NELEM(s->groups); i++)
		if (now - s->groups[i].sent_ms >= interval_ms(s))
			send_waiting(s, &s->groups[i]);
	if (now - s->report_ms >= REPORT_MS && s->flying == NULL)
		send_report(s);
}

/* ---- beginning and end --------------------------------------------------- */

static void drop_queue(struct sentry *s)
{
	struct envelope *e;

	while ((e = STAILQ_FIRST(&s->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->queue, entry);
		s->queue_cnt--;
		metric_inc(M_SENTRY_FAILED);
		envelope_lost(s, e, EV_DROP_SHUTDOWN);
	}
}

static void on_leave(evutil_socket_t fd, short what, void *arg)
{
	struct sentry *s = arg;

	(void)fd;
	(void)what;
	log_warnx("Sentry is too slow, envelopes are lost envelopes=%u",
		s->queue_cnt + (s->flying != NULL));
	drop_queue(s);
	if (s->flying != NULL) {
		metric_inc(M_SENTRY_FAILED);
		sentry_http_free(&s->http);
		envelope_lost(s, s->flying, EV_DROP_SHUTDOWN);
		s->flying = NULL;
	}
	tell_idle(s);
}

void sentry_hurry(struct sentry *s)
{
	static const struct timeval patience = {SENTRY_LEAVE_MS / 1000, 0};

	if (s == NULL || s->is_leaving)
		return;
	sentry_look(s);
	for (size_t i = 0; i < NELEM(s->groups); i++)
		send_waiting(s, &s->groups[i]);
	send_report(s);
	s->is_leaving = true;
	if (!sentry_is_idle(s))
		event_add(s->ev_leave, &patience);
}

bool sentry_is_idle(const struct sentry *s)
{
	return s == NULL || (s->flying == NULL && s->queue_cnt == 0);
}

struct sentry *sentry_new(struct event_base *base, const struct conf *conf,
	void (*on_idle)(void *arg), void *arg)
{
	struct sentry *s;
	struct err err;

	if (*conf->sentry_dsn == '\0')
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		fatal("out of memory for Sentry");
	s->conf = conf;
	s->on_idle = on_idle;
	s->arg = arg;
	if (conf_dsn_parse(conf->sentry_dsn, &s->dsn, &err) < 0)
		fatal("sentry.dsn: %s", err.text); /* was checked at start */
	if (conf->sentry_profiling_enabled)
		log_warnx("sentry.profiling_enabled: there is no profiling");
	if (*conf->sentry_server_name)
		snprintf(s->server_name, sizeof(s->server_name), "%.*s",
			HOST_NAME_MAX, conf->sentry_server_name);
	else if (gethostname(s->server_name, sizeof(s->server_name) - 1) < 0)
		s->server_name[0] = '\0';
	s->ctx = (struct sentry_ctx){conf, s->server_name, s->dsn.key};
	s->http = sentry_http_new(base, &s->dsn, on_answer, s);
	s->ev_leave = evtimer_new(base, on_leave, s);
	if (s->ev_leave == NULL)
		fatal("cannot make the events of Sentry");
	STAILQ_INIT(&s->queue);
	buf_init(&s->out, 0);
	s->report_ms = clock_mono_ms();
	s->unsampled = sum(M_SENTRY_UNSAMPLED);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		s->dropped[c] = dropped_of(c);
	for (size_t i = 0; i < NELEM(s->groups); i++) {
		buf_init(&s->groups[i].key, 0);
		buf_init(&s->groups[i].last, 0);
	}
	log_info("errors are sent to Sentry environment=%s release=%s",
		conf->sentry_environment, conf->sentry_release);
	return s;
}

void sentry_free(struct sentry **sp)
{
	struct sentry *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	sentry_http_free(&s->http);
	if (s->flying != NULL) {
		metric_inc(M_SENTRY_FAILED);
		envelope_lost(s, s->flying, EV_DROP_SHUTDOWN);
	}
	drop_queue(s);
	for (size_t i = 0; i < NELEM(s->groups); i++) {
		rows_dropped(s, s->groups[i].rows, EV_DROP_SHUTDOWN);
		buf_fini(&s->groups[i].key);
		buf_fini(&s->groups[i].last);
	}
	event_free(s->ev_leave);
	buf_fini(&s->out);
	free(s);
}
