/* stats_uptime.c - see stats_uptime.h.  Lives as long as the stats process. */
#include "stats/stats_uptime.h"

#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define TIMEOUT_S 5
#define PATH      "/api/v1/kpi/health_check"

struct stats_uptime {
	struct event_base *base;
	struct stats_uptime_conf conf;
	struct evhttp_connection *conn; /* of the question that is open */
	int64_t asked_us;
	uint64_t due_ms;
};

/* Where a wildcard address is reached. */
static const char *address(const struct stats_uptime_conf *conf)
{
	if (strcmp(conf->address, "0.0.0.0") == 0)
		return "127.0.0.1";
	if (strcmp(conf->address, "::") == 0)
		return "::1";
	return conf->address;
}

/* req is NULL when there was no connection or no answer in time. */
static void on_answer(struct evhttp_request *req, void *arg)
{
	struct stats_uptime *u = arg;
	bool fine = req != NULL && evhttp_request_get_response_code(req) == 200;

	u->conf.cb(u->conf.arg, u->asked_us, fine);
}

static void ask(struct stats_uptime *u)
{
	struct evhttp_request *req;

	/* here, since libevent still uses it after the callback */
	if (u->conn != NULL)
		evhttp_connection_free(u->conn);
	u->asked_us = clock_wall_us();
	u->conn = evhttp_connection_base_new(
		u->base, NULL, address(&u->conf), (unsigned short)u->conf.port);
	req = evhttp_request_new(on_answer, u);
	if (u->conn == NULL || req == NULL)
		fatal("out of memory for a question to the API");
	evhttp_connection_set_timeout(u->conn, TIMEOUT_S);
	evhttp_connection_set_retries(u->conn, 0);
	evhttp_add_header(
		evhttp_request_get_output_headers(req), "Host", "localhost");
	evhttp_add_header(
		evhttp_request_get_output_headers(req), "Connection", "close");
	if (evhttp_make_request(u->conn, req, EVHTTP_REQ_GET, PATH) < 0)
		u->conf.cb(u->conf.arg, u->asked_us, false);
}

void stats_uptime_tick(struct stats_uptime *u, uint64_t now_ms)
{
	if (now_ms < u->due_ms)
		return;
	u->due_ms = now_ms + u->conf.sample_s * 1000;
	ask(u);
}

struct stats_uptime *stats_uptime_new(
	struct event_base *base, const struct stats_uptime_conf *conf)
{
	struct stats_uptime *u;

	if (conf->port == 0)
		return NULL;
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		fatal("out of memory for the samples of uptime");
	u->base = base;
	u->conf = *conf;
	/* the first workers are still on their way */
	u->due_ms = clock_mono_ms() + 1000;
	return u;
}
