/* SPDX-License-Identifier: MIT */
/* Named memory and the processes that covey starts. */
#include "process_help.h"

static bool is_there(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return access(path, F_OK) == 0;
}

static int child_opens(struct covey_view arg)
{
    static covey_memory *memory; /* not lost in the end */

    CHECK_OK(covey_memory_open(&memory, arg.data, NULL));
    strcat(covey_memory_data(memory, NULL), ", child");
    return 0; /* its end is the end of its use */
}

TEST_EACH_METHOD(child_opens_memory_by_its_name)
{
    covey_memory *memory = NULL;

    CHECK_OK(covey_memory_create(&memory, NULL, 100, NULL));
    char name[64];
    snprintf(name, sizeof name, "%s", covey_memory_name(memory));
    strcpy(covey_memory_data(memory, NULL), "parent");
    CHECK_EQ(run(child_opens, COVEY_VIEW(name, strlen(name) + 1), OPTS(0)), 0);
    CHECK_STR_EQ(covey_memory_data(memory, NULL), "parent, child");
    CHECK(is_there(name));
    covey_memory_free(memory);
    CHECK(!is_there(name));
}

static int child_makes(struct covey_view arg)
{
    static covey_memory *memory; /* not lost in the end */

    CHECK_OK(covey_memory_create(&memory, arg.data, 100, NULL));
    return 0;
}

TEST_EACH_METHOD(end_of_a_child_removes_the_names_it_used_last)
{
    CHECK_EQ(run(child_makes, COVEY_VIEW("childs", 7), OPTS(0)), 0);
    CHECK(!is_there("childs"));
}

TEST(child_by_fork_is_a_user_of_what_it_inherits)
{
    struct shared *s = share();
    covey_memory *memory = NULL;
    covey_process *p;

    CHECK_OK(covey_memory_create(&memory, "inherited", 100, NULL));
    p = started(run_until_told, COVEY_VIEW_OF(s),
                COVEY_PROCESS_OPTS(.method = COVEY_FORK));
    family_await(&s->begun, 1);
    covey_memory_free(memory);
    CHECK(is_there("inherited"));
    family_tell(&s->go);
    CHECK_EQ(end_of(p), 0);
    CHECK(!is_there("inherited"));
}

CHECK_MAIN()
