/*
 * bench_award_stmt.c - the award statement: as the server sends it (db_pool
 * and store_award on one event loop) beside its ceiling, a bare libpq loop a
 * connection and nothing else, in alternating rounds.
 *
 *   bench_award_stmt [-s seconds] [-r rounds] [-c connections] [-u users]
 *                    [-t tasks] CONNINFO [BATCH...]
 *
 * The database must have been made by `gamectl migrate`; the bench adds a
 * game, tasks and an API key of its own, makes its users before the clock
 * starts, and prints awards per second for each batch size (1 and 64).
 */
#include <event2/event.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "base/uuid.h"
#include "db/db_array.h"
#include "store/store_award.h"
#include "store/store_award_sql.h"

#define BATCH_MAX  64
#define TASKS_MAX  1024
#define ROUNDS_MAX 99

static struct {
	const char *conninfo;
	unsigned seconds;
	unsigned rounds;
	unsigned conns;
	unsigned users;
	unsigned tasks;
	struct uuid task[TASKS_MAX];
	char key[32];
} self = {.seconds = 3, .rounds = 3, .conns = 2, .users = 10000, .tasks = 20};

struct tally {
	uint64_t awards;
	uint64_t batches;
	uint64_t busy_us;
};

static NORETURN void die(const char *what, PGconn *conn)
{
	fprintf(stderr, "bench_award_stmt: %s: %s", what,
		conn ? PQerrorMessage(conn) : "\n");
	exit(1);
}

static void run(PGconn *conn, const char *sql)
{
	PGresult *res = PQexec(conn, sql);

	if (PQresultStatus(res) != PGRES_COMMAND_OK &&
		PQresultStatus(res) != PGRES_TUPLES_OK)
		die(sql, conn);
	PQclear(res);
}

static PGconn *connect_db(void)
{
	PGconn *conn = PQconnectdb(self.conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		die("connect", conn);
	return conn;
}

static void make_fixture(void)
{
	PGconn *conn = connect_db();
	struct uuid game;
	char id[UUID_TEXT_LEN + 1], game_id[UUID_TEXT_LEN + 1];
	struct buf sql;

	uuid_make_v7(&game);
	uuid_print(&game, game_id);
	snprintf(self.key, sizeof(self.key), "bench_%.8s%.4s", game_id,
		game_id + 9);
	buf_init(&sql, 0);
	buf_printf(&sql,
		"INSERT INTO apikey (id, \"apiKey\", \"apiKeyHash\", active) "
		"VALUES ('%s', '%s', '%s', true);"
		"INSERT INTO games (id, created_at, updated_at, "
		"\"externalGameId\", \"strategyId\", platform) VALUES "
		"('%s', now(), now(), '%s', 'default', 'bench');",
		game_id, self.key, game_id, game_id, game_id);
	for (unsigned i = 0; i < self.tasks; i++) {
		uuid_make_v7(&self.task[i]);
		uuid_print(&self.task[i], id);
		buf_printf(&sql,
			"INSERT INTO tasks (id, created_at, updated_at, "
			"\"externalTaskId\", \"gameId\", \"strategyId\", "
			"status) VALUES ('%s', now(), now(), 't%u', '%s', "
			"'default', 'open');",
			id, i, game_id);
	}
	buf_add_char(&sql, '\0');
	run(conn, sql.p);
	buf_fini(&sql);
	PQfinish(conn);
}

#define ARRAYS  12
#define NPARAMS (ARRAYS + 1)

struct batch {
	struct db_array array[ARRAYS];
};

static void batch_begin(struct batch *bt)
{
	const char *types = STORE_AWARD_TYPES;

	for (int i = 0; i < ARRAYS; i++)
		db_array_begin(&bt->array[i], types[i] == 'U' ? DB_ARRAY_UUID
					      : types[i] == 'I'
						      ? DB_ARRAY_INT4
						      : DB_ARRAY_TEXT);
}

static void batch_fini(struct batch *bt)
{
	for (int i = 0; i < ARRAYS; i++)
		db_array_fini(&bt->array[i]);
}

static void batch_add(struct batch *bt, unsigned user, unsigned task)
{
	static const char sha[] = "9f86d081884c7d659a2feaa0c55ad015"
				  "a3bf4f1b2b0b822cd15d6c15b0f00a08";
	struct db_array *a = bt->array;
	struct uuid id;
	char text[256], id_text[UUID_TEXT_LEN + 1];

	uuid_make_v7(&id);
	uuid_print(&id, id_text);
	db_array_uuid(&a[0], &id);
	db_array_uuid(&a[1], &id);
	snprintf(text, sizeof(text), "bench-user-%u", user);
	db_array_text(&a[2], str_from(text));
	db_array_uuid(&a[3], &self.task[task]);
	db_array_i32(&a[4], 5);
	db_array_text(&a[5], STR("Worked"));
	db_array_text(&a[6], str_from(id_text));
	snprintf(text, sizeof(text),
		"{\"pm25\": 12.5, \"lat\": 43.26, \"lon\": -2.93, "
		"\"eventId\": \"%s\", \"correlationId\": \"srv-%s\"}",
		id_text, id_text);
	db_array_text(&a[7], str_from(text));
	db_array_text(&a[8], str_from(self.key));
	db_array_text(
		&a[9], STR("custom:0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90"));
	db_array_i32(&a[10], 3);
	db_array_text(&a[11], STR(sha));
}

static void batch_send(struct batch *bt, PGconn *conn, unsigned n)
{
	const char *v[NPARAMS];
	int len[NPARAMS], fmt[NPARAMS];
	struct db_param p;
	PGresult *res;

	for (int i = 0; i < NPARAMS; i++) {
		p = i < ARRAYS ? db_array_param(&bt->array[i])
			       : (struct db_param){.p = "100"};
		v[i] = p.p;
		len[i] = p.len;
		fmt[i] = p.binary;
	}
	res = PQexecPrepared(conn, "award", NPARAMS, v, len, fmt, 0);
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		die("award", conn);
	if (PQntuples(res) != (int)n)
		die("an award is missing from the answer", NULL);
	for (int i = 0; i < (int)n; i++)
		if (PQgetvalue(res, i, 1)[0] != 't')
			die("an award was not inserted", NULL);
	PQclear(res);
}

/* The pool of the daemon sends the same settings. */
static PGconn *open_session(unsigned shard)
{
	PGconn *conn = connect_db();
	char sql[64];
	PGresult *res;

	run(conn, "SET plan_cache_mode = force_generic_plan");
	snprintf(sql, sizeof(sql), "SET gamed.shard = %u", shard);
	run(conn, sql);
	res = PQprepare(conn, "award", STORE_AWARD_SQL, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("prepare", conn);
	PQclear(res);
	return conn;
}

/* Every user gets a wallet and a pair of aggregates before the clock starts. */
static void make_users(void)
{
	PGconn *conn = open_session(0);
	struct batch bt = {0};
	unsigned n;

	for (unsigned u = 0; u < self.users; u += n) {
		n = self.users - u < BATCH_MAX ? self.users - u : BATCH_MAX;
		batch_begin(&bt);
		for (unsigned i = 0; i < n; i++)
			batch_add(&bt, u + i, (u + i) % self.tasks);
		batch_send(&bt, conn, n);
	}
	batch_fini(&bt);
	PQfinish(conn);
}

static void loop(unsigned shard, unsigned n, struct tally *t)
{
	PGconn *conn = open_session(shard);
	struct batch bt = {0};
	int64_t start, now;
	int64_t until;

	rnd_reseed();
	start = (int64_t)(clock_mono_ns() / 1000);
	until = start + self.seconds * 1000000LL;
	do {
		batch_begin(&bt);
		for (unsigned i = 0; i < n; i++) {
			unsigned u = (unsigned)(rnd_unit() * self.users);

			batch_add(&bt, u, u % self.tasks);
		}
		batch_send(&bt, conn, n);
		t->awards += n;
		t->batches++;
		now = (int64_t)(clock_mono_ns() / 1000);
	} while (now < until);
	t->busy_us = (uint64_t)(now - start);
	batch_fini(&bt);
	PQfinish(conn);
}

/* ---- the server's way ---------------------------------------------------- */

#define CONNS_MAX 16

/* One statement in flight, made again from its own callback. */
struct flight {
	struct store_award_write write;
	struct store_award awards[BATCH_MAX];
	struct store_award *order[BATCH_MAX];
	char texts[BATCH_MAX][3][256]; /* user, key, data */
};

static struct {
	struct event_base *base;
	struct db_pool *db;
	struct flight flights[CONNS_MAX];
	struct tally *tally;
	unsigned batch;
	unsigned flying;
	uint64_t until_ns;
} server;

static void fill(struct flight *f)
{
	static const char sha[] = "9f86d081884c7d659a2feaa0c55ad015"
				  "a3bf4f1b2b0b822cd15d6c15b0f00a08";

	for (unsigned i = 0; i < server.batch; i++) {
		unsigned user = (unsigned)(rnd_unit() * self.users);
		struct store_award *w = &f->awards[i];
		char *const text[3] = {
			f->texts[i][0], f->texts[i][1], f->texts[i][2]};

		memset(w, 0, sizeof(*w));
		uuid_make_v7(&w->id);
		w->new_id = w->id;
		w->task_id = self.task[user % self.tasks];
		snprintf(text[0], 256, "bench-user-%u", user);
		uuid_print(&w->id, text[1]);
		snprintf(text[2], 256,
			"{\"pm25\": 12.5, \"lat\": 43.26, \"lon\": -2.93, "
			"\"eventId\": \"%s\", \"correlationId\": \"srv-%s\"}",
			text[1], text[1]);
		w->user = str_from(text[0]);
		w->key = str_from(text[1]);
		w->data_json = str_from(text[2]);
		w->case_name = STR("Worked");
		w->key_prefix = str_from(self.key);
		w->strategy_id =
			STR("custom:0b0e5bd1-1c7a-4a7e-8f7c-5d3a1f6e2b90");
		w->strategy_version = 3;
		w->ast_sha256 = STR(sha);
		w->points = 5;
		f->order[i] = w;
	}
}

static void fly(struct flight *f);

static void on_written(struct db_job *job, const struct db_reply *rep)
{
	struct flight *f = job->arg;

	if (rep->outcome != DB_OK)
		die(rep->message, NULL);
	store_award_written(rep, f->order, server.batch);
	server.tally->awards += server.batch;
	server.tally->batches++;
	if (clock_mono_ns() < server.until_ns)
		fly(f);
	else if (--server.flying == 0)
		event_base_loopbreak(server.base);
}

static void fly(struct flight *f)
{
	fill(f);
	store_award_write(&f->write, server.db, f->order, server.batch, 100, 0,
		on_written, f);
}

static void on_state(void *arg, bool healthy)
{
	(void)arg;
	if (!healthy || server.flying > 0)
		return;
	server.until_ns = clock_mono_ns() + self.seconds * 1000000000ull;
	server.flying = self.conns;
	for (unsigned i = 0; i < self.conns; i++)
		fly(&server.flights[i]);
}

static void server_loop(unsigned batch, struct tally *t)
{
	struct db_pool_conf conf = {.conninfo = self.conninfo,
		.app_name = "bench",
		.read_conns = 1,
		.write_conns = self.conns,
		.pipeline_depth = 1,
		.queue_max = 16,
		.deadline_ms = 30000,
		.session_sql = "SET plan_cache_mode = force_generic_plan",
		.on_state = on_state};
	uint64_t start;

	rnd_reseed();
	server.base = event_base_new();
	server.tally = t;
	server.batch = batch;
	start = clock_mono_ns();
	server.db = db_pool_new(server.base, &conf);
	event_base_dispatch(server.base);
	t->busy_us = (clock_mono_ns() - start) / 1000;
}

/* ---- both ---------------------------------------------------------------- */

/* Awards per second of all the processes together. */
static double measure(unsigned n, bool by_server)
{
	unsigned procs = by_server ? 1 : self.conns;
	struct tally *t = mmap(NULL, procs * sizeof(*t), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double rate = 0;
	int status;

	if (t == MAP_FAILED)
		die("mmap", NULL);
	fflush(stdout);
	for (unsigned i = 0; i < procs; i++)
		if (fork() == 0) {
			if (by_server)
				server_loop(n, t);
			else
				loop(i, n, &t[i]);
			_exit(0);
		}
	for (unsigned i = 0; i < procs; i++)
		if (wait(&status) < 0 || status != 0)
			die("a connection failed", NULL);
	for (unsigned i = 0; i < procs; i++)
		rate += (double)t[i].awards * 1e6 / (double)t[i].busy_us;
	munmap(t, procs * sizeof(*t));
	return rate;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void compare(unsigned n)
{
	double rate[2][ROUNDS_MAX], median[2];

	for (unsigned r = 0; r < self.rounds; r++)
		for (int by_server = 0; by_server < 2; by_server++)
			rate[by_server][r] = measure(n, by_server);
	for (int i = 0; i < 2; i++) {
		qsort(rate[i], self.rounds, sizeof(rate[i][0]), by_value);
		median[i] = rate[i][self.rounds / 2];
	}
	printf("batch %2u  server %8.0f awards/s  ceiling %8.0f awards/s  "
	       "ratio %.2f\n",
		n, median[1], median[0], median[1] / median[0]);
}

static unsigned number(const char *s, unsigned max)
{
	int64_t v;

	if (num_parse_i64(str_from(s), &v) < 0 || v < 1 || v > (int64_t)max)
		die(s, NULL);
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "s:r:c:u:t:")) != -1) {
		switch (c) {
		case 's':
			self.seconds = number(optarg, 3600);
			break;
		case 'r':
			self.rounds = number(optarg, ROUNDS_MAX);
			break;
		case 'c':
			self.conns = number(optarg, CONNS_MAX);
			break;
		case 'u':
			self.users = number(optarg, 10000000);
			break;
		case 't':
			self.tasks = number(optarg, TASKS_MAX);
			break;
		default:
			return 2;
		}
	}
	if (optind == argc) {
		fprintf(stderr,
			"usage: bench_award_stmt [-s seconds] [-r rounds] "
			"[-c connections] [-u users] [-t tasks] "
			"CONNINFO [BATCH...]\n");
		return 2;
	}
	self.conninfo = argv[optind++];
	log_set_level(LOG_L_WARN);
	make_fixture();
	make_users();
	if (optind == argc) {
		compare(1);
		compare(BATCH_MAX);
	}
	for (; optind < argc; optind++)
		compare(number(argv[optind], BATCH_MAX));
	return 0;
}
