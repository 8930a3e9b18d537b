/*
 * uuid.h - RFC 9562 UUIDs: parse, print, make version 4 and 7.
 */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/base.h"
#include "base/str.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_LEN 36

/*
 * Accepts hyphenated, 32 bare digits, braces and urn:uuid:, any case
 * (api.md section 2).  -1 on anything else.
 */
int uuid_parse(struct str s, struct uuid *u_r) MUST_CHECK;
/* Lower-case, hyphenated, NUL-terminated. */
void uuid_print(const struct uuid *u, char out[UUID_TEXT_LEN + 1]);
void uuid_make_v4(struct uuid *u_r);
/*
 * Time-ordered within this process: the 12 bits after the millisecond are
 * a sequence number within it, so ids of one process ascend strictly.
 */
void uuid_make_v7(struct uuid *u_r);

static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* Fills from getrandom(2) through a small buffer; call rnd_reseed after fork. */
void rnd_bytes(void *p, size_t len);
/* Drops buffered bytes, so that parent and child never share them. */
void rnd_reseed(void);
/* Uniform in [0, 1). */
double rnd_unit(void);

#endif
