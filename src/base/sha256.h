/* sha256.h - SHA-256 (FIPS 180-4) by OpenSSL's libcrypto. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/base.h"
#include "base/str.h"

#define SHA256_HEX_LEN 64

void sha256(struct str s, uint8_t out[32]);
/* Takes as long whatever differs. */
bool sha256_eq(const uint8_t a[32], const uint8_t b[32]);
/* Lower-case hex, NUL-terminated. */
void sha256_hex(struct str s, char out[SHA256_HEX_LEN + 1]);

#endif
