/*
 * ctl_ledger.c - `gamectl ledger`: where the evidence rows are, by class and
 * place, and why rows were dropped, from the admin socket.  Works without
 * HTTP and without Postgres.  Exit status 1 when the books do not balance.
 */
#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "ctl/ctl_admin.h"
#include "json/json_in.h"

static struct {
	bool unbalanced;
} self;

static void print_reasons(const struct jv *v)
{
	const struct jv *r = jv_member(v, "reasons");

	if (r == NULL || r->type != JV_OBJ)
		return;
	for (uint32_t i = 0; i < r->n; i++)
		ctl_print("  dropped %-18.*s %12" PRId64 "\n",
			STR_ARG(r->u.obj[i].key), r->u.obj[i].val.u.i);
}

static void judge(const struct jv *v)
{
	self.unbalanced |= ctl_admin_num(v, "produced") !=
			   ctl_admin_num(v, "stored") +
				   ctl_admin_num(v, "spooled") +
				   ctl_admin_num(v, "queued") +
				   ctl_admin_num(v, "dropped");
}

static void print_line(const struct jv *v)
{
	static const char *const places[] = {"produced", "stored", "spooled",
		"queued", "dropped", "missing"};

	if (!str_is(ctl_admin_text(v, "kind"), "ledger"))
		return;
	ctl_print("%-8.*s", STR_ARG(ctl_admin_text(v, "class")));
	for (size_t i = 0; i < NELEM(places); i++)
		ctl_print(" %12" PRId64, ctl_admin_num(v, places[i]));
	ctl_print("\n");
	print_reasons(v);
	judge(v);
}

int ctl_ledger(int argc, char **argv, const struct conf *conf)
{
	struct err err;
	struct buf out;
	int rc;

	(void)argv;
	if (argc != 1)
		return ctl_usage("ledger [--json]");
	buf_init(&out, 0);
	rc = ctl_admin_ask(conf, "ledger", &out, &err);
	if (rc == 0 && ctl_json()) {
		fwrite(out.p, 1, out.len, stdout);
		rc = ctl_admin_lines(buf_str(&out), judge, &err);
	} else if (rc == 0) {
		ctl_print("%-8s %12s %12s %12s %12s %12s %12s\n", "class",
			"produced", "stored", "spooled", "queued", "dropped",
			"missing");
		rc = ctl_admin_lines(buf_str(&out), print_line, &err);
	}
	buf_fini(&out);
	return rc < 0 ? ctl_fail(&err) : self.unbalanced;
}
