/* SPDX-License-Identifier: MIT */
/*
 * messages.h: what is sent in the rows of pipes: a few different messages in turn, more of
 * them than a core's own cache holds where they are large.
 */
#ifndef MESSAGES_H
#define MESSAGES_H

#include <stddef.h>

enum { MOST_MESSAGES = 32, LEAST_MESSAGE = 8 };

/** How many different ones of this size there are. */
unsigned messages_count(size_t size);

/** Make them; every process makes the same. Byte 0 tells which one, byte 1 whose. */
void messages_make(unsigned char *messages[MOST_MESSAGES], size_t size, int sender);

/** Check that `got` is message number `which`, byte by byte. */
void messages_check(const unsigned char *got, size_t size,
                    unsigned char *const *messages, size_t wanted_size, unsigned which);

#endif
