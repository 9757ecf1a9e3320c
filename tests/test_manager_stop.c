/* SPDX-License-Identifier: MIT */
/* Managers that are told to stop before they serve. What they allocate on their way there
 * gives the moment. */
#include <sys/mman.h>
#include <time.h>

#include "object_help.h"
#include "server_help.h"

static void (*_Atomic meanwhile)(void); /* called once, at the next allocation */

static void do_meanwhile(void)
{
    void (*fn)(void) = atomic_load(&meanwhile);
    if (fn && atomic_compare_exchange_strong(&meanwhile, &fn, NULL))
        fn();
}

static void *watched_malloc(size_t size)
{
    do_meanwhile();
    return malloc(size);
}

static void *watched_realloc(void *memory, size_t size)
{
    do_meanwhile();
    return realloc(memory, size);
}

TEST_TIMEOUT(a_stop_before_the_manager_serves_is_heeded, 10)
{
    CHECK_OK(covey_set_allocator(watched_malloc, watched_realloc, free));
    atomic_store(&meanwhile, covey_manager_stop);
    CHECK_OK(covey_manager_serve_forever(COVEY_MANAGER_OPTS(.authkey = SERVER_KEY)));
    CHECK(!atomic_load(&meanwhile));
}

static int starter;

/* In the child, when it is prepared for the signal, which a copy of the starter's may not
 * be. */
static void terminate_in_child(void)
{
    struct sigaction action;
    CHECK_EQ(sigaction(SIGTERM, NULL, &action), 0);
    if (getpid() == starter || action.sa_handler == SIG_DFL)
        atomic_store(&meanwhile, terminate_in_child);
    else
        raise(SIGTERM);
}

TEST_TIMEOUT(a_signal_before_the_manager_serves_ends_it, 20)
{
    covey_manager *manager = NULL;
    starter = getpid();
    CHECK_OK(covey_set_allocator(watched_malloc, watched_realloc, free));
    atomic_store(&meanwhile, terminate_in_child);
    CHECK_LT(covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = COVEY_FORK,
                                                              .authkey = SERVER_KEY)),
             0);
}

/* ---- one that comes up late, and then stands still ---- */

#define PATIENCE COVEY_SEC(2)

static _Atomic int *late_one;

static void be_late(void)
{
    struct timespec most = {1, 200000000};
    if (getpid() == starter) {
        atomic_store(&meanwhile, be_late);
        return;
    }
    nanosleep(&most, NULL);
    atomic_store(late_one, getpid());
}

/* Whatever the starter allocates after that is for connecting. */
static void *late_malloc(size_t size)
{
    int pid = getpid() == starter && late_one ? atomic_exchange(late_one, 0) : 0;
    if (pid)
        CHECK_EQ(kill(pid, SIGSTOP), 0);
    return watched_malloc(size);
}

TEST_TIMEOUT(starting_and_connecting_share_the_time_for_both, 20)
{
    covey_manager *manager = NULL;
    starter = getpid();
    late_one = mmap(NULL, sizeof *late_one, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(late_one != MAP_FAILED);
    CHECK_OK(covey_set_allocator(late_malloc, watched_realloc, free));
    atomic_store(&meanwhile, be_late);
    int64_t begin = cvy_os_now();
    CHECK_ERR(
        covey_manager_start(&manager, COVEY_MANAGER_OPTS(.method = COVEY_FORK,
                                                         .authkey = SERVER_KEY,
                                                         .start_timeout = PATIENCE)),
        -ETIMEDOUT);
    int64_t took = cvy_os_now() - begin;
    CHECK_GE(took, PATIENCE);
    CHECK_LT(took, PATIENCE + COVEY_SEC(1));
}

CHECK_MAIN()
