/*
 * ring.h - fixed-size byte ring of length-prefixed records.
 *
 * Bounded by construction: a record that does not fit is refused and the
 * caller counts it.  Records come out whole and in order.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include "base/base.h"
#include "base/str.h"

struct ring {
	char *p;         /* cap bytes, owned */
	size_t cap;      /* bytes */
	size_t head;     /* offset of the oldest record */
	size_t used;     /* bytes in use, prefixes and padding included */
	size_t rows_cnt; /* records in the ring */
};

void ring_init(struct ring *r, size_t cap_bytes);
void ring_fini(struct ring *r);
/* -1 when the record does not fit now; nothing has changed then. */
int ring_push(struct ring *r, const void *p, size_t len) MUST_CHECK;
/* Oldest record without taking it; -1 when empty.  Valid until next call. */
int ring_peek(const struct ring *r, struct str *rec_r) MUST_CHECK;
void ring_pop(struct ring *r);

#endif
