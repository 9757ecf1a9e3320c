/* SPDX-License-Identifier: MIT */
/* Named memory: a process is killed before and after each of its system calls. What
 * others use stays, and what is left can be removed. */
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "memory_help.h"
#include "os_help.h"
#include "stepper.h"

struct scene {
    const char *name;
    bool makes, opens, unlinks, frees; /* what the victim does, in this order */
    bool finds_orphan;                 /* the name's only user was killed before */
    bool has_other_user;               /* who must not lose it */
    bool is_hidden;                    /* no file can be linked */
};

static const struct scene scenes[] = {
    {.name = "create and free", .makes = true, .frees = true},
    {.name = "create and free, hidden",
     .makes = true,
     .frees = true,
     .is_hidden = true},
    {.name = "create and unlink", .makes = true, .unlinks = true, .frees = true},
    {.name = "create over an orphan", .makes = true, .finds_orphan = true},
    {.name = "open an orphan", .opens = true, .frees = true, .finds_orphan = true},
    {.name = "open and free", .opens = true, .frees = true, .has_other_user = true},
    {.name = "create in vain", .makes = true, .has_other_user = true},
};

static void act(const struct scene *scene)
{
    covey_memory *memory = NULL;

    int r = 0;

    if (scene->makes)
        r = covey_memory_create(&memory, "scene", 5000, NULL);
    if (scene->opens)
        r = covey_memory_open(&memory, "scene", NULL);
    CHECK(r == 0 || scene->has_other_user);
    if (scene->unlinks)
        CHECK_OK(covey_memory_unlink(memory));
    if (scene->frees)
        covey_memory_free(memory);
}

_Noreturn static void be_victim(const struct scene *scene)
{
    if (scene->is_hidden)
        deny(SYS_linkat, EPERM);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(1);
    raise(SIGSTOP);
    act(scene);
    _exit(0);
}

/* Run the victim through `stops` beginnings and ends of system calls, and kill it there.
 * Returns: whether it was not at its end yet. */
static bool kill_after(const struct scene *scene, int stops)
{
    int status;
    bool more = true;

    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (pid == 0)
        be_victim(scene);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
    CHECK_EQ(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL), 0);
    for (int i = 0; i < stops && more; i++) {
        CHECK_EQ(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        more = WIFSTOPPED(status);
    }
    if (more) {
        CHECK_EQ(kill(pid, SIGKILL), 0);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFSIGNALED(status));
    }
    return more;
}

/* Others go on as if the victim had never been. */
static void look_around(const struct scene *scene, int stops, covey_memory *memory)
{
    char place[64];

    snprintf(place, sizeof place, "%s, %d stops", scene->name, stops);
    if (memory) {
        covey_memory *again = opened("scene");
        CHECK_STR_EQ(bytes_of(again), place);
        covey_memory_free(again);
        CHECK(exists("scene"));
        covey_memory_free(memory);
    } else if (exists("scene")) { /* whole, or not at all */
        covey_memory *left = opened("scene");
        size_t size = 0;
        CHECK_OK(covey_memory_size(left, &size));
        CHECK(size == 5000 || (scene->finds_orphan && size == 100));
        covey_memory_free(left);
    }
    CHECK_OK(covey_memory_clean(NULL, NULL));
    if (!is_bare())
        check_failed(__FILE__, __LINE__, "%s: something is left", place);
}

static bool try_point(const struct scene *scene, int stops)
{
    covey_memory *memory = NULL;

    if (scene->finds_orphan)
        make_orphan("scene");
    if (scene->has_other_user) {
        memory = made("scene", 5000);
        snprintf(bytes_of(memory), 100, "%s, %d stops", scene->name, stops);
    }
    bool more = kill_after(scene, stops);
    look_around(scene, stops, memory);
    return more;
}

/* Without a use of the name after the kill: cleaning is enough, or creating anew. */
static void try_other_ways(const struct scene *scene, int stops)
{
    covey_memory *memory = NULL;

    (void)kill_after(scene, stops);
    CHECK_OK(covey_memory_clean(NULL, NULL));
    CHECK(is_bare());
    (void)kill_after(scene, stops);
    CHECK_OK(covey_memory_create(&memory, "scene", 10, NULL));
    covey_memory_free(memory);
    CHECK_OK(covey_memory_clean(NULL, NULL));
    CHECK(is_bare());
}

TEST_TIMEOUT(kill_at_any_system_call_harms_nobody, 120)
{
    if (!stepper_works())
        SKIP("processes cannot be traced here");
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        int stops = 0;

        while (try_point(&scenes[i], stops)) {
            if (!scenes[i].finds_orphan && !scenes[i].has_other_user)
                try_other_ways(&scenes[i], stops);
            stops++;
        }
        fprintf(stderr, "%s: %d points\n", scenes[i].name, stops);
        CHECK_GT(stops, 10);
    }
}

CHECK_MAIN()
