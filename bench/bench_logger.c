/*
 * bench_logger.c - the logger's way into Postgres beside a bare COPY of the
 * same rows in batches of the same size, and beside one INSERT a row, in
 * alternating rounds.
 *
 *   bench_logger [-n rows] [-r rounds] CONNINFO
 *
 * The database must have been made by `gamectl migrate`; its table
 * strategyexecutionlog is emptied.  Server: records made and sent by this
 * process as by a worker, received, spooled to disk, turned into JSON and
 * copied by a real logger process.  Ceiling: the finished lines and a blocking libpq.
 */
#include <event2/event.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "conf/conf.h"
#include "ipc/ipc_pair.h"
#include "ipc/trace_send.h"
#include "logger/logger.h"
#include "logger/trace_row.h"

#define WORKER     1
#define BATCH_ROWS 500
#define ENTS       20
#define IN_FLIGHT  20000 /* rows the logger may be behind */
#define GIVE_UP_MS 120000

static struct {
	const char *conninfo;
	unsigned rows, rounds;
	char dir[64];     /* of the spool */
	double logger_us; /* processor time of all rounds */
	struct conf conf;
	struct shm *shm;
} self = {.rows = 50000, .rounds = 5, .dir = "/tmp/bench-logger.XXXXXX"};

static NORETURN void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_logger: %s: %s\n", what, why);
	exit(1);
}

static void run(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);
	ExecStatusType st = PQresultStatus(res);

	if (st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK &&
		st != PGRES_COPY_IN)
		die(sql, PQerrorMessage(pg));
	PQclear(res);
}

static PGconn *connect_db(void)
{
	PGconn *pg = PQconnectdb(self.conninfo);

	if (PQstatus(pg) != CONNECTION_OK)
		die("connect", PQerrorMessage(pg));
	return pg;
}

static void make_run(struct run_rec *r)
{
	static const struct jv values[] = {{.type = JV_INT, .u.i = 5},
		{.type = JV_FLOAT, .u.d = 0.25},
		{.type = JV_STR, .u.s = {"north", 5}},
		{.type = JV_BOOL, .u.b = true}};
	static const struct run_field fields[] = {
		{STR("task.measurements_count"), &values[0]},
		{STR("data.priority_zone"), &values[3]},
		{STR("data.streak_days"), &values[0]}};
	static struct run_ent ents[ENTS];

	for (unsigned i = 0; i < ENTS; i++)
		ents[i] = (struct run_ent){STR("priority-zone.arith.0.field.1"),
			"field", i % 5 == 0 ? "match" : NULL, &values[i % 4]};
	*r = (struct run_rec){.at_us = clock_wall_us(),
		.strategy_id = STR("0193f6a0-0000-7000-8000-000000000001"),
		.strategy_version = 1,
		.strategy_type = STR("DSL_FULL"),
		.realm = STR("gme_live_ab12cd34"),
		.game = STR("air-quality"),
		.task = STR("zone-17"),
		.user = STR("citizen-000123"),
		.status = STR("ok"),
		.has_points = true,
		.points = 12,
		.case_name = STR("PriorityZone"),
		.duration_ns = 41050,
		.nodes = ENTS,
		.sampled = true,
		.weight = 20,
		.reason = STR("sampled"),
		.correlation_id = STR("5f2b8f38-6a0f-4c7e-9d3a-2f6f1b8f6d11"),
		.ast_sha256 = STR("fa04d7f19d08c4dd9f7aee5a7521df568da5d5e7402"
				  "704757aea4c273893b3fe"),
		.data_json = STR("{\"priority_zone\":true,\"streak_days\":5,"
				 "\"zone\":\"north\",\"pm25\":17.25}"),
		.fields = fields,
		.fields_cnt = NELEM(fields),
		.ents = ents,
		.ents_cnt = ENTS};
	uuid_make_v7(&r->id);
}

/* ---- ceiling ------------------------------------------------------------ */

static void make_lines(struct buf *lines, unsigned n)
{
	struct trace_row row;
	struct run_rec rec;
	struct buf b;

	trace_row_init(&row);
	buf_init(&b, 0);
	buf_reset(lines);
	for (unsigned i = 0; i < n; i++) {
		make_run(&rec);
		buf_reset(&b);
		run_rec_encode(&b, &rec);
		if (trace_row_read(&row, EV_T_RUN, buf_str(&b), false) < 0)
			die("record", "cannot be read");
		trace_row_copy(&row, lines);
	}
	buf_fini(&b);
	trace_row_fini(&row);
}

static void copy_lines(PGconn *pg, const struct buf *lines)
{
	char sql[1024];
	PGresult *res;

	snprintf(sql, sizeof(sql), "COPY %s (%s) FROM STDIN",
		trace_table_name(TRACE_RUNS), trace_table_columns(TRACE_RUNS));
	run(pg, sql);
	if (PQputCopyData(pg, lines->p, (int)lines->len) != 1 ||
		PQputCopyEnd(pg, NULL) != 1)
		die("copy", PQerrorMessage(pg));
	while ((res = PQgetResult(pg)) != NULL) {
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			die("copy", PQerrorMessage(pg));
		PQclear(res);
	}
}

/* Rows a second; the lines are made with the clock stopped. */
static double ceiling_round(PGconn *pg)
{
	uint64_t spent_ns = 0;
	struct buf lines;

	buf_init(&lines, 0);
	for (unsigned done = 0; done < self.rows; done += BATCH_ROWS) {
		uint64_t from;

		make_lines(&lines, BATCH_ROWS);
		from = clock_mono_ns();
		copy_lines(pg, &lines);
		spent_ns += clock_mono_ns() - from;
	}
	buf_fini(&lines);
	return self.rows / ((double)spent_ns / 1e9);
}

/* ---- one row per INSERT ------------------------------------------------- */

static void prepare_insert(PGconn *pg)
{
	unsigned cols = 1;
	PGresult *res;
	struct buf sql;

	buf_init(&sql, 0);
	buf_printf(&sql, "INSERT INTO %s (%s) VALUES (",
		trace_table_name(TRACE_RUNS), trace_table_columns(TRACE_RUNS));
	for (const char *p = trace_table_columns(TRACE_RUNS); *p; p++)
		cols += *p == ',';
	for (unsigned i = 1; i <= cols; i++)
		buf_printf(&sql, "%s$%u", i > 1 ? "," : "", i);
	buf_add(&sql, ")", 2);
	res = PQprepare(pg, "one", sql.p, 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("prepare", PQerrorMessage(pg));
	PQclear(res);
	buf_fini(&sql);
}

/* The texts of a row with a NUL behind each. */
static void insert_row(PGconn *pg, const struct trace_row *row, struct buf *b)
{
	const char *values[TRACE_COLS_MAX];
	size_t at[TRACE_COLS_MAX];
	PGresult *res;

	buf_reset(b);
	for (unsigned i = 0; i < row->cols_cnt; i++) {
		at[i] = b->len;
		buf_add_str(b, row->col[i]);
		buf_add_char(b, '\0');
	}
	for (unsigned i = 0; i < row->cols_cnt; i++)
		values[i] = row->col[i].p ? b->p + at[i] : NULL;
	res = PQexecPrepared(
		pg, "one", (int)row->cols_cnt, values, NULL, NULL, 0);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		die("insert", PQerrorMessage(pg));
	PQclear(res);
}

static double insert_round(PGconn *pg)
{
	unsigned rows = self.rows / 10 + 1;
	struct buf record, texts;
	struct trace_row row;
	uint64_t spent_ns = 0;
	struct run_rec rec;

	trace_row_init(&row);
	buf_init(&record, 0);
	buf_init(&texts, 0);
	for (unsigned i = 0; i < rows; i++) {
		uint64_t from;

		make_run(&rec);
		buf_reset(&record);
		run_rec_encode(&record, &rec);
		if (trace_row_read(&row, EV_T_RUN, buf_str(&record), false) < 0)
			die("record", "cannot be read");
		from = clock_mono_ns();
		insert_row(pg, &row, &texts);
		spent_ns += clock_mono_ns() - from;
	}
	buf_fini(&texts);
	buf_fini(&record);
	trace_row_fini(&row);
	return rows / ((double)spent_ns / 1e9);
}

/* ---- server ------------------------------------------------------------- */

static pid_t start_logger(const int pair[2], int death_fd)
{
	struct inherit in = {.conf = &self.conf,
		.shm = self.shm,
		.slot = SLOT_LOGGER,
		.death_fd = death_fd,
		.listen_fd = -1,
		.trace_fd = -1};
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) < 0 || (pid = fork()) < 0)
		die("logger", "cannot be started");
	if (pid == 0) {
		close(pair[0]);
		close(ready[0]);
		in.ready_fd = ready[1];
		for (int i = 0; i < SHM_SLOTS_MAX; i++)
			in.trace_fds[i] = i == WORKER ? pair[1] : -1;
		shm_attach(self.shm, SLOT_LOGGER, SHM_LOGGER);
		logger_main(&in);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("logger", "is not ready");
	close(ready[0]);
	return pid;
}

static uint64_t rows_stored(void)
{
	return metric_slot(SLOT_LOGGER, M_EV_STORED_SAMPLE);
}

static void send_all(
	struct event_base *base, struct trace_send *t, uint64_t before)
{
	uint64_t give_up = clock_mono_ms() + GIVE_UP_MS;
	struct run_rec rec;
	unsigned sent = 0;

	while (rows_stored() - before < self.rows) {
		for (int i = 0; i < 16 && sent < self.rows &&
				sent - (rows_stored() - before) < IN_FLIGHT;
			i++, sent++) {
			make_run(&rec);
			trace_send_run(t, EV_SAMPLE, &rec);
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (sent == self.rows ||
			sent - (rows_stored() - before) >= IN_FLIGHT)
			usleep(200);
		if (clock_mono_ms() > give_up)
			die("logger", "does not store the rows");
	}
}

static double server_round(void)
{
	struct trace_send_conf c = {.slot = WORKER,
		.rows_max = 2 * IN_FLIGHT,
		.ring_bytes = 64u << 20};
	struct event_base *base = event_base_new();
	uint64_t before = rows_stored(), from, spent_ns;
	struct trace_send *t;
	struct rusage use;
	struct err err;
	int pair[2], death[2];
	pid_t pid;

	if (ipc_pair_open(pair, &err) < 0 || pipe(death) < 0)
		die("pair", err.text);
	pid = start_logger(pair, death[0]);
	close(pair[1]);
	shm_attach(self.shm, WORKER, SHM_WORKER);
	c.fd = pair[0];
	t = trace_send_new(base, &c);
	from = clock_mono_ns();
	send_all(base, t, before);
	spent_ns = clock_mono_ns() - from;
	trace_send_free(&t);
	event_base_free(base);
	close(pair[0]);
	wait4(pid, NULL, 0, &use);
	self.logger_us +=
		(double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 +
		(double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
	close(death[0]);
	close(death[1]);
	return self.rows / ((double)spent_ns / 1e9);
}

/* ---- main --------------------------------------------------------------- */

static void setup(void)
{
	char text[CONF_STR_MAX + 32];
	struct err err;

	conf_init(&self.conf);
	snprintf(text, sizeof(text), "database.uri=%s", self.conninfo);
	if (conf_set(&self.conf, text, &err) < 0)
		die("settings", err.text);
	if (mkdtemp(self.dir) == NULL)
		die(self.dir, "cannot be made");
	snprintf(text, sizeof(text), "server.state_dir=%s", self.dir);
	if (conf_set(&self.conf, text, &err) < 0)
		die("settings", err.text);
	self.conf.logger_batch_rows = BATCH_ROWS;
	self.shm = shm_create(&err);
	if (self.shm == NULL)
		die("shared memory", err.text);
	log_set_level(LOG_L_WARN);
}

static int remove_one(
	const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static unsigned number(const char *text)
{
	int64_t v;

	if (num_parse_i64(str_from(text), &v) < 0 || v < 1 || v > 100000000)
		die(text, "is no number");
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	double server[64], ceiling[64], ratio[64], insert[64];
	PGconn *pg;
	int opt;

	while ((opt = getopt(argc, argv, "n:r:")) != -1) {
		if (opt == 'n')
			self.rows = number(optarg) / BATCH_ROWS * BATCH_ROWS;
		else if (opt == 'r')
			self.rounds = number(optarg) % NELEM(server);
		else
			return 2;
	}
	if (optind + 1 != argc || self.rows == 0 || self.rounds == 0)
		die("usage", "bench_logger [-n rows] [-r rounds] CONNINFO");
	self.conninfo = argv[optind];
	setup();
	pg = connect_db();
	prepare_insert(pg);
	for (unsigned i = 0; i < self.rounds; i++) {
		run(pg, "TRUNCATE strategyexecutionlog");
		run(pg, "CHECKPOINT");
		ceiling[i] = ceiling_round(pg);
		run(pg, "TRUNCATE strategyexecutionlog");
		run(pg, "CHECKPOINT");
		server[i] = server_round();
		run(pg, "TRUNCATE strategyexecutionlog");
		run(pg, "CHECKPOINT");
		insert[i] = insert_round(pg);
		ratio[i] = server[i] / ceiling[i];
		printf("round %u: server %.0f rows/s, ceiling %.0f rows/s, "
		       "one per INSERT %.0f rows/s\n",
			i + 1, server[i], ceiling[i], insert[i]);
		fflush(stdout); /* a child has a copy of the buffer */
	}
	PQfinish(pg);
	nftw(self.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	printf("server %.0f rows/s, ceiling %.0f rows/s, ratio %.2f, "
	       "one per INSERT %.0f rows/s; the logger itself %.1f us a row\n",
		median(server, self.rounds), median(ceiling, self.rounds),
		median(ratio, self.rounds), median(insert, self.rounds),
		self.logger_us / self.rounds / self.rows);
	return 0;
}
