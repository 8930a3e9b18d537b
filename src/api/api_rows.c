/* api_rows.c - see api_rows.h.  Runs in workers. */
#include "api/api_rows.h"

#include "api/api_common.h"
#include "base/log.h"
#include "http/http_reply.h"
#include "http/http_req.h"

#define PIECE_BYTES 16384

void api_rows_init(
	struct api_rows *rows, struct http_req *req, struct db_job *job)
{
	rows->req = req;
	rows->job = job;
	rows->is_sent = false;
	arena_init(&rows->row, 0);
	buf_init(&rows->piece, 0);
	json_out_init(&rows->out, &rows->piece);
}

static void on_ready(void *arg)
{
	struct api_rows *rows = arg;

	db_job_resume(rows->job);
}

/* Follows the client's pace. */
static void send_piece(struct api_rows *rows)
{
	if (!rows->is_sent)
		http_reply_stream_begin(
			rows->req, 200, "application/json", on_ready, rows);
	rows->is_sent = true;
	switch (http_reply_stream_chunk(rows->req, &rows->piece)) {
	case HTTP_FLOW_GO:
		return;
	case HTTP_FLOW_WAIT:
		db_job_pause(rows->job);
		return;
	case HTTP_FLOW_GONE:
		db_job_cancel(rows->job);
		return;
	}
}

void api_rows_push(struct api_rows *rows)
{
	arena_reset(&rows->row);
	if (rows->piece.len >= PIECE_BYTES)
		send_piece(rows);
}

void api_rows_drop(struct api_rows *rows)
{
	arena_fini(&rows->row);
	buf_fini(&rows->piece);
}

void api_rows_end(struct api_rows *rows, const struct db_reply *rep)
{
	struct http_req *req = rows->req;
	struct buf rest = rows->piece;
	bool is_sent = rows->is_sent;

	/* the answers below end the request, and rows with it */
	arena_fini(&rows->row);
	if (!is_sent && rep->outcome == DB_OK) {
		http_reply_json(req, 200, &rest); /* all of it */
	} else if (!is_sent) {
		api_reply_db(req, rep);
	} else if (rep->outcome == DB_OK) {
		/* nobody may be there to read it: that is fine */
		(void)!http_reply_stream_chunk(req, &rest);
		http_reply_stream_end(req);
	} else {
		log_warnx_limited("a listing ends early handler=%s: %s",
			req->route->template, rep->message);
		http_reply_stream_abort(req);
	}
	buf_fini(&rest);
}

void api_group_init(struct api_group *g)
{
	g->is_open = false;
	buf_init(&g->key, 0);
}

void api_group_fini(struct api_group *g)
{
	buf_fini(&g->key);
}

bool api_group_holds(const struct api_group *g, struct str key)
{
	return g->is_open && str_eq(buf_str(&g->key), key);
}

void api_group_open(struct api_group *g, struct str key)
{
	buf_reset(&g->key);
	buf_add_str(&g->key, key);
	g->is_open = true;
}

void api_group_close(struct api_group *g, struct json_out *o)
{
	if (!g->is_open)
		return;
	json_out_arr_end(o);
	json_out_obj_end(o);
	g->is_open = false;
}
