/* SPDX-License-Identifier: MIT */
/* tour.h: all that the tour programs share: a failed call ends the program. */
#ifndef TOUR_H
#define TOUR_H

#include <stdio.h>
#include <stdlib.h>

#include <covey.h>

static inline void must(int result)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", covey_strerror(result), covey_error_detail());
        exit(EXIT_FAILURE);
    }
}

#endif
