/*
 * bench_award_stmt.c - the ceiling of durable awards: the award statement in
 * a bare libpq loop, nothing else.
 *
 *   bench_award_stmt [-s seconds] [-c connections] [-u users] [-t tasks]
 *                    CONNINFO [BATCH...]
 *
 * The database must have been made by `gamectl migrate`; the bench adds a
 * game, tasks and an API key of its own, makes its users before the clock
 * starts, and prints awards per second for each batch size (1 and 64).
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "base/uuid.h"
#include "db/db_array.h"
#include "store/store_award_sql.h"

#define BATCH_MAX 64
#define TASKS_MAX 1024

static struct {
	const char *conninfo;
	unsigned seconds;
	unsigned conns;
	unsigned users;
	unsigned tasks;
	struct uuid task[TASKS_MAX];
	char key[32];
} self = {.seconds = 5, .conns = 2, .users = 10000, .tasks = 20};

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

static void measure(unsigned n)
{
	struct tally *t = mmap(NULL, self.conns * sizeof(*t),
		PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t awards = 0, batches = 0, busy_us = 0;
	double rate = 0;
	int status;

	if (t == MAP_FAILED)
		die("mmap", NULL);
	for (unsigned i = 0; i < self.conns; i++)
		if (fork() == 0) {
			loop(i, n, &t[i]);
			_exit(0);
		}
	for (unsigned i = 0; i < self.conns; i++)
		if (wait(&status) < 0 || status != 0)
			die("a connection failed", NULL);
	for (unsigned i = 0; i < self.conns; i++) {
		awards += t[i].awards;
		batches += t[i].batches;
		busy_us += t[i].busy_us;
		rate += (double)t[i].awards * 1e6 / (double)t[i].busy_us;
	}
	printf("batch %2u: %8.0f awards/s, %7.0f us a statement "
	       "(%u connections, %llu awards)\n",
		n, rate, (double)busy_us / (double)batches, self.conns,
		(unsigned long long)awards);
	munmap(t, self.conns * sizeof(*t));
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

	while ((c = getopt(argc, argv, "s:c:u:t:")) != -1) {
		switch (c) {
		case 's':
			self.seconds = number(optarg, 3600);
			break;
		case 'c':
			self.conns = number(optarg, 16);
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
		fprintf(stderr, "usage: bench_award_stmt [-s seconds] "
				"[-c connections] [-u users] [-t tasks] "
				"CONNINFO [BATCH...]\n");
		return 2;
	}
	self.conninfo = argv[optind++];
	make_fixture();
	make_users();
	if (optind == argc) {
		measure(1);
		measure(BATCH_MAX);
	}
	for (; optind < argc; optind++)
		measure(number(argv[optind], BATCH_MAX));
	return 0;
}
