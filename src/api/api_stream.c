/*
 * api_stream.c - the kept runs of a custom strategy as they arrive, as
 * server-sent events.  Runs in workers.
 *
 *	retry: 1000
 *	: ready                 runs from here on; a comment when it is quiet
 *
 *	id: <row id>
 *	event: execution
 *	data: {...}             as in the listing, and realmId
 *
 *	event: missed
 *	data: {"missed":3}      left out here: the client was slow
 *
 *	event: end              the last one
 *	data: {"end":"late"}    late: the client stays slow; logger: that died;
 *	                        shutdown: the worker or the server leaves
 *
 * What a client does not read waits in a bounded buffer, the rest is left out
 * and counted.  What it has not seen while it came back is in the listing.
 */
#include <stdio.h>
#include <sys/queue.h>

#include "api/api.h"
#include "api/api_auth.h"
#include "api/api_common.h"
#include "api/api_valid.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/http_reply.h"
#include "http/http_req.h"
#include "json/json_in.h"
#include "shm/shm.h"
#include "store/store_runs.h"
#include "svc/app.h"
#include "svc/svc_tail.h"

#define STREAMS_MAX 8     /* of a worker */
#define QUIET_MS    10000 /* then a comment, so that nobody between gives up */
#define LATE_MS     10000 /* to catch up once it is behind */

struct stream {
	struct http_req *req;
	struct app *app;
	struct store_op op;
	struct store_runs_filter scope;
	char strategy[UUID_TEXT_LEN + 1];
	struct svc_tail *tail; /* NULL: not yet */
	bool is_open;          /* the head of the answer has gone out */
	bool is_behind;        /* runs are left out until it has caught up */
	uint64_t missed;       /* runs not told of yet */
	uint64_t behind_ms;    /* monotonic; since when it is */
	uint64_t said_ms;      /* monotonic; last piece sent */
	struct buf out;
	TAILQ_ENTRY(stream) entry;
};

static TAILQ_HEAD(, stream) streams = TAILQ_HEAD_INITIALIZER(streams);
static unsigned streams_cnt;

/* ---- ending ------------------------------------------------------------- */

/* Everything but the answer, which ends the struct. */
static void stream_forget(struct stream *s)
{
	svc_tail_close(&s->tail);
	TAILQ_REMOVE(&streams, s, entry);
	metric_set(M_TAIL_STREAMS, --streams_cnt);
}

static void put_event(
	struct stream *s, const char *event, struct str id, struct str data)
{
	if (id.p != NULL)
		buf_printf(&s->out, "id: %.*s\n", STR_ARG(id));
	buf_printf(&s->out, "event: %s\ndata: ", event);
	buf_add_str(&s->out, data);
	buf_add_str(&s->out, STR("\n\n"));
}

static void put_missed(struct stream *s)
{
	char data[40];

	if (s->missed == 0)
		return;
	snprintf(data, sizeof(data), "{\"missed\":%llu}",
		(unsigned long long)s->missed);
	put_event(s, "missed", (struct str){NULL, 0}, str_from(data));
	s->missed = 0;
}

/* The last that it reads, however long that takes it. */
static void stream_end(struct stream *s, const char *why)
{
	struct http_req *req = s->req;
	struct buf last;
	char data[40];

	put_missed(s);
	snprintf(data, sizeof(data), "{\"end\":\"%s\"}", why);
	put_event(s, "end", (struct str){NULL, 0}, str_from(data));
	last = s->out;
	stream_forget(s);
	http_reply_stream_last(req, &last);
	buf_fini(&last);
}

/* Nobody reads any more. */
static void stream_drop(struct stream *s)
{
	struct http_req *req = s->req;

	buf_fini(&s->out);
	stream_forget(s);
	http_reply_stream_end(req);
}

static void stream_abort(struct stream *s)
{
	struct http_req *req = s->req;

	buf_fini(&s->out);
	stream_forget(s);
	http_reply_stream_abort(req);
}

/* Before there was anything to read. */
static void stream_refuse(struct stream *s, const char *why)
{
	struct http_req *req = s->req;

	buf_fini(&s->out);
	stream_forget(s);
	http_reply_unavailable(req, 1, why);
}

/* ---- sending ------------------------------------------------------------ */

/* False: the stream is gone. */
static bool stream_send(struct stream *s)
{
	s->said_ms = clock_mono_ms();
	switch (http_reply_stream_chunk(s->req, &s->out)) {
	case HTTP_FLOW_GO:
		return true;
	case HTTP_FLOW_WAIT:
		s->is_behind = true;
		s->behind_ms = s->said_ms;
		return true;
	case HTTP_FLOW_GONE:
		break;
	}
	stream_drop(s);
	return false;
}

/* The client has read all that waited for it, or has left. */
static void on_ready(void *arg)
{
	struct stream *s = arg;

	s->is_behind = false;
	put_missed(s);
	(void)stream_send(s);
}

static bool stream_open(struct stream *s)
{
	http_reply_header(s->req, "Cache-Control", "no-store");
	http_reply_header(s->req, "X-Accel-Buffering", "no");
	http_reply_stream_begin(s->req, 200, "text/event-stream", on_ready, s);
	http_reply_stream_live(s->req);
	s->is_open = true;
	buf_add_str(&s->out, STR("retry: 1000\n: ready\n\n"));
	return stream_send(s);
}

static bool take_run(struct stream *s, struct str line)
{
	if (s->is_behind) {
		s->missed++;
		metric_inc(M_TAIL_STREAM_MISSED);
		return true;
	}
	metric_inc(M_TAIL_STREAM_SENT);
	put_event(s, "execution", tail_line_id(line), line);
	return stream_send(s);
}

/* This worker was slow: its clients have missed what it has. */
static bool take_missed(struct stream *s, struct str line)
{
	const struct jv *n;
	struct json_err err;
	struct arena a;
	struct jv v;

	arena_init(&a, 0);
	if (json_parse(&a, line, &json_limits_default, &v, &err) == 0 &&
		(n = jv_member(&v, "missed")) != NULL && n->type == JV_INT)
		s->missed += (uint64_t)n->u.i;
	arena_fini(&a);
	if (s->is_behind)
		return true;
	put_missed(s);
	return stream_send(s);
}

static bool take_end(struct stream *s, struct str line)
{
	if (!s->is_open)
		stream_refuse(s, "runs cannot be shown now");
	else if (str_is(line, "{\"end\":\"shutdown\"}"))
		stream_end(s, "shutdown");
	else if (str_is(line, "{\"end\":\"late\"}"))
		stream_end(s, "late");
	else
		stream_end(s, "logger");
	return false;
}

static bool on_line(void *arg, enum tail_line kind, struct str line)
{
	struct stream *s = arg;

	switch (kind) {
	case TAIL_LINE_READY:
		if (!s->app->draining)
			return stream_open(s);
		break;
	case TAIL_LINE_RUN:
		return take_run(s, line);
	case TAIL_LINE_MISSED:
		return take_missed(s, line);
	case TAIL_LINE_END:
	case TAIL_LINE_ERROR:
		break;
	}
	return take_end(s, line);
}

static void on_tick(void *arg)
{
	uint64_t now_ms = clock_mono_ms();
	struct stream *s = arg;

	if (!s->is_open)
		return;
	if (s->is_behind && now_ms - s->behind_ms >= LATE_MS) {
		metric_inc(M_TAIL_STREAMS_CUT);
		stream_end(s, "late");
	} else if (!s->is_behind && now_ms - s->said_ms >= QUIET_MS) {
		buf_add_str(&s->out, STR(":\n\n"));
		(void)stream_send(s);
	}
}

/* ---- asking ------------------------------------------------------------- */

static void follow(struct stream *s)
{
	struct svc_tail_conf conf = {
		.on_line = on_line, .on_tick = on_tick, .arg = s};

	uuid_print(&s->scope.strategy, s->strategy);
	conf.filter.want[TAIL_STRATEGY] = str_from(s->strategy);
	conf.filter.want[TAIL_STATUS] = s->scope.status;
	conf.filter.want[TAIL_CASE] = s->scope.case_name;
	conf.filter.want[TAIL_USER] = s->scope.user;
	conf.filter.want[TAIL_CORRELATION] = s->scope.correlation_id;
	s->tail = svc_tail_open(s->app, &conf);
	if (s->tail == NULL)
		stream_refuse(s, "runs cannot be shown now");
}

static void on_scope(struct store_op *op, const struct db_reply *rep)
{
	struct stream *s = op->arg;

	if (rep->outcome == DB_OK && db_res_rows(rep->res[0]) > 0) {
		if (s->app->draining)
			stream_refuse(s, "this worker leaves");
		else
			follow(s);
		return;
	}
	buf_fini(&s->out);
	stream_forget(s);
	(void)api_no_strategy(s->req, rep);
}

void api_stream_get(struct http_req *req)
{
	const struct auth_principal *who = api_principal(req);
	struct stream *s = api_alloc(req, sizeof(*s));
	struct store_runs_filter *f = &s->scope;
	struct api_valid v;

	if (uuid_parse(http_req_capture(req, "id"), &f->strategy) < 0) {
		http_reply_error(req, 404, "strategy does not exist");
		return;
	}
	api_valid_init(&v, req);
	f->status = api_valid_query_pattern(
		&v, "status", "^(ok|error|timeout|limit)$");
	f->case_name = http_req_query(req, "caseName");
	f->user = http_req_query(req, "externalUserId");
	f->correlation_id = http_req_query(req, "correlationId");
	if (!api_valid_done(&v))
		return;
	if (streams_cnt == STREAMS_MAX) {
		http_reply_unavailable(
			req, 5, "too many streams are open, try again");
		return;
	}
	s->req = req;
	s->app = req->app;
	buf_init(&s->out, 0);
	TAILQ_INSERT_TAIL(&streams, s, entry);
	metric_set(M_TAIL_STREAMS, ++streams_cnt);
	/* who sees the strategy sees its runs; of those none is wanted here */
	f->realm = str_from(who->realm);
	f->all_realms = who->is_admin;
	f->limit = 0;
	store_op_init(&s->op, on_scope, s);
	store_runs_list(&s->op, s->app->db, f);
}

void api_stream_drain(void)
{
	struct stream *s, *next;

	for (s = TAILQ_FIRST(&streams); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->is_open && s->is_behind)
			stream_abort(s); /* nobody waits for its client */
		else if (s->is_open)
			stream_end(s, "shutdown");
		/* else it ends with its next step */
	}
}
