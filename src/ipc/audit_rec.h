/*
 * audit_rec.h - one row of the audit table `logs` on its way from a worker to
 * the logger (observability.md 2.2).
 */
#ifndef IPC_AUDIT_REC_H
#define IPC_AUDIT_REC_H

#include "base/str.h"
#include "base/uuid.h"

#define AUDIT_DETAILS_MAX 32768 /* JSON cannot be cut: past it {} is stored */

struct audit_rec {
	struct uuid id;
	int64_t at_us;             /* wall */
	struct str level;          /* INFO, SUCCESS, ERROR */
	struct str module;         /* as the reference names it */
	struct str message;        /* clipped to 8 KiB */
	struct str details_json;   /* a JSON object; p NULL or too large: {} */
	struct str api_key;        /* public prefix; p NULL: none */
	struct str subject;        /* of the token; p NULL: none */
	struct str correlation_id; /* p NULL: none */
};

void audit_rec_encode(struct buf *out, const struct audit_rec *rec);
/* Strings point into `in`. -1: unreadable. */
int audit_rec_decode(struct str in, struct audit_rec *rec_r) MUST_CHECK;

#endif
