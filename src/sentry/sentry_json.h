/*
 * sentry_json.h - the payloads of envelope items (observability.md 3.3, 3.4).
 */
#ifndef SENTRY_SENTRY_JSON_H
#define SENTRY_SENTRY_JSON_H

#include "conf/conf.h"
#include "ipc/fault_rec.h"

#define SENTRY_ID_LEN 32 /* hexadecimal digits */

struct sentry_ctx {
	const struct conf *conf;
	const char *server_name;
	const char *public_key;
};

/* Of one group, since the last event of it. */
struct sentry_seen {
	uint64_t cnt;
	int64_t first_us; /* wall */
};

void sentry_make_id(char id_r[SENTRY_ID_LEN + 1]);
/* What makes two faults the same; appended. */
void sentry_json_key(struct buf *out, const struct fault_rec *rec);
void sentry_json_event(struct buf *out, const struct sentry_ctx *ctx,
	const char *id, const struct fault_rec *rec,
	const struct sentry_seen *seen);
/* The spans of a transaction, its root included. */
unsigned sentry_json_spans(const struct fault_rec *rec);
/* Appends the payload to `out`, and to `trace` the trace header of its
 * envelope. */
void sentry_json_txn(struct buf *out, struct buf *trace,
	const struct sentry_ctx *ctx, const char *id,
	const struct fault_rec *rec);

#endif
