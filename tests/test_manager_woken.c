/* SPDX-License-Identifier: MIT */
/* Wake-ups in the standard types of managers whose calls can do nothing with them. */
#include "types_help.h"

/* ---- woken and gone ------------------------------------------------------------ */

/* This wakes the first that waits, whose session ends before it could go on. */
static void wakes_who_is_gone(struct job *first, const char *method, covey_value *given)
{
    struct job waker;

    CHECK_EQ(start(&waker, &here, method, given), 0);
    end(&waker);
    cvy_cancel(&first->call);
    end(first);
    cvy_parking_run(&parking, cvy_os_now());
}

TEST(a_wake_up_of_who_is_gone_goes_to_the_next)
{
    const struct {
        const struct cvy_class *class;
        const char *made_of, *first, *wait, *waiting_for, *wake, *waking_by, *result;
    } cases[] = {
        {&cvy_type_lock, "", "acquire", "acquire", "", "release", "", "True"},
        {&cvy_type_rlock, "", "acquire", "acquire", "", "release", "", "True"},
        {&cvy_type_condition, "", "acquire", "acquire", "", "release", "", "True"},
        {&cvy_type_semaphore, "1", "acquire", "acquire", "", "release", "", "True"},
        {&cvy_type_queue, "", "qsize", "get", "", "put", "7", "7"},
        {&cvy_type_queue, "1", "full", "put", "1", "get", "", "None"},
    };
    struct job gone, next;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(cases[i].class, args(cases[i].made_of));
        if (strcmp(cases[i].wait, "put") == 0)
            gives(&here, "put", args("0"), "None");
        gives(&here, cases[i].first, NULL,
              strcmp(cases[i].first, "qsize") == 0 ? "0" : "True");
        waits(&gone, &there, cases[i].wait, args(cases[i].waiting_for));
        waits(&next, &there, cases[i].wait, args(cases[i].waiting_for));
        wakes_who_is_gone(&gone, cases[i].wake, args(cases[i].waking_by));
        goes_on(&next, cases[i].result);
        finish();
    }
}

/* Both wait for a new condition, whose lock this has. */
static void two_wait(struct job *gone, struct job *next)
{
    begin(&cvy_type_condition, NULL);
    waits_notified(gone, &there);
    waits_notified(next, &there);
    gives(&here, "acquire", NULL, "True");
}

TEST(a_notification_of_who_is_gone_goes_to_the_next)
{
    struct job gone, next;

    two_wait(&gone, &next);
    wakes_who_is_gone(&gone, "notify", NULL);
    gives(&here, "release", NULL, "None");
    goes_on(&next, "True");
    finish();
}

/* It is notified while the notifier has the lock, so it waits for that when it goes. */
TEST(a_notification_of_who_goes_before_it_has_the_lock_goes_to_the_next)
{
    struct job gone, next;

    two_wait(&gone, &next);
    gives(&here, "notify", NULL, "None");
    cvy_cancel(&gone.call);
    end(&gone);
    cvy_parking_run(&parking, cvy_os_now());
    gives(&here, "release", NULL, "None");
    goes_on(&next, "True");
    finish();
}

/* The lock was released to it, and it goes before it could take it: both go on. */
TEST(a_notification_of_who_goes_as_the_lock_is_its_goes_to_the_next)
{
    struct job gone, next;

    two_wait(&gone, &next);
    gives(&here, "notify", NULL, "None");
    wakes_who_is_gone(&gone, "release", NULL);
    goes_on(&next, "True");
    finish();
}

/* Its time was up: it was not notified, so it has nothing to leave. */
TEST(who_goes_unnotified_before_it_has_the_lock_wakes_nobody)
{
    struct job gone, next;

    begin(&cvy_type_condition, NULL);
    gives(&there, "acquire", NULL, "True");
    waits(&gone, &there, "wait", args("1000.0"));
    waits_notified(&next, &there);
    gives(&here, "acquire", NULL, "True");
    cvy_parking_run(&parking, cvy_os_now() + COVEY_SEC(2000));
    cvy_cancel(&gone.call);
    end(&gone);
    gives(&here, "release", NULL, "None");
    CHECK_EQ(done_count, 0);
    cvy_cancel(&next.call);
    end(&next);
    finish();
}

TEST(who_goes_as_a_barrier_opens_leaves_it_as_it_is)
{
    struct job gone;

    begin(&cvy_type_barrier, args("2"));
    waits(&gone, &there, "wait", NULL);
    wakes_who_is_gone(&gone, "wait", NULL);
    gives(&here, "__getattribute__", name("n_waiting"), "0");
    waits(&gone, &there, "wait", NULL);
    gives(&here, "wait", NULL, "1");
    goes_on(&gone, "0");
    finish();
}

/* ---- woken without memory ------------------------------------------------------ */

static struct cvy_session elsewhere = {.name = "elsewhere"};
static size_t refusals; /* so many reallocations that come next fail */

static void *refusing_realloc(void *old, size_t size)
{
    if (!refusals)
        return realloc(old, size);
    refusals--;
    return NULL;
}

static void ignore_end(void *thing, struct cvy_session *session)
{
    (void)thing;
    (void)session;
}

/* This wakes who cannot note what it gets, and says so. */
static void wakes_in_vain(struct job *first, const char *method)
{
    static int things;
    struct job waker;

    CHECK_EQ(start(&waker, &here, method, NULL), 0);
    end(&waker);
    do
        CHECK_OK(cvy_watch(&there, &things, "thing", ignore_end));
    while (there.watch_count < there.watch_capacity);
    refusals = 1;
    cvy_parking_run(&parking, cvy_os_now());
    CHECK_EQ(refusals, 0);
    goes_on(first, "MemoryError(\"no memory for one more thing that 'there' holds\")");
}

TEST(a_wake_up_of_who_has_no_memory_goes_to_the_next)
{
    const struct cvy_class *const classes[] = {
        &cvy_type_lock, &cvy_type_rlock, &cvy_type_condition, &cvy_type_semaphore};
    struct job first, next;

    CHECK_OK(covey_set_allocator(malloc, refusing_realloc, free));
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        begin(classes[i], NULL);
        gives(&here, "acquire", NULL, "True");
        waits(&first, &there, "acquire", NULL);
        waits(&next, &elsewhere, "acquire", NULL);
        wakes_in_vain(&first, "release");
        goes_on(&next, "True");
        cvy_session_end(&elsewhere);
        finish();
    }
}

TEST(a_notification_of_who_has_no_memory_goes_to_the_next)
{
    struct job first, next;

    CHECK_OK(covey_set_allocator(malloc, refusing_realloc, free));
    begin(&cvy_type_condition, NULL);
    waits_notified(&first, &there);
    waits_notified(&next, &elsewhere);
    gives(&here, "acquire", NULL, "True");
    gives(&here, "notify", NULL, "None");
    wakes_in_vain(&first, "release");
    goes_on(&next, "True");
    cvy_session_end(&elsewhere);
    finish();
}

CHECK_MAIN()
