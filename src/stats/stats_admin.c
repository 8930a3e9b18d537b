/*
 * stats_admin.c - see stats_admin.h.  Runs in the stats process, lives as
 * long as it.  While an answer is on its way nothing more is read from its
 * client, so that each holds one answer at most.
 */
#include "stats/stats_admin.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>

#include "base/log.h"

#define CLIENTS_MAX 16
#define LINE_MAX_   1024
#define STALL_S     10

struct stats_admin {
	struct event_base *base;
	struct evconnlistener *listener;
	stats_admin_cb answer;
	void *arg;
	struct buf out; /* of the answer being made */
	unsigned clients;
};

static void drop(struct stats_admin *a, struct bufferevent *bev)
{
	bufferevent_free(bev);
	if (a->clients-- == CLIENTS_MAX)
		evconnlistener_enable(a->listener);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct stats_admin *a = arg;
	size_t len;
	char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);

	if (line == NULL) {
		if (evbuffer_get_length(in) >= LINE_MAX_)
			drop(a, bev);
		return;
	}
	buf_reset(&a->out);
	a->answer(a->arg, str_trim((struct str){line, len}), &a->out);
	buf_add_char(&a->out, '\n');
	free(line);
	bufferevent_disable(bev, EV_READ);
	if (bufferevent_write(bev, a->out.p, a->out.len) < 0)
		drop(a, bev);
}

/* The answer is out; the next command may be here already. */
static void on_written(struct bufferevent *bev, void *arg)
{
	bufferevent_enable(bev, EV_READ);
	on_readable(bev, arg);
}

/* End, error or time-out. */
static void on_end(struct bufferevent *bev, short what, void *arg)
{
	(void)what;
	drop(arg, bev);
}

static void on_client(struct evconnlistener *l, evutil_socket_t fd,
	struct sockaddr *sa, int len, void *arg)
{
	static const struct timeval stall = {STALL_S, 0};
	struct stats_admin *a = arg;
	struct bufferevent *bev =
		bufferevent_socket_new(a->base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)sa;
	(void)len;
	if (bev == NULL)
		fatal("out of memory for an admin client");
	if (++a->clients == CLIENTS_MAX)
		evconnlistener_disable(l);
	bufferevent_setcb(bev, on_readable, on_written, on_end, a);
	bufferevent_setwatermark(bev, EV_READ, 0, LINE_MAX_);
	bufferevent_set_timeouts(bev, &stall, &stall);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

struct stats_admin *stats_admin_new(struct event_base *base, int listen_fd,
	stats_admin_cb answer, void *arg)
{
	struct stats_admin *a = calloc(1, sizeof(*a));

	if (a == NULL)
		fatal("out of memory for the admin socket");
	a->base = base;
	a->answer = answer;
	a->arg = arg;
	buf_init(&a->out, 0);
	a->listener = evconnlistener_new(
		base, on_client, a, LEV_OPT_CLOSE_ON_EXEC, 0, listen_fd);
	if (a->listener == NULL)
		fatal("cannot watch the admin socket");
	return a;
}
