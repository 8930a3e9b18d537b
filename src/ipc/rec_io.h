/*
 * rec_io.h - fixed-width little-endian fields of the evidence records, and a
 * reader that never passes the end: after the first short read `bad` is set
 * and everything reads as zero, so that a decoder checks once.
 */
#ifndef IPC_REC_IO_H
#define IPC_REC_IO_H

#include <endian.h>

#include "base/base.h"
#include "base/str.h"

#define REC_NO_TEXT UINT32_MAX /* length of a text that is absent */

static inline void put_u8(struct buf *b, uint8_t v)
{
	buf_add_char(b, (char)v);
}

static inline void put_u16(struct buf *b, uint16_t v)
{
	v = htole16(v);
	buf_add(b, &v, sizeof(v));
}

static inline void put_u32(struct buf *b, uint32_t v)
{
	v = htole32(v);
	buf_add(b, &v, sizeof(v));
}

static inline void put_u64(struct buf *b, uint64_t v)
{
	v = htole64(v);
	buf_add(b, &v, sizeof(v));
}

static inline void put_f64(struct buf *b, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	put_u64(b, bits);
}

static inline void put_text(struct buf *b, struct str s, size_t max)
{
	if (s.p == NULL) {
		put_u32(b, REC_NO_TEXT);
		return;
	}
	s = str_clip(s, max);
	put_u32(b, (uint32_t)s.len);
	buf_add(b, s.p, s.len);
}

struct rec_in {
	struct str rest;
	bool bad;
};

static inline void get_bytes(struct rec_in *in, void *p, size_t n)
{
	if (in->bad || in->rest.len < n) {
		in->bad = true;
		memset(p, 0, n);
		return;
	}
	memcpy(p, in->rest.p, n);
	in->rest.p += n;
	in->rest.len -= n;
}

static inline uint8_t get_u8(struct rec_in *in)
{
	uint8_t v;

	get_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint16_t get_u16(struct rec_in *in)
{
	uint16_t v;

	get_bytes(in, &v, sizeof(v));
	return le16toh(v);
}

static inline uint32_t get_u32(struct rec_in *in)
{
	uint32_t v;

	get_bytes(in, &v, sizeof(v));
	return le32toh(v);
}

static inline uint64_t get_u64(struct rec_in *in)
{
	uint64_t v;

	get_bytes(in, &v, sizeof(v));
	return le64toh(v);
}

static inline double get_f64(struct rec_in *in)
{
	uint64_t bits = get_u64(in);
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static inline struct str get_text(struct rec_in *in)
{
	uint32_t n = get_u32(in);
	struct str s = {in->rest.p, n};

	if (in->bad || n == REC_NO_TEXT)
		return (struct str){NULL, 0};
	if (in->rest.len < n) {
		in->bad = true;
		return (struct str){NULL, 0};
	}
	in->rest.p += n;
	in->rest.len -= n;
	return s;
}

#endif
