/*
 * stats_prom.c - see stats_prom.h.  Labels are printed in the order of their
 * names; buckets are made cumulative here, and _count is the last of them, so
 * that the two cannot differ.
 */
#include "stats/stats_prom.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "dsl/dsl_error.h"
#include "ipc/evidence.h"
#include "stats/stats_open.h"

static const char *const role_names[] = {
	"free", "master", "worker", "logger", "stats"};
static const char *const dsl_types[SHM_DSL_TYPES] = {"DSL_FULL", "DSL_EXTEND"};

#define EDGE(text, ns) text,
static const char *const highr_le[SHM_HIGHR_BUCKETS] = {
	SHM_HIGHR_EDGES(EDGE) "+Inf"};
static const char *const lowr_le[SHM_LOWR_BUCKETS] = {
	SHM_LOWR_EDGES(EDGE) "+Inf"};
static const char *const dsl_le[SHM_DSL_BUCKETS] = {SHM_DSL_EDGES(EDGE) "+Inf"};
static const char *const wait_le[SHM_WAIT_BUCKETS] = {
	SHM_WAIT_EDGES(EDGE) "+Inf"};
#undef EDGE

/* ---- pieces ------------------------------------------------------------- */

/*
 * A scrape is about 1,600 lines, and vsnprintf would take most of its time:
 * lines are put together from their parts.
 */
static void add_parts(struct buf *b, ...) __attribute__((sentinel));

/* Parts are texts, the last one is NULL. */
static void add_parts(struct buf *b, ...)
{
	const char *part;
	va_list ap;

	va_start(ap, b);
	while ((part = va_arg(ap, const char *)) != NULL)
		buf_add(b, part, strlen(part));
	va_end(ap);
}

enum { MILLI = 3, MICRO = 6, NANO = 9 }; /* places of buf_add_decimal */

/* The value of a sample and the end of its line. */
static void end_number(struct buf *b, uint64_t v)
{
	buf_add_char(b, ' ');
	buf_add_u64(b, v);
	buf_add_char(b, '\n');
}

static void end_decimal(struct buf *b, uint64_t v, unsigned places)
{
	buf_add_char(b, ' ');
	buf_add_decimal(b, v, places);
	buf_add_char(b, '\n');
}

static void family(
	struct buf *b, const char *name, const char *type, const char *help)
{
	add_parts(b, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type,
		"\n", NULL);
}

/* The text of a label value. */
static void add_escaped(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\n') {
			buf_add_str(b, STR("\\n"));
			continue;
		}
		if (s.p[i] == '\\' || s.p[i] == '"')
			buf_add_char(b, '\\');
		buf_add_char(b, s.p[i]);
	}
}

struct histogram {
	const char *name;
	const char *const *le;
	unsigned buckets;
	/* Labels around le: "a=\"1\"," and ",m=\"2\"". */
	const char *before, *after;
	/* Of each bucket; NULL: none. */
	const struct metric_exemplar *exemplars;
	const bool *has_exemplar;
};

/* Milliseconds since 1970, which a version 7 id begins with. */
static uint64_t made_ms(const struct uuid *id)
{
	uint64_t ms = 0;

	for (unsigned i = 0; i < 6; i++)
		ms = ms << 8 | id->b[i];
	return ms;
}

/* The end of a bucket's line: the id is the value of X-Trace-Id. */
static void add_exemplar(struct buf *b, const struct metric_exemplar *e)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_print(&e->row, id);
	add_parts(b, " # {trace_id=\"", id, "\"} ", NULL);
	buf_add_decimal(b, e->duration_ns, NANO);
	end_decimal(b, made_ms(&e->row), MILLI);
}

/* A line of the histogram that has no le. */
static void add_whole(
	struct buf *b, const struct histogram *h, const char *suffix)
{
	struct str before = str_from(h->before), after = str_from(h->after);

	/* one of the commas at the sides of le goes */
	if (after.len)
		after = (struct str){after.p + 1, after.len - 1};
	else if (before.len)
		before.len--;
	add_parts(b, h->name, suffix, NULL);
	if (before.len + after.len == 0)
		return;
	buf_add_char(b, '{');
	buf_add_str(b, before);
	buf_add_str(b, after);
	buf_add_char(b, '}');
}

static void add_histogram(struct buf *b, const struct histogram *h,
	const uint64_t *bucket, uint64_t sum_ns)
{
	uint64_t cnt = 0;

	for (unsigned i = 0; i < h->buckets; i++) {
		cnt += bucket[i];
		add_parts(b, h->name, "_bucket{", h->before, "le=\"", h->le[i],
			"\"", h->after, "} ", NULL);
		buf_add_u64(b, cnt);
		if (h->exemplars && h->has_exemplar[i])
			add_exemplar(b, &h->exemplars[i]);
		else
			buf_add_char(b, '\n');
	}
	add_whole(b, h, "_count");
	end_number(b, cnt);
	add_whole(b, h, "_sum");
	end_decimal(b, sum_ns, NANO);
}

/* ---- HTTP --------------------------------------------------------------- */

struct routes {
	const struct http_route *v;
	unsigned cnt;
};

static uint64_t requests(const struct metric_route *r)
{
	uint64_t cnt = 0;

	for (unsigned i = 0; i < SHM_STATUS_CLASSES; i++)
		cnt += r->status[i];
	return cnt;
}

/* Successes and both kinds of failure exist from the start. */
static void print_requests(struct buf *b, const struct metric_totals *t,
	const struct routes *routes)
{
	static const char *const classes[SHM_STATUS_CLASSES] = {
		"1xx", "2xx", "3xx", "4xx", "5xx"};

	family(b, "http_requests_total", "counter",
		"Requests by method, status class and route");
	for (unsigned i = 0; i < routes->cnt; i++)
		for (unsigned c = 0; c < SHM_STATUS_CLASSES; c++) {
			const struct http_route *r = &routes->v[i];
			uint64_t cnt = t->route[i].status[c];

			if (r->unmetered || (cnt == 0 && (c == 0 || c == 2)))
				continue;
			add_parts(b, "http_requests_total{handler=\"",
				r->template, "\",method=\"", r->method,
				"\",status=\"", classes[c], "\"}", NULL);
			end_number(b, cnt);
		}
}

/* The size families have no label for the method: rows of one template. */
struct sizes {
	const char *handler;
	size_t handler_len;
	uint64_t cnt, request_bytes, response_bytes;
};

static unsigned sum_sizes(const struct metric_totals *t,
	const struct routes *routes, struct sizes *sizes)
{
	unsigned n = 0, k;

	for (unsigned i = 0; i < routes->cnt; i++) {
		const char *handler = routes->v[i].template;
		size_t len = strlen(handler);

		if (routes->v[i].unmetered)
			continue;
		for (k = 0; k < n; k++)
			if (sizes[k].handler_len == len &&
				memcmp(sizes[k].handler, handler, len) == 0)
				break;
		if (k == n)
			sizes[n++] = (struct sizes){handler, len, 0, 0, 0};
		sizes[k].cnt += requests(&t->route[i]);
		sizes[k].request_bytes += t->route[i].request_bytes;
		sizes[k].response_bytes += t->route[i].response_bytes;
	}
	return n;
}

static void print_size(struct buf *b, const char *name, const char *handler,
	uint64_t cnt, uint64_t bytes)
{
	add_parts(b, name, "_count{handler=\"", handler, "\"}", NULL);
	end_number(b, cnt);
	add_parts(b, name, "_sum{handler=\"", handler, "\"}", NULL);
	end_number(b, bytes);
}

static void print_sizes(struct buf *b, const struct metric_totals *t,
	const struct routes *routes)
{
	struct sizes sizes[SHM_ROUTES_MAX];
	unsigned n = sum_sizes(t, routes, sizes);

	family(b, "http_request_size_bytes", "summary",
		"Bytes of request bodies by route");
	for (unsigned i = 0; i < n; i++)
		print_size(b, "http_request_size_bytes", sizes[i].handler,
			sizes[i].cnt, sizes[i].request_bytes);
	family(b, "http_response_size_bytes", "summary",
		"Bytes of response bodies by route");
	for (unsigned i = 0; i < n; i++)
		print_size(b, "http_response_size_bytes", sizes[i].handler,
			sizes[i].cnt, sizes[i].response_bytes);
}

static void print_durations(struct buf *b, const struct metric_totals *t,
	const struct routes *routes)
{
	struct histogram h = {"http_request_duration_highr_seconds", highr_le,
		SHM_HIGHR_BUCKETS, "", "", NULL, NULL};
	struct buf before, after;

	family(b, h.name, "histogram",
		"Time from the head of a request to its reply, all routes");
	add_histogram(b, &h, t->highr, t->highr_ns);
	h = (struct histogram){"http_request_duration_seconds", lowr_le,
		SHM_LOWR_BUCKETS, "", "", NULL, NULL};
	family(b, h.name, "histogram",
		"Time from the head of a request to its reply, by route");
	buf_init(&before, 0);
	buf_init(&after, 0);
	for (unsigned i = 0; i < routes->cnt; i++) {
		if (routes->v[i].unmetered)
			continue;
		buf_reset(&before);
		buf_reset(&after);
		add_parts(&before, "handler=\"", routes->v[i].template, "\",",
			NULL);
		buf_add_char(&before, '\0');
		add_parts(
			&after, ",method=\"", routes->v[i].method, "\"", NULL);
		buf_add_char(&after, '\0');
		h.before = before.p;
		h.after = after.p;
		add_histogram(
			b, &h, t->route[i].bucket, t->route[i].duration_ns);
	}
	buf_fini(&before);
	buf_fini(&after);
}

static void print_http(struct buf *b, const struct metric_totals *t,
	const struct routes *routes)
{
	print_requests(b, t, routes);
	print_sizes(b, t, routes);
	print_durations(b, t, routes);
}

/* ---- strategies --------------------------------------------------------- */

/* The codes a run can fail with (observability.md 4.2), there from the start. */
static const char *const known_codes[] = {"DSL_ARITH_DIV_BY_ZERO",
	"DSL_ARITH_OP_NOT_ALLOWED", "DSL_ARITH_TYPE_MISMATCH",
	"DSL_ASSIGN_POINTS_NOT_NUMBER", "DSL_COMPARE_OP_NOT_ALLOWED",
	"DSL_COMPARE_TYPE_MISMATCH", "DSL_FIELD_NOT_PRECOMPUTED",
	"DSL_FUNC_ARITY_MISMATCH", "DSL_FUNC_NAME_NOT_ALLOWED",
	"DSL_LIMIT_EXCEEDED", "DSL_SET_CASE_NAME_NOT_STRING",
	"DSL_SET_POINTS_NOT_NUMBER", "DSL_TIMEOUT", "DSL_UNEXPECTED",
	"DSL_UNKNOWN_STATEMENT", "DslExecutionError", "DslValidationError"};

struct dsl_pair {
	const struct metric_dsl_sum *sum;
	unsigned realm, type;
	unsigned realm_at;      /* in the shared block */
	const char *realm_text; /* escaped */
};

/* What was counted in a bucket after the totals were read has none yet. */
static void read_exemplars(const struct dsl_pair *p, unsigned status,
	struct metric_exemplar *exemplars_r, bool *has_r)
{
	for (unsigned i = 0; i < SHM_DSL_BUCKETS; i++)
		has_r[i] = p->sum->bucket[status][i] != 0 &&
			   metric_read_exemplar(p->realm_at, p->type, status, i,
				   &exemplars_r[i]);
}

static void print_runs(
	struct buf *b, const struct dsl_pair *p, bool with_exemplars)
{
	struct histogram h = {"dsl_execution_duration_seconds", dsl_le,
		SHM_DSL_BUCKETS, "", "", NULL, NULL};
	struct metric_exemplar exemplars[SHM_DSL_BUCKETS];
	bool has[SHM_DSL_BUCKETS];
	struct buf after;

	buf_init(&after, 0);
	for (unsigned i = 0; i < SHM_DSL_STATUSES; i++) {
		buf_reset(&after);
		add_parts(&after, ",realm=\"", p->realm_text, "\",status=\"",
			dsl_status_name(i), "\",strategy_type=\"",
			dsl_types[p->type], "\"", NULL);
		buf_add_char(&after, '\0');
		h.after = after.p;
		if (with_exemplars) {
			read_exemplars(p, i, exemplars, has);
			h.exemplars = exemplars;
			h.has_exemplar = has;
		}
		add_histogram(b, &h, p->sum->bucket[i], p->sum->duration_ns[i]);
	}
	buf_fini(&after);
}

static void print_nodes(struct buf *b, const struct dsl_pair *p)
{
	add_parts(b, "dsl_execution_nodes_total{realm=\"", p->realm_text,
		"\",strategy_type=\"", dsl_types[p->type], "\"}", NULL);
	end_number(b, p->sum->nodes);
}

static void print_dropped(struct buf *b, const struct dsl_pair *p)
{
	add_parts(b, "dsl_execution_log_dropped_total{realm=\"", p->realm_text,
		"\",strategy_type=\"", dsl_types[p->type], "\"}", NULL);
	end_number(b, p->sum->dropped);
}

static void print_error(
	struct buf *b, const struct dsl_pair *p, struct str code, uint64_t cnt)
{
	buf_add_str(b, STR("dsl_execution_errors_total{code=\""));
	add_escaped(b, code);
	add_parts(b, "\",realm=\"", p->realm_text, "\",strategy_type=\"",
		dsl_types[p->type], "\"}", NULL);
	end_number(b, cnt);
}

static void print_errors(
	struct buf *b, const struct metric_totals *t, const struct dsl_pair *p)
{
	bool is_printed[NELEM(known_codes)] = {false};

	for (unsigned i = 0; i < t->error_cnt; i++) {
		const struct metric_error *e = &t->error[i];
		struct str code = {e->code.text, e->code.len};

		if (e->realm != p->realm || e->type != p->type)
			continue;
		print_error(b, p, code, e->cnt);
		for (unsigned k = 0; k < NELEM(known_codes); k++)
			if (str_is(code, known_codes[k]))
				is_printed[k] = true;
	}
	for (unsigned k = 0; k < NELEM(known_codes); k++)
		if (!is_printed[k])
			print_error(b, p, str_from(known_codes[k]), 0);
}

enum dsl_part {
	DSL_RUNS,
	DSL_RUNS_EXEMPLARS,
	DSL_NODES,
	DSL_ERRORS,
	DSL_DROPPED
};

/* One family over all realms and types. */
static void print_dsl_part(
	struct buf *b, const struct metric_totals *t, enum dsl_part part)
{
	struct buf realm;

	buf_init(&realm, 0);
	for (unsigned i = 0; i < t->realm_cnt * SHM_DSL_TYPES; i++) {
		const struct metric_realm *r = &t->realm[i / SHM_DSL_TYPES];
		struct dsl_pair p = {.realm = i / SHM_DSL_TYPES,
			.realm_at = r->at,
			.type = i % SHM_DSL_TYPES};

		buf_reset(&realm);
		add_escaped(&realm, (struct str){r->label.text, r->label.len});
		buf_add_char(&realm, '\0');
		p.realm_text = realm.p;
		p.sum = &r->type[p.type];
		switch (part) {
		case DSL_RUNS:
		case DSL_RUNS_EXEMPLARS:
			print_runs(b, &p, part == DSL_RUNS_EXEMPLARS);
			break;
		case DSL_NODES:
			print_nodes(b, &p);
			break;
		case DSL_ERRORS:
			print_errors(b, t, &p);
			break;
		case DSL_DROPPED:
			print_dropped(b, &p);
			break;
		}
	}
	buf_fini(&realm);
}

static void print_dsl(
	struct buf *b, const struct metric_totals *t, bool with_exemplars)
{
	family(b, "dsl_execution_duration_seconds", "histogram",
		"Time of a run of a custom strategy");
	print_dsl_part(b, t, with_exemplars ? DSL_RUNS_EXEMPLARS : DSL_RUNS);
	family(b, "dsl_execution_nodes_total", "counter",
		"Nodes evaluated by runs of custom strategies");
	print_dsl_part(b, t, DSL_NODES);
	family(b, "dsl_execution_errors_total", "counter",
		"Runs of custom strategies that failed, by code");
	print_dsl_part(b, t, DSL_ERRORS);
	family(b, "dsl_execution_log_dropped_total", "counter",
		"Kept runs of custom strategies whose row was dropped");
	print_dsl_part(b, t, DSL_DROPPED);
}

/* ---- our own ------------------------------------------------------------ */

static void print_plain(struct buf *b, const struct metric_totals *t)
{
	const char *last = "";

	for (unsigned m = 0; m < M_CNT; m++) {
		const struct metric_info *i = metric_info(m);
		bool has_label = *i->label != '\0';

		if (strcmp(last, i->name) != 0)
			family(b, i->name, i->kind == 'C' ? "counter" : "gauge",
				i->help);
		last = i->name;
		add_parts(b, i->name, has_label ? "{" : "", i->label,
			has_label ? "}" : "", NULL);
		if (m == M_EV_LAG_MS)
			end_decimal(b, t->plain[m], MILLI);
		else
			end_number(b, t->plain[m]);
	}
}

/* Their label, if any, is `lane`, which stands before `le`. */
static void print_timers(struct buf *b, const struct metric_totals *t)
{
	struct histogram h = {
		.le = wait_le, .buckets = SHM_WAIT_BUCKETS, .after = ""};
	const char *last = "";
	char before[64];

	for (unsigned i = 0; i < T_CNT; i++) {
		const struct metric_info *info = metric_timer_info(i);

		if (strcmp(last, info->name) != 0)
			family(b, info->name, "histogram", info->help);
		last = h.name = info->name;
		snprintf(before, sizeof(before), "%s%s", info->label,
			*info->label ? "," : "");
		h.before = before;
		add_histogram(b, &h, t->timer[i].bucket, t->timer[i].ns);
	}
}

static void print_queue(struct buf *b, const char *name, const char *help,
	const struct metric_totals *t, bool is_most)
{
	family(b, name, "gauge", help);
	for (unsigned l = 0; l < L_CNT; l++) {
		if (metric_queue_name(l) == NULL)
			continue;
		add_parts(b, name, "{queue=\"", metric_queue_name(l), "\"}",
			NULL);
		end_number(b, is_most ? t->level[l].most : t->level[l].now);
	}
}

static void print_queues(struct buf *b, const struct metric_totals *t)
{
	print_queue(b, "gamed_queue_length",
		"What waits in a queue, all processes together", t, false);
	print_queue(b, "gamed_queue_length_max",
		"The most that waited in the queue of one process since the "
		"last scrape, whoever made that",
		t, true);
}

static void print_evidence(struct buf *b, const struct metric_totals *t)
{
	_Static_assert(SHM_EV_CLASSES == EV_CLASS_CNT &&
			       SHM_EV_REASONS == EV_REASON_CNT,
		"the block has room for every class and reason");
	family(b, "gamed_evidence_dropped_total", "counter",
		"Evidence rows dropped, by class and reason");
	for (unsigned c = 0; c < SHM_EV_CLASSES; c++)
		for (unsigned r = 0; r < SHM_EV_REASONS; r++) {
			add_parts(b, "gamed_evidence_dropped_total{class=\"",
				evidence_class_name(c), "\",reason=\"",
				evidence_reason_name(r), "\"}", NULL);
			end_number(b, t->evidence[c].dropped[r]);
		}
	family(b, "gamed_evidence_queued_rows", "gauge",
		"Evidence rows on their way: produced, not stored or dropped");
	for (unsigned c = 0; c < SHM_EV_CLASSES; c++) {
		add_parts(b, "gamed_evidence_queued_rows{class=\"",
			evidence_class_name(c), "\"}", NULL);
		end_number(b, t->evidence[c].queued);
	}
	family(b, "gamed_evidence_missing_rows", "gauge",
		"Evidence rows produced that are nowhere, 0 in a sound server");
	for (unsigned c = 0; c < SHM_EV_CLASSES; c++) {
		add_parts(b, "gamed_evidence_missing_rows{class=\"",
			evidence_class_name(c), "\"}", NULL);
		end_number(b, t->evidence[c].missing);
	}
}

/* ---- processes ---------------------------------------------------------- */

static void print_server(struct buf *b, const struct metric_totals *t)
{
	uint64_t virt = 0, resident = 0, fds = 0, fds_max = UINT64_MAX;

	for (unsigned i = 0; i < t->process_cnt; i++) {
		const struct metric_process *p = &t->process[i];

		virt += p->virtual_bytes;
		resident += p->resident_bytes;
		fds += p->fds;
		if (p->fds_max && p->fds_max < fds_max)
			fds_max = p->fds_max;
	}
	family(b, "process_virtual_memory_bytes", "gauge",
		"Virtual memory of all processes");
	add_parts(b, "process_virtual_memory_bytes", NULL);
	end_number(b, virt);
	family(b, "process_resident_memory_bytes", "gauge",
		"Resident memory of all processes");
	add_parts(b, "process_resident_memory_bytes", NULL);
	end_number(b, resident);
	family(b, "process_start_time_seconds", "gauge",
		"Unix time the server started");
	add_parts(b, "process_start_time_seconds", NULL);
	end_decimal(b, t->boot_us, MICRO);
	family(b, "process_cpu_seconds_total", "counter",
		"CPU time of all processes there ever were");
	add_parts(b, "process_cpu_seconds_total", NULL);
	end_decimal(b, t->cpu_us, MICRO);
	family(b, "process_open_fds", "gauge",
		"Open descriptors of all processes");
	add_parts(b, "process_open_fds", NULL);
	end_number(b, fds);
	family(b, "process_max_fds", "gauge",
		"Smallest limit of descriptors of a process");
	add_parts(b, "process_max_fds", NULL);
	end_number(b, fds_max == UINT64_MAX ? 0 : fds_max);
}

/* Times are microseconds in the totals. */
static void print_each_process(struct buf *b, const struct metric_totals *t,
	const char *name, const char *help, size_t member)
{
	bool is_time = strstr(name, "_seconds") != NULL;

	family(b, name, "gauge", help);
	for (unsigned i = 0; i < t->process_cnt; i++) {
		const struct metric_process *p = &t->process[i];

		uint64_t v = *(const uint64_t *)(const void *)((const char *)p +
							       member);

		add_parts(b, name, "{role=\"", role_names[p->role],
			"\",slot=\"", NULL);
		buf_add_u64(b, p->slot);
		add_parts(b, "\"}", NULL);
		if (is_time)
			end_decimal(b, v, MICRO);
		else
			end_number(b, v);
	}
}

static void print_roles(struct buf *b, const struct metric_totals *t)
{
	unsigned alive[SHM_STATS + 1] = {0};

	for (unsigned i = 0; i < t->process_cnt; i++)
		alive[t->process[i].role]++;
	family(b, "gamed_processes", "gauge", "Processes that are alive");
	for (unsigned r = SHM_MASTER; r <= SHM_STATS; r++) {
		add_parts(b, "gamed_processes{role=\"", role_names[r], "\"}",
			NULL);
		end_number(b, alive[r]);
	}
	family(b, "gamed_process_cpu_seconds_total", "counter",
		"CPU time by role");
	for (unsigned r = SHM_MASTER; r <= SHM_STATS; r++) {
		add_parts(b, "gamed_process_cpu_seconds_total{role=\"",
			role_names[r], "\"}", NULL);
		end_decimal(b, t->role_cpu_us[r], MICRO);
	}
	family(b, "gamed_build_info", "gauge", "Always 1");
	buf_add_str(b, STR("gamed_build_info{commit=\"" GAMED_COMMIT
			   "\",compiler=\""));
	add_escaped(b, STR(__VERSION__));
	buf_add_str(b, STR("\",version=\"" GAMED_VERSION "\"} 1\n"));
}

static void print_lag(struct buf *b, const struct metric_totals *t)
{
	static const char name[] = "gamed_loop_lag_max_seconds";

	family(b, name, "gauge",
		"The latest that the loop of a worker came to a timer since "
		"the last scrape, whoever made that");
	for (unsigned i = 0; i < t->process_cnt; i++) {
		const struct metric_process *p = &t->process[i];

		if (p->role != SHM_WORKER)
			continue;
		add_parts(b, name, "{slot=\"", NULL);
		buf_add_u64(b, p->slot);
		add_parts(b, "\"}", NULL);
		end_decimal(b, p->lag_max_us, MICRO);
	}
}

static void print_processes(struct buf *b, const struct metric_totals *t)
{
	print_server(b, t);
	print_roles(b, t);
	print_each_process(b, t, "gamed_process_resident_memory_bytes",
		"Resident memory of a process",
		offsetof(struct metric_process, resident_bytes));
	print_each_process(b, t, "gamed_process_open_fds",
		"Open descriptors of a process",
		offsetof(struct metric_process, fds));
	print_each_process(b, t, "gamed_process_start_time_seconds",
		"Unix time a process started",
		offsetof(struct metric_process, started_us));
	print_lag(b, t);
}

void stats_prom_print(struct buf *out, const struct metric_totals *t,
	const struct http_route *routes, unsigned routes_cnt,
	enum stats_form form)
{
	const struct routes all = {routes, routes_cnt};

	print_http(out, t, &all);
	print_dsl(out, t, form == STATS_WITH_EXEMPLARS);
	print_plain(out, t);
	print_queues(out, t);
	print_timers(out, t);
	print_evidence(out, t);
	print_processes(out, t);
}

static struct metric_totals totals;

void stats_render(struct buf *out)
{
	assert(api_routes_cnt <= SHM_ROUTES_MAX);
	metric_read(&totals, (unsigned)api_routes_cnt);
	stats_prom_print(out, &totals, api_routes, (unsigned)api_routes_cnt,
		STATS_CLASSIC);
}

const char *stats_render_for(struct buf *out, struct str accept)
{
	struct buf text;

	assert(api_routes_cnt <= SHM_ROUTES_MAX);
	metric_read_scrape(&totals, (unsigned)api_routes_cnt);
	if (!stats_open_is_wanted(accept)) {
		stats_prom_print(out, &totals, api_routes,
			(unsigned)api_routes_cnt, STATS_CLASSIC);
		return STATS_PROM_TYPE;
	}
	buf_init(&text, 0);
	stats_prom_print(&text, &totals, api_routes, (unsigned)api_routes_cnt,
		STATS_WITH_EXEMPLARS);
	stats_open_add(out, buf_str(&text), totals.boot_us);
	buf_fini(&text);
	return STATS_OPEN_TYPE;
}
