/* store_op.c - see store_op.h. Runs in workers. */
#include "store/store_op.h"

#include <assert.h>
#include <stdio.h>

#define LONG_DEADLINE_MS 60000

void store_op_init(struct store_op *op, store_cb cb, void *arg)
{
	memset(&op->job, 0, sizeof(op->job));
	op->params_cnt = 0;
	op->deadline_ms = 0;
	op->cb = cb;
	op->row_cb = NULL;
	op->arg = arg;
}

static int next_param(struct store_op *op)
{
	assert(op->params_cnt < DB_PARAMS_MAX);
	return op->params_cnt++;
}

void store_op_null(struct store_op *op)
{
	op->params[next_param(op)] = (struct db_param){.p = NULL};
}

void store_op_text(struct store_op *op, struct str s)
{
	/* an empty text still needs an address: NULL means SQL NULL */
	op->params[next_param(op)] =
		(struct db_param){.p = s.p, .len = (int)s.len, .binary = 1};
}

void store_op_uuid(struct store_op *op, const struct uuid *u)
{
	int i = next_param(op);

	memcpy(op->uuids[i], u->b, sizeof(u->b));
	op->params[i] = (struct db_param){.p = (const char *)op->uuids[i],
		.len = sizeof(u->b),
		.binary = 1};
}

void store_op_int(struct store_op *op, int64_t v)
{
	int i = next_param(op);

	snprintf(op->nums[i], STORE_NUM_MAX, "%lld", (long long)v);
	op->params[i] = (struct db_param){.p = op->nums[i]};
}

void store_op_bool(struct store_op *op, bool v)
{
	op->params[next_param(op)] = (struct db_param){.p = v ? "t" : "f"};
}

void store_op_literal(struct store_op *op, const char *s)
{
	op->params[next_param(op)] = (struct db_param){.p = s};
}

static void on_reply(struct db_job *job, const struct db_reply *rep)
{
	struct store_op *op = job->arg;

	op->cb(op, rep);
}

static void on_row(struct db_job *job, const struct db_res *row)
{
	struct store_op *op = job->arg;

	op->row_cb(op, row);
}

void store_op_run(struct store_op *op, struct db_pool *db, enum db_lane lane,
	const struct db_stmt *stmt)
{
	assert(op->params_cnt == stmt->nparams);
	op->call = (struct db_call){.stmt = stmt, .params = op->params};
	store_op_run_calls(op, db, lane, &op->call, 1);
}

void store_op_run_calls(struct store_op *op, struct db_pool *db,
	enum db_lane lane, const struct db_call *calls, unsigned calls_cnt)
{
	op->job = (struct db_job){.lane = lane,
		.calls = calls,
		.calls_cnt = calls_cnt,
		.deadline_ms = op->deadline_ms,
		.cb = on_reply,
		.on_row = op->row_cb ? on_row : NULL,
		.arg = op};
	db_pool_submit(db, &op->job);
}

void store_op_run_long(
	struct store_op *op, struct db_pool *db, const struct db_stmt *stmt)
{
	op->deadline_ms = LONG_DEADLINE_MS;
	store_op_run(op, db, DB_LANE_LONG, stmt);
}

void store_op_stream(struct store_op *op, struct db_pool *db,
	const struct db_stmt *stmt, store_row_cb row_cb)
{
	op->row_cb = row_cb;
	store_op_run(op, db, DB_LANE_LONG, stmt);
}
