/*
 * bench_award_idle.c - the latency of one award at a time: gamed over one
 * connection beside two bare round trips to Postgres, the read that scoring
 * needs and the award statement for one, in turns.
 *
 *   bench_award_idle CONNINFO PORT PATH APIKEY TASK [COUNT]
 *
 * PATH and TASK (its uuid) name the same task.  Prints the medians of COUNT
 * turns (2000) in microseconds: server, ceiling.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "base/uuid.h"
#include "db/db_array.h"
#include "db/db_stmt.h"
#include "store/store_award.h"
#include "store/store_award_sql.h"

#define USERS     10000
#define COUNT_MAX 1000000
#define WARM_UP   200 /* turns that are not counted */
#define DATA      "{\"pm25\": 12.5, \"zone\": \"harbour\", \"streak_days\": 3}"

static struct {
	PGconn *conn;
	int sock;
	const char *path, *key;
	struct uuid task;
	char prefix[64]; /* of the key */
} self;

static NORETURN void die(const char *what)
{
	fprintf(stderr, "bench_award_idle: %s: %s\n", what,
		self.conn ? PQerrorMessage(self.conn) : "");
	exit(1);
}

/* ---- two bare round trips ------------------------------------------------ */

static void run(const char *sql)
{
	PGresult *res = PQexec(self.conn, sql);

	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(sql);
	PQclear(res);
}

static void prepare(const char *name, const char *sql, const char *types)
{
	const struct db_stmt stmt = {.name = name,
		.sql = sql,
		.nparams = (int)strlen(types),
		.types = types};
	Oid oids[DB_PARAMS_MAX];
	PGresult *res;

	db_stmt_oids(&stmt, oids);
	res = PQprepare(self.conn, name, sql, stmt.nparams, oids);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die(name);
	PQclear(res);
}

/* As the pool of the daemon does. */
static void open_session(const char *conninfo)
{
	self.conn = PQconnectdb(conninfo);
	if (PQstatus(self.conn) != CONNECTION_OK)
		die("connect");
	run("SET plan_cache_mode = force_generic_plan");
	run("SET gamed.shard = 15");
	prepare("score", STORE_SCORE_READ_SQL, STORE_SCORE_READ_TYPES);
	prepare("award", STORE_AWARD_SQL, STORE_AWARD_TYPES);
}

static void execute(const char *name, const struct db_param *params, int n)
{
	const char *v[DB_PARAMS_MAX];
	int len[DB_PARAMS_MAX], fmt[DB_PARAMS_MAX];
	PGresult *res;

	for (int i = 0; i < n; i++) {
		v[i] = params[i].p;
		len[i] = params[i].len;
		fmt[i] = params[i].binary;
	}
	res = PQexecPrepared(self.conn, name, n, v, len, fmt, 0);
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
		die(name);
	PQclear(res);
}

static void read_score(const char *user, const char *key)
{
	const struct db_param params[] = {{.p = (const char *)self.task.b,
						  .len = sizeof(self.task.b),
						  .binary = 1},
		{.p = user}, {.p = key}, {.p = "f"}, {.p = "300"}};

	execute("score", params, NELEM(params));
}

static void put(struct db_array *a, char type, struct str s)
{
	struct uuid u;

	if (type == 'U') {
		db_array_begin(a, DB_ARRAY_UUID);
		if (uuid_parse(s, &u) < 0)
			die("uuid");
		db_array_uuid(a, &u);
	} else if (type == 'I') {
		db_array_begin(a, DB_ARRAY_INT4);
		if (s.p)
			db_array_i32(a, 3);
		else
			db_array_null(a);
	} else {
		db_array_begin(a, DB_ARRAY_TEXT);
		db_array_text(a, s);
	}
}

static void write_award(const char *user, const char *key)
{
	static struct db_array arrays[STORE_AWARD_ARRAYS];
	struct db_param params[STORE_AWARD_ARRAYS + 1];
	char task[UUID_TEXT_LEN + 1];
	const struct str none = {NULL, 0};
	struct str columns[STORE_AWARD_ARRAYS] = {str_from(key), str_from(key),
		str_from(user), STR(""), STR("3"), STR("BasicEngagement"),
		str_from(key), STR(DATA), str_from(self.prefix), STR("default"),
		none, none};

	uuid_print(&self.task, task);
	columns[3] = str_from(task);
	for (unsigned i = 0; i < STORE_AWARD_ARRAYS; i++) {
		put(&arrays[i], STORE_AWARD_TYPES[i], columns[i]);
		params[i] = db_array_param(&arrays[i]);
	}
	params[STORE_AWARD_ARRAYS] = (struct db_param){.p = "100"};
	execute("award", params, NELEM(params));
}

/* ---- one award over HTTP ------------------------------------------------- */

static void connect_server(unsigned short port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;

	self.sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (self.sock < 0 ||
		connect(self.sock, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("cannot connect to the server");
	setsockopt(self.sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* The head and as much body as it announces. */
static bool is_whole(const char *in)
{
	const char *body = strstr(in, "\r\n\r\n");
	const char *len = strstr(in, "Content-Length: ");

	return body && len && strlen(body + 4) >= strtoul(len + 16, NULL, 10);
}

static void ask_award(const char *user, const char *key)
{
	char body[512], text[1024], in[4096];
	size_t got = 0;
	int n;

	n = snprintf(body, sizeof(body),
		"{\"externalUserId\":\"%s\",\"data\":{\"eventId\":\"%s\","
		"\"pm25\":12.5,\"zone\":\"harbour\",\"streak_days\":3}}",
		user, key);
	n = snprintf(text, sizeof(text),
		"POST %s HTTP/1.1\r\nHost: bench\r\nX-API-Key: %s\r\n"
		"Content-Type: application/json\r\nContent-Length: %d\r\n"
		"\r\n%s",
		self.path, self.key, n, body);
	if (write(self.sock, text, (size_t)n) != n)
		die("cannot send");
	do {
		ssize_t more = read(self.sock, in + got, sizeof(in) - 1 - got);

		if (more <= 0)
			die("the answer is cut off");
		got += (size_t)more;
		in[got] = '\0';
	} while (!is_whole(in));
	if (strncmp(in, "HTTP/1.1 200 ", 13) != 0)
		die(in);
}

/* ---- turns --------------------------------------------------------------- */

static void new_key(char *text)
{
	struct uuid u;

	uuid_make_v7(&u);
	uuid_print(&u, text);
}

static double server_us(const char *user)
{
	char key[UUID_TEXT_LEN + 1];
	uint64_t from;

	new_key(key);
	from = clock_mono_ns();
	ask_award(user, key);
	return (double)(clock_mono_ns() - from) / 1e3;
}

static double ceiling_us(const char *user)
{
	char key[UUID_TEXT_LEN + 1];
	uint64_t from;

	new_key(key);
	from = clock_mono_ns();
	read_score(user, key);
	write_award(user, key);
	return (double)(clock_mono_ns() - from) / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static void measure(size_t count)
{
	double *server = calloc(count, sizeof(*server));
	double *ceiling = calloc(count, sizeof(*ceiling));

	if (!server || !ceiling)
		die("out of memory");
	for (size_t i = 0; i < WARM_UP + count; i++) {
		char user[32];
		double s, c;

		snprintf(user, sizeof(user), "bench-user-%d",
			(int)(rnd_unit() * USERS));
		s = server_us(user);
		c = ceiling_us(user);
		if (i < WARM_UP)
			continue;
		server[i - WARM_UP] = s;
		ceiling[i - WARM_UP] = c;
	}
	printf("%.1f %.1f\n", median(server, count), median(ceiling, count));
	free(server);
	free(ceiling);
}

int main(int argc, char **argv)
{
	const char *dot;
	long count, port;

	if (argc < 6 || argc > 7) {
		fputs("usage: bench_award_idle CONNINFO PORT PATH APIKEY TASK "
		      "[COUNT]\n",
			stderr);
		return 2;
	}
	port = strtol(argv[2], NULL, 10);
	count = argc > 6 ? strtol(argv[6], NULL, 10) : 2000;
	dot = strchr(argv[4], '.');
	if (port < 1 || port > 65535 || count < 1 || count > COUNT_MAX ||
		!dot || uuid_parse(str_from(argv[5]), &self.task) < 0)
		die("bad arguments");
	self.path = argv[3];
	self.key = argv[4];
	snprintf(self.prefix, sizeof(self.prefix), "%.*s",
		(int)(dot - self.key), self.key);
	open_session(argv[1]);
	connect_server((unsigned short)port);
	measure((size_t)count);
	PQfinish(self.conn);
	close(self.sock);
	return 0;
}
