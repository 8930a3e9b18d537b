/* ctl_top_print.c - see ctl_top_print.h. */
#include "ctl/ctl_top_print.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "json/json_out.h"

#define AMOUNT_MAX  32
#define NAME_WIDTH  26 /* code points */
#define REALM_WIDTH 18

/* ---- pieces ------------------------------------------------------------- */

static void start(struct buf *b, char how)
{
	buf_add_char(b, how);
}

static void end(struct buf *b)
{
	buf_add_char(b, '\n');
}

/* A name from the database, padded or cut; nothing in it moves the cursor. */
static void add_name(struct buf *b, const char *name, unsigned width)
{
	struct buf shown;
	unsigned n = 0;

	buf_init(&shown, 0);
	buf_add_visible(&shown, str_from(name));
	for (size_t i = 0; i < shown.len; i++) {
		if (((unsigned char)shown.p[i] & 0xc0) != 0x80 && n++ == width)
			break;
		buf_add_char(b, shown.p[i]);
	}
	buf_fini(&shown);
	for (; n < width; n++)
		buf_add_char(b, ' ');
}

static const char *span(int64_t s, char out[AMOUNT_MAX])
{
	if (s < 3600)
		snprintf(out, AMOUNT_MAX, "%" PRId64 "m%02" PRId64 "s", s / 60,
			s % 60);
	else if (s < 86400)
		snprintf(out, AMOUNT_MAX, "%" PRId64 "h%02" PRId64 "m",
			s / 3600, s / 60 % 60);
	else
		snprintf(out, AMOUNT_MAX, "%" PRId64 "d%02" PRId64 "h",
			s / 86400, s / 3600 % 24);
	return out;
}

static const char *bytes(int64_t n, char out[AMOUNT_MAX])
{
	static const char units[] = "BKMGT";
	double v = (double)n;
	unsigned u = 0;

	for (; v >= 1024 && u < sizeof(units) - 2; u++)
		v /= 1024;
	snprintf(out, AMOUNT_MAX, u ? "%.1f%c" : "%.0f%c", v, units[u]);
	return out;
}

static const char *millis(double ms, char out[AMOUNT_MAX])
{
	if (ms < 0)
		snprintf(out, AMOUNT_MAX, "-");
	else
		snprintf(out, AMOUNT_MAX,
			ms < 1    ? "%.3f"
			: ms < 10 ? "%.2f"
				  : "%.1f",
			ms);
	return out;
}

/* Of the buckets; what is below the first edge is not told apart. */
static const char *quantile(double ms, char out[AMOUNT_MAX])
{
	if (ms < 0 || ms >= TOP_MS_FIRST)
		return millis(ms, out);
	snprintf(out, AMOUNT_MAX, "<%d", TOP_MS_FIRST);
	return out;
}

/* ---- panes -------------------------------------------------------------- */

static void head(struct buf *b, const struct top_sample *s)
{
	char up[AMOUNT_MAX];

	start(b, s->has_database && s->config_in_force ? TOP_PLAIN : TOP_ALARM);
	buf_printf(b, "gamed %s, up %s, generation %" PRId64, s->version,
		span(s->uptime_s, up), s->generation);
	buf_printf(b, ", workers %" PRId64 ", database %s%s; rates ",
		s->workers, s->has_database ? "connected" : "not connected",
		s->config_in_force ? "" : ", the last reload was refused");
	if (s->since_start)
		buf_add_str(b, STR("since the start"));
	else
		buf_printf(b, "over %.1f s", s->window_s);
	end(b);
}

static void workers(struct buf *b, const struct top_sample *s)
{
	char up[AMOUNT_MAX], memory[AMOUNT_MAX];

	start(b, TOP_HEADING);
	buf_printf(b, "%-8s %4s %8s %4s %6s %8s %5s %6s %6s %8s %8s %7s %6s",
		"WORKERS", "slot", "pid", "gen", "cpu%", "memory", "fds",
		"conns", "inhand", "awards/s", "uptime", "beat", "starts");
	end(b);
	for (unsigned i = 0; i < s->process_cnt; i++) {
		const struct top_process *p = &s->process[i];

		start(b, p->beat_age_ms > 5000 ? TOP_ALARM : TOP_PLAIN);
		buf_printf(b,
			"%-8s %4" PRId64 " %8" PRId64 " %4" PRId64
			" %6.1f %8s %5" PRId64,
			p->role, p->slot, p->pid, p->generation, p->cpu_percent,
			bytes(p->resident_bytes, memory), p->fds);
		buf_printf(b,
			" %6" PRId64 " %6" PRId64 " %8.1f %8s %5" PRId64
			"ms %6" PRId64,
			p->connections, p->in_hand, p->awards_s,
			span(p->uptime_s, up), p->beat_age_ms, p->starts);
		end(b);
	}
}

static void strategies(
	struct buf *b, const struct top_sample *s, enum top_sort sort)
{
	char mean[AMOUNT_MAX], p50[AMOUNT_MAX], p99[AMOUNT_MAX];

	start(b, TOP_HEADING);
	add_name(b, "STRATEGIES", NAME_WIDTH);
	buf_printf(b, " %4s %9s %9s %8s %8s %8s %8s ", "ver", "runs/s",
		"errors/s", "mean ms", "p50 ms", "p99 ms", "errors");
	add_name(b, "realm", REALM_WIDTH);
	buf_printf(b, " by %s", top_sort_name(sort));
	end(b);
	for (unsigned i = 0; i < s->strategy_cnt; i++) {
		const struct top_strategy *t = &s->strategy[i];

		start(b, t->errors_s > 0 ? TOP_ALARM : TOP_PLAIN);
		add_name(b, *t->name ? t->name : t->id, NAME_WIDTH);
		buf_printf(b,
			" %4" PRId64 " %9.1f %9.1f %8s %8s %8s %8" PRId64 " ",
			t->version, t->runs_s, t->errors_s,
			millis(t->mean_ms, mean), quantile(t->p50_ms, p50),
			quantile(t->p99_ms, p99),
			t->runs[1] + t->runs[2] + t->runs[3]);
		add_name(b, t->realm, REALM_WIDTH);
		buf_add_char(b, ' ');
		add_name(b, t->code, *t->code ? 32 : 0);
		end(b);
	}
}

static void pipeline(struct buf *b, const struct top_sample *s)
{
	const struct top_pipeline *p = &s->pipeline;
	char spool[AMOUNT_MAX];

	start(b, TOP_HEADING);
	buf_printf(b, "%-10s %11s %11s %11s %10s %10s %10s", "PIPELINE",
		"produced/s", "stored/s", "dropped/s", "queued", "spooled",
		"dropped");
	end(b);
	for (unsigned i = 0; i < s->evidence_cnt; i++) {
		const struct top_evidence *e = &s->evidence[i];

		start(b, e->dropped_s > 0 ? TOP_ALARM : TOP_PLAIN);
		buf_printf(b,
			"%-10s %11.1f %11.1f %11.1f %10" PRId64 " %10" PRId64
			" %10" PRId64,
			e->name, e->produced_s, e->stored_s, e->dropped_s,
			e->queued, e->spooled, e->dropped);
		end(b);
	}
	start(b, p->failed_s > 0 ? TOP_ALARM : TOP_PLAIN);
	buf_printf(b,
		"http       %.1f requests/s, %.1f 5xx/s, in hand %" PRId64
		", connections %" PRId64 "; awards %.1f/s, failed %.1f/s",
		p->requests_s, p->failed_s, p->in_hand, p->connections,
		p->awards_s, p->awards_failed_s);
	end(b);
	start(b, p->db_down > 0 ? TOP_ALARM : TOP_PLAIN);
	buf_printf(b,
		"database   jobs waiting %" PRId64 ", in flight %" PRId64
		"; connections idle %" PRId64 ", busy %" PRId64
		", down %" PRId64,
		p->db_queued, p->db_in_flight, p->db_idle, p->db_busy,
		p->db_down);
	end(b);
	start(b, p->bad_batches_s > 0 ? TOP_ALARM : TOP_PLAIN);
	buf_printf(b,
		"logger     %.1f batches/s, %.1f not taken/s, oldest row "
		"%" PRId64 " ms; spool %s in %" PRId64 " segments",
		p->batches_s, p->bad_batches_s, p->lag_ms,
		bytes(p->spool_bytes, spool), p->spool_segments);
	end(b);
}

/* ---- fitting ------------------------------------------------------------ */

static unsigned lines_of(const struct buf *b)
{
	unsigned n = 0;

	for (size_t i = 0; i < b->len; i++)
		n += b->p[i] == '\n';
	return n;
}

/* The tallest pane gives way first; one of a single line says nothing. */
static void share(unsigned want[3], unsigned have)
{
	while (want[0] + want[1] + want[2] > have) {
		unsigned *tallest = &want[0];

		for (unsigned i = 1; i < 3; i++)
			if (want[i] > *tallest)
				tallest = &want[i];
		if (*tallest <= 2) {
			/* from the top down, so that a pane is left whole */
			tallest = want[0]   ? &want[0]
				  : want[1] ? &want[1]
					    : &want[2];
			*tallest = 1;
		}
		--*tallest;
	}
}

/* A line, cut to the width. */
static void add_cut(struct buf *out, struct str line, unsigned width)
{
	unsigned n = 0;
	size_t i = 0;

	for (; i < line.len; i++)
		if (((unsigned char)line.p[i] & 0xc0) != 0x80 && width &&
			n++ == width + 1) /* the first byte is not shown */
			break;
	buf_add(out, line.p, i);
	buf_add_char(out, '\n');
}

static void add_lines(struct buf *out, const struct buf *pane, unsigned height,
	unsigned width)
{
	unsigned all = lines_of(pane);
	struct str rest = buf_str(pane);

	for (unsigned i = 0; i < height && i < all; i++) {
		const char *nl = memchr(rest.p, '\n', rest.len);
		size_t len = (size_t)(nl - rest.p);
		char more[AMOUNT_MAX];

		if (i + 1 == height && height < all && height > 1) {
			int n = snprintf(more, sizeof(more), "%c... %u more",
				TOP_PLAIN, all - i);

			add_cut(out, (struct str){more, (size_t)n}, width);
		} else {
			add_cut(out, (struct str){rest.p, len}, width);
		}
		rest.p += len + 1;
		rest.len -= len + 1;
	}
}

void top_print_text(struct buf *out, const struct top_sample *s,
	const struct top_look *look)
{
	unsigned want[3], have = look->height;
	struct buf line, pane[3];

	buf_init(&line, 0);
	head(&line, s);
	if (look->state) {
		start(&line, TOP_ALARM);
		buf_add_visible(&line, str_from(look->state));
		end(&line);
	}
	for (unsigned i = 0; i < 3; i++) {
		buf_init(&pane[i], 0);
		if (look->pane != TOP_ALL && look->pane != TOP_WORKERS + i)
			continue;
		if (i == 0)
			workers(&pane[i], s);
		else if (i == 1)
			strategies(&pane[i], s, look->sort);
		else
			pipeline(&pane[i], s);
	}
	for (unsigned i = 0; i < 3; i++)
		want[i] = lines_of(&pane[i]);
	if (have) {
		unsigned top = lines_of(&line) < have ? lines_of(&line) : have;

		add_lines(out, &line, top, look->width);
		share(want, have - top);
	} else {
		add_lines(out, &line, UINT_MAX, look->width);
	}
	for (unsigned i = 0; i < 3; i++) {
		add_lines(out, &pane[i], want[i], look->width);
		buf_fini(&pane[i]);
	}
	buf_fini(&line);
}

/* ---- JSON --------------------------------------------------------------- */

static void kv_float(struct json_out *o, const char *key, double v)
{
	json_out_key(o, key);
	json_out_float(o, v);
}

/* No run: null. */
static void kv_ms(struct json_out *o, const char *key, double v)
{
	json_out_key(o, key);
	if (v < 0)
		json_out_null(o);
	else
		json_out_float(o, v);
}

static void line_start(struct json_out *o, struct buf *b, const char *kind)
{
	json_out_init(o, b);
	json_out_obj(o);
	json_out_kv_cstr(o, "kind", kind);
}

static void line_end(struct json_out *o)
{
	json_out_obj_end(o);
	buf_add_char(o->b, '\n');
}

static void json_process(struct buf *b, const struct top_process *p)
{
	struct json_out o;

	line_start(&o, b, "process");
	json_out_kv_cstr(&o, "role", p->role);
	json_out_kv_int(&o, "slot", p->slot);
	json_out_kv_int(&o, "pid", p->pid);
	json_out_kv_int(&o, "generation", p->generation);
	json_out_kv_int(&o, "starts", p->starts);
	json_out_kv_int(&o, "uptime_s", p->uptime_s);
	json_out_kv_int(&o, "heartbeat_age_ms", p->beat_age_ms);
	kv_float(&o, "cpu_percent", p->cpu_percent);
	json_out_kv_int(&o, "resident_bytes", p->resident_bytes);
	json_out_kv_int(&o, "fds", p->fds);
	json_out_kv_int(&o, "connections", p->connections);
	json_out_kv_int(&o, "requests_in_hand", p->in_hand);
	json_out_kv_int(&o, "awards", p->awards);
	kv_float(&o, "awards_per_s", p->awards_s);
	line_end(&o);
}

static void json_strategy(struct buf *b, const struct top_strategy *t)
{
	struct json_out o;

	line_start(&o, b, "strategy");
	json_out_kv_cstr(&o, "id", t->id);
	json_out_kv_cstr(&o, "name", t->name);
	json_out_kv_int(&o, "version", t->version);
	json_out_kv_cstr(&o, "realm", t->realm);
	json_out_kv_cstr(&o, "type", t->type);
	json_out_kv_int(&o, "ok", t->runs[0]);
	json_out_kv_int(&o, "error", t->runs[1]);
	json_out_kv_int(&o, "timeout", t->runs[2]);
	json_out_kv_int(&o, "limit", t->runs[3]);
	json_out_kv_int(&o, "nodes", t->nodes);
	json_out_kv_str(&o, "code",
		*t->code ? str_from(t->code) : (struct str){NULL, 0});
	kv_float(&o, "runs_per_s", t->runs_s);
	kv_float(&o, "errors_per_s", t->errors_s);
	kv_ms(&o, "mean_ms", t->mean_ms);
	kv_ms(&o, "p50_ms", t->p50_ms);
	kv_ms(&o, "p99_ms", t->p99_ms);
	line_end(&o);
}

static void json_pipeline(struct buf *b, const struct top_pipeline *p)
{
	struct json_out o;

	line_start(&o, b, "pipeline");
	json_out_kv_int(&o, "requests", p->requests);
	json_out_kv_int(&o, "requests_5xx", p->requests_5xx);
	json_out_kv_int(&o, "awards", p->awards);
	json_out_kv_int(&o, "awards_failed", p->awards_failed);
	json_out_kv_int(&o, "requests_in_hand", p->in_hand);
	json_out_kv_int(&o, "connections", p->connections);
	json_out_kv_int(&o, "db_queued", p->db_queued);
	json_out_kv_int(&o, "db_in_flight", p->db_in_flight);
	json_out_kv_int(&o, "db_idle", p->db_idle);
	json_out_kv_int(&o, "db_busy", p->db_busy);
	json_out_kv_int(&o, "db_down", p->db_down);
	json_out_kv_int(&o, "evidence_lag_ms", p->lag_ms);
	json_out_kv_int(&o, "spool_bytes", p->spool_bytes);
	json_out_kv_int(&o, "spool_segments", p->spool_segments);
	kv_float(&o, "requests_per_s", p->requests_s);
	kv_float(&o, "requests_5xx_per_s", p->failed_s);
	kv_float(&o, "awards_per_s", p->awards_s);
	kv_float(&o, "awards_failed_per_s", p->awards_failed_s);
	kv_float(&o, "batches_per_s", p->batches_s);
	kv_float(&o, "batches_not_taken_per_s", p->bad_batches_s);
	line_end(&o);
}

static void json_evidence(struct buf *b, const struct top_evidence *e)
{
	struct json_out o;

	line_start(&o, b, "evidence");
	json_out_kv_cstr(&o, "class", e->name);
	json_out_kv_int(&o, "produced", e->produced);
	json_out_kv_int(&o, "stored", e->stored);
	json_out_kv_int(&o, "spooled", e->spooled);
	json_out_kv_int(&o, "queued", e->queued);
	json_out_kv_int(&o, "dropped", e->dropped);
	kv_float(&o, "produced_per_s", e->produced_s);
	kv_float(&o, "stored_per_s", e->stored_s);
	kv_float(&o, "dropped_per_s", e->dropped_s);
	line_end(&o);
}

void top_print_json(struct buf *out, const struct top_sample *s, unsigned frame)
{
	struct json_out o;

	line_start(&o, out, "frame");
	json_out_kv_int(&o, "frame", frame);
	json_out_kv_bool(&o, "since_start", s->since_start);
	kv_float(&o, "window_s", s->window_s);
	json_out_kv_cstr(&o, "version", s->version);
	json_out_kv_cstr(&o, "started", s->started);
	json_out_kv_int(&o, "uptime_s", s->uptime_s);
	json_out_kv_int(&o, "generation", s->generation);
	json_out_kv_int(&o, "workers", s->workers);
	json_out_kv_bool(&o, "config_in_force", s->config_in_force);
	json_out_kv_bool(&o, "database", s->has_database);
	line_end(&o);
	for (unsigned i = 0; i < s->process_cnt; i++)
		json_process(out, &s->process[i]);
	for (unsigned i = 0; i < s->strategy_cnt; i++)
		json_strategy(out, &s->strategy[i]);
	json_pipeline(out, &s->pipeline);
	for (unsigned i = 0; i < s->evidence_cnt; i++)
		json_evidence(out, &s->evidence[i]);
}
