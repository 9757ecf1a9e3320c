/* SPDX-License-Identifier: MIT */
/* tls_linked.c: the functions of a program that is linked with libssl. It is in the archive
 * only, and nothing there needs it: see tls_library.h. */
#include "channel/tls_library.h"

#define ADDRESS(name) name,
const struct cvy_tls_functions cvy_tls_linked = {CVY_TLS_FUNCTIONS(ADDRESS)};
