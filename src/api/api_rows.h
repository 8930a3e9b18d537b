/*
 * api_rows.h - an answer made row by row while the database sends them: a row
 * becomes text, text goes out in pieces, and the database waits while the
 * client reads.  Memory is one row and one piece, and what http_reply.h keeps
 * for the client, whatever the answer's length.
 *
 * The owner puts a struct api_rows into the struct of its call, starts a
 * store_op that streams, and
 *   on each row  writes to rows->out, then api_rows_push;
 *   at the end   writes what closes the document, then api_rows_end,
 * which answers the request and ends it.
 */
#ifndef API_API_ROWS_H
#define API_API_ROWS_H

#include "base/arena.h"
#include "db/db_pool.h"
#include "json/json_out.h"

struct http_req;

struct api_rows {
	struct http_req *req;
	struct db_job *job;
	struct json_out out;
	struct arena row; /* for the owner; empty again after a push */
	/* inside */
	struct buf piece;
	bool is_sent; /* the head of the answer has gone out */
};

/*
 * Rows that follow each other with the same key share an object, whose last
 * member is an array: the owner opens both, what closes them is here.
 */
struct api_group {
	bool is_open;
	struct buf key;
};

void api_group_init(struct api_group *g);
void api_group_fini(struct api_group *g);
bool api_group_holds(const struct api_group *g, struct str key);
void api_group_open(struct api_group *g, struct str key);
/* Ends array and object, if they were begun. */
void api_group_close(struct api_group *g, struct json_out *o);

/* job is the one that will bring the rows. */
void api_rows_init(
	struct api_rows *rows, struct http_req *req, struct db_job *job);
/* A row is done. */
void api_rows_push(struct api_rows *rows);
/* Drops what was written, when nothing of it is to be sent; the owner answers
 * the request then. */
void api_rows_drop(struct api_rows *rows);
/* rep as the end of the stream brought it: a failure becomes an error answer,
 * or breaks the answer off when it has begun. */
void api_rows_end(struct api_rows *rows, const struct db_reply *rep);

#endif
