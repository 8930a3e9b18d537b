/*
 * Unit tests of src/ipc: records survive the round trip, nothing that a
 * socket can deliver crashes the reader, rows are dropped in the right order
 * and every one of them is accounted for.
 */
#include <criterion/criterion.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/ipc_pair.h"
#include "ipc/tail_line.h"
#include "ipc/trace_send.h"
#include "shm/metric_read.h"
#include "shm/shm.h"

static struct str text(const char *s)
{
	return str_from(s);
}

static struct jv some_values[6];
static struct jv_member some_members[1];
static struct run_ent some_ents[3];
static struct run_field some_fields[2];

static struct run_rec sample_run(void)
{
	some_values[0] = jv_int(-5);
	some_values[1] = jv_float(0.1);
	some_values[2] = jv_str(text("höhe"));
	some_members[0] = (struct jv_member){STR("k"), jv_bool(true)};
	some_values[3] =
		(struct jv){.type = JV_OBJ, .n = 1, .u.obj = some_members};
	some_values[4] =
		(struct jv){.type = JV_ARR, .n = 4, .u.arr = some_values};
	some_values[5] = jv_null();
	some_ents[0] = (struct run_ent){
		STR("p.rule.0"), "RULE", "match", &some_values[4]};
	some_ents[1] = (struct run_ent){
		STR("p.rule.1"), "ARITH", "failed", &some_values[1]};
	some_ents[2] = (struct run_ent){STR(""), "LITERAL", NULL, NULL};
	some_fields[0] = (struct run_field){
		STR("task.measurements_count"), &some_values[0]};
	some_fields[1] = (struct run_field){STR("data.k"), &some_values[3]};
	return (struct run_rec){
		.id = {{1, 2, 3}},
		.at_us = -1234567890123,
		.strategy_id = STR("0193f6a0-0000-7000-8000-000000000001"),
		.strategy_version = 3,
		.strategy_type = STR("DSL_FULL"),
		.realm = STR("gme_live_ab"),
		.game = STR("g"),
		.task = STR("t"),
		.user = STR("u"),
		.status = STR("error"),
		.error_code = STR("DSL_ARITH_DIV_BY_ZERO"),
		.has_points = true,
		.points = 12.5,
		.duration_ns = 41000,
		.nodes = 7,
		.sampled = true,
		.weight = 20,
		.reason = STR("error"),
		.correlation_id = STR("c-1"),
		.ast_sha256 = STR("ab"),
		.data_json = STR("{\"a\":1}"),
		.fields = some_fields,
		.fields_cnt = 2,
		.ents = some_ents,
		.ents_cnt = 3,
		.ents_cut = 4,
		.error_message = STR("division by zero"),
		.error_node = STR("p.rule.1"),
	};
}

Test(run_rec, survives_the_round_trip)
{
	struct run_rec in = sample_run(), out;
	struct arena a;
	struct buf b, again;

	arena_init(&a, 0);
	buf_init(&b, 0);
	buf_init(&again, 0);
	run_rec_encode(&b, &in);
	cr_assert_eq(run_rec_decode(&a, buf_str(&b), &out), 0);
	cr_expect(uuid_eq(&out.id, &in.id));
	cr_expect_eq(out.at_us, in.at_us);
	cr_expect_eq(out.strategy_version, 3);
	cr_expect(out.has_points && out.sampled);
	cr_expect_eq(out.points, 12.5);
	cr_expect(str_eq(out.error_code, in.error_code));
	cr_expect_null(out.case_name.p);
	cr_expect(str_eq(out.data_json, in.data_json));
	cr_expect_eq(out.fields_cnt, 2);
	cr_expect(str_is(out.fields[1].value->u.obj[0].key, "k"));
	cr_expect(out.fields[1].value->u.obj[0].val.u.b);
	cr_assert_eq(out.ents_cnt, 3);
	cr_expect_eq(out.ents_cut, 4);
	cr_expect_str_eq(out.ents[1].branch, "failed");
	cr_expect_null(out.ents[2].branch);
	cr_expect(str_is(out.ents[0].value->u.arr[2].u.s, "höhe"));
	cr_expect_eq(out.ents[2].value->type, JV_NULL);
	cr_expect_eq(out.clipped, 0);
	/* what was decoded encodes to the same bytes */
	run_rec_encode(&again, &out);
	cr_expect(str_eq(buf_str(&b), buf_str(&again)));
	buf_fini(&b);
	buf_fini(&again);
	arena_fini(&a);
}

Test(run_rec, head_stands_before_the_rest)
{
	struct run_rec in = sample_run(), out;
	struct buf b;

	buf_init(&b, 0);
	run_rec_encode(&b, &in);
	cr_assert_eq(run_rec_decode_head(buf_str(&b), &out), 0);
	cr_expect(uuid_eq(&out.id, &in.id));
	cr_expect(str_eq(out.user, in.user));
	cr_expect(str_eq(out.error_code, in.error_code));
	cr_expect_eq(out.ents_cnt, 0);
	cr_expect_eq(run_rec_decode_head((struct str){b.p, 100}, &out), -1);
	buf_fini(&b);
}

static bool matches(const char *filter, const struct run_rec *r)
{
	struct tail_filter f;
	const char *code;
	struct arena a;
	struct err err;
	bool does;

	arena_init(&a, 0);
	cr_assert_eq(tail_filter_read(&a, str_from(filter), &f, &code, &err), 0,
		"%s", err.text);
	does = tail_filter_matches(&f, r);
	arena_fini(&a);
	return does;
}

Test(tail_line, filter_takes_what_is_equal)
{
	struct run_rec r = sample_run();

	cr_expect(matches("{}", &r));
	cr_expect(matches("{\"status\":\"error\"}", &r));
	cr_expect(!matches("{\"status\":\"erro\"}", &r));
	cr_expect(!matches("{\"status\":\"\"}", &r));
	cr_expect(!matches("{\"status\":\"error\",\"realmId\":\"x\"}", &r));
	/* none is not the empty one */
	cr_expect(!matches("{\"caseName\":\"\"}", &r));
}

Test(tail_line, filter_survives_the_round_trip)
{
	struct tail_filter in = {.want = {[TAIL_CASE] = STR("a \"b\"\n"),
					 [TAIL_USER] = STR("höhe")}},
			   out;
	const char *code;
	struct arena a;
	struct err err;
	struct buf b;

	arena_init(&a, 0);
	buf_init(&b, 0);
	tail_filter_write(&b, &in);
	cr_expect(memchr(b.p, '\n', b.len) == b.p + b.len - 1);
	cr_assert_eq(tail_filter_read(&a, buf_str(&b), &out, &code, &err), 0);
	for (unsigned k = 0; k < TAIL_KEY_CNT; k++)
		cr_expect(str_eq(in.want[k], out.want[k]), "%s",
			tail_key_name(k));
	buf_fini(&b);
	arena_fini(&a);
}

Test(tail_line, is_told_by_its_first_member)
{
	static const char run[] =
		"{\"id\":\"0193f6a0-0000-7000-8000-000000000001\",\"x\":1}";

	cr_expect_eq(tail_line_kind(STR("{\"ready\":true}")), TAIL_LINE_READY);
	cr_expect_eq(tail_line_kind(STR("{\"missed\":3}")), TAIL_LINE_MISSED);
	cr_expect_eq(tail_line_kind(STR("{\"end\":\"late\"}")), TAIL_LINE_END);
	cr_expect_eq(tail_line_kind(STR("{\"error\":{}}")), TAIL_LINE_ERROR);
	cr_expect_eq(tail_line_kind(str_from(run)), TAIL_LINE_RUN);
	cr_expect(str_is(tail_line_id(str_from(run)),
		"0193f6a0-0000-7000-8000-000000000001"));
	cr_expect_null(tail_line_id(STR("{\"id\":\"0193\"}")).p);
}

Test(run_rec, is_bounded_whatever_the_run_was)
{
	enum { MANY = 5000, LONG = 5000 };
	static char filler[100000];
	static struct run_ent ents[MANY];
	static struct run_field fields[MANY];
	static struct jv long_text, deep[200];
	struct run_rec in = sample_run(), out;
	struct arena a;
	struct buf b;

	memset(filler, 'x', sizeof(filler));
	memcpy(filler + 1022, "\xe2\x82\xac", 3); /* a cut would split it */
	long_text = jv_str((struct str){filler, LONG});
	deep[199] = jv_null();
	for (int i = 198; i >= 0; i--)
		deep[i] = (struct jv){
			.type = JV_ARR, .n = 1, .u.arr = &deep[i + 1]};
	arena_init(&a, 0);
	buf_init(&b, 0);

	for (int i = 0; i < 20; i++)
		ents[i] = (struct run_ent){STR("n"), "LITERAL", NULL,
			i == 0 ? &deep[0] : &long_text};
	in.ents = ents;
	in.ents_cnt = 20;
	run_rec_encode(&b, &in);
	cr_assert_eq(run_rec_decode(&a, buf_str(&b), &out), 0);
	cr_expect_eq(out.ents[1].value->u.s.len, 1022);
	cr_expect_eq(out.clipped, 19);
	cr_expect_not(out.data_cut);

	for (int i = 0; i < MANY; i++) {
		ents[i] = (struct run_ent){
			{filler, LONG}, "LITERAL", "match", &long_text};
		fields[i] = (struct run_field){{filler, LONG}, &long_text};
	}
	in.ents_cnt = in.fields_cnt = MANY;
	in.fields = fields;
	in.error_message = (struct str){filler, sizeof(filler)};
	in.data_json = (struct str){filler, sizeof(filler)};
	in.realm = in.game = in.task = in.user = in.case_name =
		(struct str){filler, sizeof(filler)};
	buf_reset(&b);
	run_rec_encode(&b, &in);
	cr_expect_leq(b.len, EV_ROW_MAX);
	arena_reset(&a);
	cr_assert_eq(run_rec_decode(&a, buf_str(&b), &out), 0);
	cr_expect(out.data_cut);
	cr_expect_null(out.data_json.p);
	cr_expect_eq(out.ents_cnt, 200);
	cr_expect_eq(out.ents_cut, 4 + MANY - 200);
	buf_fini(&b);
	arena_fini(&a);
}

Test(audit_rec, survives_the_round_trip)
{
	struct audit_rec in = {.id = {{9}},
		.at_us = 5,
		.level = STR("INFO"),
		.module = STR("game"),
		.message = STR("created"),
		.api_key = STR("gme_live_ab")};
	struct audit_rec out;
	struct buf b;

	buf_init(&b, 0);
	audit_rec_encode(&b, &in);
	cr_assert_eq(audit_rec_decode(buf_str(&b), &out), 0);
	cr_expect(str_is(out.details_json, "{}"));
	cr_expect(str_is(out.api_key, "gme_live_ab"));
	cr_expect_null(out.subject.p);
	cr_expect_eq(audit_rec_decode((struct str){b.p, b.len - 1}, &out), -1);
	buf_fini(&b);
}

static const struct request_rec some_request = {.id = {{9}},
	.at_us = 5,
	.duration_ns = 1234567,
	.status = 404,
	.weight = 4,
	.method = {"GET", 3},
	.endpoint = {"/api/v1/games/{gameId}/tasks/{externalTaskId}/points",
		52},
	.api_key = {"gme_live_ab12cd34", 17},
	.correlation_id = {"srv-0193f6a0-0000-7000-8000-000000000001", 40},
	.has_user = true,
	.user = {{7}}};

Test(request_rec, survives_the_round_trip)
{
	struct request_rec in = some_request, out;
	struct buf b;

	buf_init(&b, 0);
	for (int with_user = 0; with_user < 2; with_user++) {
		buf_reset(&b);
		in.has_user = with_user;
		request_rec_encode(&b, &in);
		cr_assert_eq(request_rec_decode(buf_str(&b), &out), 0);
		cr_expect_eq(out.at_us, 5);
		cr_expect_eq(out.duration_ns, 1234567);
		cr_expect_eq(out.status, 404);
		cr_expect_eq(out.weight, 4);
		cr_expect(str_eq(out.method, in.method));
		cr_expect(str_eq(out.endpoint, in.endpoint));
		cr_expect(str_eq(out.api_key, in.api_key));
		cr_expect_null(out.subject.p);
		cr_expect(str_eq(out.correlation_id, in.correlation_id));
		cr_expect_eq(out.has_user, in.has_user);
		cr_expect(!with_user || uuid_eq(&out.user, &in.user));
		for (size_t len = 0; len < b.len; len++)
			cr_expect_eq(request_rec_decode(
					     (struct str){b.p, len}, &out),
				-1);
	}
	buf_fini(&b);
}

/* About 60 ns on an idle core; the bound leaves room for valgrind. */
Test(request_rec, is_cheap_to_make)
{
	const unsigned n = 100000;
	uint64_t best = UINT64_MAX;
	struct request_rec rec = some_request;
	struct buf b;

	buf_init(&b, 0);
	for (unsigned round = 0; round < 5; round++) {
		uint64_t t0 = clock_mono_ns(), t;

		for (unsigned i = 0; i < n; i++) {
			uuid_make_v7(&rec.id);
			buf_reset(&b);
			request_rec_encode(&b, &rec);
		}
		t = clock_mono_ns() - t0;
		if (t < best)
			best = t;
	}
	cr_log_info("%llu ns", (unsigned long long)(best / n));
	cr_expect_lt(best / n, 15000);
	buf_fini(&b);
}

Test(fault_rec, survives_the_round_trip)
{
	struct fault_rec in = {
		.kind = FAULT_TXN,
		.at_us = -3,
		.duration_ns = 41000,
		.slot = 63,
		.status = 503,
		.method = STR("POST"),
		.handler = STR("/games/{gameId}"),
		.version = 7,
		.node = STR("divide"),
		.how = 11,
		.headers = STR("{\"a\":\"b\"}"),
		.data = STR("[1]"),
		.address = STR("::1"),
		.span = {[FAULT_SPAN_READ] = {5, 6}},
	};
	struct fault_rec out;
	struct buf b;

	buf_init(&b, 0);
	fault_rec_encode(&b, &in);
	cr_assert_eq(fault_rec_decode(buf_str(&b), &out), 0);
	cr_expect_eq(out.at_us, -3);
	cr_expect_eq(out.slot, 63);
	cr_expect_eq(out.status, 503);
	cr_expect_eq(out.how, 11);
	cr_expect(str_is(out.node, "divide"));
	cr_expect(str_is(out.headers, "{\"a\":\"b\"}"));
	cr_expect(str_is(out.data, "[1]"));
	cr_expect(str_is(out.address, "::1"));
	cr_expect_null(out.query.p);
	cr_expect_null(out.trace.p);
	cr_expect_eq(out.span[FAULT_SPAN_READ].start_ns, 5);
	cr_expect_eq(out.span[FAULT_SPAN_READ].ns, 6);
	cr_expect_eq(out.span[FAULT_SPAN_WRITE].ns, 0);
	for (size_t n = 0; n < b.len; n++)
		cr_assert_eq(fault_rec_decode((struct str){b.p, n}, &out), -1);
	buf_fini(&b);
}

static void make_frame(struct buf *b, unsigned rows)
{
	struct ev_head h = {.slot = 7, .rows = rows, .sent_before = {1, 2, 3}};
	struct run_rec rec = sample_run();

	ev_frame_begin(b);
	for (unsigned i = 0; i < rows; i++) {
		size_t begin = ev_row_begin(b, EV_T_RUN, EV_ERROR);

		run_rec_encode(b, &rec);
		ev_row_end(b, begin);
	}
	ev_frame_end(b, &h);
}

/* Reads a frame as the logger does; returns its readable rows. */
static unsigned read_frame(struct arena *a, struct str msg)
{
	struct ev_head h;
	struct ev_row row;
	struct run_rec rec;
	struct audit_rec audit;
	struct str rest;
	unsigned good = 0;

	arena_reset(a);
	if (ev_frame_open(msg, &h, &rest) < 0)
		return 0;
	while (ev_frame_next(&rest, &row) == 1) {
		good += run_rec_decode(a, row.body, &rec) == 0;
		good += audit_rec_decode(row.body, &audit) == 0;
	}
	return good;
}

Test(frame, carries_rows_and_counts)
{
	struct ev_head h;
	struct str rest;
	struct arena a;
	struct buf b;

	arena_init(&a, 0);
	buf_init(&b, 0);
	make_frame(&b, 3);
	cr_assert_eq(ev_frame_open(buf_str(&b), &h, &rest), 0);
	cr_expect_eq(h.slot, 7);
	cr_expect_eq(h.rows, 3);
	cr_expect_eq(h.sent_before[EV_SAMPLE], 3);
	cr_expect_eq(read_frame(&a, buf_str(&b)), 3);
	buf_fini(&b);
	arena_fini(&a);
}

Test(frame, survives_truncation_and_mutation)
{
	struct arena a;
	struct buf b;
	uint64_t seed = 20261125;
	char *copy;

	arena_init(&a, 0);
	buf_init(&b, 0);
	make_frame(&b, 3);
	copy = malloc(b.len);
	for (size_t n = 0; n < b.len; n++) {
		/* an exact allocation, so that ASan sees one byte past it */
		char *exact = malloc(n + 1);

		memcpy(exact + 1, b.p, n);
		cr_expect_eq(read_frame(&a, (struct str){exact + 1, n}), 0);
		free(exact);
	}
	for (int round = 0; round < 20000; round++) {
		memcpy(copy, b.p, b.len);
		for (int i = 0; i < 4; i++) {
			seed = seed * 6364136223846793005u +
			       1442695040888963407u;
			copy[(seed >> 33) % b.len] = (char)(seed >> 20);
		}
		cr_expect_leq(read_frame(&a, (struct str){copy, b.len}), 3);
	}
	free(copy);
	buf_fini(&b);
	arena_fini(&a);
}

/* ---- the sender, against a real pair ------------------------------------ */

enum { WORKER = 1, LOGGER = 61 };

static struct {
	struct event_base *base;
	struct shm *shm;
	int fd[2];
	uint64_t got[EV_CLASS_CNT];
	uint64_t gap[EV_CLASS_CNT];
} rig;

static void rig_open(void)
{
	struct err err;

	memset(&rig, 0, sizeof(rig));
	rig.base = event_base_new();
	rig.shm = shm_create(&err);
	cr_assert_not_null(rig.shm);
	shm_attach(rig.shm, WORKER, SHM_WORKER);
	cr_assert_eq(ipc_pair_open(rig.fd, &err), 0);
}

static struct trace_send *rig_sender(uint64_t rows_max)
{
	struct trace_send_conf c = {
		.fd = rig.fd[0],
		.slot = WORKER,
		.rows_max = rows_max,
		.requests_max = 4,
		.ring_bytes = 64 * 1024,
		.audit_max = 100000,
		.audit_bytes = 1024 * 1024,
	};

	return trace_send_new(rig.base, &c);
}

/* One message taken as the logger takes it; false when there is none. */
static bool rig_take(void)
{
	static char msg[EV_ROW_MAX + EV_FRAME_BYTES];
	struct ev_head h;
	struct ev_row row;
	struct str rest;
	ssize_t n = recv(rig.fd[1], msg, sizeof(msg), MSG_DONTWAIT);
	uint64_t cnt[EV_CLASS_CNT] = {0};

	if (n < 0)
		return false;
	cr_assert_eq(ev_frame_open((struct str){msg, (size_t)n}, &h, &rest), 0);
	cr_assert_eq(h.slot, WORKER);
	while (ev_frame_next(&rest, &row) == 1)
		cnt[row.cls]++;
	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		rig.gap[c] += h.sent_before[c] - shm_ev_taken(WORKER, c);
		rig.got[c] += cnt[c];
		shm_ev_taken_set(WORKER, c, h.sent_before[c] + cnt[c]);
	}
	return true;
}

static void turn(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

static void send_run(struct trace_send *t, enum evidence_class cls)
{
	struct run_rec rec = sample_run();

	trace_send_run(t, cls, &rec);
}

static uint64_t produced(unsigned cls)
{
	return metric_slot(WORKER, M_EV_PRODUCED_AUDIT + cls);
}

static void expect_identity(struct trace_send *t)
{
	uint64_t out = 0, in = 0;

	for (unsigned c = 0; c < EV_CLASS_CNT; c++) {
		in += produced(c);
		out += metric_evidence_dropped_slot(WORKER, c) +
		       shm_ev_sent(WORKER, c);
	}
	cr_expect_eq(in, out + (t != NULL ? trace_send_pending(t) : 0));
}

/* What is published of the rows in the worker's hands. */
static uint64_t held(void)
{
	static struct metric_totals totals;
	uint64_t n = 0;

	metric_read(&totals, 0);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		n += totals.evidence[c].in_workers;
	return n;
}

Test(trace_send, gathers_a_turn_into_one_message)
{
	struct trace_send *t;

	rig_open();
	t = rig_sender(1000);
	cr_expect(rig_take()); /* the counts alone, at the start */
	send_run(t, EV_ERROR);
	send_run(t, EV_SAMPLE);
	send_run(t, EV_SAMPLE);
	cr_expect_not(rig_take());
	turn();
	cr_expect(rig_take());
	cr_expect_not(rig_take());
	cr_expect_eq(rig.got[EV_ERROR], 1);
	cr_expect_eq(rig.got[EV_SAMPLE], 2);
	expect_identity(t);
	trace_send_free(&t);
}

Test(trace_send, keeps_errors_when_the_queue_is_full)
{
	struct trace_send *t;

	rig_open();
	t = rig_sender(8);
	for (int i = 0; i < 10; i++)
		send_run(t, EV_SAMPLE);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_SAMPLE), 4);
	for (int i = 0; i < 4; i++)
		send_run(t, EV_ERROR);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_ERROR), 2);
	expect_identity(t);
	turn();
	while (rig_take())
		;
	/* all taken: there is room again */
	send_run(t, EV_SAMPLE);
	turn();
	while (rig_take())
		;
	cr_expect_eq(rig.got[EV_SAMPLE], 7);
	cr_expect_eq(rig.got[EV_ERROR], 2);
	expect_identity(t);
	trace_send_free(&t);
}

Test(trace_send, requests_have_a_queue_of_their_own)
{
	struct trace_send *t;

	rig_open();
	t = rig_sender(8);
	for (int i = 0; i < 10; i++)
		trace_send_request(t, &some_request);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_REQUEST), 6);
	for (int i = 0; i < 8; i++)
		send_run(t, EV_ERROR);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_ERROR), 0);
	expect_identity(t);
	turn();
	while (rig_take())
		;
	cr_expect_eq(rig.got[EV_REQUEST], 4);
	cr_expect_eq(rig.got[EV_ERROR], 8);
	trace_send_free(&t);
}

Test(trace_send, drives_samples_out_of_the_ring_for_errors)
{
	struct trace_send *t;
	uint64_t dropped;
	unsigned sent = 0;

	rig_open();
	t = rig_sender(1000000);
	/* nobody reads: fill the socket, then the sample ring */
	while (metric_evidence_dropped_slot(WORKER, EV_SAMPLE) == 0 &&
		sent++ < 1000000) {
		send_run(t, EV_SAMPLE);
		turn();
	}
	cr_assert_gt(metric_evidence_dropped_slot(WORKER, EV_SAMPLE), 0);
	dropped = metric_evidence_dropped_slot(WORKER, EV_SAMPLE);
	send_run(t, EV_ERROR);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_ERROR), 0);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_SAMPLE), dropped);
	expect_identity(t);
	for (int i = 0; i < 100000 && trace_send_pending(t) > 0; i++) {
		while (rig_take())
			;
		turn();
	}
	while (rig_take())
		;
	cr_expect_eq(trace_send_pending(t), 0);
	cr_expect_eq(rig.got[EV_ERROR], 1);
	cr_expect_eq(rig.got[EV_SAMPLE] + dropped, produced(EV_SAMPLE));
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		cr_expect_eq(rig.gap[c], 0);
	trace_send_free(&t);
}

Test(trace_send, what_a_dead_worker_held_is_known)
{
	struct trace_send *t, *next;
	uint64_t lost[SHM_EV_CLASSES];

	rig_open();
	t = rig_sender(1000);
	send_run(t, EV_ERROR);
	send_run(t, EV_SAMPLE);
	turn();
	send_run(t, EV_ERROR); /* gathered, never sent */
	/* t dies here without a word */
	cr_expect(shm_ev_bury(WORKER, lost));
	cr_expect_eq(lost[EV_ERROR], 1);
	cr_expect_eq(lost[EV_SAMPLE], 0);
	cr_expect_not(shm_ev_bury(WORKER, lost), "only once");
	next = rig_sender(1000);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_ERROR), 1);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_SAMPLE), 0);
	expect_identity(next);
	while (rig_take())
		;
	cr_expect_eq(rig.got[EV_ERROR], 1);
	cr_expect_eq(rig.gap[EV_ERROR], 0);
	trace_send_free(&next);
	expect_identity(NULL);
}

Test(trace_send, publishes_what_it_holds)
{
	struct trace_send *t;

	rig_open();
	t = rig_sender(8);
	for (int i = 0; i < 10; i++)
		send_run(t, EV_SAMPLE);
	cr_expect_eq(held(), 6, "those that were dropped are not held");
	cr_expect_eq(held(), trace_send_pending(t));
	turn();
	cr_expect_eq(held(), 0, "all are in the socket");
	while (trace_send_pending(t) == 0) { /* until the socket is full */
		shm_ev_taken_set(
			WORKER, EV_SAMPLE, shm_ev_sent(WORKER, EV_SAMPLE));
		send_run(t, EV_SAMPLE);
		turn();
	}
	send_run(t, EV_ERROR);
	cr_expect_eq(held(), trace_send_pending(t));
	trace_send_free(&t);
	cr_expect_eq(held(), 0);
}

Test(trace_send, audit_rows_have_more_memory)
{
	struct audit_rec rec = {.level = STR("INFO"),
		.module = STR("game"),
		.message = STR("some")};
	struct trace_send *t;

	rig_open();
	t = rig_sender(1000);
	while (trace_send_pending(t) == 0) { /* nobody reads */
		trace_send_audit(t, &rec);
		turn();
	}
	for (int i = 0; i < 8000; i++)
		trace_send_audit(t, &rec);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_AUDIT), 0);
	cr_expect_gt(trace_send_urgent(t), 7000);
	cr_expect_leq(trace_send_urgent(t), trace_send_pending(t));
	trace_send_free(&t);
}

Test(trace_send, shows_the_reader_what_never_arrived)
{
	static char msg[EV_FRAME_BYTES];
	struct trace_send *t;

	rig_open();
	t = rig_sender(1000);
	cr_assert(rig_take());
	send_run(t, EV_ERROR);
	send_run(t, EV_SAMPLE);
	turn();
	/* a logger reads this message and dies before it says so */
	cr_assert_gt(recv(rig.fd[1], msg, sizeof(msg), 0), 0);
	send_run(t, EV_ERROR);
	turn();
	cr_assert(rig_take());
	cr_expect_eq(rig.gap[EV_ERROR], 1);
	cr_expect_eq(rig.gap[EV_SAMPLE], 1);
	cr_expect_eq(rig.got[EV_ERROR], 1);
	trace_send_free(&t);
}

Test(trace_send, counts_what_is_left_at_the_end)
{
	struct trace_send *t;

	rig_open();
	t = rig_sender(1000);
	close(rig.fd[1]);
	send_run(t, EV_ERROR);
	send_run(t, EV_SAMPLE);
	turn();
	trace_send_free(&t);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_ERROR), 1);
	cr_expect_eq(metric_evidence_dropped_slot(WORKER, EV_SAMPLE), 1);
	expect_identity(NULL);
}
