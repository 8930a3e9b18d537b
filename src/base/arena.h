/*
 * arena.h - bump allocator for one request, batch or run.
 *
 * Memory lives until arena_reset or arena_fini; nothing is freed singly.
 * Blocks grow by doubling up to `limit` bytes in all.  arena_alloc never
 * returns NULL except past the limit; when malloc fails the process ends
 * (STYLE section 5).  Freed space is poisoned under AddressSanitizer.
 * Not thread-safe; one owner.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/base.h"
#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *head; /* current block, newest first */
	size_t used_bytes;        /* handed out since the last reset */
	size_t limit_bytes;       /* 0: no limit */
};

void arena_init(struct arena *a, size_t limit_bytes);
/* Gives all memory back to the system. */
void arena_fini(struct arena *a);
/* Forgets all objects, keeps the first block for the next use. */
void arena_reset(struct arena *a);

/* 16-byte aligned, not cleared.  NULL when the limit would be passed. */
void *arena_alloc(struct arena *a, size_t size) MUST_CHECK;
/* As arena_alloc, cleared; n * size is checked for overflow. */
void *arena_calloc(struct arena *a, size_t n, size_t size) MUST_CHECK;
/* NUL-terminated copy of len bytes; NULL past the limit. */
char *arena_strndup(struct arena *a, const char *s, size_t len) MUST_CHECK;
/* Formatted, NUL-terminated; .p is NULL past the limit. */
struct str arena_printf(struct arena *a, const char *fmt, ...)
	PRINTF_LIKE(2, 3);

#endif
