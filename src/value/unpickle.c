/* SPDX-License-Identifier: MIT */
/*
 * Reading pickles: the machine and its limits.
 *
 * Work and memory are bounded by the input's size and the limits, whatever it says:
 * nothing is allocated before the bytes for it are there; numbers of the memo are below
 * 256 or the input's size; shared parts that would unfold to too much are refused by
 * `max_count`;
 * keys are hashed once; comparing them, and what a call such as set(list) goes through,
 * takes steps, of which a pickle written by Python never needs as many as there are, as
 * its keys differ and it calls with each container once.
 */
#include "value/unpickle.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "value/inside.h"

#define DEFAULT_MEMORY ((size_t)1 << 30)
#define DEFAULT_COUNT  ((size_t)64 << 20)

/* ---- reading ----------------------------------------------------------------- */

int cvy_unpickle_take(struct cvy_unpickler *u, size_t size, const unsigned char **ret)
{
    if (size > (size_t)(u->end - u->at))
        return cvy_unpickle_bad("it ends too early");
    *ret = u->at;
    u->at += size;
    return 0;
}

int cvy_unpickle_number(struct cvy_unpickler *u, size_t size, uint64_t *ret)
{
    const unsigned char *bytes = NULL;
    uint64_t number = 0;
    int r = cvy_unpickle_take(u, size, &bytes);

    if (r < 0)
        return r;
    for (size_t i = 0; i < size; i++)
        number |= (uint64_t)bytes[i] << 8 * i;
    *ret = number;
    return 0;
}

int cvy_unpickle_line(struct cvy_unpickler *u, const char **ret, size_t *ret_size)
{
    const unsigned char *end = u->at;

    while (end < u->end && *end != '\n')
        end++;
    if (end == u->end)
        return cvy_unpickle_bad("it ends too early");
    *ret = (const char *)u->at;
    *ret_size = (size_t)(end - u->at);
    u->at = end + 1;
    return 0;
}

/* ---- stack ------------------------------------------------------------------- */

/* Where the stack may not be popped any more. */
static size_t floor_of(const struct cvy_unpickler *u)
{
    return u->mark_count ? u->marks[u->mark_count - 1] : 0;
}

/* Make an array of values longer, which is `own` at first. */
static int lengthen(struct cvy_unpickler *u, covey_value ***array, covey_value **own,
                    size_t *capacity, size_t larger)
{
    bool is_own = *array == own;
    covey_value **longer = is_own ? NULL : *array;
    int r = cvy_heap_grow(&u->heap, &longer, is_own ? 0 : *capacity, larger,
                          sizeof(*longer));

    if (r < 0)
        return r;
    if (is_own)
        memcpy(longer, own, *capacity * sizeof(*own));
    *array = longer;
    *capacity = larger;
    return 0;
}

int cvy_unpickle_push(struct cvy_unpickler *u, covey_value *value)
{
    int r = 0;

    if (!value)
        return cvy_last_code();
    if (cvy_unlikely(u->depth == u->stack_capacity))
        r = lengthen(u, &u->stack, u->own_stack, &u->stack_capacity,
                     2 * u->stack_capacity);
    if (r < 0) {
        covey_value_free(value);
        return r;
    }
    u->stack[u->depth++] = value;
    return 0;
}

int cvy_unpickle_top(struct cvy_unpickler *u, covey_value **ret)
{
    if (u->depth <= floor_of(u))
        return cvy_unpickle_bad("the stack is empty");
    *ret = u->stack[u->depth - 1];
    return 0;
}

int cvy_unpickle_pop(struct cvy_unpickler *u, covey_value **ret)
{
    int r = cvy_unpickle_top(u, ret);

    if (r == 0)
        u->depth--;
    return r;
}

int cvy_unpickle_mark(struct cvy_unpickler *u)
{
    size_t larger = u->mark_capacity ? 2 * u->mark_capacity : 16;
    int r = 0;

    if (u->mark_count == u->mark_capacity) {
        r = cvy_heap_grow(&u->heap, &u->marks, u->mark_capacity, larger,
                          sizeof(*u->marks));
        if (r == 0)
            u->mark_capacity = larger;
    }
    if (r == 0)
        u->marks[u->mark_count++] = u->depth;
    return r;
}

int cvy_unpickle_unmark(struct cvy_unpickler *u, size_t *ret)
{
    if (!u->mark_count)
        return cvy_unpickle_bad("no mark is on the stack");
    *ret = u->marks[--u->mark_count];
    return 0;
}

void cvy_unpickle_drop_above(struct cvy_unpickler *u, size_t depth)
{
    while (u->depth > depth)
        covey_value_free(u->stack[--u->depth]);
}

covey_value *cvy_unpickle_take_from(struct cvy_unpickler *u, size_t place)
{
    covey_value *value = u->stack[place];

    u->stack[place] = NULL;
    return value;
}

/* ---- memo -------------------------------------------------------------------- */

int cvy_unpickle_put(struct cvy_unpickler *u, uint64_t number)
{
    covey_value *value;
    int r = cvy_unpickle_top(u, &value);

    if (r < 0)
        return r;
    if (number > 0xff && number > (size_t)(u->end - u->data))
        return cvy_unpickle_bad("the number for the memo is larger than the pickle");
    if (number >= u->memo_capacity) {
        size_t larger = cvy_max_size(2 * u->memo_capacity, (size_t)number + 16);

        r = lengthen(u, &u->memo, u->own_memo, &u->memo_capacity, larger);
        if (r < 0)
            return r;
    }
    while (u->memo_end <= number)
        u->memo[u->memo_end++] = NULL;
    cvy_ref_private(value);
    if (u->memo[number])
        covey_value_free(u->memo[number]);
    else
        u->memo_count++;
    u->memo[number] = value;
    return 0;
}

int cvy_unpickle_get(struct cvy_unpickler *u, uint64_t number)
{
    if (number >= u->memo_end || !u->memo[number])
        return cvy_fail(COVEY_EPICKLE, "number %llu is not in the memo",
                        (unsigned long long)number);
    return cvy_unpickle_push(u, cvy_ref_private(u->memo[number]));
}

/* ---- running ----------------------------------------------------------------- */

static int step(struct cvy_unpickler *u)
{
    size_t position = (size_t)(u->at - u->data);
    cvy_unpickle_fn *opcode = NULL;
    int r;

    if (u->at == u->end)
        r = cvy_unpickle_bad("it ends too early");
    else if (!(opcode = cvy_unpickle_opcode(*u->at)))
        r = cvy_fail(COVEY_EPICKLE, "0x%02x is no opcode", *u->at);
    else
        u->at++, r = opcode(u);
    if (cvy_likely(r >= 0))
        return 0;
    cvy_detail_prefix("pickle of %zu bytes, at byte %zu", (size_t)(u->end - u->data),
                      position);
    return r == -ENOMEM || r == -EMSGSIZE || r == -ENOTSUP ? r : COVEY_EPICKLE;
}

/* To the end of a whole pickle. */
static int run(struct cvy_unpickler *u)
{
    int r = 0;

    while (r == 0 && !u->stopped)
        r = step(u);
    return r;
}

/* To the end of the bytes, which are one value. */
static int run_inside(struct cvy_unpickler *u)
{
    int r = 0;

    while (r == 0 && u->at < u->end && !u->stopped)
        r = step(u);
    if (r == 0 && (u->stopped || u->depth != 1 || u->mark_count))
        r = cvy_unpickle_bad("it is not one value");
    return r;
}

static void drop(covey_value **values, size_t count, covey_value **own)
{
    for (size_t i = 0; i < count; i++)
        covey_value_free(values[i]);
    if (values != own)
        cvy_free(values);
}

static void set_limits(struct cvy_heap *heap, const struct covey_unpickle_opts *opts,
                       size_t size)
{
    heap->limit = opts->max_memory ? opts->max_memory : DEFAULT_MEMORY;
    heap->max_weight = opts->max_count ? opts->max_count : DEFAULT_COUNT;
    heap->max_depth =
        (unsigned)(opts->max_depth ? opts->max_depth : COVEY_VALUE_DEPTH_MAX);
    heap->strict = true;
    heap->steps = 65536 + 16 * (uint64_t)size;
}

static int check(const void *data, size_t size, const struct covey_unpickle_opts *opts)
{
    if (opts->max_depth > COVEY_VALUE_DEPTH_MAX)
        return cvy_fail(-EINVAL, "unpickle: max_depth %zu is more than %d",
                        opts->max_depth, COVEY_VALUE_DEPTH_MAX);
    return data || !size ? 0 : cvy_fail(-EINVAL, "unpickle: NULL as data");
}

/* Have a machine read `data`. */
static int unpickle(covey_value **out, int (*reads)(struct cvy_unpickler *),
                    const void *data, size_t size, size_t memoized,
                    const struct covey_unpickle_opts *opts)
{
    covey_value *stack[CVY_UNPICKLE_OWN], *memo[CVY_UNPICKLE_OWN];
    struct cvy_unpickler u = {
        .data = data,
        .at = data,
        .end = (const unsigned char *)data + size,
        .stack = stack,
        .own_stack = stack,
        .stack_capacity = CVY_UNPICKLE_OWN,
        .memo = memo,
        .own_memo = memo,
        .memo_count = memoized,
        .memo_capacity = CVY_UNPICKLE_OWN,
    };

    set_limits(&u.heap, opts, size);
    int r = reads(&u);
    if (r == 0)
        *out = u.stack[--u.depth];
    drop(u.memo, u.memo_end, memo);
    drop(u.stack, u.depth, stack);
    cvy_free(u.marks);
    if (r == 0 && opts->ret_size)
        *opts->ret_size = (size_t)(u.at - u.data);
    return r;
}

int covey_value_unpickle(covey_value **out, const void *data, size_t size,
                         const struct covey_unpickle_opts *opts)
{
    struct covey_unpickle_opts copy;
    int r = CVY_TAKE_OPTS(&copy, opts, "unpickle");

    if (r >= 0 && !out)
        r = cvy_fail(-EINVAL, "unpickle: NULL for the result");
    if (r >= 0)
        r = check(data, size, &copy);
    if (r >= 0) /* an empty message has no data, and is a bad pickle as any other */
        r = unpickle(out, run, data ? data : "", size, 0, &copy);
    return r;
}

int cvy_unpickle_inside(covey_value **out, const void *data, size_t size,
                        unsigned memoized, const struct covey_unpickle_opts *opts)
{
    return unpickle(out, run_inside, data, size, memoized, opts);
}
