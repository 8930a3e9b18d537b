/* arena.c - see arena.h. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
/* gcc takes poisoning for a read of what malloc has just given. */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define POISON(p, n)   __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define FIRST_BLOCK_BYTES 4096u
#define MAX_BLOCK_BYTES   (256u * 1024u)
#define ALIGNMENT         16u

struct arena_block {
	struct arena_block *next; /* older block */
	size_t cap;               /* bytes in data */
	size_t used;              /* bytes handed out */
	_Alignas(ALIGNMENT) char data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
	memset(a, 0, sizeof(*a));
	a->limit_bytes = limit_bytes;
}

static void block_free(struct arena_block *b)
{
	UNPOISON(b->data, b->cap);
	free(b);
}

void arena_fini(struct arena *a)
{
	while (a->head != NULL) {
		struct arena_block *b = a->head;

		a->head = b->next;
		block_free(b);
	}
	a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
	while (a->head != NULL && a->head->next != NULL) {
		struct arena_block *b = a->head;

		a->head = b->next;
		block_free(b);
	}
	if (a->head != NULL) {
		a->head->used = 0;
		POISON(a->head->data, a->head->cap);
	}
	a->used_bytes = 0;
}

static void block_add(struct arena *a, size_t need)
{
	size_t cap = a->head ? a->head->cap * 2 : FIRST_BLOCK_BYTES;
	struct arena_block *b;

	if (cap > MAX_BLOCK_BYTES)
		cap = MAX_BLOCK_BYTES;
	if (cap < need)
		cap = need;
	b = malloc(sizeof(*b) + cap);
	if (b == NULL)
		fatal("out of memory in arena, %zu bytes wanted", cap);
	b->cap = cap;
	b->used = 0;
	b->next = a->head;
	a->head = b;
	POISON(b->data, b->cap);
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t need;
	void *p;

	if (size > SIZE_MAX / 2)
		return NULL;
	need = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (need == 0)
		need = ALIGNMENT;
	if (a->limit_bytes != 0 &&
		(need > a->limit_bytes ||
			a->used_bytes > a->limit_bytes - need))
		return NULL;
	if (a->head == NULL || a->head->cap - a->head->used < need)
		block_add(a, need);
	p = a->head->data + a->head->used;
	a->head->used += need;
	a->used_bytes += need;
	UNPOISON(p, size);
	return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
	void *p;

	if (size != 0 && n > SIZE_MAX / 2 / size)
		return NULL;
	p = arena_alloc(a, n * size);
	if (p != NULL)
		memset(p, 0, n * size);
	return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p;

	if (len >= SIZE_MAX / 2)
		return NULL;
	p = arena_alloc(a, len + 1);
	if (p == NULL)
		return NULL;
	if (len > 0)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
	struct str s = {NULL, 0};
	char *p;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return s;
	p = arena_alloc(a, (size_t)n + 1);
	if (p == NULL)
		return s;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	s.p = p;
	s.len = (size_t)n;
	return s;
}
