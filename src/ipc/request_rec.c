/* request_rec.c - see request_rec.h.  Encoded by workers, decoded by the
 * logger. */
#include "ipc/request_rec.h"

#include "ipc/rec_io.h"

#define VERSION  1
#define WORD_MAX 255

/* There is one for every request: room is asked for once, and fields are
 * stored without further checks. */
#define BYTES_MAX (80 + 5 * (4 + WORD_MAX))

static inline char *raw(char *to, const void *p, size_t len)
{
	memcpy(to, p, len);
	return to + len;
}

static inline char *raw_u64(char *to, uint64_t v)
{
	v = htole64(v);
	return raw(to, &v, sizeof(v));
}

static inline char *raw_text(char *to, struct str s)
{
	struct str cut = str_clip(s, WORD_MAX);
	uint32_t n = htole32(s.p ? (uint32_t)cut.len : REC_NO_TEXT);

	to = raw(to, &n, sizeof(n));
	return s.p ? raw(to, cut.p, cut.len) : to;
}

void request_rec_encode(struct buf *out, const struct request_rec *rec)
{
	char *begin = buf_reserve(out, BYTES_MAX), *to = begin;
	uint16_t status = htole16((uint16_t)rec->status);
	uint64_t weight;

	if (begin == NULL)
		return;
	memcpy(&weight, &rec->weight, sizeof(weight));
	*to++ = VERSION;
	to = raw(to, rec->id.b, sizeof(rec->id.b));
	to = raw_u64(to, (uint64_t)rec->at_us);
	to = raw_u64(to, rec->duration_ns);
	to = raw(to, &status, sizeof(status));
	to = raw_u64(to, weight);
	to = raw_text(to, rec->method);
	to = raw_text(to, rec->endpoint);
	to = raw_text(to, rec->api_key);
	to = raw_text(to, rec->subject);
	to = raw_text(to, rec->correlation_id);
	*to++ = (char)rec->has_user;
	if (rec->has_user)
		to = raw(to, rec->user.b, sizeof(rec->user.b));
	out->len += (size_t)(to - begin);
}

int request_rec_decode(struct str in_str, struct request_rec *rec_r)
{
	struct rec_in in = {.rest = in_str};

	if (get_u8(&in) != VERSION)
		return -1;
	get_bytes(&in, rec_r->id.b, sizeof(rec_r->id.b));
	rec_r->at_us = (int64_t)get_u64(&in);
	rec_r->duration_ns = get_u64(&in);
	rec_r->status = get_u16(&in);
	rec_r->weight = get_f64(&in);
	rec_r->method = get_text(&in);
	rec_r->endpoint = get_text(&in);
	rec_r->api_key = get_text(&in);
	rec_r->subject = get_text(&in);
	rec_r->correlation_id = get_text(&in);
	rec_r->has_user = get_u8(&in) != 0;
	if (rec_r->has_user)
		get_bytes(&in, rec_r->user.b, sizeof(rec_r->user.b));
	return in.bad || in.rest.len != 0 ? -1 : 0;
}
