/* SPDX-License-Identifier: MIT */
/* value_help.h: what the tests of values share. */
#ifndef VALUE_HELP_H
#define VALUE_HELP_H

#include "check.h"

#include <covey.h>

/* Use up a value: its repr is `text`. */
static inline void is(covey_value *value, const char *text)
{
    struct covey_bytes repr = {0};

    CHECK_OK(covey_value_repr(value, &repr));
    CHECK_STR_EQ((const char *)repr.data, text);
    CHECK_EQ(repr.size, strlen(text));
    covey_bytes_free(&repr);
    covey_value_free(value);
}

/* Use up a value that should not have been made. */
static inline void failed(const covey_value *value, int code)
{
    CHECK(!value);
    CHECK_EQ(covey_value_check(NULL), code);
}

static inline covey_value *numbers(int count)
{
    covey_value *list = covey_value_list();

    for (int i = 0; i < count; i++)
        CHECK_OK(covey_value_append(list, covey_value_int(i)));
    return list;
}

/* A list in a list, and so on. */
static inline covey_value *nested(int depth)
{
    covey_value *value = covey_value_list();

    for (int i = 1; i < depth; i++) {
        covey_value *outer = covey_value_list();

        CHECK_OK(covey_value_append(outer, value));
        value = outer;
    }
    return value;
}

#endif
