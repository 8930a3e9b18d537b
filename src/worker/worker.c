/*
 * worker.c - role main of an HTTP worker: event base, database pool, HTTP
 * server, evidence sender, its slot of the shared block (DESIGN 2, STYLE 2).
 *
 * init -> run -> drain -> exit.  Blocks nowhere but in the event loop, forks
 * nothing, writes no other slot.  Leaves by _exit: requests that are still in
 * hand after the deadline die with the process.
 */
#include "worker/worker.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "api/api_audit.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "db/db_pool.h"
#include "http/http_req.h"
#include "http/http_server.h"
#include "ipc/trace_send.h"
#include "stats/stats_serve.h"
#include "store/store_schema.h"
#include "svc/app.h"
#include "svc/svc_batch.h"
#include "svc/svc_cache.h"
#include "svc/svc_evidence.h"
#include "svc/svc_ping.h"
#include "worker/fault.h"
#include "worker/lag.h"
#include "worker/request_log.h"

enum {
	ORPHAN_DRAIN_MS = 1500, /* when the master is gone */
	FLUSH_MS = 1000,        /* without the logger taking a row */
	FLUSH_POLL_MS = 10,
	STEP_BACK_MS = 50,    /* longest pause in accepting */
	STEP_BACK_PART = 16,  /* of one's share, above which others are first */
	BEAT_STALE_MS = 3000, /* a worker that does not count */
	TRACE_RING_BYTES = 8 << 20,
	/* not touched before it is needed; the watchdog takes 12 s to replace
	 * a logger, and no audit row shall be lost meanwhile */
	AUDIT_RING_BYTES = 64 << 20,
	RUN_ARENA_BYTES = 1 << 20,
	OWN_DESCRIPTORS = 64, /* that are not clients' */
	DB_PATIENCE_MS = 1000 /* wait for the database before serving */
};

static struct worker {
	const struct inherit *in;
	struct app app;
	struct event *on_term, *on_quit, *death, *beat, *deadline, *patience;
	struct event *flush; /* once no request is left */
	bool is_serving;
	uint64_t rows_left;       /* at the last look of flush_on_timer */
	uint64_t progress_ms;     /* when they last became fewer */
	uint64_t stepped_back_ms; /* since when we do not accept; 0: we do */
	uint64_t requests_cnt;
} self;

/* ---- exit ----------------------------------------------------------------- */

static NORETURN void leave(int status)
{
	struct app *app = &self.app;

	trace_send_flush(app->trace);
	if (trace_send_pending(app->trace) > 0)
		log_warnx("evidence rows lost at exit rows=%llu",
			(unsigned long long)trace_send_pending(app->trace));
	trace_send_free(&app->trace);
	log_info("worker leaves requests=%llu status=%d",
		(unsigned long long)self.requests_cnt, status);
	log_end();
	fflush(NULL);
	_exit(status);
}

/*
 * What the logger has not taken waits for it, or for its successor: audit
 * rows and errors until the deadline of the drain, the others as long as any
 * are taken.
 */
static void flush_on_timer(evutil_socket_t fd, short what, void *arg)
{
	uint64_t left = trace_send_pending(self.app.trace);
	uint64_t now_ms = clock_mono_ms();

	(void)fd;
	(void)what;
	(void)arg;
	if (left < self.rows_left)
		self.progress_ms = now_ms;
	self.rows_left = left;
	if (left == 0 || (trace_send_urgent(self.app.trace) == 0 &&
				 now_ms - self.progress_ms >= FLUSH_MS))
		event_base_loopbreak(self.app.base);
}

static void drained(void *arg)
{
	static const struct timeval often = {0, FLUSH_POLL_MS * 1000};

	(void)arg;
	self.progress_ms = clock_mono_ms();
	self.rows_left = trace_send_pending(self.app.trace);
	trace_send_flush(self.app.trace);
	event_add(self.flush, &often);
	event_active(self.flush, EV_TIMEOUT, 0);
}

static void deadline_on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	log_warnx("drain deadline passed, requests are cut off in_hand=%u "
		  "evidence_rows=%llu",
		http_server_in_hand(self.app.server),
		(unsigned long long)trace_send_pending(self.app.trace));
	event_base_loopbreak(self.app.base);
}

/*
 * Others hold the socket too: should it be closed before the loop has told
 * the kernel that we do not wait for it any more, it would wake us for ever.
 * By the time a timer runs that has been done.
 */
static void close_listener(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	close(self.in->listen_fd);
}

/* A later, shorter deadline replaces an earlier one. */
static void drain(uint64_t deadline_ms, const char *why)
{
	static const struct timeval no_wait = {0, 0};
	struct timeval tv = {(time_t)(deadline_ms / 1000),
		(suseconds_t)(deadline_ms % 1000) * 1000};

	event_add(self.deadline, &tv);
	if (self.app.draining)
		return;
	self.app.draining = true;
	log_info("worker drains: %s in_hand=%u", why,
		http_server_in_hand(self.app.server));
	api_stream_drain();
	http_server_drain(self.app.server, drained, NULL);
	event_base_once(
		self.app.base, -1, EV_TIMEOUT, close_listener, NULL, &no_wait);
}

static void term_on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	drain((uint64_t)self.app.conf->drain_timeout_s * 1000, "asked to");
}

static void quit_on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_base_loopbreak(self.app.base);
}

static void death_on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_del(self.death);
	drain(ORPHAN_DRAIN_MS, "the master is gone");
}

/* ---- requests --------------------------------------------------------------- */

static unsigned route_index(const struct http_req *req)
{
	return req->route ? (unsigned)(req->route - api_routes)
			  : SHM_ROUTES_MAX;
}

static struct log_field of_str(const char *name, const char *s)
{
	return (struct log_field){.name = name, .s = s};
}

static struct log_field of_int(const char *name, int64_t i)
{
	return (struct log_field){.name = name, .kind = LOG_F_INT, .i = i};
}

static struct log_field of_ms(const char *name, uint64_t ns)
{
	return (struct log_field){
		.name = name, .kind = LOG_F_MS, .ms = (double)ns / 1e6};
}

static void access_line(const struct http_req *req, int status, size_t bytes,
	uint64_t duration_ns)
{
	struct log_field f[16];
	char path[512];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%.*s", STR_ARG(req->path));
	f[n++] = of_str("method", req->method);
	f[n++] = of_str("path", path);
	f[n++] = of_str("handler", req->route ? req->route->template : "none");
	f[n++] = of_int("status", status);
	f[n++] = of_ms("durationMs", duration_ns);
	f[n++] = of_int("bytes", (int64_t)bytes);
	if (self.app.conf->sentry_send_default_pii)
		f[n++] = of_str("ip", req->peer);
	f[n++] = of_str("strategy", req->log_strategy);
	if (req->log_version > 0)
		f[n++] = of_int("version", req->log_version);
	if (req->has_log_points) {
		f[n++] = of_int("points", req->log_points);
		f[n++] = of_str("case", req->log_case);
	}
	f[n++] = of_ms("authMs", req->auth_span.ns);
	if (req->read_span.ns || req->eval_span.ns || req->write_span.ns) {
		f[n++] = of_ms("readMs", req->read_span.ns);
		f[n++] = of_ms("evaluateMs", req->eval_span.ns);
		f[n++] = of_ms("writeMs", req->write_span.ns);
	}
	log_set_correlation(req->correlation_id);
	log_fields(LOG_L_INFO, "game.access", f, n,
		"%s:%u - \"%s %.*s HTTP/%s\" %d", req->peer, req->peer_port,
		req->method, STR_ARG(req->path), req->version, status);
	log_set_correlation(NULL);
}

static void request_on_answer(struct http_req *req, int status)
{
	fault_on_answer(req, status);
	api_audit_end(req, status);
}

static void request_on_done(struct http_req *req, int status, size_t bytes)
{
	uint64_t whole_ns = clock_mono_ns() - req->start_ns;
	uint64_t duration_ns = whole_ns;

	if (req->stream.is_live) /* it lasts as long as its client likes */
		duration_ns = req->stream.begin_ns - req->start_ns;
	self.requests_cnt++;
	if (req->route == NULL || !req->route->unmetered)
		metric_http(route_index(req), status, duration_ns,
			req->request_bytes, bytes);
	if (req->route != NULL && !api_is_probe(req->route))
		metric_latency(duration_ns);
	fault_on_done(req, status, duration_ns);
	request_log_on_done(req, status, duration_ns);
	if (self.app.conf->http_access_log && LOG_L_INFO >= log_threshold)
		access_line(req, status, bytes, whole_ns);
}

/* Connections of all live workers, and how many workers those are. */
static uint64_t count_connections(unsigned *workers_r)
{
	uint64_t now_ms = clock_mono_ms(), sum = 0;

	*workers_r = 0;
	for (unsigned s = SLOT_WORKER_MIN; s <= SLOT_WORKER_MAX; s++) {
		uint64_t beat_ms = shm_heartbeat_ms(self.app.shm, s);

		if (beat_ms == 0 || beat_ms + BEAT_STALE_MS < now_ms)
			continue;
		sum += metric_slot(s, M_HTTP_CONNECTIONS);
		++*workers_r;
	}
	return sum;
}

/*
 * All workers accept on one socket.  One with more than its share lets the
 * others catch up, but only for a moment: they may be busy or stopped, and a
 * client must not wait for them.
 */
static bool may_accept(void *arg, unsigned my_connections)
{
	uint64_t now_ms = clock_mono_ms(), share;
	unsigned workers;

	(void)arg;
	share = count_connections(&workers);
	if (workers > 1)
		share /= workers;
	if (workers < 2 ||
		my_connections <= share + 1 + share / STEP_BACK_PART) {
		self.stepped_back_ms = 0;
		return true;
	}
	if (self.stepped_back_ms == 0)
		self.stepped_back_ms = now_ms;
	if (now_ms - self.stepped_back_ms < STEP_BACK_MS)
		return false;
	self.stepped_back_ms = 0;
	return true;
}

static void connections_changed(void *arg, unsigned connections)
{
	(void)arg;
	metric_set(M_HTTP_CONNECTIONS, connections);
}

/* ---- database ----------------------------------------------------------------- */

/* A schema that we do not know ends the server: no respawn can help. */
static int schema_on_check(
	void *arg, const struct db_res *res, const char *sqlstate)
{
	int64_t version = 0;

	(void)arg;
	if (res == NULL && strcmp(sqlstate, SCHEMA_MISSING_SQLSTATE) != 0)
		return -1;
	if (res && (db_res_rows(res) != 1 || !db_row_i64(res, 0, 0, &version)))
		return -1;
	if (version != SCHEMA_VERSION)
		fatal_stay(SCHEMA_MISMATCH_FMT, (long long)version,
			SCHEMA_VERSION);
	return 0;
}

static void tell_ready(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "r", 1) != 1)
		log_warn("cannot tell the master that we are ready");
	close(fd);
}

/*
 * Requests come in once the database answers, so that a worker that joins
 * the others in a reload never says 503 for want of a connection; without a
 * database, soon.
 */
static void serve(void)
{
	if (self.is_serving || self.app.draining)
		return;
	self.is_serving = true;
	event_del(self.patience);
	http_server_start_accepting(self.app.server);
	log_info("worker is ready generation=%u", self.in->generation);
	tell_ready(self.in->ready_fd);
}

static void patience_on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	serve();
}

static void database_on_state(void *arg, bool healthy)
{
	(void)arg;
	if (healthy)
		serve();
	if (healthy)
		log_info("database is available");
	else if (!self.app.draining)
		log_warnx("database is not available");
}

static void open_database(struct app *app)
{
	const struct conf *conf = app->conf;
	char name[32];
	struct buf conninfo;
	struct db_pool_conf pool = {
		.app_name = name,
		.read_conns = (unsigned)conf->db_read_connections,
		.write_conns = (unsigned)conf->db_write_connections,
		.long_conns = (unsigned)conf->db_long_connections,
		.pipeline_depth = (unsigned)conf->db_pipeline_depth,
		.queue_max = (unsigned)conf->db_queue_max,
		.deadline_ms = (uint32_t)conf->db_deadline_ms,
		.statement_timeout_ms = (uint32_t)conf->db_statement_timeout_ms,
		.lock_timeout_ms = (uint32_t)conf->db_lock_timeout_ms,
		/* the batch is one text with arrays of any length: a plan
		 * for each would cost more than running it */
		.session_sql = "SET plan_cache_mode = force_generic_plan",
		.log_statements = conf->db_log_statements,
		.shard = app->slot,
		.check_sql = SCHEMA_VERSION_SQL,
		.on_check = schema_on_check,
		.on_state = database_on_state,
	};

	snprintf(name, sizeof(name), "game-worker-%u", app->slot);
	buf_init(&conninfo, 0);
	conf_db_conninfo(conf, &conninfo);
	pool.conninfo = conninfo.p;
	app->db = db_pool_new(app->base, &pool);
	buf_fini(&conninfo);
}

/* ---- init ----------------------------------------------------------------------- */

static struct event_base *make_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;

	if (cfg == NULL)
		fatal("out of memory for the event loop");
	event_config_set_flag(cfg,
		EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	if (base == NULL)
		fatal("cannot make the event loop");
	return base;
}

static struct event *add_event(evutil_socket_t fd, short what,
	event_callback_fn cb, const struct timeval *tv)
{
	struct event *ev = event_new(self.app.base, fd, what, cb, NULL);

	if (ev == NULL || (what && event_add(ev, tv) != 0))
		fatal("cannot watch an event");
	return ev;
}

static void beat_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct db_pool_stats db;

	(void)fd;
	(void)what;
	(void)arg;
	db_pool_stats(self.app.db, &db);
	metric_set(M_DB_IDLE, db.conns_idle);
	metric_set(M_DB_BUSY, db.conns_busy);
	metric_set(M_DB_DOWN, db.conns_down);
	metric_set(M_DB_QUEUED, db.queued);
	metric_set(M_DB_IN_FLIGHT, db.in_flight);
	metric_set(M_HTTP_IN_HAND, http_server_in_hand(self.app.server));
	log_settle();
	shm_beat();
}

/* The spawner has set the others to ignored. */
static void watch_signals(void)
{
	static const struct timeval second = {1, 0};
	static const struct timeval patience = {
		DB_PATIENCE_MS / 1000, DB_PATIENCE_MS % 1000 * 1000};

	self.on_term = add_event(
		SIGTERM, EV_SIGNAL | EV_PERSIST, term_on_signal, NULL);
	self.on_quit = add_event(
		SIGQUIT, EV_SIGNAL | EV_PERSIST, quit_on_signal, NULL);
	self.death = add_event(self.in->death_fd, EV_READ | EV_PERSIST,
		death_on_readable, NULL);
	self.beat = add_event(-1, EV_PERSIST, beat_on_timer, &second);
	self.deadline = add_event(-1, 0, deadline_on_timer, NULL);
	self.flush =
		event_new(self.app.base, -1, EV_PERSIST, flush_on_timer, NULL);
	if (self.flush == NULL)
		fatal("cannot watch an event");
	self.patience = add_event(-1, EV_TIMEOUT, patience_on_timer, &patience);
}

/* What the limit of descriptors leaves for clients: the database must find
 * one to come back (H7).  The master has warned. */
static unsigned connections_max(const struct conf *conf)
{
	rlim_t max = (rlim_t)conf->http_max_connections;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 &&
		lim.rlim_cur < max + OWN_DESCRIPTORS)
		max = lim.rlim_cur > OWN_DESCRIPTORS
			      ? lim.rlim_cur - OWN_DESCRIPTORS
			      : 1;
	return (unsigned)max;
}

static void open_server(struct app *app)
{
	const struct conf *conf = app->conf;
	struct http_server_conf server = {
		.listen_fd = self.in->listen_fd,
		.routes = api_routes,
		.routes_cnt = api_routes_cnt,
		.max_body_bytes = (size_t)conf->http_max_body_bytes,
		.max_strategy_bytes = (size_t)conf->http_max_strategy_bytes,
		.max_header_bytes = (size_t)conf->http_max_header_bytes,
		.max_connections = connections_max(conf),
		.idle_timeout_s = (unsigned)conf->http_idle_timeout_s,
		.handler_timeout_ms = (uint32_t)conf->http_handler_timeout_ms,
		.dispatch = api_dispatch,
		.on_answer = request_on_answer,
		.on_done = request_on_done,
		.may_accept = may_accept,
		.on_connections = connections_changed,
		.app = app,
	};

	app->server = http_server_new(app->base, &server);
}

static void init(const struct inherit *in)
{
	struct app *app = &self.app;
	struct trace_send_conf trace = {
		.fd = in->trace_fd,
		.slot = in->slot,
		/* as the reference: what is below 1 acts as 1 */
		.rows_max = in->conf->trace_queue_max > 0
				    ? (uint64_t)in->conf->trace_queue_max
				    : 1,
		.audit_max = (uint64_t)in->conf->audit_queue_max,
		.requests_max = (uint64_t)in->conf->request_queue_max,
		.ring_bytes = TRACE_RING_BYTES,
		.audit_bytes = AUDIT_RING_BYTES,
	};

	self.in = in;
	app->conf = in->conf;
	app->shm = in->shm;
	app->slot = in->slot;
	app->boot_ms = in->boot_ms;
	if (in->conf->metrics_enabled && in->conf->metrics_on_api) {
		stats_serve_init(in->conf);
		app->serve_metrics = stats_serve;
	}
	app->base = make_base();
	arena_init(&app->run, RUN_ARENA_BYTES);
	app->trace = trace_send_new(app->base, &trace);
	app->cache = svc_cache_new(app);
	app->batch = svc_batch_new(app);
	app->evidence = svc_evidence_new(app);
	app->ping = svc_ping_new(app);
	app->auth = auth_new(app->conf);
	open_server(app);
	watch_signals();
	lag_watch(app->base);
	open_database(app);
	shm_beat();
}

void worker_main(const struct inherit *in)
{
	init(in);
	if (event_base_dispatch(self.app.base) < 0)
		fatal("the event loop failed");
	leave(0);
}
