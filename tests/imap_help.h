/* SPDX-License-Identifier: MIT */
/* What the tests of iterators share: numbers as an input, and their squares. */
#ifndef TESTS_IMAP_HELP_H
#define TESTS_IMAP_HELP_H

#include "pool_help.h"

struct numbers {
    uint64_t next, end;
    int error; /* at the end, 0: an ordinary one */
    uint64_t number;
};

static inline int next_number(void *ctx, struct covey_view *ret_item)
{
    struct numbers *n = ctx;
    if (n->next == n->end)
        return n->error;
    n->number = n->next++;
    *ret_item = COVEY_VIEW_OF(n->number);
    return 1;
}

static inline uint64_t number_in(const struct covey_bytes *bytes)
{
    uint64_t number;
    CHECK_EQ(bytes->size, sizeof number);
    memcpy(&number, bytes->data, sizeof number);
    return number;
}

static inline void check_ordered(covey_pool *pool, uint64_t n,
                                 const struct covey_imap_opts *opts)
{
    struct numbers in = {.end = n};
    covey_iterator *it = NULL;
    struct covey_bytes got = {0};
    CHECK_OK(covey_pool_imap(&it, pool, task_square, next_number, &in, opts));
    for (uint64_t i = 0; i < n; i++) {
        CHECK_OK(covey_iterator_next(it, &got, COVEY_FOREVER));
        CHECK_EQ(number_in(&got), i * i);
    }
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_FOREVER), COVEY_EEND);
    CHECK_ERR(covey_iterator_next(it, &got, COVEY_NOWAIT), COVEY_EEND);
    covey_iterator_free(it);
    covey_bytes_free(&got);
}

#endif
