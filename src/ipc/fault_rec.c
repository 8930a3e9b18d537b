/* fault_rec.c - see fault_rec.h.  Encoded by workers, decoded by the logger. */
#include "ipc/fault_rec.h"

#include "ipc/rec_io.h"

#define VERSION   2
#define WORD_MAX  255
#define QUERY_MAX 8192

void fault_rec_encode(struct buf *out, const struct fault_rec *rec)
{
	put_u8(out, VERSION);
	put_u8(out, (uint8_t)rec->kind);
	put_u64(out, (uint64_t)rec->at_us);
	put_u64(out, rec->duration_ns);
	put_u16(out, (uint16_t)rec->slot);
	put_u16(out, (uint16_t)rec->status);
	put_text(out, rec->role, WORD_MAX);
	put_text(out, rec->method, WORD_MAX);
	put_text(out, rec->handler, WORD_MAX);
	put_text(out, rec->correlation_id, WORD_MAX);
	put_text(out, rec->strategy, WORD_MAX);
	put_u64(out, (uint64_t)rec->version);
	put_text(out, rec->strategy_type, WORD_MAX);
	put_text(out, rec->realm, WORD_MAX);
	put_text(out, rec->code, WORD_MAX);
	put_text(out, rec->node, WORD_MAX);
	put_u16(out, (uint16_t)rec->how);
	put_text(out, rec->query, QUERY_MAX);
	put_text(out, rec->headers, FAULT_HEADERS_MAX);
	put_text(out, rec->data, FAULT_DATA_MAX);
	put_text(out, rec->address, WORD_MAX);
	put_text(out, rec->subject, WORD_MAX);
	put_text(out, rec->trace, WORD_MAX);
	for (unsigned i = 0; i < FAULT_SPANS; i++) {
		put_u64(out, rec->span[i].start_ns);
		put_u64(out, rec->span[i].ns);
	}
}

int fault_rec_decode(struct str in_str, struct fault_rec *rec_r)
{
	struct rec_in in = {.rest = in_str};
	unsigned kind;

	if (get_u8(&in) != VERSION)
		return -1;
	kind = get_u8(&in);
	rec_r->kind = kind;
	rec_r->at_us = (int64_t)get_u64(&in);
	rec_r->duration_ns = get_u64(&in);
	rec_r->slot = get_u16(&in);
	rec_r->status = get_u16(&in);
	rec_r->role = get_text(&in);
	rec_r->method = get_text(&in);
	rec_r->handler = get_text(&in);
	rec_r->correlation_id = get_text(&in);
	rec_r->strategy = get_text(&in);
	rec_r->version = (int64_t)get_u64(&in);
	rec_r->strategy_type = get_text(&in);
	rec_r->realm = get_text(&in);
	rec_r->code = get_text(&in);
	rec_r->node = get_text(&in);
	rec_r->how = get_u16(&in);
	rec_r->query = get_text(&in);
	rec_r->headers = get_text(&in);
	rec_r->data = get_text(&in);
	rec_r->address = get_text(&in);
	rec_r->subject = get_text(&in);
	rec_r->trace = get_text(&in);
	for (unsigned i = 0; i < FAULT_SPANS; i++) {
		rec_r->span[i].start_ns = get_u64(&in);
		rec_r->span[i].ns = get_u64(&in);
	}
	if (kind < FAULT_RUN || kind > FAULT_LOSS)
		return -1;
	return in.bad || in.rest.len != 0 ? -1 : 0;
}
