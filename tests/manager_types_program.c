/* SPDX-License-Identifier: MIT */
/*
 * Runs methods of the standard types of managers, so that CPython can check what they give:
 * see manager/types_differential. Reads requests, a size of 4 bytes, lowest first, and a
 * pickled tuple (object, method, args, kwds); writes for each a size and a pickled tuple
 * (kind, value). `object` is a number. Method "" makes an object of the class that the
 * first argument names, and "#" drops it. Kinds are those of a manager's server, and
 * "#PARKED".
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/class.h"

#include <covey.h>

enum { MOST = 64 };

static struct cvy_referent objects[MOST];
static struct cvy_session session = {.name = "differential"};
static struct cvy_parking parking;

static const struct cvy_class *find_class(const char *name)
{
    for (size_t i = 0; i < cvy_type_count; i++)
        if (strcmp(cvy_types[i]->name, name) == 0)
            return cvy_types[i];
    return NULL;
}

static void drop(struct cvy_referent *object)
{
    if (object->cls)
        object->cls->destroy(object->self);
    *object = (struct cvy_referent){0};
}

/* Make an object. Its constructor's arguments follow the name of the class. */
static int create(struct cvy_call *call, struct cvy_referent *object,
                  const covey_value *args)
{
    covey_value *rest = covey_value_tuple();
    const char *name = "";
    int r = covey_value_unpack(args, "(s, *)", &name);
    const struct cvy_class *class = r < 0 ? NULL : find_class(name);

    for (size_t i = 1; i < covey_value_count(args); i++)
        covey_value_append(rest, covey_value_ref(covey_value_at(args, i)));
    if (!class || covey_value_check(rest) < 0)
        exit(2);
    drop(object);
    call->args = rest;
    r = class->create(call, &object->self);
    if (r == 0)
        object->cls = class;
    covey_value_free(rest);
    call->args = NULL;
    return r < 0 ? cvy_raise_code(call, r) : r;
}

/* What a call came to, as a server would say it. */
static covey_value *reply_of(struct cvy_call *call, int r)
{
    const char *kind = r == CVY_PARKED   ? "#PARKED"
                       : r == CVY_RAISED ? "#ERROR"
                       : r < 0           ? "#TRACEBACK"
                       : call->made      ? "#PROXY"
                                         : "#RETURN";
    covey_value *reply;

    if (r == CVY_PARKED)
        cvy_cancel(call);
    if (call->made) { /* the made one takes the last place */
        drop(&objects[MOST - 1]);
        objects[MOST - 1] = (struct cvy_referent){call->made, call->made_self};
        call->made = NULL;
    }
    if (covey_value_pack(&reply, "(s, O)", kind,
                         call->reply && r >= 0 && r != CVY_PARKED
                             ? call->reply
                             : covey_value_none()) < 0)
        return NULL;
    return reply;
}

static covey_value *answer(const covey_value *request)
{
    const covey_value *args, *kwds;
    struct cvy_call call;
    covey_value *reply;
    const char *method;
    int number, r;

    if (covey_value_unpack(request, "(i, s, O, O)", &number, &method, &args, &kwds) <
            0 ||
        number < 0 || number >= MOST)
        return NULL;
    cvy_call_begin(&call, &parking, &session, &objects[number], args, kwds);
    if (!*method) {
        r = create(&call, &objects[number], args);
    } else if (strcmp(method, "#") == 0) {
        drop(&objects[number]);
        r = 0;
    } else {
        r = cvy_call_run(&call, method);
    }
    reply = reply_of(&call, r);
    cvy_call_end(&call);
    return reply;
}

static bool read_request(struct covey_bytes *data)
{
    uint32_t size;

    return fread(&size, sizeof(size), 1, stdin) == 1 &&
           covey_bytes_resize(data, size) == 0 &&
           fread(data->data, 1, size, stdin) == size;
}

int main(void)
{
    struct covey_bytes data = {0}, out = {0};
    covey_value *request, *reply;
    int status = EXIT_SUCCESS;

    while (status == EXIT_SUCCESS && read_request(&data)) {
        if (covey_value_unpickle(&request, data.data, data.size, NULL) < 0) {
            fprintf(stderr, "%s\n", covey_error_detail());
            return EXIT_FAILURE;
        }
        reply = answer(request);
        if (covey_value_pickle(reply, &out) < 0) {
            fprintf(stderr, "%s\n", covey_error_detail());
            status = EXIT_FAILURE;
        } else {
            uint32_t size = (uint32_t)out.size;

            fwrite(&size, sizeof(size), 1, stdout);
            fwrite(out.data, 1, out.size, stdout);
            fflush(stdout);
        }
        covey_value_free(reply);
        covey_value_free(request);
    }
    for (size_t i = 0; i < MOST; i++)
        drop(&objects[i]);
    cvy_session_end(&session);
    cvy_parking_free(&parking);
    covey_bytes_free(&data);
    covey_bytes_free(&out);
    return status;
}
