/*
 * num.h - strict text <-> number.  The whole text must be the number; no
 * leading blanks, no overflow, no locale.
 */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/base.h"
#include "base/str.h"

/* Optional sign, decimal digits.  -1 on anything else or out of range. */
int num_parse_i64(struct str s, int64_t *v_r) MUST_CHECK;
int num_parse_u64(struct str s, uint64_t *v_r) MUST_CHECK;
/* C decimal float syntax, finite only. */
int num_parse_double(struct str s, double *v_r) MUST_CHECK;

#define NUM_DOUBLE_MAX 32
/*
 * Shortest text that reads back to the same double, in the form of dsl.md
 * section 2.5 ("5.0", "1e+16", "1e-05", "-0.0").  v must be finite.  Returns
 * the length, NUL-terminated.
 */
size_t num_print_double(double v, char out[NUM_DOUBLE_MAX]);

#endif
