/* SPDX-License-Identifier: MIT */
/* A Lock, an Event and a Queue in a manager. */
#include "tour.h"

enum { WORKERS = 3 };

struct things {
    covey_proxy *lock, *event, *queue, *value;
};

static int work(struct covey_view arg)
{
    const struct things *t = arg.data;
    covey_value *task, *value;
    int64_t number, sum;
    must(covey_proxy_event_wait(t->event, COVEY_FOREVER));
    must(covey_proxy_queue_get(t->queue, &task, COVEY_FOREVER));
    must(covey_value_get_int(task, &number));
    covey_value_free(task);

    must(covey_proxy_lock_acquire(t->lock, COVEY_FOREVER));
    must(covey_proxy_value_get(t->value, &value));
    must(covey_value_get_int(value, &sum));
    covey_value_free(value);
    must(covey_proxy_value_set(t->value, covey_value_int(sum + number)));
    must(covey_proxy_lock_release(t->lock));
    return 0;
}

static covey_proxy *make(covey_manager *manager, const char *type, covey_value *args)
{
    covey_proxy *proxy;
    must(covey_proxy_create(&proxy, manager, type, args, NULL));
    return proxy;
}

int main(int argc, char **argv)
{
    covey_init(argc, argv);

    covey_manager *manager;
    covey_process *processes[WORKERS];
    covey_value *args, *value;
    struct things t;
    int64_t sum;
    must(covey_manager_start(&manager, NULL));
    must(covey_value_pack(&args, "(s, i)", "i", 0));
    t.value = make(manager, "Value", args);
    t.lock = make(manager, "Lock", NULL);
    t.event = make(manager, "Event", NULL);
    t.queue = make(manager, "Queue", NULL);

    for (int i = 0; i < WORKERS; i++) {
        must(covey_process_create(&processes[i], work, COVEY_VIEW_OF(t), NULL));
        must(covey_process_start(processes[i]));
        must(covey_proxy_queue_put(t.queue, covey_value_int(i), COVEY_FOREVER));
    }
    printf("set: %d\n", covey_proxy_event_is_set(t.event));
    must(covey_proxy_event_set(t.event));
    for (int i = 0; i < WORKERS; i++) {
        must(covey_process_join(processes[i], COVEY_FOREVER));
        covey_process_free(processes[i]);
    }
    must(covey_proxy_value_get(t.value, &value));
    must(covey_value_get_int(value, &sum));
    covey_value_free(value);
    printf("sum: %d, empty: %d\n", (int)sum, covey_proxy_queue_empty(t.queue));
    int r = covey_proxy_queue_get(t.queue, &value, COVEY_MSEC(10));
    printf("nothing left: %s, in Python %s\n", covey_error_name(r),
           covey_proxy_error_type());

    covey_proxy_free(t.value);
    covey_proxy_free(t.lock);
    covey_proxy_free(t.event);
    covey_proxy_free(t.queue);
    must(covey_manager_shutdown(manager, COVEY_SEC(10)));
    covey_manager_free(manager);
}
