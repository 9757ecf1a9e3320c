/* SPDX-License-Identifier: MIT */
/* opts.c: see opts.h. */
#include "base/opts.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

static int is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return 0;
    return 1;
}

int cvy_copy_opts(void *to, size_t to_size, const void *from, size_t from_size,
                  const char *call)
{
    memset(to, 0, to_size);
    if (!from)
        return 0;
    if (!from_size && !is_zero(from, to_size))
        return cvy_fail(-EINVAL, "%s: options without their size; use the OPTS macro",
                        call);
    if (from_size > to_size &&
        !is_zero((const unsigned char *)from + to_size, from_size - to_size))
        return cvy_fail(-EINVAL, "%s: options of a newer covey than this one", call);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
    return 0;
}

int cvy_check_switches(const char *call, const struct cvy_switch *switches,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (switches[i].value != COVEY_UNSET && switches[i].value != COVEY_ON &&
            switches[i].value != COVEY_OFF)
            return cvy_fail(-EINVAL, "%s: %s is none of COVEY_ON, COVEY_OFF, 0", call,
                            switches[i].name);
    return 0;
}
