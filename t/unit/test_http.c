/*
 * Unit tests of src/http: the route table, and a server in this process that
 * a raw client socket talks to through the same event loop.
 */
#include <criterion/criterion.h>
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

static const struct http_route routes[] = {
	{.method = "GET", .template = "/echo", .handler = h_echo},
	{.method = "POST", .template = "/echo", .handler = h_echo},
	{.method = "GET", .template = "/item/fixed", .handler = h_echo},
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

static void start(void)
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
		.idle_timeout_s = 30,
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
