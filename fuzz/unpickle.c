/* SPDX-License-Identifier: MIT */
/* Any bytes as pickle: an error with its position, or a value that can be written, read
 * again and printed; and never more memory than allowed. */
#include <errno.h>

#include "fuzz.h"

enum { MEMORY = 1 << 20, COUNT = 20000, DEPTH = 100 };

/* Replace a value by what its pickle gives. */
static void read_again(covey_value **value, struct covey_bytes *pickle)
{
    covey_value *other = NULL;

    MUST(covey_value_pickle(*value, pickle) == 0);
    MUST(covey_value_unpickle(&other, pickle->data, pickle->size, NULL) == 0);
    covey_value_free(*value);
    *value = other;
}

static void compare(const covey_value *a, const covey_value *b)
{
    enum covey_order order;
    uint64_t hash_a, hash_b;

    if (covey_value_equal(a, b) && covey_value_hash(a, &hash_a) == 0)
        MUST(covey_value_hash(b, &hash_b) == 0 && hash_a == hash_b);
    if (covey_value_compare(a, b, &order) == 0 && order == COVEY_ORDER_EQUAL)
        MUST(covey_value_equal(a, b));
}

static int same(const struct covey_bytes *a, const struct covey_bytes *b)
{
    return a->size == b->size && !memcmp(a->data, b->data, a->size);
}

static void use(const covey_value *value)
{
    struct covey_bytes first = {0}, second = {0};
    covey_value *other = covey_value_ref(value);

    read_again(&other, &first); /* may write equal names once that were read twice */
    compare(value, other);
    MUST(covey_value_repr(value, &first) == 0);
    MUST(covey_value_repr(other, &second) == 0);
    MUST(same(&first, &second));
    read_again(&other, &first);
    read_again(&other, &second);
    MUST(same(&first, &second));
    covey_value_free(other);
    covey_bytes_free(&first);
    covey_bytes_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct covey_unpickle_opts opts = {.size = sizeof(opts),
                                       .max_memory = MEMORY,
                                       .max_count = COUNT,
                                       .max_depth = DEPTH};
    covey_value *value = NULL;
    uint8_t none = 0;
    int r;

    use_allocator();
    most_bytes = 0;
    r = covey_value_unpickle(&value, size ? data : &none, size, &opts);
    MUST(most_bytes <= MEMORY);
    if (r == 0) {
        use(value);
        covey_value_free(value);
    } else {
        MUST(r == COVEY_EPICKLE || r == -EMSGSIZE || r == -ENOTSUP);
        MUST(strstr(covey_error_detail(), "at byte "));
    }
    MUST(live_bytes == 0);
    return 0;
}
