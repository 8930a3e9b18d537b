/*
 * bench_award_ceiling.c - the ceiling beside a durable award: evhttp and
 * libpq with natural group commit and the award's own statement, nothing
 * else.  No routes, keys, tenancy, strategies, evidence or metrics; what it
 * writes and answers is what gamed writes and answers.
 *
 *   bench_award_ceiling PORT WORKERS CONNINFO TASK-UUID KEY-PREFIX
 *
 * Workers share one listening socket; each has two connections.
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/uuid.h"
#include "db/db_array.h"
#include "store/store_award_sql.h"

enum { CONNS = 2, BATCH_MAX = 64, ARRAYS = 12 };

struct award {
	struct award *next;
	struct evhttp_request *req;
	struct uuid id;
	char key[48];
	char user[64];
	char data[512];
	int points;
	int64_t created_us;
};

struct conn {
	PGconn *pg;
	struct event *readable;
	bool busy;
	unsigned cnt;
	struct award *batch[BATCH_MAX];
	struct db_array arrays[ARRAYS];
};

static struct {
	struct event_base *base;
	const char *conninfo;
	struct uuid task;
	const char *key_prefix;
	struct conn conns[CONNS];
	struct award *first, **lastp;
	struct event *pump;
} self;

static NORETURN void die(const char *what)
{
	fprintf(stderr, "bench_award_ceiling: %s\n", what);
	_exit(1);
}

static struct db_param array_param(struct conn *c, int i)
{
	static const enum db_array_type types[ARRAYS] = {DB_ARRAY_UUID,
		DB_ARRAY_UUID, DB_ARRAY_TEXT, DB_ARRAY_UUID, DB_ARRAY_INT4,
		DB_ARRAY_TEXT, DB_ARRAY_TEXT, DB_ARRAY_TEXT, DB_ARRAY_TEXT,
		DB_ARRAY_TEXT, DB_ARRAY_INT4, DB_ARRAY_TEXT};
	static const char sha[] = "9f86d081884c7d659a2feaa0c55ad015"
				  "a3bf4f1b2b0b822cd15d6c15b0f00a08";
	struct db_array *to = &c->arrays[i];

	db_array_begin(to, types[i]);
	for (unsigned n = 0; n < c->cnt; n++) {
		struct award *a = c->batch[n];
		const struct str texts[ARRAYS] = {[2] = str_from(a->user),
			[5] = STR("Streak"),
			[6] = str_from(a->key),
			[7] = str_from(a->data),
			[8] = str_from(self.key_prefix),
			[9] = STR("custom:"
				  "0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90"),
			[11] = str_from(sha)};

		if (types[i] == DB_ARRAY_UUID)
			db_array_uuid(to, i == 3 ? &self.task : &a->id);
		else if (types[i] == DB_ARRAY_INT4)
			db_array_i32(to, i == 4 ? a->points : 1);
		else
			db_array_text(to, texts[i]);
	}
	return db_array_param(to);
}

static void send_batch(struct conn *c)
{
	const char *values[ARRAYS + 1];
	int lengths[ARRAYS + 1], formats[ARRAYS + 1];

	for (c->cnt = 0; self.first && c->cnt < BATCH_MAX; c->cnt++) {
		c->batch[c->cnt] = self.first;
		self.first = self.first->next;
	}
	if (self.first == NULL)
		self.lastp = &self.first;
	for (int i = 0; i < ARRAYS; i++) {
		struct db_param p = array_param(c, i);

		values[i] = p.p;
		lengths[i] = p.len;
		formats[i] = 1;
	}
	values[ARRAYS] = "100";
	lengths[ARRAYS] = 0;
	formats[ARRAYS] = 0;
	if (!PQsendQueryPrepared(
		    c->pg, "award", ARRAYS + 1, values, lengths, formats, 0) ||
		PQflush(c->pg) < 0)
		die(PQerrorMessage(c->pg));
	c->busy = true;
}

static void pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	for (int i = 0; i < CONNS && self.first; i++)
		if (!self.conns[i].busy)
			send_batch(&self.conns[i]);
}

static void answer(struct award *a)
{
	struct evkeyvalq *head = evhttp_request_get_output_headers(a->req);
	struct evbuffer *body = evhttp_request_get_output_buffer(a->req);
	char at[CLOCK_TEXT_MAX];

	clock_print(a->created_us, CLOCK_TS_SP, at);
	evhttp_add_header(head, "Content-Type", "application/json");
	evhttp_add_header(head, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(head, "X-Correlation-ID", a->key);
	evbuffer_add_printf(body,
		"{\"points\":%d,\"caseName\":\"Streak\","
		"\"isACreatedUser\":false,"
		"\"gameId\":\"0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90\","
		"\"externalTaskId\":\"bench-task\",\"created_at\":\"%s\"}",
		a->points, at);
	evhttp_send_reply(a->req, 200, "OK", NULL);
	free(a);
}

static void batch_done(struct conn *c, PGresult *res)
{
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		die(PQerrorMessage(c->pg));
	for (int row = 0; row < PQntuples(res); row++) {
		struct award *a;
		int64_t ord;

		if (num_parse_i64(str_from(PQgetvalue(res, row, 0)), &ord) < 0)
			die("no ordinal in the answer");
		a = c->batch[ord - 1];
		if (num_parse_i64(str_from(PQgetvalue(res, row, 3)),
			    &a->created_us) < 0)
			die("an award was not written");
	}
	PQclear(res);
	while ((res = PQgetResult(c->pg)) != NULL)
		PQclear(res);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	struct award *done[BATCH_MAX];
	unsigned cnt = c->cnt;

	(void)fd;
	(void)what;
	if (!PQconsumeInput(c->pg))
		die(PQerrorMessage(c->pg));
	if (!c->busy || PQisBusy(c->pg))
		return;
	batch_done(c, PQgetResult(c->pg));
	c->busy = false;
	memcpy(done, c->batch, cnt * sizeof(*done));
	pump(-1, 0, NULL);
	for (unsigned i = 0; i < cnt; i++)
		answer(done[i]);
}

static void parse(struct award *a, struct evbuffer *in)
{
	size_t len = evbuffer_get_length(in);
	struct json_tokener *tok = json_tokener_new();
	struct json_object *body, *user, *data, *streak;

	body = json_tokener_parse_ex(
		tok, (char *)evbuffer_pullup(in, -1), (int)len);
	json_tokener_free(tok);
	if (!json_object_object_get_ex(body, "externalUserId", &user) ||
		!json_object_object_get_ex(body, "data", &data) ||
		!json_object_object_get_ex(data, "streak_days", &streak))
		die("a request without its members");
	json_object_object_add(
		data, "correlationId", json_object_new_string(a->key));
	a->points = json_object_get_int(streak) * 2;
	snprintf(a->user, sizeof(a->user), "%s", json_object_get_string(user));
	snprintf(a->data, sizeof(a->data), "%s",
		json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN));
	json_object_put(body);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct award *a = calloc(1, sizeof(*a));
	char id[UUID_TEXT_LEN + 1];

	(void)arg;
	if (a == NULL)
		die("out of memory");
	a->req = req;
	uuid_make_v7(&a->id);
	uuid_print(&a->id, id);
	snprintf(a->key, sizeof(a->key), "srv-%s", id);
	parse(a, evhttp_request_get_input_buffer(req));
	*self.lastp = a;
	self.lastp = &a->next;
	event_active(self.pump, 0, 0);
}

static void run(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);

	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(PQerrorMessage(pg));
	PQclear(res);
}

/* The pool of the daemon sends the same settings. */
static void open_conn(struct conn *c)
{
	PGresult *res;

	c->pg = PQconnectdb(self.conninfo);
	if (PQstatus(c->pg) != CONNECTION_OK)
		die(PQerrorMessage(c->pg));
	run(c->pg, "SET plan_cache_mode = force_generic_plan");
	run(c->pg, "SET statement_timeout = 2000");
	run(c->pg, "SET lock_timeout = 1000");
	res = PQprepare(c->pg, "award", STORE_AWARD_SQL, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(PQerrorMessage(c->pg));
	PQclear(res);
	if (PQsetnonblocking(c->pg, 1) != 0)
		die(PQerrorMessage(c->pg));
	c->readable = event_new(self.base, PQsocket(c->pg),
		EV_READ | EV_PERSIST, on_readable, c);
	event_add(c->readable, NULL);
}

static NORETURN void worker(int fd)
{
	struct event_config *cfg = event_config_new();
	struct evhttp *http;

	rnd_reseed();
	event_config_set_flag(cfg,
		EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	self.base = event_base_new_with_config(cfg);
	self.lastp = &self.first;
	self.pump = event_new(self.base, -1, 0, pump, NULL);
	for (int i = 0; i < CONNS; i++)
		open_conn(&self.conns[i]);
	http = evhttp_new(self.base);
	evhttp_set_max_headers_size(http, 16384);
	evhttp_set_max_body_size(http, 1048576);
	evhttp_set_gencb(http, on_request, NULL);
	if (evhttp_accept_socket(http, fd) != 0)
		die("accept");
	event_base_dispatch(self.base);
	_exit(1);
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
		listen(fd, 1024) != 0)
		die("cannot listen");
	return fd;
}

int main(int argc, char **argv)
{
	int64_t port, workers;
	int fd;

	if (argc != 6 || num_parse_i64(str_from(argv[1]), &port) < 0 ||
		num_parse_i64(str_from(argv[2]), &workers) < 0 ||
		uuid_parse(str_from(argv[4]), &self.task) < 0) {
		fprintf(stderr, "usage: bench_award_ceiling PORT WORKERS "
				"CONNINFO TASK-UUID KEY-PREFIX\n");
		return 2;
	}
	self.conninfo = argv[3];
	self.key_prefix = argv[5];
	signal(SIGPIPE, SIG_IGN);
	fd = listen_on((uint16_t)port);
	while (--workers > 0)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			worker(fd);
		}
	worker(fd);
}
