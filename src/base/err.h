/*
 * err.h - the reason of a failure, filled in by the function that failed.
 *
 * A function that can fail returns 0 or -1 and takes a last parameter
 * `struct err *err_r`, which may be NULL.  `code` is a stable word (table
 * below) for the caller to branch on, `text` one sentence for people: lower
 * case, no full stop, names the object and the reason, never a secret.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/base.h"

enum err_code {
	ERR_NONE,
	ERR_INVALID,     /* the caller's input is wrong */
	ERR_LIMIT,       /* the caller's input is too large */
	ERR_NOT_FOUND,   /* the named object does not exist */
	ERR_CONFLICT,    /* the object exists or is in another state */
	ERR_FORBIDDEN,   /* the caller may not */
	ERR_UNAVAILABLE, /* the database or a queue cannot serve now */
	ERR_TIMEOUT,     /* a deadline passed */
	ERR_SYSTEM       /* the operating system refused */
};

struct err {
	enum err_code code;
	char text[512];
};

/* Fills err_r unless it is NULL; always returns -1. */
int err_set(struct err *err_r, enum err_code code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* As err_set with ": " and strerror(errno) appended; keeps errno. */
int err_set_errno(struct err *err_r, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
