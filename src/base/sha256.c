/* sha256.c - see sha256.h. */
#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/log.h"

void sha256(struct str s, uint8_t out[32])
{
	unsigned n = 0;

	if (EVP_Digest(s.p, s.len, out, &n, EVP_sha256(), NULL) != 1 || n != 32)
		fatal("SHA-256 is not available in libcrypto");
}

void sha256_hex(struct str s, char out[SHA256_HEX_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t d[32];

	sha256(s, d);
	for (size_t i = 0; i < sizeof(d); i++) {
		out[2 * i] = hex[d[i] >> 4];
		out[2 * i + 1] = hex[d[i] & 15];
	}
	out[SHA256_HEX_LEN] = '\0';
}
