/* tail_row.c - see tail_row.h.  Logger process. */
#include "logger/tail_row.h"

#include <math.h>

#include "base/num.h"
#include "ipc/run_rec.h"
#include "json/json_out.h"
#include "logger/trace_row.h"

/* As Postgres prints it: 5, not 5.0. */
static void put_number(
	struct json_out *o, const char *key, bool is_there, double v)
{
	char text[NUM_DOUBLE_MAX];
	size_t n;

	json_out_key(o, key);
	if (!is_there || !isfinite(v)) {
		json_out_null(o);
		return;
	}
	n = num_print_double(v, text);
	if (n > 2 && memcmp(text + n - 2, ".0", 2) == 0)
		n -= 2;
	json_out_raw(o, (struct str){text, n});
}

static void put_notes(struct json_out *o, const struct run_rec *rec)
{
	struct buf notes;

	buf_init(&notes, 0);
	trace_row_notes(rec, &notes);
	json_out_kv_str(o, "notes",
		notes.len > 0 ? buf_str(&notes) : (struct str){NULL, 0});
	buf_fini(&notes);
}

void tail_row_write(struct buf *b, const struct run_rec *rec)
{
	struct json_out out, *o = &out;

	json_out_init(o, b);
	json_out_obj(o);
	json_out_key(o, "id");
	json_out_uuid(o, &rec->id);
	json_out_key(o, "createdAt");
	json_out_time(o, rec->at_us, CLOCK_TS_Z);
	json_out_kv_str(o, "strategyId", rec->strategy_id);
	json_out_kv_int(o, "strategyVersion", rec->strategy_version);
	json_out_kv_str(o, "strategyType", rec->strategy_type);
	json_out_kv_str(o, "realmId", rec->realm);
	json_out_kv_str(o, "externalGameId", rec->game);
	json_out_kv_str(o, "externalTaskId", rec->task);
	json_out_kv_str(o, "externalUserId", rec->user);
	json_out_kv_str(o, "status", rec->status);
	json_out_kv_str(o, "errorCode", rec->error_code);
	put_number(o, "points", rec->has_points, rec->points);
	json_out_kv_str(o, "caseName", rec->case_name);
	put_number(o, "durationMs", true, (double)rec->duration_ns / 1e6);
	json_out_kv_int(o, "nodesExecuted", rec->nodes);
	json_out_kv_str(o, "reason", rec->reason);
	put_number(o, "weight", true, rec->weight);
	json_out_kv_str(o, "correlationId", rec->correlation_id);
	put_notes(o, rec);
	json_out_obj_end(o);
}
