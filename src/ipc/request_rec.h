/*
 * request_rec.h - one row of the table `apirequests` on its way from a worker
 * to the logger (observability.md 5.2): a request that was answered.
 */
#ifndef IPC_REQUEST_REC_H
#define IPC_REQUEST_REC_H

#include "base/str.h"
#include "base/uuid.h"

struct request_rec {
	struct uuid id;
	int64_t at_us; /* wall, when it arrived */
	uint64_t duration_ns;
	unsigned status;
	double weight;       /* 1 / probability of being kept */
	struct str method;   /* GET */
	struct str endpoint; /* template of its route */
	struct str api_key;  /* public prefix; p NULL: none */
	struct str subject;  /* of the token; p NULL: none */
	struct str correlation_id;
	bool has_user;
	struct uuid user; /* that it was about, as the database knows it */
};

void request_rec_encode(struct buf *out, const struct request_rec *rec);
/* Strings point into `in`.  -1: unreadable. */
int request_rec_decode(struct str in, struct request_rec *rec_r) MUST_CHECK;

#endif
