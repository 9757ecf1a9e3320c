/* SPDX-License-Identifier: MIT */
/* Waiting for the ends of managers that this process has started. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "object_help.h"
#include "process_help.h"

#define PATIENT COVEY_SEC(20)

static covey_manager *start_at(const char *address)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_start(
        &m, COVEY_MANAGER_OPTS(.method = check_method(), .address = address)));
    return m;
}

static covey_manager *connected(const char *address)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_connect(&m, address, NULL, PATIENT));
    return m;
}

/* ---- ends ---- */

/* A client of its own. */
static void *shut_down(void *address)
{
    manager_end(connected(address));
    return NULL;
}

TEST_EACH_METHOD_AND_THREAD(joining_waits_until_somebody_ends_the_manager)
{
    pthread_t client;
    char address[256];
    covey_manager *m = start_at(NULL);
    int64_t begin = cvy_os_now();
    CHECK_ERR(covey_manager_join(m, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_ERR(covey_manager_join(m, COVEY_MSEC(30)), -ETIMEDOUT);
    CHECK_STR_EQ(covey_error_detail(), "covey_manager_join: Manager-1 still runs");
    CHECK_GE(cvy_os_now() - begin, COVEY_MSEC(30));
    snprintf(address, sizeof address, "%s", covey_manager_address(m));
    CHECK_EQ(pthread_create(&client, NULL, shut_down, address), 0);
    CHECK_OK(covey_manager_join(m, COVEY_FOREVER));
    CHECK_EQ(pthread_join(client, NULL), 0);
    CHECK_OK(covey_manager_join(m, COVEY_NOWAIT));
    CHECK_OK(covey_manager_shutdown(m, PATIENT));
    CHECK_OK(covey_manager_join(m, COVEY_FOREVER));
    covey_manager_free(m);
}

static void *join(void *manager)
{
    CHECK_OK(covey_manager_join(manager, COVEY_FOREVER));
    return NULL;
}

TEST_EACH_METHOD_AND_THREAD(several_threads_join_while_another_shuts_down)
{
    pthread_t threads[4];
    covey_manager *m = start_at(NULL);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, join, m), 0);
    CHECK_OK(covey_manager_shutdown(m, PATIENT));
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    covey_manager_free(m);
}

TEST_EACH_METHOD(joining_tells_of_what_a_manager_has_died)
{
    covey_manager *m = start_at(NULL);
    covey_proxy *list = new_object(m, "list"); /* keeps the handle's memory */
    CHECK_EQ(kill(manager_pid(), SIGKILL), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(covey_manager_join(m, PATIENT), COVEY_ECRASHED);
        CHECK_STR_HAS(covey_error_detail(), "covey_manager_join: Manager-1 (pid ");
        CHECK_STR_HAS(covey_error_detail(), "ended with signal SIGKILL");
    }
    covey_manager_free(m);
    covey_proxy_free(list);
}

TEST_EACH_METHOD(a_manager_that_is_terminated_has_ended_in_order)
{
    covey_manager *m = start_at(NULL);
    CHECK_EQ(kill(manager_pid(), SIGTERM), 0);
    CHECK_OK(covey_manager_join(m, PATIENT));
    covey_manager_free(m);
}

static int exit_make(covey_request *request, void **ret_self)
{
    (void)request;
    (void)ret_self;
    covey_exit(3);
}

static const struct covey_class exit_class = {.size = sizeof(struct covey_class),
                                              .create = exit_make};

TEST_EACH_METHOD(a_manager_that_exits_has_not_ended_in_order)
{
    covey_proxy *none;
    CHECK_OK(covey_manager_register("Exit", &exit_class, NULL));
    covey_manager *m = start_at(NULL);
    CHECK_LT(covey_proxy_create(&none, m, "Exit", NULL, NULL), 0);
    CHECK_ERR(covey_manager_join(m, PATIENT), COVEY_ECRASHED);
    CHECK_STR_HAS(covey_error_detail(), "ended with exit code 3");
    covey_manager_free(m);
}

TEST_TIMEOUT(a_thread_that_is_stopped_is_joined, 30)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_start(&m, COVEY_MANAGER_OPTS(.method = COVEY_THREAD)));
    covey_manager_stop();
    CHECK_OK(covey_manager_join(m, PATIENT));
    covey_manager_free(m);
}

/* A handle means the one that was started with it, whoever is at the address now. */
TEST_EACH_METHOD(a_handle_is_joined_whose_address_is_anothers)
{
    char address[64];
    snprintf(address, sizeof address, "/tmp/covey-join-%d", (int)getpid());
    covey_manager *first = start_at(address);
    CHECK_EQ(kill(manager_pid(), SIGKILL), 0);
    CHECK_ERR(covey_manager_join(first, PATIENT), COVEY_ECRASHED);
    covey_manager *second = start_at(address);
    CHECK_ERR(covey_manager_join(first, PATIENT), COVEY_ECRASHED);
    CHECK_STR_HAS(covey_error_detail(), "Manager-1");
    CHECK_ERR(covey_manager_join(second, COVEY_NOWAIT), -ETIMEDOUT);
    covey_manager_free(first);
    CHECK_OK(covey_manager_shutdown(second, PATIENT));
    CHECK_OK(covey_manager_join(second, COVEY_NOWAIT));
    covey_manager_free(second);
}

/* ---- who may not ---- */

static int join_anothers(struct covey_view arg)
{
    covey_manager *m = *(covey_manager *const *)arg.data;
    CHECK_ERR(covey_manager_join(m, COVEY_FOREVER), COVEY_ENOTOWNER);
    CHECK_STR_HAS(covey_error_detail(), covey_manager_address(m));
    return 0;
}

TEST_EACH_METHOD(only_the_starter_joins)
{
    covey_manager *m = start_at(NULL), *client;
    CHECK_EQ(run(join_anothers, COVEY_VIEW_OF(m), OPTS(0)), 0);
    client = connected(covey_manager_address(m));
    CHECK_ERR(covey_manager_join(client, COVEY_FOREVER), COVEY_ENOTOWNER);
    covey_manager_free(client);
    CHECK_ERR(covey_manager_join(client, COVEY_FOREVER), COVEY_EFREED);
    CHECK_ERR(covey_manager_join(NULL, COVEY_FOREVER), -EINVAL);
    manager_end(m);
}

static covey_manager *self; /* as the thread that is a manager knows it */

static int self_make(covey_request *request, void **ret_self)
{
    (void)ret_self;
    CHECK_ERR(covey_manager_join(self, COVEY_FOREVER), COVEY_ESTATE);
    return covey_request_raise(request, "RuntimeError", NULL);
}

static const struct covey_class self_class = {.size = sizeof(struct covey_class),
                                              .create = self_make};

TEST_TIMEOUT(a_thread_that_is_the_manager_cannot_join_itself, 30)
{
    covey_proxy *none;
    CHECK_OK(covey_manager_register("Self", &self_class, NULL));
    CHECK_OK(covey_manager_start(&self, COVEY_MANAGER_OPTS(.method = COVEY_THREAD)));
    CHECK_ERR(covey_proxy_create(&none, self, "Self", NULL, NULL), COVEY_EREMOTE);
    manager_end(self);
}

CHECK_MAIN()
