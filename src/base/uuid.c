/* uuid.c - see uuid.h. */
#include "base/uuid.h"

#include <errno.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

static struct {
	uint8_t pool[1024]; /* random bytes not handed out yet */
	size_t left;        /* of them, at the end of pool */
	int64_t v7_ms;      /* millisecond of the last version 7 id */
	unsigned v7_seq;    /* ids made in that millisecond */
} self;

static void fill(void *p, size_t len)
{
	char *to = p;

	while (len > 0) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			fatal("no random bytes from the kernel");
		}
		to += n;
		len -= (size_t)n;
	}
}

void rnd_reseed(void)
{
	explicit_bzero(self.pool, sizeof(self.pool));
	self.left = 0;
}

void rnd_bytes(void *p, size_t len)
{
	if (len > sizeof(self.pool)) {
		fill(p, len);
		return;
	}
	if (self.left < len) {
		fill(self.pool, sizeof(self.pool));
		self.left = sizeof(self.pool);
	}
	self.left -= len;
	memcpy(p, self.pool + self.left, len);
	memset(self.pool + self.left, 0, len);
}

double rnd_unit(void)
{
	uint64_t r;

	rnd_bytes(&r, sizeof(r));
	return (double)(r >> 11) * 0x1.0p-53;
}

static int hex_val(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int uuid_parse(struct str s, struct uuid *u_r)
{
	bool hyphens;
	size_t at = 0;

	if (s.len == 45 && strncasecmp(s.p, "urn:uuid:", 9) == 0) {
		s.p += 9;
		s.len -= 9;
	} else if (s.len == 38 && s.p[0] == '{' && s.p[37] == '}') {
		s.p += 1;
		s.len -= 2;
	}
	hyphens = s.len == UUID_TEXT_LEN;
	if (!hyphens && s.len != 32)
		return -1;
	for (size_t i = 0; i < 16; i++) {
		int hi, lo;

		if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10) &&
			s.p[at++] != '-')
			return -1;
		hi = hex_val(s.p[at]);
		lo = hex_val(s.p[at + 1]);
		if (hi < 0 || lo < 0)
			return -1;
		u_r->b[i] = (uint8_t)(hi << 4 | lo);
		at += 2;
	}
	return 0;
}

void uuid_print(const struct uuid *u, char out[UUID_TEXT_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		out[at++] = hex[u->b[i] >> 4];
		out[at++] = hex[u->b[i] & 15];
	}
	out[at] = '\0';
}

void uuid_make_v4(struct uuid *u_r)
{
	rnd_bytes(u_r->b, sizeof(u_r->b));
	u_r->b[6] = (uint8_t)((u_r->b[6] & 0x0f) | 0x40);
	u_r->b[8] = (uint8_t)((u_r->b[8] & 0x3f) | 0x80);
}

void uuid_make_v7(struct uuid *u_r)
{
	int64_t ms = clock_wall_us() / 1000;

	if (ms > self.v7_ms) {
		self.v7_ms = ms;
		self.v7_seq = 0;
	} else if (++self.v7_seq > 0xfff) {
		/* a stuck or backward clock: borrow from the future */
		self.v7_ms++;
		self.v7_seq = 0;
	}
	ms = self.v7_ms;
	rnd_bytes(u_r->b + 8, 8);
	for (int i = 0; i < 6; i++)
		u_r->b[i] = (uint8_t)(ms >> (40 - 8 * i));
	u_r->b[6] = (uint8_t)(0x70 | self.v7_seq >> 8);
	u_r->b[7] = (uint8_t)self.v7_seq;
	u_r->b[8] = (uint8_t)((u_r->b[8] & 0x3f) | 0x80);
}
