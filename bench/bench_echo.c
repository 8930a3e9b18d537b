/*
 * bench_echo.c - the ceiling of the HTTP benches: evhttp with the flags of
 * gamed's workers on one shared socket, and nothing behind it.
 *
 *	bench_echo [-p processes] [-b body]
 *
 * GET answers the body; POST parses the request with json-c and answers an
 * award made of its externalUserId.  Prints the port, serves until killed.
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
	const char *body;
	struct evbuffer *out;
} self = {.body = "{\"status\":\"ok\"}"};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void add_headers(struct evhttp_request *r, size_t len)
{
	struct evkeyvalq *h = evhttp_request_get_output_headers(r);
	char text[24];

	snprintf(text, sizeof(text), "%zu", len);
	evhttp_add_header(h, "Content-Type", "application/json");
	evhttp_add_header(h, "Content-Length", text);
	evhttp_add_header(h, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(h, "X-Correlation-ID",
		"srv-00000000-0000-4000-8000-000000000000");
}

static void reply(struct evhttp_request *r, const char *body, size_t len)
{
	add_headers(r, len);
	evbuffer_add(self.out, body, len);
	evhttp_send_reply(r, 200, "OK", self.out);
	evbuffer_drain(self.out, evbuffer_get_length(self.out));
}

static void score(struct evhttp_request *r)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(r);
	size_t len = evbuffer_get_length(in);
	struct json_tokener *tok = json_tokener_new();
	json_object *event, *user = NULL;
	char body[512];
	int n;

	event = json_tokener_parse_ex(
		tok, (const char *)evbuffer_pullup(in, -1), (int)len);
	json_object_object_get_ex(event, "externalUserId", &user);
	n = snprintf(body, sizeof(body),
		"{\"points\":14,\"caseName\":\"PriorityZone\","
		"\"isACreatedUser\":false,"
		"\"gameId\":\"00000000-0000-4000-8000-000000000000\","
		"\"externalTaskId\":\"%s\","
		"\"created_at\":\"2026-01-01 00:00:00.000000+00:00\"}",
		user ? json_object_get_string(user) : "");
	json_object_put(event);
	json_tokener_free(tok);
	reply(r, body, (size_t)n);
}

static void on_request(struct evhttp_request *r, void *arg)
{
	(void)arg;
	if (evhttp_request_get_command(r) == EVHTTP_REQ_POST)
		score(r);
	else
		reply(r, self.body, strlen(self.body));
}

static void serve(int fd)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;
	struct evhttp *http;

	event_config_set_flag(cfg,
		EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	base = event_base_new_with_config(cfg);
	http = evhttp_new(base);
	self.out = evbuffer_new();
	evhttp_set_timeout(http, 30);
	evhttp_set_gencb(http, on_request, NULL);
	if (evhttp_bind_listener(http,
		    evconnlistener_new(base, NULL, NULL, 0, 0, fd)) == NULL)
		die("bench_echo: listener");
	event_base_dispatch(base);
	_exit(1);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd, opt, procs = 2;

	while ((opt = getopt(argc, argv, "p:b:")) != -1) {
		if (opt == 'p')
			procs = (int)strtol(optarg, NULL, 10);
		else if (opt == 'b')
			self.body = optarg;
		else
			return 2;
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, len) < 0 ||
		listen(fd, 1024) < 0 ||
		getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		die("bench_echo: socket");
	for (int i = 0; i < procs; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve(fd);
		}
	}
	printf("%d\n", ntohs(sin.sin_port));
	fflush(stdout);
	pause();
	return 0;
}
