/* str.c - see str.h. */
#include "base/str.h"

#include <assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

int str_cmp(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

	if (c != 0)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts_with(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len >= n && memcmp(s.p, prefix, n) == 0;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
	while (s.len > 0 && is_space(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && is_space(s.p[s.len - 1]))
		s.len--;
	return s;
}

uint64_t str_hash(struct str s, uint64_t seed)
{
	uint64_t h = 0xcbf29ce484222325u ^ seed;

	for (size_t i = 0; i < s.len; i++) {
		h ^= (unsigned char)s.p[i];
		h *= 0x100000001b3u;
	}
	return h ^ (h >> 32);
}

static size_t utf8_seq(const unsigned char *p, size_t len)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	if (len < 2 || (p[1] & 0xc0) != 0x80)
		return 0;
	if (p[0] < 0xe0)
		return 2;
	if (len < 3 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (p[0] == 0xe0 && p[1] < 0xa0)
		return 0;
	if (p[0] == 0xed && p[1] > 0x9f)
		return 0;
	if (p[0] < 0xf0)
		return 3;
	if (len < 4 || (p[3] & 0xc0) != 0x80)
		return 0;
	if (p[0] == 0xf0 && p[1] < 0x90)
		return 0;
	if (p[0] == 0xf4 && p[1] > 0x8f)
		return 0;
	return 4;
}

size_t str_utf8_seq(struct str s)
{
	return s.len > 0 ? utf8_seq((const unsigned char *)s.p, s.len) : 0;
}

bool str_is_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0; i < s.len;) {
		size_t n = utf8_seq(p + i, s.len - i);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

struct str str_clip(struct str s, size_t max)
{
	if (s.len <= max)
		return s;
	s.len = max;
	while (s.len > 0 && ((unsigned char)s.p[s.len] & 0xc0) == 0x80)
		s.len--;
	return s;
}

size_t str_utf8_cnt(struct str s)
{
	size_t cnt = 0;

	for (size_t i = 0; i < s.len; i++)
		cnt += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return cnt;
}

void buf_init(struct buf *b, size_t limit_bytes)
{
	memset(b, 0, sizeof(*b));
	b->limit_bytes = limit_bytes;
}

void buf_fini(struct buf *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->overflow = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
	size_t cap;
	char *p;

	if (b->limit_bytes != 0 &&
		(n > b->limit_bytes || b->len > b->limit_bytes - n)) {
		b->overflow = true;
		return NULL;
	}
	if (b->cap - b->len >= n)
		return b->p + b->len;
	cap = b->cap ? b->cap : 256;
	while (cap - b->len < n)
		cap *= 2;
	p = realloc(b->p, cap);
	if (p == NULL)
		fatal("out of memory in buffer, %zu bytes wanted", cap);
	b->p = p;
	b->cap = cap;
	return b->p + b->len;
}

void buf_add(struct buf *b, const void *p, size_t len)
{
	char *to;

	if (len == 0)
		return;
	to = buf_reserve(b, len);
	if (to == NULL)
		return;
	memcpy(to, p, len);
	b->len += len;
}

void buf_add_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.len);
}

void buf_add_u64(struct buf *b, uint64_t v)
{
	char text[20], *p = text + sizeof(text);

	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	buf_add(b, p, (size_t)(text + sizeof(text) - p));
}

void buf_add_decimal(struct buf *b, uint64_t v, unsigned places)
{
	char text[20];
	uint64_t unit = 1;
	unsigned n;

	assert(places < sizeof(text));
	for (unsigned i = 0; i < places; i++)
		unit *= 10;
	buf_add_u64(b, v / unit);
	v %= unit;
	for (n = places; n-- > 0; v /= 10)
		text[n] = (char)('0' + v % 10);
	for (n = places; n > 1 && text[n - 1] == '0';)
		n--;
	buf_add_char(b, '.');
	buf_add(b, text, n);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	size_t room = b->cap - b->len;
	va_list again;
	char *to = NULL;
	int n;

	va_copy(again, ap);
	n = vsnprintf(room ? b->p + b->len : NULL, room, fmt, ap);
	if (n >= 0)
		to = buf_reserve(b, (size_t)n + 1);
	if (to != NULL && (size_t)n >= room)
		vsnprintf(to, (size_t)n + 1, fmt, again);
	if (to != NULL)
		b->len += (size_t)n;
	va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_add_visible(struct buf *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0, n; i < s.len; i += n) {
		n = utf8_seq(p + i, s.len - i);
		if (n == 0) {
			buf_add_str(b, STR("\xef\xbf\xbd"));
			n = 1;
		} else if (p[i] < 0x20 || p[i] == 0x7f) {
			buf_printf(b, "\\u%04x", p[i]);
		} else if (p[i] == 0xc2 && p[i + 1] < 0xa0) {
			buf_printf(b, "\\u%04x", p[i + 1]);
		} else {
			buf_add(b, p + i, n);
		}
	}
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}
