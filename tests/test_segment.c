/* SPDX-License-Identifier: MIT */
/* Named memory that managers look after: who has it, and that it goes with the manager. */
#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "memory_names.h"
#include "object_help.h"
#include "process_help.h"

/* ---- helpers ---- */

static covey_memory *named(const char *name)
{
    covey_memory *memory = NULL;
    CHECK_OK(covey_memory_create(&memory, name, 10, NULL));
    return memory;
}

/* Run `fn(context)` in a process that then waits, and kill it. */
static void run_and_kill(void (*fn)(void *context), void *context)
{
    int ends[2], status, pid;
    char byte;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        fn(context);
        CHECK_EQ(write(ends[1], "", 1), 1);
        pause();
    }
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    close(ends[0]);
    close(ends[1]);
}

static covey_manager *start_by(enum covey_start_method method)
{
    covey_manager *manager = NULL;
    CHECK_OK(covey_manager_start(
        &manager, COVEY_MANAGER_OPTS(.segments = COVEY_ON, .method = method)));
    return manager;
}

/* A segment that says its own name, which goes to `name`. */
static covey_memory *segment(covey_manager *manager, char name[64])
{
    covey_memory *memory = NULL;
    CHECK_OK(covey_segment_create(&memory, manager, NULL, 1000, NULL));
    snprintf(name, 64, "%s", covey_memory_name(memory));
    strcpy(bytes_of(memory), name);
    return memory;
}

static void names_are(covey_manager *manager, const char *wanted)
{
    struct covey_bytes text = {0};
    covey_value *names;
    CHECK_OK(covey_segment_names(manager, &names));
    CHECK_OK(covey_value_repr(names, &text));
    CHECK_STR_EQ((const char *)text.data, wanted);
    covey_bytes_free(&text);
    covey_value_free(names);
}

/* The reaper is at it. */
static void goes(const char *name)
{
    while (exists(name))
        usleep(200);
}

/* The reaper that is a child of this process; 0: none. */
static int reaper_of(int manager)
{
    char path[64], line[256];
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int found = 0, parent;
    CHECK(proc != NULL);
    while ((entry = readdir(proc))) {
        snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        if (fgets(line, sizeof line, file) &&
            sscanf(line, "%*d (covey-reaper) %*c %d", &parent) == 1 &&
            parent == manager)
            found = atoi(entry->d_name);
        fclose(file);
    }
    closedir(proc);
    return found;
}

/* It gives itself its name after it was born. */
static int await_reaper_of(int manager, int not_this)
{
    int reaper = 0;
    while (!(reaper = reaper_of(manager)) || reaper == not_this)
        usleep(200);
    return reaper;
}

/* ---- what a manager does ---- */

TEST_EACH_METHOD_AND_THREAD(segments_stay_without_users_and_go_with_the_manager)
{
    covey_manager *manager = start_by(check_method());
    char name[64], other[64], wanted[200];
    covey_memory *memory = segment(manager, name), *again = segment(manager, other);
    covey_memory_free(memory);
    covey_memory_free(again);
    CHECK(exists(name) && exists(other));
    memory = opened(name);
    CHECK_STR_EQ(bytes_of(memory), name);
    snprintf(wanted, sizeof wanted, "['%s', '%s']", name, other);
    names_are(manager, wanted);
    manager_end(manager);
    CHECK(!exists(name) && !exists(other));
    CHECK_STR_EQ(bytes_of(memory), name); /* its user keeps it */
    covey_memory_free(memory);
}

TEST(lists_are_segments_too)
{
    covey_manager *manager = start_by(COVEY_FORK);
    const struct covey_shareable_item items[] = {covey_item_str("Oslo"),
                                                 covey_item_int(3)};
    covey_shareable_list *list;
    int64_t number = 0;
    CHECK_OK(covey_segment_create_list(&list, manager, "a list", items, 2, NULL));
    covey_shareable_list_free(list);
    CHECK_OK(covey_shareable_list_open(&list, "a list", NULL));
    CHECK_OK(covey_shareable_list_get_int(list, 1, &number));
    CHECK_EQ(number, 3);
    covey_shareable_list_free(list);
    manager_end(manager);
    CHECK(!exists("a list"));
}

TEST(a_segment_is_released_once)
{
    covey_manager *manager = start_by(COVEY_FORK);
    char name[64];
    covey_memory *memory = segment(manager, name);
    CHECK_OK(covey_segment_track(manager, memory));
    CHECK_OK(covey_segment_release(manager, name));
    CHECK(!exists(name));
    CHECK_ERR(covey_segment_release(manager, name), -ENOENT);
    CHECK_ERR(covey_segment_track(manager, memory), -ENOENT);
    names_are(manager, "[]");
    CHECK_STR_EQ(bytes_of(memory), name);
    covey_memory_free(memory);
    CHECK_OK(covey_segment_create(&memory, manager, "/mine", 10, NULL));
    CHECK_ERR(covey_segment_create(&memory, manager, "mine", 10, NULL), -EEXIST);
    covey_memory_free(memory);
    CHECK_OK(covey_segment_release(manager, "/mine"));
    manager_end(manager);
}

TEST(memory_of_others_can_be_looked_after)
{
    covey_manager *manager = start_by(COVEY_FORK);
    covey_memory *memory;
    CHECK_OK(
        covey_memory_create(&memory, "kept", 10, COVEY_MEMORY_OPTS(.keep = COVEY_ON)));
    CHECK_OK(covey_segment_track(manager, memory));
    covey_memory_free(memory);
    names_are(manager, "['kept']");
    manager_end(manager);
    CHECK(!exists("kept"));
}

TEST(a_name_that_is_somebody_elses_now_stays)
{
    covey_manager *manager = start_by(COVEY_FORK);
    covey_memory *memory, *stranger;
    CHECK_OK(covey_segment_create(&memory, manager, "name", 10, NULL));
    CHECK_OK(covey_memory_unlink(memory));
    stranger = named("name");
    names_are(manager, "['name']");
    manager_end(manager);
    CHECK(exists("name"));
    manager = start_by(COVEY_FORK);
    CHECK_OK(covey_segment_track(manager, stranger));
    CHECK_OK(covey_memory_unlink(stranger));
    covey_memory *next = named("name");
    CHECK_OK(covey_segment_track(manager, next));
    names_are(manager, "['name']");
    manager_end(manager);
    CHECK(!exists("name"));
    covey_memory_free(memory);
    covey_memory_free(stranger);
    covey_memory_free(next);
}

TEST(a_manager_without_segments_says_so_and_nothing_is_left)
{
    covey_manager *manager;
    covey_memory *memory = NULL;
    covey_shareable_list *list = NULL;
    covey_value *names;
    const struct covey_shareable_item item = covey_item_int(1);
    CHECK_OK(covey_manager_start(&manager, NULL));
    CHECK_ERR(covey_segment_create(&memory, manager, "x", 10, NULL), -ENOTSUP);
    CHECK_STR_HAS(covey_error_detail(), "looks after no memory");
    CHECK_ERR(covey_segment_create_list(&list, manager, "x", &item, 1, NULL), -ENOTSUP);
    CHECK(!exists("x"));
    CHECK_ERR(covey_segment_names(manager, &names), -ENOTSUP);
    CHECK_ERR(covey_segment_release(manager, "x"), -ENOTSUP);
    manager_end(manager);
}

TEST(what_is_no_handle_is_refused)
{
    covey_manager *manager = start_by(COVEY_FORK);
    covey_memory *memory;
    covey_value *names;
    CHECK_ERR(covey_segment_create(NULL, manager, NULL, 10, NULL), -EINVAL);
    CHECK_ERR(covey_segment_create(&memory, NULL, NULL, 10, NULL), -EINVAL);
    CHECK_ERR(covey_segment_create(&memory, manager, NULL, 0, NULL), -EINVAL);
    CHECK_ERR(covey_segment_create_list(NULL, manager, NULL, NULL, 0, NULL), -EINVAL);
    CHECK_ERR(covey_segment_track(manager, NULL), -EINVAL);
    CHECK_ERR(covey_segment_track(NULL, NULL), -EINVAL);
    CHECK_ERR(covey_segment_release(manager, NULL), -EINVAL);
    CHECK_ERR(covey_segment_names(manager, NULL), -EINVAL);
    CHECK_ERR(covey_segment_names(NULL, &names), -EINVAL);
    manager_end(manager);
}

/* ---- deaths ---- */

TEST_EACH_METHOD(segments_go_when_the_manager_is_killed)
{
    covey_manager *manager = start_by(check_method());
    char name[64], other[64];
    covey_memory *memory = segment(manager, name);
    covey_memory_free(segment(manager, other));
    CHECK_EQ(kill(manager_pid(), SIGKILL), 0);
    goes(name);
    goes(other);
    CHECK_STR_EQ(bytes_of(memory), name);
    covey_memory_free(memory);
    CHECK_LT(covey_segment_create(&memory, manager, "late", 10, NULL), 0);
    CHECK(!exists("late"));
    manager_end(manager);
}

/* The process that starts the manager, and is killed. */
struct starter {
    enum covey_start_method method;
    char *names; /* of two, shared */
};

static void start_two(void *context)
{
    struct starter *s = context;
    covey_manager *manager = start_by(s->method);
    (void)segment(manager, s->names);
    covey_memory_free(segment(manager, s->names + 64));
}

TEST_EACH_METHOD(segments_go_when_the_starting_program_is_killed)
{
    struct starter s = {.method = check_method()};
    s.names =
        mmap(NULL, 128, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s.names != MAP_FAILED);
    run_and_kill(start_two, &s);
    CHECK(*s.names && s.names[64]);
    goes(s.names);
    goes(s.names + 64);
}

static void make_segment(void *context)
{
    covey_memory *memory;
    CHECK_OK(covey_segment_create(&memory, context, "its own", 10, NULL));
}

TEST(a_killed_client_leaves_its_segments_to_the_manager)
{
    covey_manager *manager = start_by(COVEY_FORK);
    run_and_kill(make_segment, manager);
    names_are(manager, "['its own']");
    CHECK(exists("its own"));
    manager_end(manager);
    CHECK(!exists("its own"));
}

TEST_EACH_METHOD(a_killed_reaper_is_replaced)
{
    covey_manager *manager = start_by(check_method());
    char name[64], other[64];
    int pid = manager_pid(), reaper = await_reaper_of(pid, 0);
    covey_memory_free(segment(manager, name));
    CHECK_EQ(kill(reaper, SIGTERM), 0); /* is nothing to it */
    CHECK_EQ(kill(reaper, SIGKILL), 0);
    covey_memory_free(segment(manager, other));
    CHECK_NE(await_reaper_of(pid, reaper), reaper);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    goes(name);
    goes(other);
    manager_end(manager);
}

TEST(when_all_are_killed_at_once_the_last_user_removes_it)
{
    covey_manager *manager = start_by(COVEY_FORK);
    char name[64], other[64];
    size_t count;
    int pid = manager_pid(), reaper = await_reaper_of(pid, 0);
    covey_memory *memory = segment(manager, name);
    covey_memory_free(segment(manager, other));
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    CHECK_EQ(kill(reaper, SIGKILL), 0);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_OK(covey_manager_shutdown(manager, COVEY_SEC(20)));
    CHECK(exists(name) && exists(other));
    covey_memory_free(memory);
    CHECK(!exists(name));
    CHECK_OK(covey_memory_clean(NULL, &count));
    CHECK_EQ(count, 1);
    CHECK(!exists(other));
    covey_manager_free(manager);
}

/* At whatever instant of making one. */
TEST(nothing_is_left_of_a_manager_that_is_killed_meanwhile)
{
    for (int round = 0; round < 10; round++) {
        covey_manager *manager = start_by(COVEY_FORK);
        covey_memory *memory;
        char name[64] = "";
        int status, pid = manager_pid(), killer = fork();
        CHECK_GE(killer, 0);
        if (!killer) {
            usleep(500U + 331U * (unsigned)round);
            _exit(kill(pid, SIGKILL));
        }
        while (covey_segment_create(&memory, manager, NULL, 10, NULL) == 0) {
            snprintf(name, sizeof name, "%s", covey_memory_name(memory));
            covey_memory_free(memory);
        }
        CHECK_EQ(waitpid(killer, &status, 0), killer);
        CHECK_EQ(status, 0);
        if (*name)
            goes(name); /* the last of them */
        manager_end(manager);
    }
}

/* ---- the reaper is nobody ---- */

TEST(the_reaper_is_no_user_of_what_the_program_has_open)
{
    covey_memory *memory = named("before");
    covey_manager *manager = start_by(COVEY_THREAD);
    (void)await_reaper_of(getpid(), 0);
    covey_memory_free(memory);
    goes("before");
    manager_end(manager);
    CHECK_EQ(reaper_of(getpid()), 0);
}

TEST_EACH_METHOD(the_reaper_keeps_no_descriptor)
{
    int ends[2], pid, reaper;
    char path[64], byte;
    CHECK_EQ(pipe(ends), 0); /* not close-on-exec */
    covey_manager *manager = start_by(check_method());
    pid = manager_pid();
    reaper = await_reaper_of(pid, 0);
    covey_memory_free(segment(manager, path)); /* it has come up */
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    CHECK_LE(descriptors_of(reaper), 3); /* the folders and one */
    CHECK_EQ(getsid(reaper), reaper);
    CHECK_EQ(kill(pid, SIGCONT), 0);
    manager_end(manager);
    close(ends[1]);
    CHECK_EQ(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

CHECK_MAIN()
