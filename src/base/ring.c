/*
 * ring.c - see ring.h.  A record never wraps: when it would, the tail of the
 * buffer is skipped (prefix SKIP) and the record starts at offset 0.
 */
#include "base/ring.h"

#include <stdlib.h>

#include "base/log.h"

#define SKIP UINT32_MAX

static size_t padded(size_t len)
{
	return (sizeof(uint32_t) + len + 7) & ~(size_t)7;
}

void ring_init(struct ring *r, size_t cap_bytes)
{
	memset(r, 0, sizeof(*r));
	r->cap = cap_bytes & ~(size_t)7;
	r->p = malloc(r->cap ? r->cap : 8);
	if (r->p == NULL)
		fatal("out of memory in ring, %zu bytes wanted", r->cap);
}

void ring_fini(struct ring *r)
{
	free(r->p);
	memset(r, 0, sizeof(*r));
}

static void put_prefix(struct ring *r, size_t at, uint32_t v)
{
	memcpy(r->p + at, &v, sizeof(v));
}

static uint32_t get_prefix(const struct ring *r, size_t at)
{
	uint32_t v;

	memcpy(&v, r->p + at, sizeof(v));
	return v;
}

int ring_push(struct ring *r, const void *p, size_t len)
{
	size_t need = padded(len), tail, room;

	if (len >= SKIP || need > r->cap)
		return -1;
	if (r->used == 0)
		r->head = 0;
	tail = r->head + r->used;
	if (tail >= r->cap) {
		tail -= r->cap;
		room = r->head - tail;
	} else {
		room = r->cap - tail;
		if (room < need) {
			/* head bytes at the front are free up to r->head */
			if (r->head < need)
				return -1;
			put_prefix(r, tail, SKIP);
			r->used += room;
			tail = 0;
			room = r->head;
		}
	}
	if (room < need)
		return -1;
	put_prefix(r, tail, (uint32_t)len);
	memcpy(r->p + tail + sizeof(uint32_t), p, len);
	r->used += need;
	r->rows_cnt++;
	return 0;
}

int ring_peek(const struct ring *r, struct str *rec_r)
{
	size_t at = r->head;
	uint32_t len;

	if (r->rows_cnt == 0)
		return -1;
	len = get_prefix(r, at);
	if (len == SKIP) {
		at = 0;
		len = get_prefix(r, at);
	}
	rec_r->p = r->p + at + sizeof(uint32_t);
	rec_r->len = len;
	return 0;
}

void ring_pop(struct ring *r)
{
	uint32_t len;

	if (r->rows_cnt == 0)
		return;
	len = get_prefix(r, r->head);
	if (len == SKIP) {
		r->used -= r->cap - r->head;
		r->head = 0;
		len = get_prefix(r, 0);
	}
	r->head += padded(len);
	if (r->head >= r->cap)
		r->head -= r->cap;
	r->used -= padded(len);
	r->rows_cnt--;
}
