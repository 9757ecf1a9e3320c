/* SPDX-License-Identifier: MIT */
/* values.c: a map over values: pickled here, by the caller, and read here, so that what
 * cannot be pickled or read is the caller's error and no worker's. */
#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "pool/pool.h"

#include <covey/value.h>

struct sides {
    size_t n;
    struct covey_bytes *in, *out;
    struct covey_view *views;
    unsigned char *outcomes;
};

static void free_sides(struct sides *sides)
{
    for (size_t i = 0; i < sides->n; i++) {
        if (sides->in)
            covey_bytes_free(&sides->in[i]);
        if (sides->out)
            covey_bytes_free(&sides->out[i]);
    }
    cvy_free(sides->in);
    cvy_free(sides->out);
    cvy_free(sides->views);
    cvy_free(sides->outcomes);
}

static int pickle_all(struct sides *sides, const covey_value *list, const char *call)
{
    sides->in = cvy_calloc(sides->n + 1, sizeof *sides->in);
    sides->out = cvy_calloc(sides->n + 1, sizeof *sides->out);
    sides->views = cvy_calloc(sides->n + 1, sizeof *sides->views);
    sides->outcomes = cvy_calloc(sides->n + 1, 1);
    if (!sides->in || !sides->out || !sides->views || !sides->outcomes)
        return cvy_fail(-ENOMEM, "%s: no memory for %zu items", call, sides->n);
    for (size_t i = 0; i < sides->n; i++) {
        int r = covey_value_pickle(covey_value_at(list, i), &sides->in[i]);
        if (r < 0) {
            cvy_detail_prefix("%s: item %zu", call, i);
            return r;
        }
        sides->views[i] = COVEY_VIEW(sides->in[i].data, sides->in[i].size);
    }
    return 0;
}

/* A task that returned nothing returned None, as in Python. */
static int read_all(const struct sides *sides, covey_value **out, const char *call)
{
    covey_value *list = covey_value_list();
    for (size_t i = 0; i < sides->n; i++) {
        covey_value *item = NULL;
        int r = 0;
        if (sides->outcomes && sides->outcomes[i] == COVEY_OUTCOME_OK &&
            sides->out[i].size)
            r = covey_value_unpickle(&item, sides->out[i].data, sides->out[i].size,
                                     NULL);
        else
            item = covey_value_none();
        if (r >= 0)
            r = covey_value_append(list, item);
        if (r < 0) {
            cvy_detail_prefix("%s: result %zu", call, i);
            covey_value_free(list);
            return r;
        }
    }
    *out = list;
    return 0;
}

/* Whether each item was run, to whatever end. */
static bool all_ran(const struct sides *sides)
{
    for (size_t i = 0; i < sides->n; i++) {
        unsigned char outcome = sides->outcomes[i];
        if (outcome == COVEY_OUTCOME_NONE || outcome == COVEY_OUTCOME_CANCELLED ||
            outcome == COVEY_OUTCOME_LOST)
            return false;
    }
    return true;
}

int covey_pool_map_values(covey_pool *pool, covey_task_fn *fn, const covey_value *list,
                          covey_value **out, const struct covey_map_opts *options)
{
    static const char call[] = "covey_pool_map_values";
    struct covey_map_opts opts;
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r < 0)
        return r;
    enum covey_kind kind = covey_value_kind(list);
    if (kind != COVEY_VALUE_LIST && kind != COVEY_VALUE_TUPLE)
        return cvy_fail(COVEY_ETYPE, "%s: items come in a list or tuple, not in a %s",
                        call, covey_value_type(list));
    r = covey_value_check(list);
    if (r < 0) {
        cvy_detail_prefix("%s", call);
        return r;
    }
    struct sides sides = {.n = covey_value_count(list)};
    unsigned char *outcomes = opts.outcomes;
    r = pickle_all(&sides, list, call);
    if (r >= 0) {
        opts.size = sizeof opts;
        opts.outcomes = sides.outcomes;
        r = covey_pool_map_bytes(pool, fn, sides.views, sides.out, sides.n, &opts);
    }
    bool is_whole = r >= 0 || (sides.n && sides.outcomes && all_ran(&sides));
    for (size_t i = 0; outcomes && sides.outcomes && i < sides.n; i++)
        outcomes[i] = sides.outcomes[i];
    if (is_whole && out) {
        int read = read_all(&sides, out, call);
        r = r < 0 ? r : read;
    }
    free_sides(&sides);
    return r;
}
