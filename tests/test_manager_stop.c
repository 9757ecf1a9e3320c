/* SPDX-License-Identifier: MIT */
/* Managers that are told to stop before they serve. What they allocate on their way there
 * gives the moment. */
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

CHECK_MAIN()
