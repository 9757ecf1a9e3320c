/* SPDX-License-Identifier: MIT */
/* Who uses named memory, when the last user goes, and what is left when it is killed. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/prctl.h>

#include "memory_help.h"

/* ---- the last user ---------------------------------------------------------------- */

TEST(last_user_removes_the_name)
{
    covey_memory *first = made("name", 10), *second = opened("name");

    covey_memory_free(first);
    CHECK(exists("name"));
    covey_memory *third = opened("name");
    covey_memory_free(second);
    CHECK(exists("name"));
    covey_memory_free(third);
    CHECK(!exists("name"));
}

TEST(name_lives_with_a_user_in_another_process)
{
    char name[] = "name";
    covey_memory *memory = made(name, 10);
    struct holder user = hold(open_it, name, true);

    strcpy(bytes_of(memory), "x");
    covey_memory_free(memory);
    CHECK(exists(name));
    covey_memory_free(opened(name));
    CHECK(exists(name));
    let_go(&user); /* by exit(), without a free */
    CHECK(!exists(name));
}

TEST(killed_user_does_not_count)
{
    char name[] = "name";
    covey_memory *memory = made(name, 10);
    struct holder user = hold(open_it, name, true);

    kill_holder(&user);
    CHECK(exists(name));
    covey_memory_free(memory);
    CHECK(!exists(name));
}

TEST(exit_removes_names_and_underscore_exit_does_not)
{
    char name[] = "name";
    struct holder holder = hold(make_it, name, true);

    CHECK(exists(name));
    let_go(&holder);
    CHECK(!exists(name));
    holder = hold(make_it, name, false);
    let_go(&holder);
    CHECK(exists(name));
    CHECK_OK(covey_memory_clean(name, NULL));
    CHECK(!exists(name));
}

/* ---- orphans ---------------------------------------------------------------------- */

TEST(orphan_can_be_opened_with_what_is_in_it)
{
    make_orphan("orphan");
    covey_memory *memory = opened("orphan");
    CHECK_STR_EQ(bytes_of(memory), "from the dead");
    covey_memory_free(memory);
    CHECK(!exists("orphan"));
}

TEST(orphan_is_no_obstacle_for_create)
{
    make_orphan("orphan");
    covey_memory *memory = made("orphan", 20);
    size_t size = 0;
    CHECK_STR_EQ(covey_memory_data(memory, &size), "");
    CHECK_EQ(size, 20);
    CHECK_OK(covey_memory_unlink(memory));
    covey_memory_free(memory);
    make_orphan("orphan");
    CHECK_OK(covey_memory_unlink_name("orphan"));
}

/* ---- forks ------------------------------------------------------------------------ */

static void do_nothing(void *unused)
{
    (void)unused;
}

TEST(fork_child_is_a_user_of_what_it_inherits)
{
    covey_memory *memory = made("inherited", 10);
    struct holder child = hold(do_nothing, NULL, true);

    CHECK_OK(covey_memory_close(memory));
    CHECK(exists("inherited"));
    covey_memory_free(opened("inherited"));
    CHECK(exists("inherited"));
    let_go(&child);
    CHECK(!exists("inherited"));
    covey_memory_free(memory);

    memory = made("inherited", 10);
    child = hold(do_nothing, NULL, true);
    covey_memory_free(memory);
    kill_holder(&child);
    CHECK(exists("inherited"));
    CHECK_OK(covey_memory_clean(NULL, NULL));
    CHECK(!exists("inherited"));
}

static int free_it(void *memory)
{
    strcpy(bytes_of(memory), "child");
    covey_memory_free(memory);
    return exists("inherited") ? 0 : 1;
}

TEST(fork_child_frees_its_own_use_only)
{
    covey_memory *memory = made("inherited", 10);

    CHECK_EQ(end_of(forked(free_it, memory)), 0);
    CHECK_STR_EQ(bytes_of(memory), "child");
    CHECK(exists("inherited"));
    covey_memory_free(memory);
}

/* ---- the host --------------------------------------------------------------------- */

TEST(closing_all_descriptors_does_not_end_the_use)
{
    char name[] = "kept-open";
    covey_memory *memory = made(name, 10);

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close_range(3, ~0U, 0);
        covey_memory_free(memory);
        covey_memory *other = NULL;
        if (covey_memory_open(&other, name, NULL) < 0)
            _exit(1);
        close_range(3, ~0U, 0);
        _exit(0);
    }
    CHECK_EQ(end_of(pid), 0);
    CHECK(exists(name));
    covey_memory_free(memory);
}

/* A race with the end of the process, which is what this is about. */
__attribute__((no_sanitize("thread"))) static void *use_memory(void *bytes)
{
    for (;;)
        atomic_fetch_add((_Atomic unsigned *)bytes, 1);
    return NULL;
}

/* exit() with a thread that goes on: it neither crashes nor keeps the name. */
static int exit_beside_a_thread(void *unused)
{
    covey_memory *memory = made("busy", 10);
    void *bytes = bytes_of(memory);
    pthread_t thread;

    (void)unused;
    CHECK_EQ(pthread_create(&thread, NULL, use_memory, bytes), 0);
    while (!atomic_load((_Atomic unsigned *)bytes))
        continue;
    exit(0);
}

TEST(exit_leaves_memory_to_running_threads)
{
    CHECK_EQ(end_of(forked(exit_beside_a_thread, NULL)), 0);
    CHECK(!exists("busy"));
}

static covey_memory *late;

static void use_late(void)
{
    if (late && strcmp(bytes_of(late), "late") == 0)
        covey_memory_free(late);
}

static int exit_with_a_handler(void *unused)
{
    (void)unused;
    CHECK_EQ(atexit(use_late), 0);
    late = made("late", 10);
    strcpy(bytes_of(late), "late");
    exit(0);
}

TEST(exit_handlers_may_use_and_free_memory)
{
    CHECK_EQ(end_of(forked(exit_with_a_handler, NULL)), 0);
    CHECK(!exists("late"));
}

TEST(many_memories_are_left_at_exit)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 300; i++)
            (void)made(NULL, 10);
        exit(0);
    }
    CHECK_EQ(end_of(pid), 0);
}

/* ---- who does not go on ----------------------------------------------------------- */

/* The descriptor of a file whose lock somebody holds who was stopped while removing it. */
static int stopped_remover(const char *name)
{
    char path[64];

    make_orphan(name);
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_GE(fd, 0);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

TEST(stopped_remover_is_an_error_after_a_second)
{
    int fd = stopped_remover("stuck");
    covey_memory *memory = NULL;

    CHECK_ERR(covey_memory_open(&memory, "stuck", NULL), -EBUSY);
    CHECK_ERR(covey_memory_create(&memory, "stuck", 10, NULL), -EEXIST);
    CHECK_ERR(covey_memory_unlink_name("stuck"), -EBUSY);
    close(fd);
    memory = opened("stuck");
    covey_memory_free(memory);
}

static int let_go_later(void *fd)
{
    usleep(20000);
    flock(*(int *)fd, LOCK_UN);
    return 0;
}

TEST(removal_or_a_look_is_waited_for)
{
    int fd = stopped_remover("watched");
    pid_t pid = forked(let_go_later, &fd);

    /* the lock of the child is that of the descriptor it inherited */
    covey_memory *memory = opened("watched");
    CHECK_EQ(end_of(pid), 0);
    covey_memory *other = opened("watched");
    covey_memory_free(memory);
    covey_memory_free(other);
    CHECK(!exists("watched"));
    close(fd);
}

/* Who leaves while somebody looks whether the name is used tries again. */
TEST(last_user_is_not_misled_by_a_look)
{
    covey_memory *memory = made("looked-at", 10);
    int fd = open("/dev/shm/looked-at", O_RDONLY | O_CLOEXEC);

    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), -1); /* in use */
    covey_memory_free(opened("looked-at"));
    /* The map goes, and then the lock is somebody else's for 20 ms. */
    munmap(bytes_of(memory), 10);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    pid_t pid = forked(let_go_later, &fd);
    CHECK_OK(covey_memory_close(memory));
    CHECK(!exists("looked-at"));
    CHECK_EQ(end_of(pid), 0);
    covey_memory_free(memory);
    close(fd);
}

/* ---- storms ----------------------------------------------------------------------- */

enum { NAMES = 3, STORMERS = 4, KILLS = 150 };

struct storm {
    _Atomic unsigned long rounds, mistakes;
    _Atomic unsigned serial;
    char first[256]; /* mistake */
};

static void note_mistake(struct storm *storm, const char *what)
{
    if (atomic_fetch_add(&storm->mistakes, 1) == 0)
        snprintf(storm->first, sizeof storm->first, "%s; last error: %s", what,
                 covey_error_detail());
}

/* What is open stays by its name, and is the same for all, until its last user goes. */
static bool is_still_there(covey_memory *memory)
{
    covey_memory *same = NULL;
    _Atomic unsigned *mine = covey_memory_data(memory, NULL), *theirs;
    bool good;

    if (covey_memory_open(&same, covey_memory_name(memory), NULL) < 0)
        return false;
    theirs = covey_memory_data(same, NULL);
    atomic_fetch_add(mine, 1);
    unsigned before = atomic_load(mine + 1), serial = atomic_load(theirs + 1);
    /* Its maker may number it just now. */
    good = atomic_load(theirs) != 0 &&
           (serial == before || serial == atomic_load(mine + 1));
    covey_memory_free(same);
    return good;
}

static void storm_once(struct storm *storm, unsigned *seed)
{
    char name[16];
    covey_memory *memory = NULL;
    unsigned number = (unsigned)rand_r(seed);
    int r;

    snprintf(name, sizeof name, "storm-%u", number % NAMES);
    if (number & 16) {
        r = covey_memory_open(&memory, name, NULL);
        if (r < 0 && r != -ENOENT)
            note_mistake(storm, "open");
    } else {
        r = covey_memory_create(&memory, name, 64, NULL);
        if (r < 0 && r != -EEXIST)
            note_mistake(storm, "create");
        if (r == 0)
            ((_Atomic unsigned *)covey_memory_data(memory, NULL))[1] =
                atomic_fetch_add(&storm->serial, 1);
    }
    if ((number & 0x700) == 0)
        (void)covey_memory_clean("storm-", NULL);
    if (memory && !is_still_there(memory))
        note_mistake(storm, "it is not there, or not the same");
    covey_memory_free(memory);
    atomic_fetch_add(&storm->rounds, 1);
}

static int storm_on(void *context)
{
    unsigned seed = (unsigned)getpid();

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        storm_once(context, &seed);
    return 0;
}

/* Each makes the memory, or finds another's, says so in it, and unlinks it by its handle.
 * A name that is gone before its maker unlinks it has been found by somebody. */
static int unlink_on(void *context)
{
    struct storm *storm = context;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        covey_memory *memory = NULL;
        bool is_mine = covey_memory_create(&memory, "storm-0", 64, NULL) == 0;

        if (!is_mine && covey_memory_open(&memory, "storm-0", NULL) < 0)
            continue;
        _Atomic unsigned *finders = covey_memory_data(memory, NULL);
        if (!is_mine)
            atomic_fetch_add(finders, 1);
        int r = covey_memory_unlink(memory);
        if (r < 0 && (r != -ENOENT || (is_mine && !atomic_load(finders))))
            note_mistake(storm, "unlink");
        covey_memory_free(memory);
        atomic_fetch_add(&storm->rounds, 1);
    }
    return 0;
}

static struct storm *begin_storm(pid_t pids[STORMERS], int (*fn)(void *context))
{
    struct storm *storm = mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(storm != MAP_FAILED);
    for (int i = 0; i < STORMERS; i++)
        pids[i] = forked(fn, storm);
    return storm;
}

static void await_rounds(struct storm *storm, unsigned long rounds)
{
    while (atomic_load(&storm->rounds) < rounds && !atomic_load(&storm->mistakes))
        usleep(100);
}

static void end_storm(struct storm *storm, pid_t pids[STORMERS])
{
    for (int i = 0; i < STORMERS; i++)
        kill_and_reap(pids[i]);
    CHECK_STR_EQ(storm->first, "");
    CHECK_EQ(atomic_load(&storm->mistakes), 0);
    CHECK_OK(covey_memory_clean("storm-", NULL));
    for (int i = 0; i < NAMES; i++) {
        char name[24];

        snprintf(name, sizeof name, "storm-%d", i);
        CHECK(!exists(name));
    }
    munmap(storm, sizeof *storm);
}

TEST_TIMEOUT(makers_openers_and_cleaners_never_lose_a_name_in_use, 120)
{
    pid_t pids[STORMERS];
    struct storm *storm = begin_storm(pids, storm_on);

    await_rounds(storm, 20000);
    end_storm(storm, pids);
}

TEST_TIMEOUT(unlink_never_takes_the_name_of_another, 120)
{
    pid_t pids[STORMERS];
    struct storm *storm = begin_storm(pids, unlink_on);

    await_rounds(storm, 20000);
    end_storm(storm, pids);
}

TEST_TIMEOUT(random_kills_harm_no_other_user, 120)
{
    pid_t pids[STORMERS];
    struct storm *storm = begin_storm(pids, storm_on);
    unsigned seed = 1;

    for (int i = 0; i < KILLS; i++) {
        await_rounds(storm,
                     atomic_load(&storm->rounds) + (unsigned)rand_r(&seed) % 100);
        int victim = i % STORMERS;
        kill_and_reap(pids[victim]);
        pids[victim] = forked(storm_on, storm);
    }
    end_storm(storm, pids);
}

CHECK_MAIN()
