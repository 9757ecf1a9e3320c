/* SPDX-License-Identifier: MIT */
/** value/format.h: what the formats of covey_value_pack and _unpack share. */
#ifndef CVY_VALUE_FORMAT_H
#define CVY_VALUE_FORMAT_H

/** The next character that counts, which `*at` stands at then. */
static inline char cvy_format_next(const char **at)
{
    while (**at == ' ' || **at == ',' || **at == ':' || **at == '\n' || **at == '\t')
        ++*at;
    return **at;
}

/** What closes a bracket; 0 if it is none. */
static inline char cvy_format_closing(char opening)
{
    return opening == '(' ? ')' : opening == '[' ? ']' : opening == '{' ? '}' : 0;
}

/** Set the detail: the format is wrong where `at` stands. Returns: -EINVAL. */
int cvy_format_bad(const char *call, const char *format, const char *at);

#endif
