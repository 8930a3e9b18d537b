/* cidr.c - see cidr.h. */
#include "base/cidr.h"

#include <arpa/inet.h>

#include "base/num.h"

#define ADDR_MAX  46 /* text of an address, with the NUL */
#define ADDR_BITS 128
#define V4_BITS   32

/* Says how many bits the family has; 0: no address. */
static unsigned parse_addr(struct str text, uint8_t addr_r[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	char copy[ADDR_MAX];

	if (text.len >= sizeof(copy) || memchr(text.p, '\0', text.len))
		return 0;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET6, copy, addr_r) == 1)
		return ADDR_BITS;
	memcpy(addr_r, mapped, sizeof(mapped));
	return inet_pton(AF_INET, copy, addr_r + sizeof(mapped)) == 1 ? V4_BITS
								      : 0;
}

/* The first `bits` bits are equal. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned rest = bits % 8;

	return memcmp(a, b, bits / 8) == 0 &&
	       (rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0);
}

static bool is_zero_behind(const uint8_t addr[16], unsigned bits)
{
	for (unsigned i = bits; i < ADDR_BITS; i++)
		if (addr[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

static int parse_net(struct str text, uint8_t addr_r[16], unsigned *bits_r)
{
	const char *slash = memchr(text.p, '/', text.len);
	struct str addr = {text.p, slash ? (size_t)(slash - text.p) : text.len};
	unsigned width = parse_addr(addr, addr_r);
	int64_t bits = width;

	if (width == 0)
		return -1;
	if (slash &&
		(num_parse_i64((struct str){slash + 1, text.len - addr.len - 1},
			 &bits) < 0 ||
			bits < 0 || bits > (int64_t)width))
		return -1;
	*bits_r = ADDR_BITS - width + (unsigned)bits;
	return is_zero_behind(addr_r, *bits_r) ? 0 : -1;
}

int cidr_list_parse(struct str text, struct cidr_list *l_r)
{
	l_r->cnt = 0;
	if (str_trim(text).len == 0)
		return 0;
	for (;;) {
		const char *comma = memchr(text.p, ',', text.len);
		struct str one = {
			text.p, comma ? (size_t)(comma - text.p) : text.len};

		if (l_r->cnt == CIDR_LIST_MAX ||
			parse_net(str_trim(one), l_r->net[l_r->cnt].addr,
				&l_r->net[l_r->cnt].bits) < 0)
			return -1;
		l_r->cnt++;
		if (comma == NULL)
			return 0;
		text = (struct str){comma + 1, text.len - one.len - 1};
	}
}

bool cidr_list_has(const struct cidr_list *l, const char *address)
{
	struct str text = {address, strcspn(address, "%")};
	uint8_t addr[16];

	if (parse_addr(text, addr) == 0)
		return false;
	for (unsigned i = 0; i < l->cnt; i++)
		if (same_bits(l->net[i].addr, addr, l->net[i].bits))
			return true;
	return false;
}
