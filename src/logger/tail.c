/*
 * tail.c - see tail.h.  Logger process, lives as long as it.
 *
 * A reader asks with one line, then follows, then ends: what still waits for
 * it is what it reads last, so that also one that was cut off learns how much
 * it missed.  One that has ended keeps its place until it has read that, or
 * somebody needs the place.
 */
#include "logger/tail.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "ipc/run_rec.h"
#include "ipc/tail_line.h"
#include "json/json_out.h"
#include "logger/tail_row.h"
#include "shm/shm.h"

#define READERS_MAX 32
#define WAITING_MAX (1u << 20)  /* bytes for one reader */
#define WAITING_LOW (64u << 10) /* bytes; it has caught up */
#define ASK_S       10          /* to send its line */
#define LATE_S      10          /* to catch up once it is behind */

enum reader_state { READER_ASKS, READER_FOLLOWS, READER_ENDS };

struct reader {
	struct tail *tail;
	struct bufferevent *bev;
	struct event *late; /* timer: runs while it is behind */
	enum reader_state state;
	bool is_behind;  /* rows are left out until it has caught up */
	uint64_t missed; /* rows since it is behind */
	struct tail_filter filter;
	struct arena arena; /* of the filter */
	TAILQ_ENTRY(reader) entry;
};

struct tail {
	struct event_base *base;
	struct evconnlistener *listener; /* NULL: none */
	TAILQ_HEAD(, reader) readers;    /* oldest first */
	unsigned readers_cnt;
	unsigned following; /* readers that do */
	struct arena arena; /* of the run being shown */
	struct buf line;    /* likewise */
};

/* ---- readers ------------------------------------------------------------ */

static void set_state(struct reader *r, enum reader_state state)
{
	struct tail *t = r->tail;

	t->following -= r->state == READER_FOLLOWS;
	r->state = state;
	t->following += r->state == READER_FOLLOWS;
	metric_set(M_TAIL_READERS, t->following);
}

static void reader_free(struct reader *r)
{
	set_state(r, READER_ENDS);
	TAILQ_REMOVE(&r->tail->readers, r, entry);
	r->tail->readers_cnt--;
	event_free(r->late);
	bufferevent_free(r->bev);
	arena_fini(&r->arena);
	free(r);
}

static size_t waiting(const struct reader *r)
{
	return evbuffer_get_length(bufferevent_get_output(r->bev));
}

static void say(struct reader *r, const void *p, size_t len)
{
	if (bufferevent_write(r->bev, p, len) < 0)
		fatal("out of memory for a reader of the tail");
}

/* The kernel takes what it has room for, before the loop turns. */
static void push(struct reader *r)
{
	struct evbuffer *out = bufferevent_get_output(r->bev);

	/* its owner keeps the front closed; an error is seen by the loop */
	evbuffer_unfreeze(out, 1);
	(void)evbuffer_write(out, bufferevent_getfd(r->bev));
	evbuffer_freeze(out, 1);
}

static void say_missed(struct reader *r)
{
	struct json_out o;
	struct buf b;

	if (r->missed == 0)
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_int(&o, "missed", (int64_t)r->missed);
	json_out_obj_end(&o);
	buf_add_char(&b, '\n');
	say(r, b.p, b.len);
	buf_fini(&b);
	r->missed = 0;
}

/* It gets no more rows, and leaves when it has read what waits. */
static void end(struct reader *r, const char *why)
{
	struct json_out o;
	struct buf b;

	event_del(r->late);
	r->is_behind = false;
	say_missed(r);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_kv_cstr(&o, "end", why);
	json_out_obj_end(&o);
	buf_add_char(&b, '\n');
	say(r, b.p, b.len);
	buf_fini(&b);
	set_state(r, READER_ENDS);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct reader *r = arg;

	(void)fd;
	(void)what;
	log_info("a reader of the tail is cut off: it stays behind "
		 "missed=%llu",
		(unsigned long long)r->missed);
	metric_inc(M_TAIL_CUT);
	end(r, "late");
}

static void leave_out(struct reader *r)
{
	static const struct timeval late = {LATE_S, 0};

	if (!r->is_behind)
		event_add(r->late, &late);
	r->is_behind = true;
	r->missed++;
	metric_inc(M_TAIL_MISSED);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct reader *r = arg;

	(void)bev;
	if (r->state == READER_ENDS && waiting(r) == 0) {
		reader_free(r);
		return;
	}
	if (!r->is_behind)
		return;
	event_del(r->late);
	r->is_behind = false;
	say_missed(r);
}

/* ---- asking ------------------------------------------------------------- */

static void refuse(struct reader *r, const char *code, const char *message)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_out_obj(&o);
	json_out_key(&o, "error");
	json_out_obj(&o);
	json_out_kv_cstr(&o, "code", code);
	json_out_kv_cstr(&o, "message", message);
	json_out_obj_end(&o);
	json_out_obj_end(&o);
	buf_add_char(&b, '\n');
	say(r, b.p, b.len);
	buf_fini(&b);
	set_state(r, READER_ENDS);
}

static void take_filter(struct reader *r, struct str line)
{
	static const char ready[] = "{\"ready\":true}\n";
	const char *code;
	struct err err;

	if (tail_filter_read(&r->arena, line, &r->filter, &code, &err) < 0) {
		refuse(r, code, err.text);
		return;
	}
	bufferevent_set_timeouts(r->bev, NULL, NULL);
	say(r, ready, sizeof(ready) - 1);
	set_state(r, READER_FOLLOWS);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct reader *r = arg;
	size_t len;
	char *line;

	if (r->state == READER_FOLLOWS) { /* it has nothing more to say */
		reader_free(r);
		return;
	}
	if (r->state == READER_ENDS) {
		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
	if (line != NULL)
		take_filter(r, (struct str){line, len});
	else if (evbuffer_get_length(in) >= TAIL_FILTER_MAX)
		refuse(r, "filter_too_long", "the filter is too long");
	free(line);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	reader_free(arg);
}

/* A place for one more; those that have ended give up theirs. */
static bool has_place(struct tail *t)
{
	struct reader *r;

	if (t->readers_cnt < READERS_MAX)
		return true;
	TAILQ_FOREACH (r, &t->readers, entry)
		if (r->state == READER_ENDS) {
			reader_free(r);
			return true;
		}
	return false;
}

static void turn_away(int fd)
{
	static const char text[] =
		"{\"error\":{\"code\":\"too_many_readers\",\"message\":"
		"\"the tail has all the readers that it may have\"}}\n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void on_client(struct evconnlistener *l, evutil_socket_t fd,
	struct sockaddr *sa, int len, void *arg)
{
	static const struct timeval ask = {ASK_S, 0};
	struct tail *t = arg;
	struct reader *r;

	(void)l;
	(void)sa;
	(void)len;
	if (!has_place(t)) {
		turn_away(fd);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		fatal("out of memory for a reader of the tail");
	r->tail = t;
	r->bev = bufferevent_socket_new(t->base, fd, BEV_OPT_CLOSE_ON_FREE);
	r->late = evtimer_new(t->base, on_late, r);
	if (r->bev == NULL || r->late == NULL)
		fatal("out of memory for a reader of the tail");
	arena_init(&r->arena, 0);
	TAILQ_INSERT_TAIL(&t->readers, r, entry);
	t->readers_cnt++;
	bufferevent_setcb(r->bev, on_readable, on_written, on_end, r);
	bufferevent_setwatermark(r->bev, EV_READ, 0, TAIL_FILTER_MAX);
	bufferevent_setwatermark(r->bev, EV_WRITE, WAITING_LOW, 0);
	bufferevent_set_timeouts(r->bev, &ask, NULL);
	bufferevent_enable(r->bev, EV_READ | EV_WRITE);
}

/* ---- rows --------------------------------------------------------------- */

static bool has_room(struct reader *r)
{
	if (r->is_behind)
		return false;
	if (waiting(r) >= WAITING_MAX)
		push(r);
	return waiting(r) < WAITING_MAX;
}

/* Makes the line; -1: the record cannot be read, which is counted elsewhere. */
static int serialise(struct tail *t, struct str body)
{
	struct run_rec rec;

	arena_reset(&t->arena);
	buf_reset(&t->line);
	if (run_rec_decode(&t->arena, body, &rec) < 0)
		return -1;
	tail_row_write(&t->line, &rec);
	buf_add_char(&t->line, '\n');
	metric_inc(M_TAIL_SERIALISED);
	return 0;
}

static void show(struct tail *t, struct str body)
{
	bool is_made = false;
	struct run_rec head;
	struct reader *r;

	if (run_rec_decode_head(body, &head) < 0)
		return;
	TAILQ_FOREACH (r, &t->readers, entry) {
		if (r->state != READER_FOLLOWS ||
			!tail_filter_matches(&r->filter, &head))
			continue;
		if (!has_room(r)) {
			leave_out(r);
			continue;
		}
		if (!is_made && serialise(t, body) < 0)
			return;
		is_made = true;
		say(r, t->line.p, t->line.len);
		metric_inc(M_TAIL_SENT);
	}
}

void tail_take(struct tail *t, struct str frame_rows)
{
	struct ev_row row;

	if (t == NULL || t->following == 0)
		return;
	while (ev_frame_next(&frame_rows, &row) == 1)
		if (row.type == EV_T_RUN)
			show(t, row.body);
}

/* ---- life --------------------------------------------------------------- */

struct tail *tail_new(struct event_base *base, int listen_fd)
{
	struct tail *t = calloc(1, sizeof(*t));

	if (t == NULL)
		fatal("out of memory for the tail");
	t->base = base;
	TAILQ_INIT(&t->readers);
	arena_init(&t->arena, 0);
	buf_init(&t->line, 0);
	if (listen_fd < 0)
		return t;
	t->listener = evconnlistener_new(
		base, on_client, t, LEV_OPT_CLOSE_ON_EXEC, 0, listen_fd);
	if (t->listener == NULL)
		fatal("cannot watch the tail socket");
	return t;
}

void tail_leave(struct tail *t)
{
	struct reader *r;

	if (t->listener != NULL)
		evconnlistener_free(t->listener);
	t->listener = NULL;
	TAILQ_FOREACH (r, &t->readers, entry)
		if (r->state != READER_ENDS)
			end(r, "shutdown");
}

void tail_free(struct tail **tp)
{
	struct tail *t = *tp;
	struct reader *r;

	if (t == NULL)
		return;
	tail_leave(t);
	while ((r = TAILQ_FIRST(&t->readers)) != NULL) {
		push(r); /* the loop turns no more */
		reader_free(r);
	}
	arena_fini(&t->arena);
	buf_fini(&t->line);
	free(t);
	*tp = NULL;
}
