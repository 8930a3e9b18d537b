/*
 * fuzz.h - what the fuzz targets share.  A target is a file fuzz_<name>.c
 * with LLVMFuzzerTestOneInput; `make fuzz` links it with libFuzzer, `make
 * check` with replay.c, which feeds it the seeds of corpus/<name>.
 *
 * A property that does not hold ends the process, as a crash does.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, \
				__LINE__, #cond);                              \
			abort();                                               \
		}                                                              \
	} while (0)

#endif
