/* spool_rec.c - see spool_rec.h.  Logger process. */
#include "spool/spool_rec.h"

#include "ipc/rec_io.h"

#define MAGIC      0x5031 /* "1P" */
#define POLYNOMIAL 0x82f63b78u
#define CRC_AT     4
#define CRC_END    8 /* what the checksum covers besides the length */

static uint32_t crc_table(uint32_t crc, const unsigned char *p, size_t len)
{
	static uint32_t table[256];

	if (table[1] == 0)
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int k = 0; k < 8; k++)
				c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
			table[i] = c;
		}
	while (len-- > 0)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(
	uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t wide = crc, word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	while (len-- > 0)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#endif

uint32_t spool_crc32c(uint32_t crc, const void *p, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_sse42(~crc, p, len);
#endif
	return ~crc_table(~crc, p, len);
}

/* Of a record that is whole. */
static uint32_t rec_crc(const char *p, size_t len)
{
	uint32_t crc = spool_crc32c(0, p, CRC_AT);

	return spool_crc32c(crc, p + CRC_END, len - CRC_END);
}

void spool_rec_add(struct buf *out, const struct ev_row *row, uint64_t at_ms)
{
	size_t begin = out->len;
	uint32_t crc;

	put_u32(out, (uint32_t)row->body.len);
	put_u32(out, 0);
	put_u16(out, MAGIC);
	put_u8(out, (uint8_t)row->type);
	put_u8(out, (uint8_t)row->cls);
	put_u64(out, at_ms);
	buf_add_str(out, row->body);
	crc = htole32(rec_crc(out->p + begin, out->len - begin));
	memcpy(out->p + begin + CRC_AT, &crc, sizeof(crc));
}

enum spool_found spool_rec_read(struct str s, enum evidence_class cls,
	struct spool_rec *rec_r, size_t *len_r)
{
	struct rec_in in = {.rest = s};
	uint32_t len = get_u32(&in), crc = get_u32(&in);
	bool fits = get_u16(&in) == MAGIC;

	rec_r->row.type = get_u8(&in);
	rec_r->row.cls = get_u8(&in);
	rec_r->at_ms = get_u64(&in);
	if (in.bad)
		return SPOOL_SHORT;
	if (!fits || rec_r->row.cls != cls || len > EV_ROW_MAX)
		return SPOOL_DAMAGED;
	if (len > in.rest.len)
		return SPOOL_SHORT;
	if (rec_crc(s.p, SPOOL_REC_HEAD + len) != crc)
		return SPOOL_DAMAGED;
	rec_r->row.body = (struct str){in.rest.p, len};
	*len_r = SPOOL_REC_HEAD + len;
	return SPOOL_SOUND;
}
