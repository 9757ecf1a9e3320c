/* SPDX-License-Identifier: MIT */
/* Named memory when a call of the system fails, each in turn: the call says so, what was
 * there before stays, and nothing is left that could not be cleaned. */
#include "memory_help.h"
#include "os/faults.h"

enum { MOST = 60 };

static int create(void)
{
    covey_memory *memory = NULL;
    int r = covey_memory_create(&memory, "fault", 5000, NULL);

    CHECK_EQ(r == 0, memory != NULL);
    CHECK(r == 0 || !exists("fault"));
    cvy_faults_arm(0, 0);
    covey_memory_free(memory);
    return r;
}

static int create_list(void)
{
    const struct covey_shareable_item items[] = {covey_item_int(1),
                                                 covey_item_str("x")};
    covey_shareable_list *list = NULL;
    int r = covey_shareable_list_create(&list, NULL, items, 2, NULL);

    CHECK_EQ(r == 0, list != NULL);
    cvy_faults_arm(0, 0);
    covey_shareable_list_free(list);
    return r;
}

static covey_memory *other;

static int open_again(void)
{
    covey_memory *memory = NULL;
    int r = covey_memory_open(&memory, "fault", NULL);

    CHECK_EQ(r == 0, memory != NULL);
    CHECK(exists("fault"));
    cvy_faults_arm(0, 0);
    covey_memory_free(memory);
    return r;
}

static int close_it(void)
{
    int r = covey_memory_close(other);

    CHECK(covey_memory_data(other, NULL) == NULL);
    CHECK(r != 0 || !exists("fault"));
    cvy_faults_arm(0, 0);
    return r;
}

static int unlink_it(void)
{
    int r = covey_memory_unlink(other);

    CHECK(r != 0 || !exists("fault"));
    cvy_faults_arm(0, 0);
    return r;
}

static int clean(void)
{
    return covey_memory_clean(NULL, NULL);
}

/* Let the n-th call fail, for every n, with `other` as a user of the name if wanted.
 * Returns: how often that was an error of the call. */
static int fail_each(int (*call)(void), bool wants_other, int error)
{
    int failures = 0;

    for (int n = 1; n < MOST; n++) {
        if (wants_other)
            CHECK_OK(covey_memory_create(&other, "fault", 5000, NULL));
        cvy_faults_arm(n, error);
        int r = call();
        failures += r < 0;
        cvy_faults_arm(0, 0);
        if (wants_other)
            covey_memory_free(other);
        other = NULL;
        CHECK_OK(covey_memory_clean(NULL, NULL));
        CHECK(is_bare());
    }
    return failures;
}

TEST(failing_calls_are_errors_of_create)
{
    CHECK_GE(fail_each(create, false, 0), 5);
    CHECK_GE(fail_each(create, false, EIO), 5);
}

TEST(failing_calls_are_errors_of_a_list)
{
    CHECK_GE(fail_each(create_list, false, 0), 5);
}

TEST(failing_calls_are_errors_of_open)
{
    CHECK_GE(fail_each(open_again, true, 0), 4);
    CHECK_GE(fail_each(open_again, true, EIO), 4);
}

TEST(failing_calls_are_errors_of_close)
{
    CHECK_GE(fail_each(close_it, true, 0), 4);
    CHECK_GE(fail_each(close_it, true, EIO), 4);
}

TEST(failing_calls_are_errors_of_unlink)
{
    CHECK_GE(fail_each(unlink_it, true, 0), 4);
}

TEST(failing_calls_are_errors_of_clean)
{
    CHECK_GE(fail_each(clean, true, 0), 1);
}

CHECK_MAIN()
