/* SPDX-License-Identifier: MIT */
/** value/unpickle_names.h: names of Python 2. */
#ifndef CVY_VALUE_UNPICKLE_NAMES_H
#define CVY_VALUE_UNPICKLE_NAMES_H

/** Put what Python 3 calls it in the place of a module and name of Python 2; others stay. */
void cvy_unpickle_rename(const char **module, const char **name);

#endif
