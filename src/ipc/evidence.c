/* evidence.c - see evidence.h.  Run by workers (write) and logger (read). */
#include "ipc/evidence.h"

#include "ipc/rec_io.h"

#define MAGIC   0x31564547u /* "GEV1" */
#define VERSION 1

const char *evidence_class_name(enum evidence_class c)
{
	static const char *const names[] = {
		"audit", "error", "sample", "request", "sentry"};

	return c < EV_CLASS_CNT ? names[c] : "unknown";
}

const char *evidence_reason_name(enum evidence_reason r)
{
	static const char *const names[] = {"ring_full", "queue_max",
		"too_large", "worker_killed", "logger_killed",
		"logger_queue_full", "db_rejected", "shutdown", "bad_record",
		"spool_full", "spool_damaged", "quarantine_failed",
		"rate_limited", "undelivered"};

	return r < EV_REASON_CNT ? names[r] : "unknown";
}

static const enum evidence_class by_rank[EV_CLASS_CNT] = {
	EV_REQUEST, EV_SAMPLE, EV_SENTRY, EV_ERROR, EV_AUDIT};

unsigned evidence_rank(enum evidence_class c)
{
	unsigned rank = 0;

	while (rank < EV_CLASS_CNT - 1 && by_rank[rank] != c)
		rank++;
	return rank;
}

enum evidence_class evidence_of_rank(unsigned rank)
{
	return by_rank[rank];
}

void ev_frame_begin(struct buf *b)
{
	char *head;

	buf_reset(b);
	head = buf_reserve(b, EV_HEAD_BYTES);
	memset(head, 0, EV_HEAD_BYTES);
	b->len = EV_HEAD_BYTES;
}

size_t ev_row_begin(
	struct buf *b, enum evidence_type type, enum evidence_class cls)
{
	size_t begin = b->len;

	put_u32(b, 0);
	put_u8(b, (uint8_t)type);
	put_u8(b, (uint8_t)cls);
	put_u16(b, 0);
	return begin;
}

void ev_row_end(struct buf *b, size_t begin)
{
	uint32_t len = htole32((uint32_t)(b->len - begin - EV_ROW_HEAD));

	memcpy(b->p + begin, &len, sizeof(len));
}

void ev_frame_end(struct buf *b, const struct ev_head *h)
{
	size_t len = b->len;

	/* write the head over the place that was left for it */
	b->len = 0;
	put_u32(b, MAGIC);
	put_u16(b, VERSION);
	put_u16(b, (uint16_t)h->slot);
	put_u32(b, (uint32_t)len);
	put_u32(b, h->rows);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		put_u64(b, h->sent_before[c]);
	b->len = len;
}

int ev_frame_open(struct str msg, struct ev_head *h_r, struct str *rest_r)
{
	struct rec_in in = {.rest = msg};
	bool known = get_u32(&in) == MAGIC;

	known &= get_u16(&in) == VERSION;
	h_r->slot = get_u16(&in);
	known &= get_u32(&in) == msg.len;
	h_r->rows = get_u32(&in);
	for (unsigned c = 0; c < EV_CLASS_CNT; c++)
		h_r->sent_before[c] = get_u64(&in);
	*rest_r = in.rest;
	return known && !in.bad ? 0 : -1;
}

int ev_frame_next(struct str *rest, struct ev_row *row_r)
{
	struct rec_in in = {.rest = *rest};
	uint32_t len;
	uint8_t type, cls;

	if (rest->len == 0)
		return 0;
	len = get_u32(&in);
	type = get_u8(&in);
	cls = get_u8(&in);
	get_u16(&in);
	if (in.bad || len > in.rest.len || cls >= EV_CLASS_CNT)
		return -1;
	row_r->type = type;
	row_r->cls = cls;
	row_r->body = (struct str){in.rest.p, len};
	rest->p = in.rest.p + len;
	rest->len = in.rest.len - len;
	return 1;
}
