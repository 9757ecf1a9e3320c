/* SPDX-License-Identifier: MIT */
/** value/printable.h: what repr() escapes. */
#ifndef CVY_VALUE_PRINTABLE_H
#define CVY_VALUE_PRINTABLE_H

#include <stdbool.h>
#include <stdint.h>

/** Whether Python calls this code point printable. */
bool cvy_printable(uint32_t point);

#endif
