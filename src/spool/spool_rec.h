/*
 * spool_rec.h - one record of a segment:
 *
 *	u32 length  u32 CRC-32C  u16 magic  u8 type  u8 class  u64 received
 *	length bytes
 *
 * little-endian; `received` is wall time in ms.  The checksum covers all but
 * itself.  A record says what it is, so that sound ones are found behind a
 * damaged stretch.
 */
#ifndef SPOOL_SPOOL_REC_H
#define SPOOL_SPOOL_REC_H

#include "ipc/evidence.h"

#define SPOOL_REC_HEAD 20u
#define SPOOL_REC_MAX  (SPOOL_REC_HEAD + EV_ROW_MAX)

struct spool_rec {
	struct ev_row row; /* its body stands where it was read */
	uint64_t at_ms;
};

enum spool_found {
	SPOOL_SOUND,
	SPOOL_SHORT,  /* could be one, more bytes would tell */
	SPOOL_DAMAGED /* no record begins here */
};

uint32_t spool_crc32c(uint32_t crc, const void *p, size_t len);
void spool_rec_add(struct buf *out, const struct ev_row *row, uint64_t at_ms);
/* The record at the start of s; *len_r is its length when it is sound. */
enum spool_found spool_rec_read(struct str s, enum evidence_class cls,
	struct spool_rec *rec_r, size_t *len_r);

#endif
