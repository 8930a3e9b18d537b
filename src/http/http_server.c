/*
 * http_server.c - see http_server.h.  Runs in workers.
 *
 * evhttp tells about a connection only with its first request, so every
 * bufferevent is made here, remembered, and joined to its evhttp connection
 * later in the same turn of the loop: from then on its end is seen too.
 */
#include "http/http_server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/http_priv.h"
#include "http/http_reply.h"

#define DRAIN_GRACE_MS    500          /* idle for less: may still ask */
#define SPARE_MAX         256          /* idle http_req structs kept */
#define TICK_MS           100          /* resolution of handler deadlines */
#define BALANCE_MS        5            /* pause of a worker with its share */
#define NO_DESCRIPTOR_MS  100          /* pause after EMFILE (H7) */
#define REQUEST_ARENA_MAX (64u << 20)  /* bytes one request may use */
#define LARGE_BODY        (64u << 10)  /* bytes; above, its memory is counted */
#define TRIM_AFTER        (16u << 20)  /* bytes of such bodies */
#define STREAM_OUT_MAX    (256u << 10) /* bytes that wait for the client */
#define STREAM_IN_MAX     (64u << 10)  /* bytes it may send meanwhile */
#define STREAM_LOOK_MS    10000      /* waited for it, until its pace counts */
#define STREAM_RATE       (64 << 10) /* bytes per second it has to read */

static struct http_server *servers; /* they live as long as the process */

static void accept_later(struct http_server *s, long ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	evconnlistener_disable(s->listener);
	evtimer_add(s->accept_ev, &tv);
}

/* A full server accepts again at 95 % (H7). */
static bool wants_more(struct http_server *s)
{
	unsigned max = s->conf.max_connections;

	if (s->conns_cnt >= max)
		s->is_full = true;
	else if (s->conns_cnt <= max - max / 20)
		s->is_full = false;
	if (s->is_full)
		return false;
	return s->conf.may_accept == NULL ||
	       s->conf.may_accept(s->conf.app, s->conns_cnt);
}

static void on_accept_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;

	(void)fd;
	(void)what;
	if (s->draining)
		return;
	if (wants_more(s))
		evconnlistener_enable(s->listener);
	else
		accept_later(s, BALANCE_MS);
}

/* Out of descriptors or memory: without a pause this would spin (H7).  The
 * argument is the listener's, which evhttp has made its own. */
static void on_accept_error(struct evconnlistener *lev, void *arg)
{
	struct http_server *s = servers;

	(void)arg;
	log_warnx_limited(
		"cannot accept a connection error=%d", EVUTIL_SOCKET_ERROR());
	while (s != NULL && s->listener != lev)
		s = s->next;
	if (s != NULL && !s->draining)
		accept_later(s, NO_DESCRIPTOR_MS);
}

static void conns_changed(struct http_server *s)
{
	if (s->conf.on_connections != NULL)
		s->conf.on_connections(s->conf.app, s->conns_cnt);
}

static struct bufferevent *on_new_bev(struct event_base *base, void *arg)
{
	struct http_server *s = arg;
	struct http_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		fatal("out of memory for a connection");
	c->server = s;
	c->bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL)
		fatal("out of memory for a connection");
	TAILQ_INSERT_TAIL(&s->fresh, c, entry);
	s->conns_cnt++;
	conns_changed(s);
	event_active(s->adopt_ev, EV_TIMEOUT, 0);
	if (!wants_more(s))
		accept_later(s, BALANCE_MS);
	return c->bev;
}

/* The producer may go on, or learn with its next chunk that nobody reads. */
static void stream_ready(struct http_req *r)
{
	if (!r->stream.is_waiting)
		return;
	r->stream.is_waiting = false;
	r->stream.on_ready(r->stream.arg);
}

static void stream_gone(struct http_req *r)
{
	r->stream.is_waiting |= r->stream.is_live;
	stream_ready(r);
}

static void on_conn_gone(struct evhttp_connection *ev, void *arg)
{
	struct http_conn *c = arg;
	struct http_server *s = c->server;
	struct http_req *r = c->req;

	(void)ev;
	if (r != NULL) {
		r->conn = NULL;
		stream_gone(r);
	}
	TAILQ_REMOVE(&s->conns, c, entry);
	s->by_fd[c->fd] = NULL;
	free(c);
	s->conns_cnt--;
	conns_changed(s);
	if (s->draining && s->conns_cnt == 0)
		event_active(s->tick_ev, EV_TIMEOUT, 0);
}

/*
 * A connection that waits for its next request may be closed at any time;
 * evhttp frees its side when it sees the end (H2).  One that has sent bytes
 * is answered first, and one that was in use a moment ago may be about to: its
 * next answer says that the connection closes, and no request is lost.
 */
static void close_if_idle(struct http_conn *c)
{
	int unread = 0;

	if (clock_mono_ms() - c->idle_since_ms < DRAIN_GRACE_MS)
		return;
	if (c->req != NULL ||
		evbuffer_get_length(bufferevent_get_output(c->bev)) > 0 ||
		evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
		return;
	if (ioctl(c->fd, FIONREAD, &unread) == 0 && unread > 0)
		return;
	shutdown(c->fd, SHUT_RDWR);
}

static void remember(struct http_server *s, struct http_conn *c)
{
	size_t cnt = s->by_fd_cnt ? s->by_fd_cnt : 64;

	while (cnt <= (size_t)c->fd)
		cnt *= 2;
	if (cnt != s->by_fd_cnt) {
		s->by_fd = realloc(s->by_fd, cnt * sizeof(*s->by_fd));
		if (s->by_fd == NULL)
			fatal("out of memory for connections");
		memset(s->by_fd + s->by_fd_cnt, 0,
			(cnt - s->by_fd_cnt) * sizeof(*s->by_fd));
		s->by_fd_cnt = cnt;
	}
	s->by_fd[c->fd] = c;
}

static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;
	struct http_conn *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&s->fresh)) != NULL) {
		void *evcon = NULL;

		TAILQ_REMOVE(&s->fresh, c, entry);
		TAILQ_INSERT_TAIL(&s->conns, c, entry);
		bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
		c->ev = evcon;
		c->fd = bufferevent_getfd(c->bev);
		c->idle_since_ms = clock_mono_ms();
		remember(s, c);
		evhttp_connection_set_closecb(c->ev, on_conn_gone, c);
	}
}

static struct http_conn *conn_of(
	struct http_server *s, struct evhttp_request *ev)
{
	int fd;

	/* a request in the turn of its accept: join before it is handled */
	if (!TAILQ_EMPTY(&s->fresh))
		on_adopt(-1, 0, s);
	fd = bufferevent_getfd(evhttp_connection_get_bufferevent(
		evhttp_request_get_connection(ev)));
	return fd >= 0 && (size_t)fd < s->by_fd_cnt ? s->by_fd[fd] : NULL;
}

static struct http_req *req_new(struct http_server *s)
{
	struct http_req *r = TAILQ_FIRST(&s->spare);
	struct arena arena;

	if (r != NULL) {
		TAILQ_REMOVE(&s->spare, r, entry);
		s->spare_cnt--;
		arena = r->arena;
		memset(r, 0, sizeof(*r));
		r->arena = arena;
	} else {
		r = calloc(1, sizeof(*r));
		if (r == NULL)
			fatal("out of memory for a request");
		arena_init(&r->arena, REQUEST_ARENA_MAX);
	}
	r->server = s;
	r->app = s->conf.app;
	TAILQ_INSERT_TAIL(&s->in_hand, r, entry);
	s->in_hand_cnt++;
	return r;
}

static void req_free(struct http_req *r)
{
	struct http_server *s = r->server;

	TAILQ_REMOVE(&s->in_hand, r, entry);
	s->in_hand_cnt--;
	if (s->spare_cnt >= SPARE_MAX) {
		arena_fini(&r->arena);
		free(r);
		return;
	}
	arena_reset(&r->arena);
	TAILQ_INSERT_HEAD(&s->spare, r, entry);
	s->spare_cnt++;
}

static const char *reason_of(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {{200, "OK"}, {201, "Created"}, {204, "No Content"},
		{304, "Not Modified"}, {307, "Temporary Redirect"},
		{400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"},
		{404, "Not Found"}, {405, "Method Not Allowed"},
		{409, "Conflict"}, {410, "Gone"}, {412, "Precondition Failed"},
		{413, "Content Too Large"}, {422, "Unprocessable Content"},
		{429, "Too Many Requests"}, {500, "Internal Server Error"},
		{503, "Service Unavailable"}, {504, "Gateway Timeout"}};

	for (size_t i = 0; i < NELEM(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

/* What every reply says. */
static void add_headers(struct http_req *r, bool closes)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(r->ev);

	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	if (r->correlation_id[0] != '\0')
		evhttp_add_header(
			headers, "X-Correlation-ID", r->correlation_id);
	if (closes || r->server->draining || http_req_wants_close(r))
		evhttp_add_header(headers, "Connection", "close");
}

/* The request's evhttp side, which is the caller's to end now. */
static struct evhttp_request *take_ev(struct http_req *r)
{
	struct evhttp_request *ev = r->ev;

	if (r->conn != NULL) {
		r->conn->req = NULL;
		r->conn->idle_since_ms = clock_mono_ms();
	}
	r->conn = NULL;
	r->ev = NULL;
	r->body = (struct str){NULL, 0};
	return ev;
}

/* Hands the reply to evhttp and takes the request's evhttp side away. */
static void send_reply(struct http_req *r, int status)
{
	struct http_server *s = r->server;
	size_t bytes = evbuffer_get_length(s->out);
	struct evhttp_request *ev;

	add_headers(r, false);
	ev = take_ev(r);
	evhttp_send_reply(ev, status, reason_of(status), s->out);
	evbuffer_drain(s->out, evbuffer_get_length(s->out));
	if (s->conf.on_done != NULL)
		s->conf.on_done(r, status, bytes);
}

static void answered(struct http_req *r, int status)
{
	if (r->server->conf.on_answer != NULL)
		r->server->conf.on_answer(r, status);
}

void http_server_finish(struct http_req *r, int status)
{
	answered(r, status);
	if (r->ev != NULL)
		send_reply(r, status);
	req_free(r);
}

/* ---- answers in pieces ------------------------------------------------------ */

static struct bufferevent *bev_of(struct evhttp_request *ev)
{
	struct evhttp_connection *c = evhttp_request_get_connection(ev);

	return c ? evhttp_connection_get_bufferevent(c) : NULL;
}

/* All of it has been read: the connection is an ordinary one again. */
static void on_streamed(struct evhttp_request *ev, void *arg)
{
	struct http_server *s = arg;
	struct timeval idle = {.tv_sec = s->conf.idle_timeout_s};
	struct bufferevent *bev = bev_of(ev);

	bufferevent_setwatermark(bev, EV_READ, 0, 0);
	bufferevent_set_timeouts(bev, &idle, &idle);
}

/*
 * evhttp goes on reading, to see the client's end: what it sends meanwhile is
 * bounded, and its silence is no fault.
 */
void http_server_stream_begin(struct http_req *r)
{
	struct http_server *s = r->server;
	struct timeval idle = {.tv_sec = s->conf.idle_timeout_s};
	struct bufferevent *bev = bev_of(r->ev);

	/* 1.0 has no chunks: the end of the body is that of the connection */
	add_headers(r, r->ev->major == 1 && r->ev->minor == 0);
	if (bev != NULL) {
		bufferevent_setwatermark(bev, EV_READ, 0, STREAM_IN_MAX);
		bufferevent_set_timeouts(bev, NULL, &idle);
		evhttp_request_set_on_complete_cb(r->ev, on_streamed, s);
	}
	evhttp_send_reply_start(
		r->ev, r->stream.status, reason_of(r->stream.status));
}

static void on_read_by_client(struct evhttp_connection *ev, void *arg)
{
	(void)ev;
	stream_ready(arg);
}

enum http_flow http_server_stream_chunk(struct http_req *r, struct str bytes)
{
	struct bufferevent *bev = r->ev ? bev_of(r->ev) : NULL;
	struct evbuffer *out = r->server->out;

	if (bev == NULL)
		return HTTP_FLOW_GONE;
	r->stream.bytes += bytes.len;
	evbuffer_add(out, bytes.p, bytes.len);
	evhttp_send_reply_chunk_with_cb(r->ev, out, on_read_by_client, r);
	evbuffer_drain(out, evbuffer_get_length(out));
	if (evbuffer_get_length(bufferevent_get_output(bev)) <= STREAM_OUT_MAX)
		return HTTP_FLOW_GO;
	r->stream.is_waiting = true;
	return HTTP_FLOW_WAIT;
}

static void stream_done(struct http_req *r, int status)
{
	struct http_server *s = r->server;

	if (s->conf.on_done != NULL)
		s->conf.on_done(r, status, r->stream.bytes);
	req_free(r);
}

void http_server_stream_end(struct http_req *r)
{
	answered(r, r->stream.status);
	if (r->ev == NULL) {
		req_free(r);
		return;
	}
	evhttp_send_reply_end(take_ev(r));
	stream_done(r, r->stream.status);
}

/* So that also a client of 1.0 knows that the body is not whole. */
static void reset_connection(struct bufferevent *bev)
{
	static const struct sockaddr reset = {.sa_family = AF_UNSPEC};

	(void)connect(bufferevent_getfd(bev), &reset, sizeof(reset));
}

void http_server_stream_abort(struct http_req *r)
{
	struct evhttp_request *ev;
	struct bufferevent *bev;

	answered(r, 500);
	if (r->ev == NULL) {
		req_free(r);
		return;
	}
	ev = take_ev(r);
	bev = bev_of(ev);
	if (bev == NULL) {
		evhttp_send_reply_end(ev);
	} else {
		/* evhttp would shut it down in good order first */
		reset_connection(bev);
		/* its request goes with it */
		evhttp_connection_free(evhttp_request_get_connection(ev));
	}
	stream_done(r, 500);
}

/* What lies in our buffer or the kernel's is not read yet. */
static int64_t read_by_client(const struct http_req *r, struct bufferevent *bev)
{
	int unread = 0;

	(void)ioctl(bufferevent_getfd(bev), SIOCOUTQ, &unread);
	return (int64_t)r->stream.bytes - unread -
	       (int64_t)evbuffer_get_length(bufferevent_get_output(bev));
}

/* Every tick.  The end of the connection is evhttp's to see and to tell. */
static void check_pace(struct http_req *r)
{
	static const int64_t enough =
		(int64_t)STREAM_RATE * STREAM_LOOK_MS / 1000;
	struct http_stream *st = &r->stream;
	struct bufferevent *bev = r->ev ? bev_of(r->ev) : NULL;
	int64_t before = st->read_bytes;

	if (bev == NULL || !st->is_waiting || st->is_live ||
		++st->late_ticks < STREAM_LOOK_MS / TICK_MS)
		return;
	st->late_ticks = 0;
	st->read_bytes = read_by_client(r, bev);
	if (st->read_bytes - before >= enough)
		return;
	log_warnx_limited("a client that reads too slowly is cut off "
			  "handler=%s bytes=%lld",
		r->route->template, (long long)st->read_bytes);
	reset_connection(bev);
}

static void check_streams(struct http_server *s)
{
	struct http_req *r;

	TAILQ_FOREACH (r, &s->in_hand, entry)
		if (r->stream.is_on)
			check_pace(r);
}

/* ---- requests --------------------------------------------------------------- */

static const char *method_of(struct evhttp_request *ev)
{
	switch (evhttp_request_get_command(ev)) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	case EVHTTP_REQ_PATCH:
		return "PATCH";
	case EVHTTP_REQ_TRACE:
	case EVHTTP_REQ_CONNECT:
		break;
	}
	return "OTHER";
}

/* The same target without the slash at the end of its path. */
static void redirect_slash(struct http_req *r, struct str target)
{
	struct str host = http_req_header(r, "Host");
	struct str query = {target.p + r->path.len, target.len - r->path.len};
	struct str to =
		arena_printf(&r->arena, "http://%.*s%.*s%.*s", STR_ARG(host),
			(int)(r->path.len - 1), r->path.p, STR_ARG(query));

	if (host.p == NULL || to.p == NULL || !http_is_plain(host))
		http_reply_error(r, 404, "Not Found");
	else
		http_reply_redirect(r, to.p);
}

static void route(struct http_req *r, struct str target, bool is_correlated)
{
	struct http_server *s = r->server;
	struct str allow;
	size_t limit;

	switch (http_router_match(s->router, &r->arena, r->method, r->path,
		&r->route, r->captures, &allow)) {
	case HTTP_MATCH_NOT_FOUND:
		http_reply_error(r, 404, "Not Found");
		return;
	case HTTP_MATCH_METHOD:
		http_reply_header(r, "Allow", allow.p);
		http_reply_error(r, 405, "Method Not Allowed");
		return;
	case HTTP_MATCH_SLASH:
		redirect_slash(r, target);
		return;
	case HTTP_MATCH_OK:
		break;
	}
	if (!is_correlated) {
		http_reply_error(r, 422,
			"X-Correlation-ID must be at most %d printable "
			"characters",
			HTTP_CORRELATION_MAX);
		return;
	}
	limit = r->route->body == HTTP_BODY_STRATEGY
			? s->conf.max_strategy_bytes
			: s->conf.max_body_bytes;
	if (r->body.len > limit) {
		http_reply_error(
			r, 413, "the body is larger than %zu bytes", limit);
		return;
	}
	s->conf.dispatch(r);
}

static void peer_of(struct http_req *r, struct evhttp_request *ev)
{
	char *address = NULL;
	ev_uint16_t port = 0;

	evhttp_connection_get_peer(
		evhttp_request_get_connection(ev), &address, &port);
	if (address != NULL) {
		size_t n = strlen(address);

		if (n >= sizeof(r->peer))
			n = sizeof(r->peer) - 1;
		memcpy(r->peer, address, n);
	}
	r->peer_port = port;
}

static void on_request(struct evhttp_request *ev, void *arg)
{
	struct http_server *s = arg;
	struct http_req *r = req_new(s);
	struct evbuffer *in = evhttp_request_get_input_buffer(ev);
	struct str target = str_from(evhttp_request_get_uri(ev));
	bool is_correlated;
	int status;

	r->ev = ev;
	r->start_ns = clock_mono_ns();
	r->method = method_of(ev);
	snprintf(r->version, sizeof(r->version), "%hhu.%hhu",
		(unsigned char)ev->major, (unsigned char)ev->minor);
	r->conn = conn_of(s, ev);
	if (r->conn != NULL)
		r->conn->req = r;
	peer_of(r, ev);
	r->body.len = evbuffer_get_length(in);
	r->request_bytes = r->body.len;
	if (r->body.len > LARGE_BODY)
		s->large_bytes += r->body.len;
	if (r->body.len > 0)
		r->body.p = (const char *)evbuffer_pullup(in, -1);
	is_correlated = http_req_correlate(r) == 0;
	status = http_req_parse_target(r, target);
	if (status != 0)
		http_reply_error(
			r, status, "the request target cannot be understood");
	else
		route(r, target, is_correlated);
}

/* The client of a request that takes too long gets its answer; the handler
 * still owns the struct and frees it with its own, unsent, reply. */
static void expire_requests(struct http_server *s)
{
	uint64_t limit_ns = (uint64_t)s->conf.handler_timeout_ms * 1000000u;
	uint64_t now = clock_mono_ns();
	struct http_req *r;
	static const char body[] = "{\"detail\":\"the request took too long\"}";

	if (limit_ns == 0)
		return;
	TAILQ_FOREACH (r, &s->in_hand, entry) {
		char len[16];

		if (now - r->start_ns < limit_ns)
			return;
		if (r->ev == NULL || r->stream.is_on)
			continue;
		evbuffer_add(s->out, body, sizeof(body) - 1);
		snprintf(len, sizeof(len), "%zu", sizeof(body) - 1);
		http_reply_header(r, "Content-Type", "application/json");
		http_reply_header(r, "Content-Length", len);
		send_reply(r, 504);
	}
}

/*
 * Bodies come in small pieces of many connections at once, which malloc keeps
 * when they are freed: a burst would stay with the worker for good.
 */
static void give_memory_back(struct http_server *s)
{
	if (s->large_bytes < TRIM_AFTER || s->in_hand_cnt > 0)
		return;
	s->large_bytes = 0;
	malloc_trim(TRIM_AFTER);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;
	void (*done)(void *) = s->on_drained;
	struct http_conn *c;

	(void)fd;
	(void)what;
	expire_requests(s);
	check_streams(s);
	give_memory_back(s);
	if (!s->draining || done == NULL)
		return;
	TAILQ_FOREACH (c, &s->conns, entry)
		close_if_idle(c);
	if (s->conns_cnt > 0 || s->in_hand_cnt > 0)
		return;
	s->on_drained = NULL;
	done(s->drained_arg);
}

static void on_libevent_log(int severity, const char *msg)
{
	if (severity >= EVENT_LOG_WARN)
		log_warnx_limited("libevent: %s", msg);
	else
		log_debug("libevent: %s", msg);
}

static void make_evhttp(struct http_server *s)
{
	size_t body = s->conf.max_body_bytes > s->conf.max_strategy_bytes
			      ? s->conf.max_body_bytes
			      : s->conf.max_strategy_bytes;

	s->evhttp = evhttp_new(s->base);
	if (s->evhttp == NULL)
		fatal("cannot make an HTTP server");
	evhttp_set_max_headers_size(
		s->evhttp, (ev_ssize_t)s->conf.max_header_bytes);
	evhttp_set_max_body_size(s->evhttp, (ev_ssize_t)body);
	evhttp_set_timeout(s->evhttp, (int)s->conf.idle_timeout_s);
	evhttp_set_allowed_methods(
		s->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
				   EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
				   EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_bevcb(s->evhttp, on_new_bev, s);
	evhttp_set_gencb(s->evhttp, on_request, s);
}

struct http_server *http_server_new(
	struct event_base *base, const struct http_server_conf *conf)
{
	struct http_server *s = calloc(1, sizeof(*s));
	struct timeval tick = {0, TICK_MS * 1000};

	if (s == NULL)
		fatal("out of memory for the HTTP server");
	event_set_log_callback(on_libevent_log);
	s->base = base;
	s->conf = *conf;
	TAILQ_INIT(&s->fresh);
	TAILQ_INIT(&s->conns);
	TAILQ_INIT(&s->in_hand);
	TAILQ_INIT(&s->spare);
	s->router = http_router_new(conf->routes, conf->routes_cnt);
	s->out = evbuffer_new();
	s->adopt_ev = event_new(base, -1, 0, on_adopt, s);
	s->accept_ev = evtimer_new(base, on_accept_timer, s);
	s->tick_ev = event_new(base, -1, EV_PERSIST, on_tick, s);
	make_evhttp(s);
	s->listener = evconnlistener_new(base, NULL, NULL,
		LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, 0, conf->listen_fd);
	if (s->out == NULL || s->adopt_ev == NULL || s->accept_ev == NULL ||
		s->tick_ev == NULL || s->listener == NULL ||
		evhttp_bind_listener(s->evhttp, s->listener) == NULL)
		fatal("cannot serve on the listening socket");
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	s->next = servers;
	servers = s;
	event_add(s->tick_ev, &tick);
	return s;
}

void http_server_start_accepting(struct http_server *s)
{
	if (!s->draining)
		evconnlistener_enable(s->listener);
}

void http_server_stop_accepting(struct http_server *s)
{
	s->draining = true;
	evconnlistener_disable(s->listener);
	evtimer_del(s->accept_ev);
}

void http_server_drain(
	struct http_server *s, void (*on_drained)(void *arg), void *arg)
{
	http_server_stop_accepting(s);
	s->on_drained = on_drained;
	s->drained_arg = arg;
	event_active(s->tick_ev, EV_TIMEOUT, 0);
}

unsigned http_server_connections(const struct http_server *s)
{
	return s->conns_cnt;
}

unsigned http_server_in_hand(const struct http_server *s)
{
	return s->in_hand_cnt;
}
