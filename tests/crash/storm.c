/* SPDX-License-Identifier: MIT */
#include "program.h"
int run_storm(int seconds)
{
    return seconds < 0;
}
