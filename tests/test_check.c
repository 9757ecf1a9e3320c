/* SPDX-License-Identifier: MIT */
/* The harness on itself: runs planted_faults, test by test, and reads what it says. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

struct outcome {
    char text[16384];
    int status;
};

static void run_planted(const char *arguments, struct outcome *ret)
{
    char self[PATH_MAX], command[PATH_MAX + 256];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
    snprintf(command, sizeof command, "exec '%s/planted_faults' %s 2>/dev/null",
             dirname(self), arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    ret->text[fread(ret->text, 1, sizeof ret->text - 1, pipe)] = '\0';
    ret->status = pclose(pipe);
}

/* The test fails, and its report holds `reason`. */
static void wants_failure(const char *test, const char *reason)
{
    struct outcome outcome;
    char verdict[256];
    run_planted(test, &outcome);
    snprintf(verdict, sizeof verdict, "not ok 1 %s\n", test);
    CHECK_STR_HAS(outcome.text, verdict);
    CHECK_STR_HAS(outcome.text, reason);
    CHECK(WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 1);
}

#define FAULT(name, reason)                                                            \
    TEST(reports_##name)                                                               \
    {                                                                                  \
        wants_failure(#name, reason);                                                  \
    }

FAULT(failed_check, "40 + 1 == 42: 41 and 42")
FAULT(failed_string, "\"left\" == \"right\": \"left\" and \"right\"")
FAULT(failed_result, "COVEY_ECLOSED gave ")
FAULT(crash, "killed by signal 11")
FAULT(bad_exit, "exit status 3")
FAULT(leaked_descriptor, "-> /dev/null")
FAULT(closed_descriptor, "descriptor gone: 0 ->")
FAULT(zombie, "state Z")
FAULT(living_child, "child not joined: pid")
FAULT(orphan_in_a_new_session, "orphan: pid")
FAULT(hang_with_grandchild, "no end after ")
FAULT(failed_check_in_watched_child, "in the watched child")
FAULT(failed_check_in_unwatched_child, "in the unwatched child")
FAULT(failed_check_in_executed_child, "in the executed child")
FAULT(child_returns_from_body, "a forked child returned")
FAULT(name_left_in_dev_shm, "name in /dev/shm left behind: covey-planted")
FAULT(hook_refuses, "at the end: the hook says no")

TEST(kills_every_process_of_a_test_that_hangs)
{
    struct outcome outcome;
    run_planted("hang_with_grandchild", &outcome);
    const char *first = strstr(outcome.text, "hangs: pid");
    CHECK(first != NULL);
    for (const char *at = first; at; at = strstr(at + 1, "hangs: pid")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d", atoi(at + strlen("hangs: pid")));
        CHECK(access(path, F_OK) != 0);
    }
}

TEST(passes_what_is_right)
{
    struct outcome outcome;
    run_planted("nothing_wrong", &outcome);
    CHECK_STR_EQ(outcome.text, "1..1\nok 1 nothing_wrong\n");
    CHECK_EQ(outcome.status, 0);
}

TEST(runs_once_per_start_method)
{
    struct outcome outcome;
    run_planted("right_method", &outcome);
    CHECK_STR_EQ(outcome.text, "1..3\nok 1 right_method/fork\nok 2 right_method/spawn\n"
                               "ok 3 right_method/forkserver\n");
    run_planted("--method spawn 'right_*'", &outcome);
    CHECK_STR_EQ(outcome.text, "1..1\nok 1 right_method/spawn\n");
}

TEST(prints_a_skip_with_its_reason)
{
    struct outcome outcome;
    run_planted("skipped", &outcome);
    CHECK_STR_EQ(outcome.text, "1..1\nok 1 skipped # SKIP because of 42\n");
    CHECK_EQ(outcome.status, 0);
}

TEST(lists_tests_in_source_order)
{
    struct outcome outcome;
    run_planted("--list", &outcome);
    CHECK(strncmp(outcome.text, "nothing_wrong\nright_method/fork\n", 32) == 0);
}

TEST(refuses_a_name_that_no_test_has)
{
    struct outcome outcome;
    run_planted("no_such_test", &outcome);
    CHECK_STR_HAS(outcome.text, "Bail out!");
    CHECK_NE(outcome.status, 0);
}

CHECK_MAIN()
