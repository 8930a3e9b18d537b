/*
 * stats.c - role main of the stats process: GET /metrics on its own listener,
 * the admin socket, the notices of changed objects.  Entered once by the
 * master's child, never returns; writes no slot but its own.
 */
#include "stats/stats.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/http_req.h"
#include "http/http_server.h"
#include "stats/stats_admin.h"
#include "stats/stats_db.h"
#include "stats/stats_kpi.h"
#include "stats/stats_rates.h"
#include "stats/stats_report.h"
#include "stats/stats_serve.h"

#define CONNECTIONS_MAX 64
#define IDLE_S          75 /* more than a scrape interval */

static struct {
	const struct inherit *in;
	struct event_base *base;
	struct event *ev_beat, *ev_term, *ev_quit, *ev_death;
	struct http_server *http;
	struct stats_admin *admin;
	struct stats_db *db;
	struct stats_kpi *kpi;
	struct stats_rates rates;
	struct metric_totals totals; /* as of the last metric_read */
} self;

/* ---- what it serves ----------------------------------------------------- */

static const struct http_route routes[] = {
	{"GET", "/metrics", HTTP_AUTH_NONE, HTTP_BODY_NONE, stats_serve, true},
};

static void dispatch(struct http_req *req)
{
	req->route->handler(req);
}

static void answer(void *arg, struct str line, struct buf *out)
{
	struct stats_report r = {.totals = &self.totals,
		.rates = &self.rates,
		.has_db = stats_db_healthy(self.db)};

	(void)arg;
	metric_read(&self.totals, (unsigned)api_routes_cnt);
	if (stats_report(out, line, &r) < 0)
		log_debug("unknown command on the admin socket");
}

/* ---- events ------------------------------------------------------------- */

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	uint64_t now_ms = clock_mono_ms();

	(void)fd;
	(void)what;
	(void)arg;
	log_settle();
	shm_beat();
	metric_read(&self.totals, (unsigned)api_routes_cnt);
	stats_rates_add(&self.rates, &self.totals, now_ms);
	stats_db_tick(self.db, now_ms);
	stats_kpi_tick(self.kpi, now_ms);
}

/* The master is gone or in a hurry: nothing here is worth a delay. */
static void on_leave(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_base_loopbreak(self.base);
}

static void on_written(void *arg)
{
	(void)arg;
	event_base_loopbreak(self.base);
}

/* The workers have left before: their counters are final. */
static void on_term(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	metric_read(&self.totals, (unsigned)api_routes_cnt);
	stats_kpi_stop(self.kpi, on_written, NULL);
}

static void init_events(void)
{
	static const struct timeval second = {1, 0};

	self.ev_beat = event_new(self.base, -1, EV_PERSIST, on_beat, NULL);
	self.ev_term = evsignal_new(self.base, SIGTERM, on_term, NULL);
	self.ev_quit = evsignal_new(self.base, SIGQUIT, on_leave, NULL);
	self.ev_death = event_new(self.base, self.in->death_fd,
		EV_READ | EV_PERSIST, on_leave, NULL);
	if (!self.ev_beat || !self.ev_term || !self.ev_quit || !self.ev_death ||
		event_add(self.ev_beat, &second) < 0 ||
		event_add(self.ev_term, NULL) < 0 ||
		event_add(self.ev_quit, NULL) < 0 ||
		event_add(self.ev_death, NULL) < 0)
		fatal("cannot make the events of the stats process");
}

static void init_http(void)
{
	struct http_server_conf hc = {
		.listen_fd = self.in->metrics_fd,
		.routes = routes,
		.routes_cnt = NELEM(routes),
		.max_header_bytes =
			(size_t)self.in->conf->http_max_header_bytes,
		.max_connections = CONNECTIONS_MAX,
		.idle_timeout_s = IDLE_S,
		.dispatch = dispatch,
	};

	if (self.in->metrics_fd < 0)
		return;
	stats_serve_init(self.in->conf);
	self.http = http_server_new(self.base, &hc);
	http_server_start_accepting(self.http);
}

static void init(const struct inherit *in)
{
	struct event_config *ec = event_config_new();

	self.in = in;
	if (ec == NULL || event_config_set_flag(ec,
				  EVENT_BASE_FLAG_NOLOCK |
					  EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST))
		fatal("cannot configure the loop of the stats process");
	self.base = event_base_new_with_config(ec);
	event_config_free(ec);
	if (self.base == NULL)
		fatal("cannot make the loop of the stats process");
	init_events();
	init_http();
	self.admin = stats_admin_new(self.base, in->admin_fd, answer, NULL);
	self.db = stats_db_new(self.base, in->conf);
	metric_read(&self.totals, (unsigned)api_routes_cnt);
	self.kpi = stats_kpi_new(
		self.base, stats_db_pool(self.db), in, &self.totals);
	metric_dsl_known(str_from(in->conf->realm));
	on_beat(-1, 0, NULL);
}

void stats_main(const struct inherit *in)
{
	init(in);
	if (write(in->ready_fd, "", 1) != 1)
		log_warn("cannot tell the master that stats is ready");
	close(in->ready_fd);
	log_info("stats is ready");
	if (event_base_dispatch(self.base) < 0)
		fatal("the loop of the stats process failed");
	log_info("stats leaves requests=%llu",
		(unsigned long long)stats_requests(&self.totals));
	log_end();
	exit(0);
}
