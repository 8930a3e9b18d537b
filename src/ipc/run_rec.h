/*
 * run_rec.h - the record of one strategy run on its way from a worker to the
 * logger (DESIGN 4): everything a replay and an explanation need.
 *
 * Encoded compactly: fixed-width little-endian header, lengths checked before
 * any copy, versioned.  The logger makes JSON from it, not the worker.
 */
#ifndef IPC_RUN_REC_H
#define IPC_RUN_REC_H

#include "base/arena.h"
#include "base/str.h"
#include "base/uuid.h"
#include "ipc/evidence.h"
#include "json/json_val.h"

/* One trace entry; strings and values are copied into the record. */
struct run_ent {
	struct str node_id;
	const char *type;   /* node type */
	const char *branch; /* text of `branch`, NULL for none */
	const struct jv *value;
};

struct run_field {
	struct str path;
	const struct jv *value;
};

struct run_rec {
	struct uuid id;         /* v7, made by the worker */
	int64_t at_us;          /* end of the run, wall */
	struct str strategy_id; /* bare uuid text */
	int32_t strategy_version;
	struct str strategy_type; /* DSL_FULL */
	struct str realm;
	struct str game, task, user; /* external ids */
	struct str status;           /* ok, error, timeout, limit */
	struct str error_code;       /* p NULL: none */
	bool has_points;
	double points;
	struct str case_name; /* p NULL: none */
	uint64_t duration_ns;
	uint32_t nodes;    /* trace entries produced */
	bool sampled;      /* kept by sampling */
	double weight;     /* 1 / probability of being kept */
	struct str reason; /* sampled, error, timeout, limit, refused */
	struct str correlation_id;
	struct str ast_sha256;
	struct str parent_strategy; /* p NULL: none */
	struct str data_json;       /* event data, masked, JSON text */
	const struct run_field *fields;
	unsigned fields_cnt;
	const struct run_ent *ents; /* kept entries, in order */
	unsigned ents_cnt;
	uint32_t ents_cut;        /* entries dropped from the middle */
	struct str error_message; /* p NULL: none */
	struct str error_node;    /* p NULL: none */
	/* decoded only */
	uint32_t clipped; /* values cut to fit the row */
	bool data_cut;    /* data_json was too large to keep */
};

/*
 * Appends the record, at most EV_ROW_MAX bytes: a text value of the trace is
 * clipped to 1024 bytes (dsl.md 21); a row that is still too large loses, in
 * this order, longer trace values, the event data, then the middle of its
 * trace.  What was cut is counted in the record.
 */
void run_rec_encode(struct buf *out, const struct run_rec *rec);
/* Strings point into `in`; the rest lives in the arena.  -1: unreadable. */
int run_rec_decode(
	struct arena *a, struct str in, struct run_rec *rec_r) MUST_CHECK;
/* All but event data, fields and trace, which stay empty. */
int run_rec_decode_head(struct str in, struct run_rec *rec_r) MUST_CHECK;

#endif
