/* SPDX-License-Identifier: MIT */
/** base/opts.h: taking over option structs whose first member is their size. */
#ifndef CVY_BASE_OPTS_H
#define CVY_BASE_OPTS_H

#include <stddef.h>

#include <covey/base.h>

/**
 * Copy the caller's options. A shorter struct is an older caller's, its missing fields are
 * zero; a longer one is a newer caller's, whose extra fields must be zero. NULL gives all
 * zero. (The rule of the kernel's clone3 and openat2.)
 * Returns: 0; -EINVAL with the detail "`call`: ...".
 */
int cvy_copy_opts(void *to, size_t to_size, const void *from, size_t from_size,
                  const char *call);

/** The same for a pointer `from` to a struct that begins with `size_t size`, or NULL. */
#define CVY_TAKE_OPTS(to, from, call)                                                  \
    cvy_copy_opts((to), sizeof *(to), (from), (from) ? (from)->size : 0, (call))

/** A switch that the caller gave, and what its option is called. */
struct cvy_switch {
    const char *name;
    enum covey_switch value;
};

/** Check some. Returns: 0; -EINVAL with the detail "`call`: ...". */
int cvy_check_switches(const char *call, const struct cvy_switch *switches,
                       size_t count);
/** The same of a list such as {".keep", o.keep}, {".sparse", o.sparse}. */
#define CVY_CHECK_SWITCHES(call, ...)                                                  \
    cvy_check_switches((call), (const struct cvy_switch[]){__VA_ARGS__},               \
                       sizeof((const struct cvy_switch[]){__VA_ARGS__}) /              \
                           sizeof(struct cvy_switch))

#endif
