/* svc_tail.c - see svc_tail.h.  Runs in workers. */
#include "svc/svc_tail.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/conf.h"
#include "svc/app.h"

#define ANSWER_S 3 /* for the logger's first line */

struct svc_tail {
	struct svc_tail_conf conf;
	struct bufferevent *bev;
	struct event *tick;
};

static const struct str no_line = {NULL, 0};

/* It takes what there is at once, or nobody is there. */
static int connect_to(const struct conf *conf)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, n;

	n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s", conf->run_dir,
		TAIL_SOCKET);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	log_warn("cannot connect to %s", sa.sun_path);
	close(fd);
	return -1;
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct svc_tail *t = arg;
	bool goes_on = true;
	size_t len;
	char *line;

	while (goes_on &&
		(line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
		enum tail_line kind = tail_line_kind((struct str){line, len});

		if (kind == TAIL_LINE_READY)
			bufferevent_set_timeouts(bev, NULL, NULL);
		goes_on = t->conf.on_line(
			t->conf.arg, kind, (struct str){line, len});
		free(line);
	}
	if (goes_on && evbuffer_get_length(in) >= TAIL_LINE_MAX)
		(void)t->conf.on_line(t->conf.arg, TAIL_LINE_END, no_line);
}

/* End, error or time-out. */
static void on_end(struct bufferevent *bev, short what, void *arg)
{
	struct svc_tail *t = arg;

	(void)bev;
	(void)what;
	(void)t->conf.on_line(t->conf.arg, TAIL_LINE_END, no_line);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct svc_tail *t = arg;

	(void)fd;
	(void)what;
	t->conf.on_tick(t->conf.arg);
}

static void ask(struct svc_tail *t)
{
	static const struct timeval answer = {ANSWER_S, 0};
	struct buf line;

	buf_init(&line, 0);
	tail_filter_write(&line, &t->conf.filter);
	if (bufferevent_write(t->bev, line.p, line.len) < 0)
		fatal("out of memory for a stream");
	buf_fini(&line);
	memset(&t->conf.filter, 0, sizeof(t->conf.filter));
	bufferevent_setcb(t->bev, on_readable, NULL, on_end, t);
	bufferevent_setwatermark(t->bev, EV_READ, 0, TAIL_LINE_MAX);
	bufferevent_set_timeouts(t->bev, &answer, NULL);
	bufferevent_enable(t->bev, EV_READ | EV_WRITE);
}

struct svc_tail *svc_tail_open(
	struct app *app, const struct svc_tail_conf *conf)
{
	static const struct timeval second = {1, 0};
	int fd = connect_to(app->conf);
	struct svc_tail *t;

	if (fd < 0)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		fatal("out of memory for a stream");
	t->conf = *conf;
	t->bev = bufferevent_socket_new(app->base, fd, BEV_OPT_CLOSE_ON_FREE);
	t->tick = event_new(app->base, -1, EV_PERSIST, on_timer, t);
	if (t->bev == NULL || t->tick == NULL ||
		event_add(t->tick, &second) < 0)
		fatal("out of memory for a stream");
	ask(t);
	return t;
}

void svc_tail_close(struct svc_tail **tp)
{
	if (*tp == NULL)
		return;
	event_free((*tp)->tick);
	bufferevent_free((*tp)->bev);
	free(*tp);
	*tp = NULL;
}
