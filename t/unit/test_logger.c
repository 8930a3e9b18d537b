/*
 * Unit tests of src/logger: the real role entry in a process of its own, fed
 * by the real sender over a real pair, writing into a real Postgres made for
 * this run by t/lib/pg-private.  After every fault the rows must be where the
 * counters say.
 */
#define _GNU_SOURCE /* prlimit */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster_help.h"
#include "conf/conf.h"
#include "ipc/ipc_pair.h"
#include "ipc/trace_send.h"
#include "logger/logger.h"
#include "logger/trace_batch.h"
#include "logger/trace_recv.h"
#include "shm/shm_layout.h"

#define PATIENCE_MS 30000
#define WORKER      3

static struct {
	char dir[64];     /* state directory and cluster of this test */
	char cluster[64]; /* socket directory */
	char db[64];
	struct conf conf;
	struct shm *shm;
	int pair[2];
	int death[2];
	pid_t logger;
	struct event_base *base;
	struct trace_send *send;
	PGconn *pg;
} rig;

/*
 * Asked by LeakSanitizer at the end of a process.  A logger made by fork from
 * a process with threads cannot be looked at (it says so, and in the reports
 * that would be a failure); the black-box tests look at the real one.
 */
static int is_forked;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return is_forked;
}

/* ---- the database ------------------------------------------------------- */

static PGconn *connect_to(const char *db)
{
	char info[256];
	PGconn *pg;

	snprintf(info, sizeof(info), "host=%s user=postgres dbname=%s",
		rig.cluster, db);
	pg = PQconnectdb(info);
	cr_assert_eq(PQstatus(pg), CONNECTION_OK, "%s", PQerrorMessage(pg));
	return pg;
}

static void run_sql(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);

	cr_assert(PQresultStatus(res) == PGRES_COMMAND_OK ||
			  PQresultStatus(res) == PGRES_TUPLES_OK,
		"%s", PQerrorMessage(pg));
	PQclear(res);
}

/* First column of the first row, in a buffer of this function. */
static const char *ask(const char *sql)
{
	static char text[4096];
	PGresult *res = PQexec(rig.pg, sql);

	cr_assert_eq(PQresultStatus(res), PGRES_TUPLES_OK, "%s",
		PQerrorMessage(rig.pg));
	cr_assert_geq(PQntuples(res), 1, "no row: %s", sql);
	snprintf(text, sizeof(text), "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return text;
}

static long long ask_cnt(const char *sql)
{
	return strtoll(ask(sql), NULL, 10);
}

static void run_file(const char *name)
{
	char path[512];
	static char text[1 << 20];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/sql/%s", TEST_SRCDIR, name);
	f = fopen(path, "r");
	cr_assert_not_null(f, "%s", path);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	run_sql(rig.pg, text);
}

static void make_db(void)
{
	static const char *const files[] = {"0001_reference.sql",
		"0002_gamed.sql", "0003_authoring.sql", "0004_editing.sql",
		"0005_life.sql", "0006_kpi.sql", "0007_requests.sql"};
	PGconn *admin = connect_to("postgres");
	char sql[128];

	snprintf(rig.db, sizeof(rig.db), "t%d", (int)getpid());
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", rig.db);
	run_sql(admin, sql);
	PQfinish(admin);
	rig.pg = connect_to(rig.db);
	for (size_t i = 0; i < NELEM(files); i++)
		run_file(files[i]);
}

/* ---- the processes ------------------------------------------------------ */

static void set_conf(const char *assignment)
{
	struct err err;

	cr_assert_eq(conf_set(&rig.conf, assignment, &err), 0, "%s", err.text);
}

static void rig_init(const char *cluster)
{
	struct err err;
	char text[256];

	snprintf(rig.cluster, sizeof(rig.cluster), "%s", cluster);
	snprintf(rig.dir, sizeof(rig.dir), "/tmp/gamed-lt.XXXXXX");
	cr_assert_not_null(mkdtemp(rig.dir));
	make_db();
	conf_init(&rig.conf);
	snprintf(text, sizeof(text),
		"database.uri=host=%s user=postgres dbname=%s", cluster,
		rig.db);
	set_conf(text);
	snprintf(text, sizeof(text), "server.state_dir=%s", rig.dir);
	set_conf(text);
	set_conf("evidence.batch_ms=20");
	rig.shm = shm_create(&err);
	cr_assert_not_null(rig.shm);
	cr_assert_eq(ipc_pair_open(rig.pair, &err), 0);
	cr_assert_eq(pipe(rig.death), 0);
}

/* A file where its directory should be. */
static void no_spool(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/spool", rig.dir);
	close(open(path, O_WRONLY | O_CREAT, 0600));
}

static NORETURN void be_logger(int ready_fd)
{
	struct inherit in = {.conf = &rig.conf,
		.shm = rig.shm,
		.slot = SLOT_LOGGER,
		.death_fd = rig.death[0],
		.ready_fd = ready_fd,
		.listen_fd = -1,
		.trace_fd = -1,
		.tail_fd = -1};
	char path[128];
	int log;

	for (int i = 0; i < SHM_SLOTS_MAX; i++)
		in.trace_fds[i] = i == WORKER ? rig.pair[1] : -1;
	is_forked = 1;
	close(rig.pair[0]);
	close(rig.death[1]);
	snprintf(path, sizeof(path), "%s/log", rig.dir);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	log_set_fd(log);
	log_init("logger", -1);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	shm_attach(rig.shm, SLOT_LOGGER, SHM_LOGGER);
	logger_main(&in);
}

static void logger_start(void)
{
	int ready[2];
	char byte;

	cr_assert_eq(pipe(ready), 0);
	rig.logger = fork();
	if (rig.logger == 0) {
		close(ready[0]);
		be_logger(ready[1]);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1, "the logger is not ready");
	close(ready[0]);
}

static void worker_start(void)
{
	struct trace_send_conf c = {.fd = rig.pair[0],
		.slot = WORKER,
		.rows_max = 1000000,
		.audit_max = 1000000,
		.requests_max = 1000000,
		.ring_bytes = 4 * 1024 * 1024};

	shm_attach(rig.shm, WORKER, SHM_WORKER);
	rig.base = event_base_new();
	rig.send = trace_send_new(rig.base, &c);
}

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

/* The worker leaves; the logger sees EOF. */
static void worker_stop(void)
{
	trace_send_free(&rig.send);
	event_base_free(rig.base);
	close(rig.pair[0]);
}

static void logger_join(void)
{
	int status = -1;

	for (uint64_t end = clock_mono_ms() + PATIENCE_MS;
		clock_mono_ms() < end;) {
		if (waitpid(rig.logger, &status, WNOHANG) == rig.logger) {
			cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
				"the logger ended with status %#x", status);
			return;
		}
		usleep(2000);
	}
	kill(rig.logger, SIGKILL);
	cr_assert_fail("the logger does not leave");
}

static void logger_kill(void)
{
	kill(rig.logger, SIGKILL);
	waitpid(rig.logger, NULL, 0);
}

static void rig_fini(void)
{
	char cmd[128];

	PQfinish(rig.pg);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", rig.dir);
	cr_expect_eq(system(cmd), 0);
}

/* ---- rows and counters -------------------------------------------------- */

static struct run_rec a_run(enum evidence_class cls)
{
	static const struct jv value = {.type = JV_INT, .u.i = 3};
	static const struct run_ent ents[] = {
		{STR("p.rule.0"), "RULE", "match", &value},
		{STR("p.rule.1"), "ARITH", "failed", &value}};
	static const struct run_field field = {
		STR("task.measurements_count"), &value};
	bool ok = cls == EV_SAMPLE;
	struct run_rec r = {
		.at_us = clock_wall_us(),
		.strategy_id = STR("0193f6a0-0000-7000-8000-000000000001"),
		.strategy_version = 3,
		.strategy_type = STR("DSL_FULL"),
		.realm = STR("gme_live_ab"),
		.game = STR("g"),
		.task = STR("t"),
		.user = STR("u"),
		.status = ok ? STR("ok") : STR("error"),
		.has_points = ok,
		.points = 12,
		.duration_ns = 41050,
		.nodes = 202,
		.sampled = ok,
		.weight = ok ? 20 : 1,
		.reason = ok ? STR("sampled") : STR("error"),
		.data_json = STR("{\"zone\":\"north\"}"),
		.fields = &field,
		.fields_cnt = 1,
		.ents = ents,
		.ents_cnt = 2,
		.ents_cut = 200,
	};

	if (!ok) {
		r.error_code = STR("DSL_ARITH_DIV_BY_ZERO");
		r.error_message = STR("division by zero");
	}
	uuid_make_v7(&r.id);
	return r;
}

static void send_runs(enum evidence_class cls, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct run_rec r = a_run(cls);

		trace_send_run(rig.send, cls, &r);
	}
	turn();
}

static uint64_t total_produced(void)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += metric_slot(WORKER, M_EV_PRODUCED_AUDIT + c);
	return n;
}

static uint64_t total_stored(void)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += metric_slot(SLOT_LOGGER, M_EV_STORED_AUDIT + c);
	return n;
}

static uint64_t dropped(enum evidence_class c)
{
	return metric_evidence_dropped_slot(SLOT_LOGGER, c) +
	       metric_evidence_dropped_slot(WORKER, c);
}

static uint64_t total_dropped(void)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += dropped(c);
	return n;
}

static uint64_t total_taken(void)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += shm_ev_taken(WORKER, c);
	return n;
}

/* 1 when the logger's session waits for a lock. */
static uint64_t logger_waits(void)
{
	/* a transaction sees one state of pg_stat_activity */
	run_sql(rig.pg, "SELECT pg_stat_clear_snapshot()");
	return (uint64_t)ask_cnt("SELECT count(*) FROM pg_stat_activity "
				 "WHERE datname = current_database() AND "
				 "application_name = 'game-logger' AND "
				 "wait_event_type = 'Lock'");
}

/* Turns the worker's loop until a counter has reached n. */
static void wait_for(uint64_t (*counter)(void), uint64_t n)
{
	for (uint64_t end = clock_mono_ms() + PATIENCE_MS;
		clock_mono_ms() < end;) {
		turn();
		if (counter() >= n)
			return;
		usleep(2000);
	}
	cr_assert_fail("%llu of %llu after %d ms",
		(unsigned long long)counter(), (unsigned long long)n,
		PATIENCE_MS);
}

static void expect_identity(void)
{
	long long rows = ask_cnt("SELECT (SELECT count(*) FROM "
				 "strategyexecutionlog) + (SELECT count(*) "
				 "FROM logs) + (SELECT count(*) "
				 "FROM apirequests)");

	cr_expect_eq(total_produced(), total_stored() + total_dropped(),
		"produced %llu stored %llu dropped %llu",
		(unsigned long long)total_produced(),
		(unsigned long long)total_stored(),
		(unsigned long long)total_dropped());
	cr_expect_eq((long long)total_stored(), rows);
}

/* ---- the receiver alone -------------------------------------------------- */

static unsigned eofs;

static void on_rows_fail(void *arg)
{
	(void)arg;
	errno = EPERM; /* as libpq leaves it behind */
}

static void on_eof(void *arg)
{
	(void)arg;
	eofs++;
}

Test(recv, takes_no_error_of_others_for_the_end)
{
	struct ev_queue queue;
	int fds[SHM_SLOTS_MAX];
	struct trace_recv_conf rc = {.fds = fds,
		.queue = &queue,
		.on_rows = on_rows_fail,
		.on_eof = on_eof};
	struct trace_recv *recv;
	struct err err;

	rig.shm = shm_create(&err);
	cr_assert_eq(ipc_pair_open(rig.pair, &err), 0);
	for (int i = 0; i < SHM_SLOTS_MAX; i++)
		fds[i] = i == WORKER ? rig.pair[1] : -1;
	ev_queue_init(&queue, 1000);
	worker_start();
	recv = trace_recv_new(rig.base, &rc);
	send_runs(EV_ERROR, 3);
	turn();
	cr_expect_eq(queue.rows, 3);
	cr_expect_eq(eofs, 0);
	trace_send_free(&rig.send);
	close(rig.pair[0]);
	turn();
	cr_expect_eq(eofs, 1);
	ev_queue_drop_all(&queue, EV_DROP_SHUTDOWN);
	trace_recv_free(&recv);
	event_base_free(rig.base);
}

/* The only one to see it would be a successor in the slot. */
Test(recv, counts_what_a_dead_worker_never_sent)
{
	struct ev_queue queue;
	int fds[SHM_SLOTS_MAX];
	struct trace_recv_conf rc = {.fds = fds,
		.queue = &queue,
		.on_rows = on_rows_fail,
		.on_eof = on_eof};
	uint64_t lost[SHM_EV_CLASSES];
	struct trace_recv *recv;
	struct err err;

	rig.shm = shm_create(&err);
	cr_assert_eq(ipc_pair_open(rig.pair, &err), 0);
	for (int i = 0; i < SHM_SLOTS_MAX; i++)
		fds[i] = i == WORKER ? rig.pair[1] : -1;
	ev_queue_init(&queue, 1000);
	worker_start();
	send_runs(EV_ERROR, 3);
	shm_ev_sent_add(EV_ERROR, 2); /* and dies before send(2) */
	recv = trace_recv_new(rig.base, &rc);
	trace_recv_settle(recv);
	cr_expect_eq(total_dropped(), 0, "it lives");
	cr_expect_not(shm_ev_bury(WORKER, lost));
	trace_recv_settle(recv);
	cr_expect_eq(total_dropped(), 0, "there are rows to read");
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
	cr_expect_eq(queue.rows, 3);
	trace_recv_settle(recv);
	cr_expect_eq(total_dropped(), 2);
	cr_expect_eq(total_taken(), 5);
	ev_queue_drop_all(&queue, EV_DROP_SHUTDOWN);
	trace_recv_free(&recv);
	event_base_free(rig.base);
}

/* ---- tests -------------------------------------------------------------- */

Test(logger, stores_runs_and_audit_rows, .timeout = 120)
{
	struct audit_rec audit = {.at_us = clock_wall_us(),
		.level = STR("INFO"),
		.module = STR("game"),
		.message = STR("tab\there, \\ and\nline"),
		.details_json = STR("{\"n\":1}"),
		.api_key = STR("gme_live_unknown"),
		.correlation_id = STR("c-1")};

	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	send_runs(EV_SAMPLE, 1200);
	send_runs(EV_ERROR, 30);
	uuid_make_v7(&audit.id);
	trace_send_audit(rig.send, &audit);
	turn();
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	cr_expect_eq(ask_cnt("SELECT count(*) FROM strategyexecutionlog WHERE "
			     "sampled AND weight = 20 AND reason = 'sampled' "
			     "AND points = 12 AND \"errorCode\" IS NULL"),
		1200);
	cr_expect_str_eq(
		ask("SELECT DISTINCT concat_ws('|', notes, \"durationMs\", "
		    "\"nodesExecuted\", points, sampled, \"errorCode\", "
		    "data->>'zone', fields->>'task.measurements_count', "
		    "trace->1->>'branch', trace->0->>'nodeId') "
		    "FROM strategyexecutionlog WHERE status = 'error'"),
		"trace truncated: 202 -> 2 entries; division by zero|0.041050|"
		"202|f|DSL_ARITH_DIV_BY_ZERO|north|3|failed|p.rule.0");
	/* the key is not in the table: kept in the details instead */
	cr_expect_str_eq(ask("SELECT concat_ws('|', message, \"apiKey_used\", "
			     "details) FROM logs"),
		"tab\there, \\ and\nline|{\"correlationId\":\"c-1\","
		"\"apiKey_unresolved\":\"gme_live_unknown\",\"n\":1}");
	rig_fini();
}

/* The one of two names that the database does not know is put elsewhere. */
Test(logger, keeps_the_caller_that_is_known, .timeout = 120)
{
	const struct str keys[] = {STR("gme_gone"), STR("gme_known")};
	const struct str subjects[] = {STR("gone"), STR("known")};

	rig_init(getenv(CLUSTER_ENV));
	run_sql(rig.pg, "INSERT INTO oauthusers (id, provider_user_id) VALUES "
			"(gen_random_uuid(), 'known')");
	run_sql(rig.pg, "INSERT INTO apikey (id, \"apiKey\", "
			"\"apiKeyHash\", client, \"createdBy\") VALUES "
			"(gen_random_uuid(), 'gme_known', 'x', 'x', 'known')");
	logger_start();
	worker_start();
	for (unsigned i = 0; i < 4; i++) {
		struct audit_rec audit = {.at_us = (int64_t)i,
			.level = STR("INFO"),
			.api_key = keys[i & 1],
			.subject = subjects[i >> 1]};

		uuid_make_v7(&audit.id);
		trace_send_audit(rig.send, &audit);
	}
	turn();
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	cr_expect_str_eq(
		ask("SELECT string_agg(concat_ws(' ', coalesce("
		    "\"apiKey_used\", '-'), coalesce(oauth_user_id, '-'), "
		    "details), '; ' ORDER BY created_at) FROM logs"),
		"- - {\"apiKey_unresolved\":\"gme_gone\","
		"\"oauth_user_id_unresolved\":\"gone\"}; "
		"gme_known - {\"oauth_user_id_unresolved\":\"gone\"}; "
		"- known {\"apiKey_unresolved\":\"gme_gone\"}; "
		"gme_known known {}");
	rig_fini();
}

Test(logger, stores_requests, .timeout = 120)
{
	struct request_rec r = {.at_us = 1500000,
		.duration_ns = 2500000,
		.status = 200,
		.weight = 1,
		.method = STR("GET"),
		.endpoint = STR("/api/v1/games/{gameId}"),
		.subject = STR("some\tbody"),
		.correlation_id = STR("c-1"),
		.has_user = true,
		.user = {{1}}};

	rig_init(getenv(CLUSTER_ENV));
	run_sql(rig.pg, "INSERT INTO users (id, \"externalUserId\") VALUES "
			"('01000000-0000-0000-0000-000000000000', 'u')");
	logger_start();
	worker_start();
	for (unsigned i = 0; i < 700; i++) {
		uuid_make_v7(&r.id);
		r.user.b[0] = i == 77 ? 2 : 1; /* of whom there is none */
		trace_send_request(rig.send, &r);
		if (i % 100 == 0)
			turn();
	}
	send_runs(EV_SAMPLE, 10);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	cr_expect_str_eq(
		ask("SELECT string_agg(t, '; ' ORDER BY t) FROM (SELECT "
		    "concat_ws(' ', count(*), min(u.\"externalUserId\"), "
		    "extract(epoch FROM r.created_at), endpoint, "
		    "\"statusCode\", \"responseTimeMS\", \"requestType\", "
		    "r.oauth_user_id, duration_ms, weight, correlation_id) AS "
		    "t "
		    "FROM apirequests r LEFT JOIN users u ON "
		    "u.id = \"userId\" GROUP BY \"userId\", r.created_at, "
		    "endpoint, \"statusCode\", \"responseTimeMS\", "
		    "\"requestType\", r.oauth_user_id, duration_ms, weight, "
		    "correlation_id) q"),
		"1 1.500000 /api/v1/games/{gameId} 200 3 GET some\tbody 2.5 1 "
		"c-1; 699 u 1.500000 /api/v1/games/{gameId} 200 3 GET "
		"some\tbody 2.5 1 c-1");
	rig_fini();
}

Test(logger, makes_any_text_storable, .timeout = 120)
{
	struct run_rec r = a_run(EV_ERROR);
	struct jv nan = jv_float(0.0 / 0.0);
	struct run_ent ent = {{"a\0b\xff", 4}, "LITERAL", NULL, &nan};

	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	r.case_name = (struct str){"x\0y\xed\xa0\x80z", 7};
	r.data_json = STR("{\"a\":\"\\u0000 \\ud800 \\\\u0000 "
			  "\\ud83d\\ude00 \\udc00\xff\"}");
	r.ents = &ent;
	r.ents_cnt = 1;
	trace_send_run(rig.send, EV_ERROR, &r);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_stored(), 1);
	cr_expect_str_eq(ask("SELECT data->>'a' FROM strategyexecutionlog"),
		"\xef\xbf\xbd \xef\xbf\xbd \\u0000 \xf0\x9f\x98\x80 "
		"\xef\xbf\xbd\xef\xbf\xbd");
	cr_expect_str_eq(
		ask("SELECT trace->0->>'nodeId' FROM strategyexecutionlog"),
		"a\xef\xbf\xbd"
		"b\xef\xbf\xbd");
	rig_fini();
}

Test(logger, puts_a_refused_row_aside, .timeout = 120)
{
	struct run_rec r;
	char path[128], line[8192];
	FILE *f;

	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	for (int i = 0; i < 101; i++) {
		r = a_run(EV_ERROR);
		if (i == 57)
			r.data_json = STR("{\"a\":");
		trace_send_run(rig.send, EV_ERROR, &r);
	}
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_stored(), 100);
	cr_expect_eq(dropped(EV_ERROR), 1);
	snprintf(path, sizeof(path), "%s/quarantine.jsonl", rig.dir);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	cr_assert_not_null(fgets(line, sizeof(line), f));
	cr_expect_not_null(strstr(line, "\"sqlstate\":\"22P02\""));
	cr_expect_not_null(strstr(line, "\"data\":\"{\\\"a\\\":\""));
	cr_expect_null(fgets(line, sizeof(line), f));
	fclose(f);
	rig_fini();
}

static void trigger(const char *table, const char *when, const char *body)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		"CREATE OR REPLACE FUNCTION t_%s() RETURNS trigger LANGUAGE "
		"plpgsql AS $$ BEGIN IF %s THEN %s; END IF; RETURN NEW; END $$;"
		"CREATE TRIGGER t BEFORE INSERT ON %s FOR EACH ROW EXECUTE "
		"FUNCTION t_%s()",
		table, when, body, table, table);
	run_sql(rig.pg, sql);
}

static void send_audit(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct audit_rec audit = {.at_us = clock_wall_us(),
			.level = STR("INFO"),
			.module = STR("game"),
			.message = STR("m")};

		uuid_make_v7(&audit.id);
		trace_send_audit(rig.send, &audit);
	}
	turn();
}

/* Lines of the quarantine file, each of which is whole. */
static unsigned quarantined(void)
{
	static char line[1 << 16];
	char path[128];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/quarantine.jsonl", rig.dir);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	for (; fgets(line, sizeof(line), f) != NULL; n++) {
		size_t len = strlen(line);

		cr_assert_eq(strncmp(line, "{\"at\":", 6), 0, "%s", line);
		cr_assert_gt(len, 3);
		cr_assert_str_eq(line + len - 3, "}}\n");
		cr_assert_null(strstr(line + 1, "{\"at\":"), "%s", line);
	}
	fclose(f);
	return n;
}

/* Whatever class a trigger chooses for what it raises. */
Test(logger, any_sqlstate_of_a_row_is_the_rows, .timeout = 120)
{
	static const char *const states[] = {
		"U0001", "P0001", "0A000", "38001", "22012"};

	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	for (unsigned i = 0; i < NELEM(states); i++) {
		char body[64];
		struct run_rec r = a_run(EV_ERROR);

		snprintf(body, sizeof(body), "RAISE 'no' USING ERRCODE = '%s'",
			states[i]);
		trigger("strategyexecutionlog", "NEW.\"caseName\" = 'bad'",
			body);
		send_runs(EV_ERROR, 20);
		r.case_name = STR("bad");
		trace_send_run(rig.send, EV_ERROR, &r);
		send_runs(EV_ERROR, 20);
		send_audit(3);
		wait_for(total_dropped, i + 1);
		wait_for(total_stored, (i + 1) * 43);
		run_sql(rig.pg, "DROP TRIGGER t ON strategyexecutionlog");
	}
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(quarantined(), NELEM(states));
	rig_fini();
}

Test(logger, a_table_that_is_gone_holds_up_its_own_rows, .timeout = 120)
{
	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	run_sql(rig.pg, "ALTER TABLE logs RENAME TO logs_away");
	for (unsigned i = 1; i <= 5; i++) {
		send_audit(10);
		send_runs(EV_ERROR, 20);
		send_runs(EV_SAMPLE, 20);
		wait_for(total_stored, i * 40);
	}
	cr_expect_eq(total_dropped(), 0);
	run_sql(rig.pg, "ALTER TABLE logs_away RENAME TO logs");
	wait_for(total_stored, 250);
	/* and the other way round, a column this time */
	run_sql(rig.pg, "ALTER TABLE strategyexecutionlog RENAME COLUMN "
			"\"caseName\" TO c");
	send_runs(EV_ERROR, 600);
	send_audit(10);
	wait_for(total_stored, 260);
	cr_expect_eq(total_dropped(), 0);
	/* held rows wait in the spool for the next one */
	logger_kill();
	run_sql(rig.pg, "ALTER TABLE strategyexecutionlog RENAME COLUMN c TO "
			"\"caseName\"");
	logger_start();
	wait_for(total_stored, 860);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	rig_fini();
}

/* A broken index, a file that cannot be read: what a trigger says here. */
Test(logger, a_table_that_is_broken_holds_up_its_own_rows, .timeout = 120)
{
	static const char *const states[] = {"XX002", "XX000", "58030"};

	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	for (unsigned i = 0; i < NELEM(states); i++) {
		char body[64];

		snprintf(body, sizeof(body), "RAISE 'no' USING ERRCODE = '%s'",
			states[i]);
		trigger("logs", "true", body);
		send_audit(10);
		send_runs(EV_ERROR, 20);
		wait_for(total_stored, i * 40 + 20);
		send_runs(EV_ERROR, 10);
		wait_for(total_stored, i * 40 + 30);
		run_sql(rig.pg, "DROP TRIGGER t ON logs");
		wait_for(total_stored, (i + 1) * 40);
	}
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	rig_fini();
}

/* A file that may not grow is a full disk to the one who writes it. */
Test(logger, quarantine_on_a_full_disk_keeps_whole_lines, .timeout = 120)
{
	struct rlimit full, was;

	rig_init(getenv(CLUSTER_ENV));
	no_spool();
	run_sql(rig.pg, "ALTER TABLE strategyexecutionlog ADD CONSTRAINT "
			"no_error CHECK (status <> 'error') NOT VALID");
	logger_start();
	worker_start();
	getrlimit(RLIMIT_FSIZE, &was);
	full = (struct rlimit){10000, was.rlim_max};
	cr_assert_eq(prlimit(rig.logger, RLIMIT_FSIZE, &full, NULL), 0);
	for (unsigned i = 1; i <= 15; i++) {
		send_runs(EV_ERROR, 1);
		wait_for(total_dropped, i);
	}
	cr_expect_gt(quarantined(), 3);
	cr_expect_lt(quarantined(), 15);
	cr_expect_eq(
		shm_get(&rig.shm->slot[SLOT_LOGGER]
				 .ev_dropped[EV_ERROR][EV_DROP_DB_REJECTED]),
		quarantined());
	cr_expect_eq(shm_get(&rig.shm->slot[SLOT_LOGGER]
				      .ev_dropped[EV_ERROR]
						 [EV_DROP_QUARANTINE_FAILED]),
		15 - quarantined());
	full.rlim_cur = was.rlim_cur;
	cr_assert_eq(prlimit(rig.logger, RLIMIT_FSIZE, &full, NULL), 0);
	send_runs(EV_ERROR, 4);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(
		shm_get(&rig.shm->slot[SLOT_LOGGER]
				 .ev_dropped[EV_ERROR][EV_DROP_DB_REJECTED]),
		quarantined());
	rig_fini();
}

Test(logger, loses_nothing_when_killed, .timeout = 120)
{
	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	send_runs(EV_ERROR, 7);
	wait_for(total_stored, 7);
	/* its batch waits for a lock when it dies */
	run_sql(rig.pg, "BEGIN; LOCK TABLE strategyexecutionlog");
	send_runs(EV_ERROR, 50);
	send_runs(EV_SAMPLE, 20);
	wait_for(total_taken, 77);
	wait_for(logger_waits, 1);
	logger_kill();
	run_sql(rig.pg, "COMMIT");
	send_runs(EV_ERROR, 5); /* wait in the socket */
	logger_start();
	send_runs(EV_SAMPLE, 3);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_stored(), 85);
	cr_expect_eq(total_dropped(), 0);
	rig_fini();
}

Test(logger, outlives_postgres, .timeout = 120)
{
	char dir[] = "/tmp/gamed-lpg.XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	pg_private("start", dir);
	rig_init(dir);
	logger_start();
	worker_start();
	send_runs(EV_ERROR, 10);
	wait_for(total_stored, 10);
	/* a batch on the wire when the server crashes */
	run_sql(rig.pg, "BEGIN; LOCK TABLE strategyexecutionlog");
	send_runs(EV_ERROR, 40);
	wait_for(total_taken, 50);
	wait_for(logger_waits, 1);
	pg_private("stop", dir);
	PQfinish(rig.pg);
	send_runs(EV_SAMPLE, 100);
	wait_for(total_taken, 150);
	pg_private("start", dir);
	rig.pg = connect_to(rig.db);
	wait_for(total_stored, 150);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	cr_expect_geq(metric_slot(SLOT_LOGGER, M_EV_BATCHES_LOST), 1);
	rig_fini();
	pg_private("clean", dir);
}

Test(logger, stores_nothing_twice, .timeout = 120)
{
	struct run_rec r = a_run(EV_ERROR);
	char id[UUID_TEXT_LEN + 1], at[CLOCK_TEXT_MAX], sql[512];

	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	run_sql(rig.pg, "BEGIN; LOCK TABLE strategyexecutionlog");
	trace_send_run(rig.send, EV_ERROR, &r);
	send_runs(EV_ERROR, 9);
	wait_for(logger_waits, 1);
	/* as if the batch had been stored and the answer lost */
	uuid_print(&r.id, id);
	clock_print(r.at_us, CLOCK_TS_SP, at);
	snprintf(sql, sizeof(sql),
		"INSERT INTO strategyexecutionlog (id, created_at, "
		"\"strategyId\", \"strategyVersion\", \"strategyType\", "
		"status, \"durationMs\", \"nodesExecuted\") VALUES ('%s', "
		"'%s', 's', 1, 'DSL_FULL', 'ok', 1, 1)",
		id, at);
	run_sql(rig.pg, sql);
	run_sql(rig.pg, "SELECT pg_terminate_backend(pid) FROM "
			"pg_stat_activity WHERE datname = "
			"current_database() AND application_name = "
			"'game-logger'; COMMIT");
	wait_for(total_stored, 10);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 0);
	rig_fini();
}

Test(logger, keeps_errors_when_its_queue_is_full, .timeout = 120)
{
	rig_init(getenv(CLUSTER_ENV));
	no_spool();
	set_conf("database.uri=host=/nonexistent");
	set_conf("evidence.logger_queue_rows=100");
	set_conf("evidence.flush_timeout_s=1");
	logger_start();
	worker_start();
	send_runs(EV_SAMPLE, 80);
	wait_for(total_taken, 80);
	send_runs(EV_ERROR, 50);
	wait_for(total_taken, 130);
	wait_for(total_dropped, 30);
	cr_expect_eq(dropped(EV_SAMPLE), 30);
	cr_expect_eq(dropped(EV_ERROR), 0);
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(total_dropped(), 130);
	rig_fini();
}

/* Rows of 1 KiB and more, a few at a time. */
static void send_large(enum evidence_class cls, unsigned n)
{
	static char data[1000];
	uint64_t taken = total_taken();

	memset(data, 'x', sizeof(data));
	memcpy(data, "{\"a\":\"", 6);
	memcpy(data + sizeof(data) - 2, "\"}", 2);
	for (unsigned i = 0; i < n; i++) {
		struct run_rec r = a_run(cls);

		r.data_json = (struct str){data, sizeof(data)};
		trace_send_run(rig.send, cls, &r);
		if (i % 100 == 99 || i + 1 == n)
			wait_for(total_taken, taken + i + 1);
	}
}

/* The window on the spool holds all of a small one. */
Test(logger, samples_give_way_to_errors_in_a_small_spool, .timeout = 120)
{
	rig_init(getenv(CLUSTER_ENV));
	set_conf("evidence.spool_max_bytes=4194304");
	set_conf("evidence.logger_queue_rows=100");
	logger_start();
	worker_start();
	run_sql(rig.pg, "BEGIN; LOCK TABLE strategyexecutionlog");
	send_large(EV_SAMPLE, 4000);
	cr_expect_gt(dropped(EV_SAMPLE), 0, "the spool is full");
	send_large(EV_ERROR, 1400);
	send_audit(50);
	wait_for(total_taken, 5450);
	cr_expect_eq(dropped(EV_ERROR), 0, "%llu",
		(unsigned long long)dropped(EV_ERROR));
	cr_expect_eq(dropped(EV_AUDIT), 0);
	run_sql(rig.pg, "COMMIT");
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(dropped(EV_ERROR), 0);
	cr_expect_eq(ask_cnt("SELECT count(*) FROM strategyexecutionlog WHERE "
			     "status = 'error'"),
		1400);
	rig_fini();
}

/* Errors have the whole spool, and come through a killed logger. */
Test(logger, errors_alone_fill_a_small_spool, .timeout = 120)
{
	rig_init(getenv(CLUSTER_ENV));
	set_conf("evidence.spool_max_bytes=4194304");
	set_conf("evidence.logger_queue_rows=100");
	set_conf("evidence.batch_rows=50");
	logger_start();
	worker_start();
	run_sql(rig.pg, "BEGIN; LOCK TABLE strategyexecutionlog");
	send_large(EV_SAMPLE, 4000);
	send_large(EV_ERROR, 2300);
	cr_expect_eq(dropped(EV_ERROR), 0, "%llu",
		(unsigned long long)dropped(EV_ERROR));
	logger_kill();
	run_sql(rig.pg, "COMMIT");
	logger_start();
	worker_stop();
	logger_join();
	expect_identity();
	cr_expect_eq(dropped(EV_ERROR), 0);
	cr_expect_eq(ask_cnt("SELECT count(*) FROM strategyexecutionlog WHERE "
			     "status = 'error'"),
		2300);
	rig_fini();
}

Test(logger, leaves_soon_after_quit_and_orphaned, .timeout = 120)
{
	rig_init(getenv(CLUSTER_ENV));
	logger_start();
	worker_start();
	send_runs(EV_ERROR, 10);
	wait_for(total_taken, 10);
	kill(rig.logger, SIGTERM); /* ignored */
	kill(rig.logger, SIGQUIT);
	logger_join();
	cr_expect_eq(total_stored(), 10);
	send_runs(EV_ERROR, 4); /* nobody is there: they wait */
	logger_start();
	wait_for(total_stored, 14);
	close(rig.death[1]); /* the master dies, the worker hangs */
	logger_join();
	expect_identity();
	rig_fini();
}
