/* SPDX-License-Identifier: MIT */
/*
 * A program of calls to managers' standard types: each byte makes a value, makes an object,
 * or calls a method with some of the values, from one of two sessions, and memory may run
 * out once. Each call gets a reply, an exception, or waits; nobody takes more than the
 * budget; what every object holds can be printed and pickled; and no memory is lost.
 */
#include <errno.h>

#include "fuzz.h"
#include "manager/class.h"
#include "os/os.h"

enum { VALUES = 8, OBJECTS = 4, STEPS = 20000, BYTES = 1 << 18 };

struct job {
    struct cvy_call call;
    covey_value *args;
    struct job *next;
};

struct machine {
    const uint8_t *at, *end;
    covey_value *values[VALUES];
    struct cvy_referent objects[OBJECTS];
    struct cvy_session sessions[2];
    struct cvy_parking parking;
    struct job *parked;
};

static unsigned next(struct machine *m, unsigned limit)
{
    return m->at < m->end ? *m->at++ % limit : 0;
}

/* ---- values -------------------------------------------------------------------- */

static covey_value *copy_of(struct machine *m)
{
    return covey_value_ref(m->values[next(m, VALUES)]);
}

static covey_value *make_number(struct machine *m)
{
    static const char *const texts[] = {"0x10000000000000000", "-0x8000000000000000",
                                        "9223372036854775807", "100000", "-1"};

    switch (next(m, 4)) {
    case 0:
        return covey_value_int_text(texts[next(m, 5)]);
    case 1:
        return covey_value_float((double)next(m, 5) - 1.5);
    case 2:
        return covey_value_bool((int)next(m, 2));
    default:
        return covey_value_int((int)next(m, 12) - 4);
    }
}

static covey_value *make_text(struct machine *m)
{
    static const char *const texts[] = {"",      "i",        "d",       "u",  "name",
                                        "_name", "__dict__", "parties", "aéz"};

    return next(m, 4) ? covey_value_str(texts[next(m, 9)])
                      : covey_value_bytes("12345678", next(m, 9));
}

static covey_value *make_container(struct machine *m)
{
    unsigned kind = next(m, 5), count = next(m, 5);
    covey_value *value = kind == 0   ? covey_value_list()
                         : kind == 1 ? covey_value_tuple()
                         : kind == 2 ? covey_value_set()
                         : kind == 3 ? covey_value_frozenset()
                                     : covey_value_dict();

    for (unsigned i = 0; i < count; i++) {
        covey_value *part = copy_of(m);

        if (kind < 2)
            covey_value_append(value, part);
        else if (kind < 4)
            covey_value_add(value, part);
        else
            covey_value_put(value, part, copy_of(m));
    }
    return value;
}

/* An array as it comes in pickles. */
static covey_value *make_array(struct machine *m)
{
    static const char *const codes[] = {"i", "d", "b", "u", "?"};
    covey_value *args;
    const char *code = codes[next(m, 5)];

    if (covey_value_pack(&args, "(s, y#)", code, "12345678abcdefgh",
                         (size_t)next(m, 17)) < 0)
        return NULL;
    return covey_value_call(covey_value_global("array", "array"), args);
}

static void make_value(struct machine *m)
{
    unsigned slot = next(m, VALUES);
    covey_value *parts[3], *value;

    switch (next(m, 8)) {
    case 0:
        for (int i = 0; i < 3; i++)
            parts[i] = next(m, 2) ? copy_of(m) : covey_value_none();
        value = covey_value_slice(parts[0], parts[1], parts[2]);
        break;
    case 1:
        value = covey_value_range((int)next(m, 9) - 4, INT64_C(1) << next(m, 40), 1);
        break;
    case 2:
        value = make_array(m);
        break;
    case 3:
        value = make_text(m);
        break;
    case 4:
        value = make_number(m);
        break;
    default:
        value = make_container(m);
        break;
    }
    if (covey_value_check(value) < 0) {
        covey_value_free(value);
        return;
    }
    covey_value_free(m->values[slot]);
    m->values[slot] = value;
}

/* ---- calls --------------------------------------------------------------------- */

static covey_value *make_args(struct machine *m)
{
    covey_value *args = covey_value_tuple();

    for (unsigned count = next(m, 4); count > 0; count--)
        covey_value_append(args, copy_of(m));
    if (covey_value_check(args) == 0)
        return args;
    covey_value_free(args);
    return NULL;
}

static void drop_job(struct job *job)
{
    cvy_call_end(&job->call);
    covey_value_free(job->args);
    free(job);
}

static void unlink_job(struct machine *m, const struct job *job)
{
    struct job **link = &m->parked;

    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
}

static struct machine *running; /* whose calls cvy_parking_run resumes */

static void resumed(struct cvy_call *call, int result)
{
    struct job *job = (struct job *)(void *)call;

    MUST(result == -ENOMEM || call->reply || call->made);
    unlink_job(running, job);
    drop_job(job);
}

/* Begin a call, from a few arguments. NULL: there is no memory. */
static struct job *begin(struct machine *m, struct cvy_referent *object)
{
    covey_value *args = make_args(m);
    const covey_value *kwds = m->values[next(m, VALUES)];
    struct job *job = args ? calloc(1, sizeof(*job)) : NULL;

    if (!job)
        return NULL;
    job->args = args;
    cvy_call_begin(
        &job->call, &m->parking, &m->sessions[next(m, 2)], object, args,
        next(m, 8) == 1 && covey_value_kind(kwds) == COVEY_VALUE_DICT ? kwds : NULL);
    job->call.budget.steps = STEPS;
    job->call.budget.limit = BYTES;
    return job;
}

/* An object goes: who waits for it first. */
static void drop_object(struct machine *m, struct cvy_referent *object)
{
    if (!object->cls)
        return;
    for (struct job *job = m->parked, *after; job; job = after) {
        after = job->next;
        if (job->call.object == object) {
            cvy_cancel(&job->call);
            unlink_job(m, job);
            drop_job(job);
        }
    }
    object->cls->destroy(object->self);
    *object = (struct cvy_referent){0};
}

static void make_object(struct machine *m)
{
    struct cvy_referent *object = &m->objects[next(m, OBJECTS)];
    const struct cvy_class *class = cvy_types[next(m, (unsigned)cvy_type_count)];
    struct job *job;

    if (!class->create)
        return;
    drop_object(m, object);
    job = begin(m, object);
    if (!job)
        return;
    job->call.method = "create";
    int r = class->create(&job->call, &object->self);
    MUST(r <= 0 || r == CVY_RAISED);
    if (r == 0)
        object->cls = class;
    drop_job(job);
}

/* What a method made is the object from now on, now and then. */
static void keep_made(struct machine *m, struct job *job)
{
    struct cvy_referent *object = &m->objects[OBJECTS - 1];

    if (!job->call.made || job->call.object == object)
        return;
    drop_object(m, object);
    object->cls = job->call.made;
    object->self = job->call.made_self;
    job->call.made = NULL;
}

static void call_method(struct machine *m)
{
    static const char *const special[] = {"__repr__", "__str__", "#GETVALUE"};
    struct cvy_referent *object = &m->objects[next(m, OBJECTS)];
    struct covey_bytes pickle = {0};
    struct job *job;

    if (!object->cls || !(job = begin(m, object)))
        return;
    unsigned number = next(m, (unsigned)object->cls->method_count + 3);
    const char *name = number < object->cls->method_count
                           ? object->cls->methods[number].name
                           : special[number - object->cls->method_count];
    most_bytes = live_bytes;
    size_t before = live_bytes;
    int r = cvy_call_run(&job->call, name);
    MUST(most_bytes - before <= 6 * (size_t)BYTES);
    if (r == CVY_PARKED) {
        job->next = m->parked;
        m->parked = job;
    } else {
        MUST(r == -ENOTSUP || r == -ENOMEM || job->call.reply || job->call.made);
        MUST(r >= 0 || r == -ENOTSUP || r == -ENOMEM);
        if (job->call.reply)
            (void)!covey_value_pickle(job->call.reply, &pickle);
        keep_made(m, job);
        drop_job(job);
    }
    covey_bytes_free(&pickle);
    cvy_parking_run(&m->parking, cvy_os_now());
}

static void end_session(struct machine *m)
{
    struct cvy_session *session = &m->sessions[next(m, 2)];

    for (struct job *job = m->parked, *after; job; job = after) {
        after = job->next;
        if (job->call.session == session) {
            cvy_cancel(&job->call);
            unlink_job(m, job);
            drop_job(job);
        }
    }
    cvy_session_end(session);
    cvy_parking_run(&m->parking, cvy_os_now());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine m = {.at = data,
                        .end = data + size,
                        .sessions = {{.name = "a"}, {.name = "b"}},
                        .parking.done = resumed};
    size_t before;

    use_allocator();
    before = live_bytes;
    running = &m;
    for (int i = 0; i < VALUES; i++)
        m.values[i] = i % 2 ? covey_value_int(i) : covey_value_list();
    until_failure = next(&m, 4) ? SIZE_MAX : 4 * (size_t)next(&m, 256);
    while (m.at < m.end) {
        switch (next(&m, 8)) {
        case 0:
            make_object(&m);
            break;
        case 1:
        case 2:
            make_value(&m);
            break;
        case 3:
            if (next(&m, 8) == 0)
                end_session(&m);
            cvy_parking_run(&m.parking, next(&m, 4) ? cvy_os_now() : INT64_MAX - 1);
            break;
        default:
            call_method(&m);
            break;
        }
    }
    until_failure = SIZE_MAX;
    for (int i = 0; i < OBJECTS; i++)
        drop_object(&m, &m.objects[i]);
    MUST(!m.parked);
    for (int i = 0; i < 2; i++)
        cvy_session_end(&m.sessions[i]);
    cvy_parking_free(&m.parking);
    for (int i = 0; i < VALUES; i++)
        covey_value_free(m.values[i]);
    MUST(live_bytes == before);
    return 0;
}
