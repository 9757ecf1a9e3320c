/* SPDX-License-Identifier: MIT */
/* Calls of the standard types of managers by hand, which may wait. */
#ifndef TESTS_TYPES_HELP_H
#define TESTS_TYPES_HELP_H

#include <stdlib.h>

#include "manager/types/types.h"
#include "os/os.h"
#include "value_help.h"

static struct cvy_session here = {.name = "here"}, there = {.name = "there"};
static struct cvy_parking parking;
static struct cvy_referent subject;

/* Calls that were parked and are done, in that order. */
static struct cvy_call *done[16];
static int results[16];
static size_t done_count;

static inline void finished(struct cvy_call *call, int result)
{
    CHECK_LT(done_count, sizeof(done) / sizeof(done[0]));
    results[done_count] = result;
    done[done_count++] = call;
}

/* ---- calls by hand ------------------------------------------------------------- */

struct job {
    struct cvy_call call;
    covey_value *args;
};

/* Begin a call. Takes its arguments, a tuple; NULL: none. */
static inline int start(struct job *job, struct cvy_session *session,
                        const char *method, covey_value *args)
{
    job->args = args ? args : covey_value_tuple();
    cvy_call_begin(&job->call, &parking, session, &subject, job->args, NULL);
    job->call.budget.steps = 1000 * 1000; /* less than usual, to be quick */
    job->call.budget.limit = (size_t)16 << 20;
    return cvy_call_run(&job->call, method);
}

static inline void end(struct job *job)
{
    cvy_call_end(&job->call);
    covey_value_free(job->args);
}

/* A tuple of the words of a text: numbers, True, False, and strs. */
static inline covey_value *args(const char *words)
{
    covey_value *tuple = covey_value_tuple(), *value;
    char text[200], *rest = text, *word;

    snprintf(text, sizeof(text), "%s", words);
    while ((word = strtok_r(rest, " ", &rest))) {
        if (strcmp(word, "True") == 0 || strcmp(word, "False") == 0)
            value = covey_value_bool(*word == 'T');
        else if (strchr(word, '.'))
            value = covey_value_float(strtod(word, NULL));
        else if (!(value = covey_value_int_text(word)))
            value = covey_value_str(word);
        CHECK_OK(covey_value_append(tuple, value));
    }
    return tuple;
}

static inline covey_value *name(const char *text)
{
    covey_value *tuple = covey_value_tuple();

    CHECK_OK(covey_value_append(tuple, covey_value_str(text)));
    return tuple;
}

/* A call that does not wait has this reply: a repr. */
static inline void gives(struct cvy_session *session, const char *method,
                         covey_value *given, const char *text)
{
    struct job job;
    int r = start(&job, session, method, given);

    CHECK(r == 0 || r == CVY_RAISED);
    is(covey_value_ref(job.call.reply), text);
    end(&job);
    cvy_parking_run(&parking, cvy_os_now());
}

/* A call that waits. */
static inline void waits(struct job *job, struct cvy_session *session,
                         const char *method, covey_value *given)
{
    CHECK_EQ(start(job, session, method, given), CVY_PARKED);
    cvy_parking_run(&parking, cvy_os_now());
}

/* One that waits for being notified by a condition. */
static inline void waits_notified(struct job *job, struct cvy_session *session)
{
    gives(session, "acquire", NULL, "True");
    waits(job, session, "wait", NULL);
}

/* This call is the next that goes on, and has this reply. */
static inline void goes_on(struct job *job, const char *text)
{
    CHECK_GT(done_count, 0);
    CHECK(done[0] == &job->call);
    CHECK(results[0] == 0 || results[0] == CVY_RAISED);
    is(covey_value_ref(job->call.reply), text);
    end(job);
    done_count--;
    memmove(done, done + 1, done_count * sizeof(done[0]));
    memmove(results, results + 1, done_count * sizeof(results[0]));
}

static inline void begin(const struct cvy_class *class, covey_value *given)
{
    struct job job = {.args = given ? given : covey_value_tuple()};

    parking.done = finished;
    subject.cls = class;
    cvy_call_begin(&job.call, &parking, &here, &subject, job.args, NULL);
    CHECK_OK(class->create(&job.call, &subject.self));
    end(&job);
}

static inline void finish(void)
{
    CHECK_EQ(done_count, 0);
    cvy_session_end(&here);
    cvy_session_end(&there);
    cvy_parking_run(&parking, INT64_MAX);
    subject.cls->destroy(subject.self);
    cvy_parking_free(&parking);
}

#endif
