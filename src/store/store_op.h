/*
 * store_op.h - one prepared statement on its way to the database and back,
 * with the parameters it needs.  Lives in the caller's arena until its
 * callback ran; every store function of the catalogue takes one.
 *
 * Parameters are bound in order.  Text and uuid go in binary form, which for
 * text is the bytes themselves: nothing is copied, so what they point to must
 * live as long as the op.
 */
#ifndef STORE_STORE_OP_H
#define STORE_STORE_OP_H

#include "base/str.h"
#include "base/uuid.h"
#include "db/db_pool.h"

#define STORE_NUM_MAX 24

struct store_op;
/* rep->outcome tells; results are valid inside the callback only. */
typedef void (*store_cb)(struct store_op *op, const struct db_reply *rep);
/* One row of a stream; see on_row of struct db_job. */
typedef void (*store_row_cb)(struct store_op *op, const struct db_res *row);

struct store_op {
	struct db_job job;
	struct db_call call;
	struct db_param params[DB_PARAMS_MAX];
	char nums[DB_PARAMS_MAX][STORE_NUM_MAX]; /* text form of integers */
	uint8_t uuids[DB_PARAMS_MAX][16];
	int params_cnt;
	uint32_t deadline_ms; /* of the job; 0: the pool's default */
	store_cb cb;
	store_row_cb row_cb;
	void *arg;
};

void store_op_init(struct store_op *op, store_cb cb, void *arg);
void store_op_null(struct store_op *op);
void store_op_text(struct store_op *op, struct str s); /* p NULL: SQL NULL */
void store_op_uuid(struct store_op *op, const struct uuid *u);
void store_op_int(struct store_op *op, int64_t v);
void store_op_bool(struct store_op *op, bool v);
/* Array literal or other text form; s must be NUL-terminated. */
void store_op_literal(struct store_op *op, const char *s);
/* Sends it; the parameters bound must be those of the statement. */
/* As store_op_run, of several statements in one transaction; the calls and
 * what they point to live until the callback ran. */
void store_op_run_calls(struct store_op *op, struct db_pool *db,
	enum db_lane lane, const struct db_call *calls, unsigned calls_cnt);
void store_op_run(struct store_op *op, struct db_pool *db, enum db_lane lane,
	const struct db_stmt *stmt);
/* In the long lane, with the deadline of one. */
void store_op_run_long(
	struct store_op *op, struct db_pool *db, const struct db_stmt *stmt);
/* In the long lane, rows one by one; cb comes after the last. */
void store_op_stream(struct store_op *op, struct db_pool *db,
	const struct db_stmt *stmt, store_row_cb row_cb);

#endif
