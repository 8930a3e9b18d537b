/*
 * trace_row.h - one evidence record as the column texts of its table: what
 * COPY takes and what the quarantine file keeps.  JSON text is made here and
 * not in the worker; whatever a record holds becomes storable (U+0000, bad
 * UTF-8, lone surrogates, numbers that are not finite).
 */
#ifndef LOGGER_TRACE_ROW_H
#define LOGGER_TRACE_ROW_H

#include "base/arena.h"
#include "base/str.h"
#include "base/uuid.h"
#include "ipc/evidence.h"

struct run_rec;

enum trace_table { TRACE_RUNS, TRACE_LOGS, TRACE_REQUESTS, TRACE_TABLES };

/* Columns of a table that name rows of others, as bits. */
enum trace_ref {
	TRACE_REF_KEY = 1, /* logs */
	TRACE_REF_SUBJECT = 2,
	TRACE_REF_USER = 1 /* apirequests */
};

#define TRACE_COLS_MAX 26

struct trace_row {
	enum trace_table table;
	struct uuid id;
	unsigned cols_cnt;
	struct str col[TRACE_COLS_MAX]; /* in text; p NULL: SQL NULL */
	/* storage, reused from row to row */
	struct buf text;
	struct arena arena;
};

void trace_row_init(struct trace_row *r);
void trace_row_fini(struct trace_row *r);
/*
 * Reads a record.  Columns of `without` stay empty; audit rows keep their
 * values in `details` (observability.md 2.2).  -1: the record cannot be read.
 */
int trace_row_read(struct trace_row *r, enum evidence_type type,
	struct str body, unsigned without) MUST_CHECK;
/* Appends the sentences of `notes`; nothing when there are none. */
void trace_row_notes(const struct run_rec *rec, struct buf *out);
/* One line of COPY's text format. */
void trace_row_copy(const struct trace_row *r, struct buf *out);
/* One JSON object: column name to text or null. */
void trace_row_json(const struct trace_row *r, struct buf *out);

enum trace_table trace_table_of(enum evidence_class cls);
const char *trace_table_name(enum trace_table t);
/* Comma-separated, quoted, in the order of trace_row.col. */
const char *trace_table_columns(enum trace_table t);
/* What a foreign key refers by; all of the table for one that is not known. */
unsigned trace_table_refs(enum trace_table t, const char *constraint);

#endif
