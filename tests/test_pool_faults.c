/* SPDX-License-Identifier: MIT */
/* Each system call on the way of making and using a pool fails once: the call says so
 * and leaves nothing behind, or goes on without it. */
#include "os/faults.h"
#include "process_help.h"

static void *room(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

static int square(struct covey_call *call)
{
    const uint64_t *x = covey_call_arg(call, NULL);
    uint64_t y = *x * *x;
    return covey_call_return(call, &y, sizeof y);
}

static void check_squares(covey_pool *pool, size_t n)
{
    uint64_t *in = room(n * sizeof *in), *out = room(n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        in[i] = i;
    CHECK_OK(covey_pool_map(pool, square, in, sizeof *in, out, sizeof *out, n, NULL));
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(out[i], i * i);
    free(in);
    free(out);
}

static int try_pool(long nth, covey_pool **out)
{
    cvy_faults_arm(nth, 0);
    int r = covey_pool_create(out, 2,
                              COVEY_POOL_OPTS(.method = check_method(), .retries = 9));
    return r;
}

/* Faults in children that fork inherits count too: such a worker is replaced. */
CHECK_TEST_(creating_a_pool_fails_cleanly_at_any_call,
            1U << COVEY_FORK | 1U << COVEY_SPAWN | 1U << COVEY_FORKSERVER, 100)
{
    covey_pool *pool = NULL;
    CHECK_OK(try_pool(0, &pool)); /* what is founded once stays */
    check_squares(pool, 100);
    covey_pool_free(pool);
    struct covey_family_usage before = family_usage();
    for (long n = 1;; n++) {
        pool = NULL;
        int r = try_pool(n, &pool);
        bool hit = cvy_faults_last() != NULL;
        const char *what = hit ? cvy_faults_last() : "nothing";
        cvy_faults_arm(0, 0);
        if (r >= 0) {
            check_squares(pool, 100);
            covey_pool_free(pool);
        } else {
            CHECK(hit);
            CHECK(pool == NULL);
            CHECK(covey_error_detail()[0] != 0);
        }
        struct covey_family_usage after = family_usage();
        /* Less by a fork server that was given up; the next start makes another. */
        if (after.objects > before.objects || after.members > before.members)
            check_failed(__FILE__, __LINE__,
                         "call %ld (%s): %d objects, %d members more", n, what,
                         (int)(after.objects - before.objects),
                         (int)(after.members - before.members));
        if (!hit && n > 20)
            break;
    }
}

TEST_EACH_METHOD_TIMEOUT(a_map_goes_on_or_fails_cleanly_at_any_call, 100)
{
    covey_pool *pool = NULL;
    CHECK_OK(try_pool(0, &pool));
    check_squares(pool, 100);
    for (long n = 1; n < 40; n++) {
        enum { N = 20000 };
        static uint64_t in[N], out[N];
        cvy_faults_arm(n, 0);
        int r = covey_pool_map(pool, square, in, 8, out, 8, N, NULL);
        bool hit = cvy_faults_last() != NULL;
        cvy_faults_arm(0, 0);
        CHECK(r >= 0 || hit);
        check_squares(pool, 100);
    }
    covey_pool_free(pool);
}

CHECK_MAIN()
