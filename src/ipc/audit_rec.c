/* audit_rec.c - see audit_rec.h.  Encoded by workers, decoded by the logger. */
#include "ipc/audit_rec.h"

#include "ipc/rec_io.h"

#define VERSION     1
#define WORD_MAX    255
#define MESSAGE_MAX 8192

void audit_rec_encode(struct buf *out, const struct audit_rec *rec)
{
	struct str details = rec->details_json;

	if (details.p == NULL || details.len > AUDIT_DETAILS_MAX)
		details = STR("{}");
	put_u8(out, VERSION);
	buf_add(out, rec->id.b, sizeof(rec->id.b));
	put_u64(out, (uint64_t)rec->at_us);
	put_text(out, rec->level, WORD_MAX);
	put_text(out, rec->module, WORD_MAX);
	put_text(out, rec->message, MESSAGE_MAX);
	put_text(out, details, AUDIT_DETAILS_MAX);
	put_text(out, rec->api_key, WORD_MAX);
	put_text(out, rec->subject, WORD_MAX);
	put_text(out, rec->correlation_id, WORD_MAX);
}

int audit_rec_decode(struct str in_str, struct audit_rec *rec_r)
{
	struct rec_in in = {.rest = in_str};

	if (get_u8(&in) != VERSION)
		return -1;
	get_bytes(&in, rec_r->id.b, sizeof(rec_r->id.b));
	rec_r->at_us = (int64_t)get_u64(&in);
	rec_r->level = get_text(&in);
	rec_r->module = get_text(&in);
	rec_r->message = get_text(&in);
	rec_r->details_json = get_text(&in);
	rec_r->api_key = get_text(&in);
	rec_r->subject = get_text(&in);
	rec_r->correlation_id = get_text(&in);
	return in.bad || in.rest.len != 0 ? -1 : 0;
}
