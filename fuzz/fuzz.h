/* SPDX-License-Identifier: MIT */
/* fuzz.h: what fuzz targets share: an allocator that counts, and may fail. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <covey.h>

/* libFuzzer calls this for each input; replay.c for the inputs that are kept. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program, which is what a fuzzer takes for a find. */
#define MUST(condition)                                                                \
    ((condition) ? (void)0                                                             \
                 : (fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, \
                            covey_error_detail()),                                     \
                    abort()))

/* Memory that covey has now, and had at most since most_bytes was set. */
extern size_t live_bytes, most_bytes;

/* How many allocations go well before one fails; SIZE_MAX: all. */
extern size_t until_failure;

void use_allocator(void);

#endif
