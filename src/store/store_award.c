/* store_award.c - see store_award.h.  Runs in workers. */
#include "store/store_award.h"

#include <assert.h>
#include <stdio.h>

#include "store/store_award_sql.h"

static const struct db_stmt stmt_read = {
	.name = "score_read",
	.sql = STORE_SCORE_READ_SQL,
	.nparams = sizeof(STORE_SCORE_READ_TYPES) - 1,
	.types = STORE_SCORE_READ_TYPES,
};
static const struct db_stmt stmt_more = {
	.name = "score_read_more",
	.sql = STORE_SCORE_MORE_SQL,
	.nparams = sizeof(STORE_SCORE_MORE_TYPES) - 1,
	.types = STORE_SCORE_MORE_TYPES,
};
static const struct db_stmt stmt_find = {
	.name = "award_replay",
	.sql = STORE_AWARD_REPLAY_SQL,
	.nparams = sizeof(STORE_AWARD_REPLAY_TYPES) - 1,
	.types = STORE_AWARD_REPLAY_TYPES,
};
static const struct db_stmt stmt_write = {
	.name = "award_write",
	.sql = STORE_AWARD_SQL,
	.nparams = sizeof(STORE_AWARD_TYPES) - 1,
	.types = STORE_AWARD_TYPES,
};

/* Until the end of the transaction, which is the job's. */
static const struct db_stmt stmt_lock_timeout = {
	.name = "award_lock_timeout",
	.sql = "SELECT set_config('lock_timeout', $1, true)",
	.nparams = 1,
	.types = "t",
};

_Static_assert(sizeof(STORE_AWARD_TYPES) - 1 ==
		       NELEM(((struct store_award_write *)0)->params),
	"one parameter a type letter");

static void bind_read(struct store_op *op, const struct uuid *task_id,
	struct str user, struct str key, bool with_recent)
{
	store_op_uuid(op, task_id);
	store_op_text(op, user);
	store_op_text(op, key);
	store_op_bool(op, with_recent);
	store_op_int(op, STORE_RECENT_S);
}

void store_score_read(struct store_op *op, struct db_pool *db,
	const struct uuid *task_id, struct str user, struct str key,
	bool with_recent)
{
	bind_read(op, task_id, user, key, with_recent);
	store_op_run(op, db, DB_LANE_READ, &stmt_read);
}

void store_score_read_more(struct store_op *op, struct db_pool *db,
	const struct uuid *task_id, struct str user, struct str key,
	bool with_recent, struct store_more *more)
{
	bind_read(op, task_id, user, key, with_recent);
	store_op_uuid(&more->op, task_id);
	store_op_text(&more->op, user);
	store_op_uuid(&more->op, &more->game_id);
	store_op_bool(&more->op, more->with_game);
	store_op_int(&more->op, more->window_us);
	more->calls[0] =
		(struct db_call){.stmt = &stmt_read, .params = op->params};
	more->calls[1] =
		(struct db_call){.stmt = &stmt_more, .params = more->op.params};
	store_op_run_calls(op, db, DB_LANE_READ, more->calls, 2);
}

static int64_t row_i64(const struct db_res *res, int col, int64_t none)
{
	int64_t v;

	return db_row_i64(res, 0, col, &v) ? v : none;
}

/* Columns id, points, caseName, created_at from `col` on. */
static bool row_award(struct arena *a, const struct db_res *res, int col,
	struct store_award_row *row_r)
{
	struct str s = {NULL, 0};

	if (!db_row_uuid(res, 0, col, &row_r->id))
		return false;
	row_r->points = (int32_t)row_i64(res, col + 1, 0);
	if (db_row_str(res, 0, col + 2, &s))
		s.p = arena_strndup(a, s.p, s.len);
	row_r->case_name = s;
	row_r->created_us = row_i64(res, col + 3, 0);
	return true;
}

void store_score_row(
	struct arena *a, const struct db_res *res, struct store_score *s_r)
{
	assert(db_res_rows(res) == 1);
	s_r->user_known = db_row_uuid(res, 0, 0, &s_r->user);
	s_r->key_taken = row_award(a, res, 1, &s_r->stored);
	s_r->user_cnt = row_i64(res, 5, 0);
	s_r->user_first_us = row_i64(res, 6, STORE_TIME_NONE);
	s_r->user_last_us = row_i64(res, 7, STORE_TIME_NONE);
	s_r->user_prev_us = row_i64(res, 8, STORE_TIME_NONE);
	s_r->user_age_us = row_i64(res, 9, STORE_TIME_NONE);
	s_r->task_cnt = row_i64(res, 10, 0);
	s_r->task_first_us = row_i64(res, 11, STORE_TIME_NONE);
	s_r->task_last_us = row_i64(res, 12, STORE_TIME_NONE);
	s_r->user_recent_cnt = row_i64(res, 13, 0);
}

static double row_double(const struct db_res *res, int col)
{
	double v;

	return db_row_double(res, 0, col, &v) ? v : 0;
}

void store_more_row(const struct db_res *res, struct store_more *more)
{
	assert(db_res_rows(res) == 1);
	more->window_cnt = row_i64(res, 0, 0);
	more->minutes_n = row_i64(res, 1, 0);
	more->minutes_sum = row_double(res, 2);
	more->user_cnt = row_i64(res, 3, 0);
	more->user_minutes_n = row_i64(res, 4, 0);
	more->user_minutes_sum = row_double(res, 5);
}

void store_award_find(struct store_op *op, struct db_pool *db,
	const struct uuid *task_id, struct str user, struct str key)
{
	store_op_uuid(op, task_id);
	store_op_text(op, user);
	store_op_text(op, key);
	store_op_run(op, db, DB_LANE_READ, &stmt_find);
}

bool store_award_found(struct arena *a, const struct db_res *res,
	struct store_award_row *row_r)
{
	return db_res_rows(res) > 0 && row_award(a, res, 0, row_r);
}

/* Which array of the statement comes from which member. */
static const struct column {
	enum db_array_type type;
	size_t offset; /* in struct store_award */
} columns[] = {
	{DB_ARRAY_UUID, offsetof(struct store_award, id)},
	{DB_ARRAY_UUID, offsetof(struct store_award, new_id)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, user)},
	{DB_ARRAY_UUID, offsetof(struct store_award, task_id)},
	{DB_ARRAY_INT4, offsetof(struct store_award, points)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, case_name)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, key)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, data_json)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, key_prefix)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, strategy_id)},
	{DB_ARRAY_INT4, offsetof(struct store_award, strategy_version)},
	{DB_ARRAY_TEXT, offsetof(struct store_award, ast_sha256)},
};

_Static_assert(NELEM(columns) == STORE_AWARD_ARRAYS, "one array a column");

static void put_element(struct db_array *to, const struct column *c,
	const struct store_award *a)
{
	const char *member = (const char *)a + c->offset;
	struct uuid u;
	struct str s;
	int32_t i;

	if (c->type == DB_ARRAY_UUID) {
		memcpy(&u, member, sizeof(u));
		db_array_uuid(to, &u);
	} else if (c->type == DB_ARRAY_TEXT) {
		memcpy(&s, member, sizeof(s));
		db_array_text(to, s);
	} else {
		memcpy(&i, member, sizeof(i));
		if (i == STORE_VERSION_BUILTIN &&
			c->offset ==
				offsetof(struct store_award, strategy_version))
			db_array_null(to);
		else
			db_array_i32(to, i);
	}
}

void store_award_write_fini(struct store_award_write *w)
{
	for (unsigned c = 0; c < NELEM(columns); c++)
		db_array_fini(&w->arrays[c]);
}

void store_award_write_shrink(struct store_award_write *w, size_t keep_bytes)
{
	for (unsigned c = 0; c < NELEM(columns); c++)
		if (w->arrays[c].buf.cap > keep_bytes)
			db_array_fini(&w->arrays[c]);
}

void store_award_write(struct store_award_write *w, struct db_pool *db,
	struct store_award *const *awards, unsigned cnt,
	int64_t conversion_rate, unsigned lock_timeout_ms, db_job_cb cb,
	void *arg)
{
	unsigned c, i, calls_cnt = 0;

	assert(cnt > 0 && cnt <= STORE_AWARDS_MAX);
	for (c = 0; c < NELEM(columns); c++) {
		db_array_begin(&w->arrays[c], columns[c].type);
		for (i = 0; i < cnt; i++)
			put_element(&w->arrays[c], &columns[c], awards[i]);
		w->params[c] = db_array_param(&w->arrays[c]);
	}
	snprintf(w->rate, sizeof(w->rate), "%d", (int)conversion_rate);
	w->params[c] = (struct db_param){.p = w->rate};
	if (lock_timeout_ms > 0) {
		snprintf(w->lock_timeout, sizeof(w->lock_timeout), "%u",
			lock_timeout_ms);
		w->lock_param = (struct db_param){.p = w->lock_timeout};
		w->calls[calls_cnt++] = (struct db_call){
			.stmt = &stmt_lock_timeout, .params = &w->lock_param};
	}
	w->calls[calls_cnt++] =
		(struct db_call){.stmt = &stmt_write, .params = w->params};
	w->job = (struct db_job){.lane = DB_LANE_WRITE,
		.calls = w->calls,
		.calls_cnt = calls_cnt,
		.cb = cb,
		.arg = arg};
	db_pool_submit(db, &w->job);
}

void store_award_written(const struct db_reply *rep,
	struct store_award *const *awards, unsigned cnt)
{
	const struct db_res *res = rep->res[rep->res_cnt - 1];
	int row, rows = db_res_rows(res);

	assert(rows == (int)cnt);
	for (row = 0; row < rows; row++) {
		struct store_award *a;
		int64_t ord = 0;

		if (!db_row_i64(res, row, 0, &ord) || ord < 1 || ord > cnt)
			assert(!"ordinal of an award that was not sent");
		a = awards[ord - 1];
		a->is_written = false;
		a->made_user = false;
		(void)db_row_bool(res, row, 1, &a->is_written);
		if (!a->is_written)
			continue;
		(void)db_row_bool(res, row, 2, &a->made_user);
		(void)db_row_i64(res, row, 3, &a->created_us);
		a->has_user_id = db_row_uuid(res, row, 4, &a->user_id);
	}
}
