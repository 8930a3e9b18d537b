/*
 * ctl_status.c - `gamectl status`: processes, rates and queues of the running
 * server, from its admin socket.  Works without HTTP and without Postgres.
 */
#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl_admin.h"
#include "json/json_in.h"

#define USAGE      "status [--json]"
#define SPAN_MAX   32
#define AMOUNT_MAX 32

static struct {
	char reload_error[CTL_REASON_MAX]; /* "": the last reload went well */
} self;

#define num  ctl_admin_num
#define text ctl_admin_text

static double real(const struct jv *v, const char *key)
{
	const struct jv *m = jv_member(v, key);

	return m && m->type == JV_FLOAT ? m->u.d : (double)num(v, key);
}

static bool is_true(const struct jv *v, const char *key)
{
	const struct jv *m = jv_member(v, key);

	return m && m->type == JV_BOOL && m->u.b;
}

static const char *span(int64_t s, char out[SPAN_MAX])
{
	if (s < 60)
		snprintf(out, SPAN_MAX, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(out, SPAN_MAX, "%" PRId64 "m%02" PRId64 "s", s / 60,
			s % 60);
	else if (s < 86400)
		snprintf(out, SPAN_MAX, "%" PRId64 "h%02" PRId64 "m", s / 3600,
			s / 60 % 60);
	else
		snprintf(out, SPAN_MAX, "%" PRId64 "d%02" PRId64 "h", s / 86400,
			s / 3600 % 24);
	return out;
}

static void print_server(const struct jv *v)
{
	char up[SPAN_MAX];

	ctl_print("gamed %.*s, up %s, generation %" PRId64 ", workers %" PRId64
		  ", database %s%s%s%s\n\n",
		STR_ARG(text(v, "version")), span(num(v, "uptime_s"), up),
		num(v, "generation"), num(v, "workers"),
		is_true(v, "database") ? "connected" : "not connected",
		is_true(v, "config_in_force") ? ""
					      : ", the last reload was refused",
		*self.reload_error ? ": " : "", self.reload_error);
	ctl_print("%-8s %4s %8s %4s %8s %8s %9s %5s %6s %6s\n", "role", "slot",
		"pid", "gen", "uptime", "beat", "memory", "fds", "conns",
		"starts");
}

static void print_process(const struct jv *v)
{
	char up[SPAN_MAX], gen[16] = "-", beat[AMOUNT_MAX], memory[AMOUNT_MAX];

	if (num(v, "generation") > 0)
		snprintf(gen, sizeof(gen), "%" PRId64, num(v, "generation"));
	snprintf(beat, sizeof(beat), "%" PRId64 "ms",
		num(v, "heartbeat_age_ms"));
	snprintf(memory, sizeof(memory), "%.1fM",
		(double)num(v, "resident_bytes") / 1048576);
	ctl_print("%-8.*s %4" PRId64 " %8" PRId64 " %4s %8s %8s %9s %5" PRId64
		  " %6" PRId64 " %6" PRId64 "\n",
		STR_ARG(text(v, "role")), num(v, "slot"), num(v, "pid"), gen,
		span(num(v, "uptime_s"), up), beat, memory, num(v, "fds"),
		num(v, "connections"), num(v, "starts"));
}

static void print_rates(const struct jv *v)
{
	ctl_print("\nrequests %.1f/s, awards %.1f/s over the last %.0f s; "
		  "%" PRId64 " requests and %" PRId64
		  " awards since the start\n",
		real(v, "requests_per_s"), real(v, "awards_per_s"),
		real(v, "window_s"), num(v, "requests"), num(v, "awards"));
}

static void print_queues(const struct jv *v)
{
	ctl_print("requests in hand %" PRId64 ", database jobs waiting %" PRId64
		  ", in flight %" PRId64 ", connections idle %" PRId64
		  ", busy %" PRId64 ", down %" PRId64 "\n",
		num(v, "requests_in_hand"), num(v, "db_queued"),
		num(v, "db_in_flight"), num(v, "db_idle"), num(v, "db_busy"),
		num(v, "db_down"));
	ctl_print("\n%-10s %12s %12s %12s %12s %12s\n", "evidence", "produced",
		"stored", "spooled", "queued", "dropped");
}

static void print_evidence(const struct jv *v)
{
	ctl_print("%-10.*s %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64
		  " %12" PRId64 "\n",
		STR_ARG(text(v, "class")), num(v, "produced"), num(v, "stored"),
		num(v, "spooled"), num(v, "queued"), num(v, "dropped"));
}

/* Kinds that this release does not know are left out. */
static void print_line(const struct jv *v)
{
	static const struct {
		const char *kind;
		void (*print)(const struct jv *v);
	} kinds[] = {
		{"server", print_server},
		{"process", print_process},
		{"rates", print_rates},
		{"queues", print_queues},
		{"evidence", print_evidence},
	};

	for (size_t i = 0; i < NELEM(kinds); i++)
		if (str_is(text(v, "kind"), kinds[i].kind))
			kinds[i].print(v);
}

static void print_reload_json(void)
{
	struct ctl_line l;
	struct json_out *o;

	if (self.reload_error[0] == '\0')
		return;
	o = ctl_line_start(&l);
	json_out_kv_cstr(o, "kind", "reload");
	json_out_kv_cstr(o, "error", self.reload_error);
	ctl_line_end(&l);
}

int ctl_status(int argc, char **argv, const struct conf *conf)
{
	struct err err;
	struct buf out;
	int rc;

	(void)argv;
	if (argc != 1)
		return ctl_usage(USAGE);
	buf_init(&out, 0);
	rc = ctl_admin_ask(conf, "status", &out, &err);
	ctl_admin_reload_error(conf, self.reload_error);
	if (rc == 0 && ctl_json()) {
		fwrite(out.p, 1, out.len, stdout);
		print_reload_json();
	} else if (rc == 0)
		rc = ctl_admin_lines(buf_str(&out), print_line, &err);
	buf_fini(&out);
	return rc < 0 ? ctl_fail(&err) : 0;
}
