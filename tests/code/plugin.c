/* SPDX-License-Identifier: MIT */
/*
 * A shared object with an exported and a static function. Built as ANSWER=1 and ANSWER=2
 * it is two builds that differ in a function's size. It says when it is loaded.
 */
#include <unistd.h>

#ifndef ANSWER
#define ANSWER 1
#endif

typedef int number_fn(int);

int plugin_global(int x);
number_fn *plugin_static(void);

static int secret(int x)
{
#if ANSWER == 2
    if (x == 1000)
        return getpid();
#endif
    return x + ANSWER;
}

int plugin_global(int x)
{
    return x - ANSWER;
}

number_fn *plugin_static(void)
{
    return secret;
}

__attribute__((constructor)) static void say(void)
{
    static const char text[] = "plug-in loaded\n";

    if (write(2, text, sizeof text - 1) < 0)
        _exit(1);
}
