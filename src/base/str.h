/*
 * str.h - slices and growable buffers.
 *
 * struct str does not own its bytes and need not end in NUL.  struct buf owns
 * its bytes on the heap; out of memory ends the process.  A buf may be given
 * a limit; past it the buf stops growing and `overflow` is set, so that a
 * writer checks once at the end.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <string.h>

#include "base/base.h"

struct str {
	const char *p;
	size_t len;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
/* Arguments for a "%.*s" conversion. */
#define STR_ARG(s) (int)(s).len, (s).p

static inline struct str str_from(const char *s)
{
	return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool str_is(struct str a, const char *lit)
{
	return str_eq(a, str_from(lit));
}

/* By byte, a prefix is smaller; for valid UTF-8 that is by code point. */
int str_cmp(struct str a, struct str b);
bool str_starts_with(struct str s, const char *prefix);
/* Without leading and trailing ASCII white space. */
struct str str_trim(struct str s);
/* FNV-1a, for hash tables whose keys do not come from strangers. */
uint64_t str_hash(struct str s, uint64_t seed);
/* True when s is well-formed UTF-8 (RFC 3629: no surrogates, no overlongs). */
bool str_is_utf8(struct str s);
/* Bytes of the sequence that s starts with (1 to 4), 0 when malformed. */
size_t str_utf8_seq(struct str s);
/* Its first max bytes, less where that were inside a UTF-8 sequence. */
struct str str_clip(struct str s, size_t max);
/* Code points in well-formed UTF-8. */
size_t str_utf8_cnt(struct str s);

struct buf {
	char *p;
	size_t len;         /* bytes used */
	size_t cap;         /* bytes allocated */
	size_t limit_bytes; /* 0: none */
	bool overflow;      /* something did not fit under the limit */
};

void buf_init(struct buf *b, size_t limit_bytes);
void buf_fini(struct buf *b);
/* Empties, keeps the memory. */
void buf_reset(struct buf *b);
/* Room for n more bytes; returns where they go, or NULL past the limit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t len);
void buf_add_str(struct buf *b, struct str s);
void buf_add_u64(struct buf *b, uint64_t v);
/* v divided by 10^places (below 20), exactly; at least one digit behind the
 * point. */
void buf_add_decimal(struct buf *b, uint64_t v, unsigned places);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/*
 * s for the eyes of people: control characters (C0, DEL, C1) as \u001b, bytes
 * that are not UTF-8 as U+FFFD, so that nothing in it commands a terminal.
 */
void buf_add_visible(struct buf *b, struct str s);
/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

static inline void buf_add_char(struct buf *b, char c)
{
	if (b->limit_bytes == 0 && b->len < b->cap)
		b->p[b->len++] = c;
	else
		buf_add(b, &c, 1);
}

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->p, b->len};
}

#endif
