/* sha256.c - see sha256.h. */
#include "base/sha256.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/log.h"

/* Made on first use and kept: looking the algorithm up costs more than the
 * digest of a short text. */
static struct {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
} self;

void sha256(struct str s, uint8_t out[32])
{
	unsigned n = 0;

	if (self.md == NULL) {
		self.md = EVP_MD_fetch(NULL, "SHA256", NULL);
		self.ctx = EVP_MD_CTX_new();
	}
	if (self.md == NULL || self.ctx == NULL ||
		EVP_DigestInit_ex2(self.ctx, self.md, NULL) != 1 ||
		EVP_DigestUpdate(self.ctx, s.p, s.len) != 1 ||
		EVP_DigestFinal_ex(self.ctx, out, &n) != 1 || n != 32)
		fatal("SHA-256 is not available in libcrypto");
}

bool sha256_eq(const uint8_t a[32], const uint8_t b[32])
{
	return CRYPTO_memcmp(a, b, 32) == 0;
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
