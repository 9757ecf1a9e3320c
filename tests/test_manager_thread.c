/* SPDX-License-Identifier: MIT */
/* Managers that are threads of this process: nothing can end them while a method runs. */
#include <errno.h>
#include <unistd.h>

#include "object_help.h"
#include "process_help.h"

#define PATIENT COVEY_SEC(20)

static int begun[2], gate[2]; /* pipes: a method has begun; it may end */

static int gate_make(covey_request *request, void **ret_self)
{
    (void)request;
    *ret_self = gate;
    return 0;
}

/* In the manager's own thread, so that it does nothing else meanwhile. */
static int gate_wait(covey_request *request, void *self)
{
    char byte;
    (void)self;
    if (write(begun[1], "", 1) != 1 || read(gate[0], &byte, 1) != 1)
        return -EIO;
    return covey_request_return(request, covey_value_none());
}

static const struct covey_method gate_methods[] = {{"wait", gate_wait, 0}};
static const struct covey_class gate_class = {.size = sizeof(struct covey_class),
                                              .methods = gate_methods,
                                              .method_count = 1,
                                              .create = gate_make};

static covey_manager *start_thread(void)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_start(&m, COVEY_MANAGER_OPTS(.method = COVEY_THREAD)));
    return m;
}

TEST_TIMEOUT(a_thread_that_is_not_awaited_ends, 60)
{
    covey_manager *m = NULL;
    int failed = 0;
    for (int i = 0; i < 200 && failed < 20;
         i++) { /* it may come up before it is awaited */
        bool is_up =
            covey_manager_start(&m, COVEY_MANAGER_OPTS(.method = COVEY_THREAD,
                                                       .start_timeout = 1000)) == 0;
        if (is_up)
            manager_end(m);
        failed += !is_up;
    }
    CHECK_GT(failed, 0);
    m = start_thread();
    manager_end(m);
}

TEST_TIMEOUT(shutting_down_a_thread_takes_no_longer_than_said, 60)
{
    covey_reply *reply = NULL;
    char byte;
    CHECK_EQ(pipe(begun), 0);
    CHECK_EQ(pipe(gate), 0);
    CHECK_OK(covey_manager_register("Gate", &gate_class, NULL));
    covey_manager *m = start_thread();
    covey_proxy *object = new_object(m, "Gate");
    CHECK_OK(covey_proxy_send(&reply, object, "wait", NULL, NULL, PATIENT));
    CHECK_EQ(read(begun[0], &byte, 1), 1);
    CHECK_ERR(covey_manager_shutdown(m, COVEY_MSEC(50)), -ETIMEDOUT);
    CHECK_ERR(covey_manager_shutdown(m, COVEY_NOWAIT), -ETIMEDOUT);
    CHECK_EQ(write(gate[1], "", 1), 1);
    CHECK_OK(covey_manager_shutdown(m, PATIENT));
    for (int i = 0; i < 2; i++) {
        close(begun[i]);
        close(gate[i]);
    }
    covey_reply_free(reply);
    covey_proxy_free(object);
    covey_manager_free(m);
}

TEST_TIMEOUT(a_thread_is_stopped_without_a_client, 60)
{
    covey_manager *m = start_thread();
    covey_manager_stop();
    manager_end(m);
}

CHECK_MAIN()
