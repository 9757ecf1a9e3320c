/* SPDX-License-Identifier: MIT */
/* Calls of shared objects' methods, by hand: what a server makes of results, exceptions,
 * the budget, waiting, and sessions that end. The class here is a lock. */
#include <errno.h>

#include "base/memory.h"
#include "check.h"
#include "manager/class.h"
#include "os/os.h"

struct gate {
    struct cvy_session *owner;
    struct cvy_waiters waiters;
    int abandoned;
};

static struct cvy_session here = {.name = "here"}, there = {.name = "there"};
static struct gate *self;
static struct cvy_referent object;
static struct cvy_parking parking;
static struct cvy_call *done[8];
static int done_results[8];
static size_t done_count;

static void let_go(struct gate *g)
{
    g->owner = NULL;
    (void)cvy_wake_first(&g->waiters);
}

static void gate_gone(void *thing, struct cvy_session *session)
{
    struct gate *g = thing;
    CHECK(g->owner == session);
    g->abandoned++;
    let_go(g);
}

static int take(struct cvy_call *call, struct gate *g)
{
    int r = cvy_watch(call->session, g, "gate", gate_gone);
    if (r < 0)
        return r;
    g->owner = call->session;
    return cvy_return(call, covey_value_bool(1));
}

static int resume_acquire(struct cvy_call *call, void *state, enum cvy_why why)
{
    if (why == CVY_WOKEN)
        return take(call, state);
    return cvy_return(call, covey_value_bool(0));
}

static int gate_acquire(struct cvy_call *call, void *state)
{
    struct gate *g = state;
    int64_t number;
    int r = covey_value_get_int(covey_value_at(call->args, 0), &number);
    if (r < 0)
        return r;
    return g->owner ? cvy_park(call, &g->waiters, number, resume_acquire)
                    : take(call, g);
}

static int gate_release(struct cvy_call *call, void *state)
{
    struct gate *g = state;
    if (!g->owner)
        return cvy_raise(call, "RuntimeError", "release unlocked %s", "lock");
    cvy_unwatch(g->owner, g);
    let_go(g);
    return cvy_return(call, covey_value_none());
}

static int gate_work(struct cvy_call *call, void *state)
{
    (void)state;
    int r = cvy_charge_steps(call, 1000 * 1000);
    return r ? r : cvy_return(call, covey_value_none());
}

static int gate_eat(struct cvy_call *call, void *state)
{
    (void)state;
    int r = cvy_charge_bytes(call, (uint64_t)1 << 60);
    return r ? r : cvy_return(call, covey_value_none());
}

static void gate_destroy(void *state)
{
    struct gate *g = state;
    if (g->owner)
        cvy_unwatch(g->owner, g);
    cvy_free(g);
}

static int gate_create(struct cvy_call *call, void **ret_self)
{
    (void)call;
    *ret_self = cvy_calloc(1, sizeof(struct gate));
    return *ret_self ? 0 : -ENOMEM;
}

static const struct cvy_class gate_class;

static int gate_twin(struct cvy_call *call, void *state)
{
    (void)state;
    return cvy_return_object(call, &gate_class, cvy_calloc(1, sizeof(struct gate)));
}

static int gate_repr(struct cvy_call *call, void *state)
{
    (void)state;
    return cvy_return(call, covey_value_str("<gate>"));
}

static const struct cvy_method methods[] = {
    {"acquire", gate_acquire, 0}, {"release", gate_release, 0}, {"work", gate_work, 0},
    {"eat", gate_eat, CVY_GROWS}, {"twin", gate_twin, 0},
};
static const struct cvy_class gate_class = {
    .name = "Gate",
    .methods = methods,
    .method_count = sizeof methods / sizeof *methods,
    .create = gate_create,
    .destroy = gate_destroy,
    .repr = gate_repr,
};

static void note_done(struct cvy_call *call, int result)
{
    done_results[done_count] = result;
    done[done_count++] = call;
}

static void begin(void)
{
    struct cvy_call call;
    void *state = NULL;
    parking.done = note_done;
    cvy_call_begin(&call, &parking, &here, &object, NULL, NULL);
    CHECK_OK(gate_class.create(&call, &state));
    self = state;
    object = (struct cvy_referent){.cls = &gate_class, .self = self};
    cvy_call_end(&call);
}

static void finish(void)
{
    gate_class.destroy(self);
    cvy_session_end(&here);
    cvy_session_end(&there);
    cvy_parking_free(&parking);
}

/* Run a method of the gate; `until` is its only argument. */
static int run(struct cvy_call *call, struct cvy_session *session, const char *method,
               int64_t until)
{
    covey_value *args = NULL;
    CHECK_OK(covey_value_pack(&args, "(L)", (long long)until));
    cvy_call_begin(call, &parking, session, &object, args, NULL);
    int r = cvy_call_run(call, method);
    covey_value_free(args);
    return r;
}

static void check_repr(const struct cvy_call *call, const char *wanted)
{
    struct covey_bytes text = {0};
    CHECK_OK(covey_value_repr(call->reply, &text));
    CHECK_STR_EQ((const char *)text.data, wanted);
    covey_bytes_free(&text);
}

TEST(a_method_returns_a_value_or_raises)
{
    struct cvy_call call;
    begin();
    CHECK_EQ(run(&call, &here, "release", 0), CVY_RAISED);
    check_repr(&call, "RuntimeError('release unlocked lock')");
    cvy_call_end(&call);
    CHECK_EQ(run(&call, &here, "acquire", 0), 0);
    check_repr(&call, "True");
    cvy_call_end(&call);
    CHECK_EQ(run(&call, &here, "__str__", 0), 0);
    check_repr(&call, "'<gate>'");
    cvy_call_end(&call);
    CHECK_EQ(run(&call, &here, "fly", 0), -ENOENT);
    CHECK_EQ(run(&call, &here, "#GETVALUE", 0), -ENOTSUP);
    CHECK_EQ(run(&call, &here, "twin", 0), 0);
    CHECK(call.made == &gate_class && call.made_self);
    cvy_call_end(&call);
    finish();
}

TEST(codes_and_budgets_become_exceptions)
{
    struct cvy_call call;
    begin();
    CHECK_EQ(run(&call, &here, "eat", 0), CVY_RAISED);
    check_repr(&call, "MemoryError('eat takes more memory than the manager grants a "
                      "request')");
    cvy_call_end(&call);
    CHECK_EQ(run(&call, &here, "work", 0), 0);
    call.budget.steps = 5;
    CHECK_EQ(gate_work(&call, self), CVY_RAISED);
    CHECK(covey_value_is(covey_value_class(call.reply), "builtins", "RuntimeError"));
    cvy_call_end(&call);
    cvy_call_begin(&call, &parking, &here, &object, NULL, NULL);
    CHECK_EQ(cvy_call_run(&call, "acquire"), CVY_RAISED);
    CHECK_EQ(cvy_raise_code(&call, -EOVERFLOW), CVY_RAISED);
    CHECK(covey_value_is(covey_value_class(call.reply), "builtins", "OverflowError"));
    cvy_call_end(&call);
    finish();
}

TEST(parked_calls_go_on_in_order_by_time_or_not_at_all)
{
    struct cvy_call first, calls[4], other;
    begin();
    CHECK_EQ(run(&first, &here, "acquire", INT64_MAX), 0);
    CHECK_EQ(run(&calls[0], &there, "acquire", INT64_MAX), CVY_PARKED);
    CHECK_EQ(run(&calls[1], &there, "acquire", 300), CVY_PARKED);
    CHECK_EQ(run(&calls[2], &there, "acquire", 100), CVY_PARKED);
    CHECK_EQ(run(&calls[3], &there, "acquire", 200), CVY_PARKED);
    CHECK_EQ(cvy_parking_next(&parking), 100);
    cvy_parking_run(&parking, 250);
    CHECK_EQ(done_count, 2);
    CHECK(done[0] == &calls[2] && done[1] == &calls[3]);
    check_repr(&calls[2], "False");
    CHECK_EQ(run(&other, &here, "release", 0), 0);
    CHECK_EQ(done_count, 2);
    cvy_parking_run(&parking, 250);
    CHECK_EQ(done_count, 3);
    CHECK(done[2] == &calls[0] && done_results[2] == 0 && self->owner == &there);
    cvy_cancel(&calls[1]);
    CHECK_EQ(done_count, 3);
    CHECK_EQ(cvy_parking_next(&parking), INT64_MAX);
    CHECK(!self->waiters.first);
    for (int i = 0; i < 4; i++)
        cvy_call_end(&calls[i]);
    finish();
}

TEST(what_a_session_held_is_given_back_at_its_end)
{
    struct cvy_call first, second;
    begin();
    CHECK_EQ(run(&first, &there, "acquire", INT64_MAX), 0);
    CHECK_EQ(run(&second, &here, "acquire", INT64_MAX), CVY_PARKED);
    cvy_session_end(&there);
    cvy_parking_run(&parking, 0);
    CHECK_EQ(self->abandoned, 1);
    CHECK(self->owner == &here && done_count == 1);
    CHECK_EQ(here.watch_count, 1);
    cvy_call_end(&second);
    gate_class.destroy(self); /* its owner is not told any more */
    CHECK_EQ(here.watch_count, 0);
    begin();
    finish();
}

CHECK_MAIN()
