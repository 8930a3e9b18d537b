/*
 * fault_rec.h - what a worker tells the logger for Sentry (observability.md
 * 3.2, 3.4): a failed run of a strategy, a 5xx answer, or a request that was
 * drawn as a transaction.  It carries no text that came from a user but the
 * correlation id, unless sentry.send_default_pii is set.
 */
#ifndef IPC_FAULT_REC_H
#define IPC_FAULT_REC_H

#include "base/clock.h"
#include "base/str.h"

enum fault_kind {
	FAULT_RUN = 1, /* a run that failed */
	FAULT_ANSWER,  /* an answer of 500 to 599 */
	FAULT_TXN,     /* a request and its times */
	/* the logger's own: */
	FAULT_CRASH, /* a child died: code says how, role which */
	FAULT_LOSS   /* evidence was dropped: code is its class */
};

#define FAULT_DATA_MAX    10000 /* bytes of JSON; larger ones are left out */
#define FAULT_HEADERS_MAX 8192

enum fault_span {
	FAULT_SPAN_AUTH,
	FAULT_SPAN_READ,
	FAULT_SPAN_EVALUATE,
	FAULT_SPAN_WRITE,
	FAULT_SPANS
};

struct fault_rec {
	enum fault_kind kind;
	int64_t at_us; /* wall, when it was over */
	uint64_t duration_ns;
	unsigned slot;
	unsigned status;    /* of the answer; 0: not known */
	struct str role;    /* of the process */
	struct str method;  /* p NULL: no request */
	struct str handler; /* the route's template */
	struct str correlation_id;
	struct str strategy; /* id, p NULL: none */
	int64_t version;
	struct str strategy_type;
	struct str realm;
	struct str code; /* of the error */
	struct str node; /* that failed */
	unsigned how;    /* FAULT_CRASH: number of the signal, or exit status */
	/* with sentry.send_default_pii, p NULL: not known */
	struct str query;   /* raw */
	struct str headers; /* JSON object */
	struct str data;    /* JSON, masked */
	struct str address; /* of the caller */
	struct str subject; /* of its token */
	/* FAULT_TXN */
	struct str trace; /* the caller's sentry-trace; p NULL: none */
	struct clock_span span[FAULT_SPANS]; /* since the request began */
};

void fault_rec_encode(struct buf *out, const struct fault_rec *rec);
/* Strings point into `in`. -1: unreadable. */
int fault_rec_decode(struct str in, struct fault_rec *rec_r) MUST_CHECK;

#endif
