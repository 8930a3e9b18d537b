/*
 * Unit tests of src/http: the route table, and a server in this process that
 * a raw client socket talks to through the same event loop.
 */
#define _GNU_SOURCE /* memmem */
#include <criterion/criterion.h>
#include <errno.h>
#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "http/http_server.h"

static struct {
	struct event_base *base;
	struct http_server *server;
	struct http_req *held; /* request whose handler has not answered */
	uint16_t port;
	int listen_fd;
	unsigned done;
	bool drained;
} self;

static void h_echo(struct http_req *r)
{
	struct str q = http_req_query(r, "q");

	http_reply_text(r, 200, "text/plain",
		q.p           ? q
		: r->body.len ? r->body
			      : STR("ok"));
}

static void h_item(struct http_req *r)
{
	http_reply_text(r, 200, "text/plain", http_req_capture(r, "id"));
}

static void h_hold(struct http_req *r)
{
	self.held = r;
}

/* A producer of numbered blocks that stops when it is told to wait. */
static struct {
	struct http_req *req;
	struct buf block;
	unsigned left, sent, waits, readies;
	bool gone, ended;
} producer;

static void produce(void)
{
	enum http_flow flow = HTTP_FLOW_GO;

	while (producer.left > 0 && flow == HTTP_FLOW_GO) {
		buf_printf(&producer.block, "%08u%08192u", producer.sent, 0);
		flow = http_reply_stream_chunk(producer.req, &producer.block);
		if (flow == HTTP_FLOW_GONE) {
			producer.gone = true;
			producer.left = 0;
			break;
		}
		producer.sent++;
		producer.left--;
	}
	producer.waits += flow == HTTP_FLOW_WAIT;
	if (flow == HTTP_FLOW_WAIT || producer.left > 0)
		return;
	http_reply_stream_end(producer.req);
	producer.ended = true;
}

static void on_ready(void *arg)
{
	cr_assert_eq(arg, &producer);
	producer.readies++;
	produce();
}

static void stream_begin(struct http_req *r)
{
	producer.req = r;
	buf_init(&producer.block, 0);
	http_reply_stream_begin(r, 200, "text/plain", on_ready, &producer);
}

static void h_stream(struct http_req *r)
{
	stream_begin(r);
	produce();
}

/* Some of the answer, and the rest never. */
static void h_abort(struct http_req *r)
{
	stream_begin(r);
	buf_add_str(&producer.block, STR("a part"));
	cr_expect_eq(http_reply_stream_chunk(r, &producer.block), HTTP_FLOW_GO);
}

static const struct http_route routes[] = {
	{.method = "GET", .template = "/stream", .handler = h_stream},
	{.method = "GET", .template = "/abort", .handler = h_abort},
	{.method = "GET", .template = "/echo", .handler = h_echo},
	{.method = "POST", .template = "/echo", .handler = h_echo},
	{.method = "GET", .template = "/item/fixed", .handler = h_echo},
	{.method = "POST", .template = "/item/bulk", .handler = h_echo},
	{.method = "GET", .template = "/item/{id}", .handler = h_item},
	{.method = "GET", .template = "/item/{id}/sub", .handler = h_item},
	{.method = "GET", .template = "/hold", .handler = h_hold},
};

static void dispatch(struct http_req *r)
{
	r->route->handler(r);
}

static void on_done(struct http_req *r, int status, size_t bytes)
{
	(void)r;
	(void)status;
	(void)bytes;
	self.done++;
}

static void on_drained(void *arg)
{
	(void)arg;
	self.drained = true;
}

static void start_with(unsigned idle_timeout_s)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	struct http_server_conf conf = {.routes = routes,
		.routes_cnt = NELEM(routes),
		.max_body_bytes = 1000,
		.max_strategy_bytes = 2000,
		.max_header_bytes = 4096,
		.max_connections = 50,
		.idle_timeout_s = idle_timeout_s,
		.handler_timeout_ms = 300,
		.dispatch = dispatch,
		.on_done = on_done};

	conf.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(conf.listen_fd, (struct sockaddr *)&sin, len), 0);
	cr_assert_eq(listen(conf.listen_fd, 64), 0);
	getsockname(conf.listen_fd, (struct sockaddr *)&sin, &len);
	self.port = ntohs(sin.sin_port);
	self.base = event_base_new();
	self.server = http_server_new(self.base, &conf);
	http_server_start_accepting(self.server);
}

static void start(void)
{
	start_with(30);
}

static void start_impatient(void)
{
	start_with(1);
}

static int dial(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(self.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Runs the loop until `cond` holds; fails after five seconds. */
#define UNTIL(cond)                                                           \
	do {                                                                  \
		uint64_t end_ = clock_mono_ms() + 5000;                       \
		while (!(cond)) {                                             \
			cr_assert_lt(clock_mono_ms(), end_, "never: " #cond); \
			event_base_loop(self.base, EVLOOP_NONBLOCK);          \
		}                                                             \
	} while (0)

static size_t count(const char *in, const char *what)
{
	size_t n = 0;

	for (const char *p = in; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* Reads from fd into out until `what` was seen n times or the end. */
static void read_until(
	int fd, char *out, size_t size, const char *what, size_t n)
{
	size_t len = 0;
	ssize_t got = 1;

	out[0] = '\0';
	UNTIL(({
		got = recv(fd, out + len, size - len - 1, 0);
		if (got > 0) {
			len += (size_t)got;
			out[len] = '\0';
		}
		count(out, what) >= n || got == 0;
	}));
}

static void ask(const char *request, char *out, size_t size, const char *until)
{
	int fd = dial();

	cr_assert_eq(send(fd, request, strlen(request), 0),
		(ssize_t)strlen(request));
	read_until(fd, out, size, until, 1);
	close(fd);
}

Test(route, table)
{
	static const struct {
		const char *method, *path;
		enum http_match want;
		const char *capture;
	} cases[] = {{"GET", "/echo", HTTP_MATCH_OK, NULL},
		{"GET", "/item/fixed", HTTP_MATCH_OK, NULL},
		{"GET", "/item/a%20b", HTTP_MATCH_OK, "a b"},
		{"GET", "/item/%C3%A9", HTTP_MATCH_OK, "\xc3\xa9"},
		{"GET", "/item/fixed/sub", HTTP_MATCH_OK, "fixed"},
		{"POST", "/item/bulk", HTTP_MATCH_OK, NULL},
		{"GET", "/item/bulk", HTTP_MATCH_OK, "bulk"},
		{"PUT", "/item/bulk", HTTP_MATCH_METHOD, NULL},
		{"PUT", "/item/x", HTTP_MATCH_METHOD, NULL},
		{"HEAD", "/echo", HTTP_MATCH_METHOD, NULL},
		{"GET", "/echo/", HTTP_MATCH_SLASH, NULL},
		{"GET", "/", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "//echo", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item//sub", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/%2F", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/%00", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/%zz", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/%4", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/..", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/%2e%2e", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/item/%ff", HTTP_MATCH_NOT_FOUND, NULL},
		{"GET", "/ECHO", HTTP_MATCH_NOT_FOUND, NULL}};
	struct http_router *r = http_router_new(routes, NELEM(routes));
	struct arena a;

	arena_init(&a, 0);
	for (size_t i = 0; i < NELEM(cases); i++) {
		const struct http_route *route = NULL;
		struct str caps[HTTP_CAPTURES_MAX], allow = {NULL, 0};
		enum http_match m = http_router_match(r, &a, cases[i].method,
			str_from(cases[i].path), &route, caps, &allow);

		cr_expect_eq(m, cases[i].want, "%s %s: %d", cases[i].method,
			cases[i].path, m);
		if (m == HTTP_MATCH_OK && cases[i].capture != NULL)
			cr_expect(str_is(caps[0], cases[i].capture), "%s",
				cases[i].path);
		if (m == HTTP_MATCH_METHOD)
			cr_expect_gt(allow.len, 0);
	}
	arena_fini(&a);
	http_router_free(&r);
}

Test(server, answers_what_it_is_asked, .init = start)
{
	static const struct {
		const char *request, *status, *contains;
	} cases[] = {
		{"GET /echo?q=a%20b+c HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK",
			"a b c"},
		{"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
		 "2\r\n\r\nhi",
			"200 OK", "\r\n\r\nhi"},
		{"GET /item/x HTTP/1.1\r\nHost: h\r\nX-Correlation-ID:  "
		 "c-1 \r\n\r\n",
			"200 OK", "X-Correlation-ID: c-1\r\n"},
		{"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found",
			"{\"detail\":\"Not Found\"}"},
		{"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
		 "0\r\n\r\n",
			"405 Method Not Allowed", "Allow: GET, POST\r\n"},
		{"GET /echo/?q=1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
			"307 Temporary Redirect",
			"Location: http://h:1/echo?q=1\r\n"},
		{"GET /echo?q=%zz HTTP/1.1\r\nHost: h\r\n\r\n",
			"400 Bad Request", "detail"},
		/* would become a line of the answer's Location */
		{"GET /echo/?q=1\rX: 1 HTTP/1.1\r\nHost: h\r\n\r\n",
			"400 Bad Request", "detail"},
		{"GET /echo/ HTTP/1.1\r\nHost: a b\r\n\r\n", "404 Not Found",
			"detail"},
		{"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: te, "
		 "Close\r\n\r\n",
			"200 OK", "Connection: close\r\n"},
		{"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK",
			"X-Content-Type-Options: nosniff\r\n"},
	};

	for (size_t i = 0; i < NELEM(cases); i++) {
		char out[4096];

		ask(cases[i].request, out, sizeof(out), cases[i].contains);
		cr_expect(strstr(out, cases[i].status), "%s\n%s",
			cases[i].request, out);
		cr_expect(strstr(out, cases[i].contains), "%s\n%s",
			cases[i].request, out);
	}
	cr_expect_eq(self.done, NELEM(cases));
	cr_expect_eq(http_server_in_hand(self.server), 0);
}

Test(server, refuses_a_body_over_the_limit, .init = start)
{
	char request[2000], out[4096];

	snprintf(request, sizeof(request),
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
		"1001\r\n\r\n%01001d",
		7);
	ask(request, out, sizeof(out), "detail");
	cr_expect(strstr(out, "413 "), "%s", out);
	snprintf(request, sizeof(request),
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: "
		"1000\r\n\r\n%01000d",
		7);
	ask(request, out, sizeof(out), "0007");
	cr_expect(strstr(out, "200 OK"), "%s", out);
}

Test(server, keeps_a_connection_and_the_order_of_its_requests, .init = start)
{
	static const char two[] = "GET /echo?q=first HTTP/1.1\r\nHost: "
				  "h\r\n\r\n"
				  "GET /echo?q=second HTTP/1.1\r\nHost: "
				  "h\r\n\r\n";
	char out[4096];
	int fd = dial();

	cr_assert_eq(send(fd, two, sizeof(two) - 1, 0), sizeof(two) - 1);
	read_until(fd, out, sizeof(out), "200 OK", 2);
	UNTIL(http_server_in_hand(self.server) == 0);
	cr_expect_eq(self.done, 2);
	cr_expect_eq(http_server_connections(self.server), 1);
	close(fd);
	UNTIL(http_server_connections(self.server) == 0);
}

Test(server, answers_504_and_survives_the_late_handler, .init = start)
{
	char out[4096];

	ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n", out, sizeof(out),
		"detail");
	cr_expect(strstr(out, "504 "), "%s", out);
	cr_assert_not_null(self.held);
	cr_expect_null(self.held->ev);
	http_reply_error(self.held, 500, "late");
	cr_expect_eq(http_server_in_hand(self.server), 0);
	cr_expect_eq(self.done, 1);
}

Test(server, survives_a_client_that_leaves, .init = start)
{
	static const char request[] = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
	struct linger now = {1, 0};
	int fd = dial();

	cr_assert_eq(
		send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
	UNTIL(self.held != NULL);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	http_reply_text(self.held, 200, "text/plain", STR("nobody reads"));
	UNTIL(http_server_connections(self.server) == 0);
	cr_expect_eq(http_server_in_hand(self.server), 0);
}

Test(server, drains, .init = start)
{
	static const char request[] = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
	char out[4096];
	int idle = dial(), busy = dial();

	UNTIL(http_server_connections(self.server) == 2);
	cr_assert_eq(send(busy, request, sizeof(request) - 1, 0),
		sizeof(request) - 1);
	UNTIL(self.held != NULL);
	http_server_drain(self.server, on_drained, NULL);
	UNTIL(http_server_connections(self.server) == 1);
	cr_expect_not(self.drained);
	http_reply_text(self.held, 200, "text/plain", STR("bye"));
	read_until(busy, out, sizeof(out), "bye", 1);
	cr_expect(strstr(out, "Connection: close\r\n"), "%s", out);
	UNTIL(self.drained);
	close(idle);
	close(busy);
}

static void spin(unsigned ms)
{
	for (uint64_t end = clock_mono_ms() + ms; clock_mono_ms() < end;)
		event_base_loop(self.base, EVLOOP_NONBLOCK);
}

/* Of 60 connections 50 are taken; the rest waits in the kernel's queue. */
Test(server, accepts_again_when_a_part_of_its_connections_has_gone,
	.init = start)
{
	int fds[60];

	for (size_t i = 0; i < NELEM(fds); i++)
		fds[i] = dial();
	UNTIL(http_server_connections(self.server) == 50);
	spin(50);
	cr_expect_eq(http_server_connections(self.server), 50);
	close(fds[0]);
	UNTIL(http_server_connections(self.server) == 49);
	spin(50);
	cr_expect_eq(http_server_connections(self.server), 49);
	close(fds[1]);
	UNTIL(http_server_connections(self.server) == 50);
	for (size_t i = 2; i < NELEM(fds); i++)
		close(fds[i]);
	UNTIL(http_server_connections(self.server) == 0);
}

/* What the handler does counts, not who waits for it: an award is recorded. */
Test(server, drains_after_the_handler_of_a_client_that_left, .init = start)
{
	static const char request[] = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";
	char out[4096];
	int fd = dial();

	cr_assert_eq(
		send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
	read_until(fd, out, sizeof(out), "504 ", 1);
	close(fd);
	UNTIL(http_server_connections(self.server) == 0);
	http_server_drain(self.server, on_drained, NULL);
	spin(250);
	cr_expect_not(self.drained);
	http_reply_text(self.held, 200, "text/plain", STR("late"));
	UNTIL(self.drained);
}

/* ---- answers in pieces ----------------------------------------------------- */

#define STREAM_GET "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"
#define BLOCK      8200
#define LARGE      5000 /* blocks: more than the socket's buffers take */

static int ask_stream(unsigned blocks, const char *request)
{
	int fd = dial();

	producer.left = blocks;
	cr_assert_eq(send(fd, request, strlen(request), 0),
		(ssize_t)strlen(request));
	return fd;
}

/* The producer waits, and nothing has moved for a while. */
static bool is_stuck(void)
{
	static uint64_t since_ms;
	static unsigned sent;

	if (since_ms == 0 || sent != producer.sent) {
		since_ms = clock_mono_ms();
		sent = producer.sent;
	}
	return producer.waits > producer.readies &&
	       clock_mono_ms() - since_ms > 100;
}

/* Reads what is there; false at the end of the connection. */
static bool read_some(int fd, struct buf *in, size_t max)
{
	ssize_t got = recv(fd, buf_reserve(in, max), max, 0);

	if (got > 0)
		in->len += (size_t)got;
	return got > 0 || (got < 0 && errno == EAGAIN);
}

/* Blocks of a chunked body, all whole and in order; -1 for anything else. */
static int blocks_of(struct str in, size_t *used_r)
{
	const char *p = memmem(in.p, in.len, "\r\n\r\n", 4), *end;
	int n = 0;

	end = in.p + in.len;
	if (p == NULL)
		return -1;
	for (p += 4; end - p >= 5; n++, p += 6 + BLOCK + 2) {
		char head[24];

		if (memcmp(p, "0\r\n\r\n", 5) == 0) {
			*used_r = (size_t)(p + 5 - in.p);
			return n;
		}
		snprintf(head, sizeof(head), "%x\r\n%08d", BLOCK, n);
		if (end - p < 6 + BLOCK + 2 || memcmp(p, head, 14) != 0)
			return -1;
	}
	return -1;
}

Test(stream, arrives_whole_and_the_connection_stays, .init = start)
{
	/* the second request comes while the first is being answered (H9) */
	int fd = ask_stream(LARGE,
		STREAM_GET "GET /echo?q=after HTTP/1.1\r\nHost: h\r\n\r\n");
	size_t used = 0;
	struct buf in;

	buf_init(&in, 0);
	UNTIL(is_stuck());
	/* past the handler's deadline: it does not count any more */
	spin(500);
	cr_expect_eq(self.done, 0);
	cr_expect_lt(producer.sent, LARGE, "the producer has to wait");
	UNTIL(({
		cr_assert(read_some(fd, &in, 65536));
		self.done == 2 &&
			memmem(in.p, in.len, "\r\n\r\nafter", 9) != NULL;
	}));
	cr_expect_eq(blocks_of(buf_str(&in), &used), LARGE);
	cr_expect_eq(memcmp(in.p + used, "HTTP/1.1 200", 12), 0);
	cr_expect_eq(producer.waits, producer.readies);
	cr_expect_eq(http_server_in_hand(self.server), 0);
	cr_expect_eq(http_server_connections(self.server), 1);
	close(fd);
	buf_fini(&in);
	UNTIL(http_server_connections(self.server) == 0);
}

Test(stream, ends_with_the_connection_for_http_1_0, .init = start)
{
	int fd = ask_stream(2, "GET /stream HTTP/1.0\r\n"
			       "Connection: keep-alive\r\n\r\n");
	struct buf in;

	buf_init(&in, 0);
	UNTIL(!read_some(fd, &in, 65536));
	buf_add_char(&in, '\0');
	cr_expect(strstr(in.p, "Connection: close\r\n"), "%.400s", in.p);
	cr_expect_null(strstr(in.p, "chunked"));
	cr_expect_eq(strlen(strstr(in.p, "\r\n\r\n") + 4), 2 * BLOCK);
	close(fd);
	buf_fini(&in);
}

Test(stream, survives_a_client_that_leaves, .init = start)
{
	int fd = ask_stream(LARGE, STREAM_GET);

	UNTIL(is_stuck());
	close(fd);
	UNTIL(producer.ended);
	cr_expect(producer.gone);
	cr_expect_eq(http_server_in_hand(self.server), 0);
	cr_expect_eq(http_server_connections(self.server), 0);
	cr_expect_eq(self.done, 1);
}

Test(stream, cuts_a_client_that_reads_nothing, .init = start_impatient)
{
	int fd = ask_stream(LARGE, STREAM_GET);
	uint64_t start_ms;

	UNTIL(is_stuck());
	start_ms = clock_mono_ms();
	UNTIL(producer.ended);
	cr_expect(producer.gone);
	cr_expect_geq(clock_mono_ms() - start_ms, 700);
	cr_expect_eq(http_server_in_hand(self.server), 0);
	cr_expect_eq(http_server_connections(self.server), 0);
	close(fd);
}

Test(stream, keeps_a_client_that_reads_slowly, .init = start_impatient)
{
	int fd = ask_stream(LARGE, STREAM_GET);
	uint64_t start_ms = clock_mono_ms(), next_ms = start_ms;
	size_t used;
	struct buf in;

	buf_init(&in, 0);
	/* some each 50 ms, for more than the idle timeout */
	UNTIL(({
		if (clock_mono_ms() >= next_ms) {
			next_ms += 50;
			cr_assert(read_some(fd, &in, 1 << 20));
		}
		clock_mono_ms() - start_ms > 1500;
	}));
	cr_expect_not(producer.ended);
	UNTIL(({
		cr_assert(read_some(fd, &in, 1 << 20));
		self.done == 1 && blocks_of(buf_str(&in), &used) == LARGE;
	}));
	close(fd);
	buf_fini(&in);
}

Test(stream, that_is_aborted_is_seen_as_broken, .init = start)
{
	int fd = ask_stream(0, "GET /abort HTTP/1.1\r\nHost: h\r\n\r\n");
	struct buf in;

	buf_init(&in, 0);
	UNTIL(({
		cr_assert(read_some(fd, &in, 4096));
		in.len > 0 && memmem(in.p, in.len, "a part\r\n", 8) != NULL;
	}));
	http_reply_stream_abort(producer.req);
	cr_expect_eq(http_server_in_hand(self.server), 0);
	cr_expect_eq(http_server_connections(self.server), 0);
	cr_expect_not(read_some(fd, &in, 4096));
	cr_expect_eq(errno, ECONNRESET);
	cr_expect_eq(self.done, 1);
	close(fd);
	buf_fini(&in);
}
