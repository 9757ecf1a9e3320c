/* SPDX-License-Identifier: MIT */
/*
 * Runs methods of the standard types of managers, so that CPython can check what they give:
 * see manager/types_differential. Reads requests, a size of 4 bytes, lowest first, and a
 * pickled tuple (session, object, method, args, kwds); writes for each a size and a pickled
 * tuple (kind, value, finished). Sessions and objects are numbers. `finished` has (session,
 * kind, value) for each call that waited and went on. Method "" makes an object of the class
 * that the first argument names, "#TIME" is the end of the time of who waits and has least,
 * and "#END" the end of all sessions. Kinds are those of a manager's server, and "#PARKED".
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/class.h"

#include <covey.h>

enum { MOST = 64, SESSIONS = 8 };

/* A session, and its call, which may wait. */
struct client {
    struct cvy_session session;
    struct cvy_call call;
    covey_value *request; /* of a call that waits; it has the arguments */
};

static struct cvy_referent objects[MOST];
static struct client clients[SESSIONS];
static struct cvy_parking parking;
static covey_value *finished; /* those that waited and went on in this request */

static const struct cvy_class *find_class(const char *name)
{
    for (size_t i = 0; i < cvy_type_count; i++)
        if (strcmp(cvy_types[i]->name, name) == 0)
            return cvy_types[i];
    return NULL;
}

static void drop_call(struct client *client)
{
    cvy_call_end(&client->call);
    covey_value_free(client->request);
    client->request = NULL;
}

static void cancel(struct client *client)
{
    if (!client->request)
        return;
    cvy_cancel(&client->call);
    drop_call(client);
}

static void drop(struct cvy_referent *object)
{
    for (size_t i = 0; i < SESSIONS; i++)
        if (clients[i].call.object == object)
            cancel(&clients[i]);
    if (object->cls)
        object->cls->destroy(object->self);
    *object = (struct cvy_referent){0};
}

static void end_sessions(void)
{
    for (size_t i = 0; i < SESSIONS; i++)
        cancel(&clients[i]);
    for (size_t i = 0; i < SESSIONS; i++)
        cvy_session_end(&clients[i].session);
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
static const char *kind_of(struct cvy_call *call, int r)
{
    if (call->made) { /* the made one takes the last place */
        drop(&objects[MOST - 1]);
        objects[MOST - 1] = (struct cvy_referent){call->made, call->made_self};
        call->made = NULL;
        return "#PROXY";
    }
    return r == CVY_PARKED   ? "#PARKED"
           : r == CVY_RAISED ? "#ERROR"
           : r < 0           ? "#TRACEBACK"
                             : "#RETURN";
}

static const covey_value *value_of(const struct cvy_call *call, int r)
{
    return call->reply && r >= 0 && r != CVY_PARKED ? call->reply : covey_value_none();
}

/* A call that waited has come to its end. */
static void note_done(struct cvy_call *call, int r)
{
    int number = 0;
    covey_value *entry;
    const char *kind = kind_of(call, r);

    while (&clients[number].call != call)
        number++;
    if (covey_value_pack(&entry, "(i, s, O)", number, kind, value_of(call, r)) < 0 ||
        covey_value_append(finished, entry) < 0)
        exit(2);
    drop_call(&clients[number]);
}

static int run(struct client *client, struct cvy_referent *object, const char *method,
               const covey_value *args)
{
    if (!*method)
        return create(&client->call, object, args);
    if (strcmp(method, "#TIME") == 0)
        cvy_parking_run(&parking, cvy_parking_next(&parking));
    else if (strcmp(method, "#END") == 0)
        end_sessions();
    else
        return cvy_call_run(&client->call, method);
    return 0;
}

/* Takes the request. */
static covey_value *answer(covey_value *request)
{
    const covey_value *args, *kwds;
    struct client *client;
    const char *method, *kind;
    covey_value *reply;
    int session, number, r;

    if (covey_value_unpack(request, "(i, i, s, O, O)", &session, &number, &method,
                           &args, &kwds) < 0 ||
        session < 0 || session >= SESSIONS || number < 0 || number >= MOST)
        exit(2);
    client = &clients[session];
    cancel(client);
    finished = covey_value_list();
    cvy_call_begin(&client->call, &parking, &client->session, &objects[number], args,
                   kwds);
    r = run(client, &objects[number], method, args);
    if (r == CVY_PARKED)
        client->request = covey_value_ref(request);
    kind = kind_of(&client->call, r);
    cvy_parking_run(&parking, 0);
    if (covey_value_pack(&reply, "(s, O, O)", kind, value_of(&client->call, r),
                         finished) < 0)
        exit(2);
    if (r != CVY_PARKED)
        cvy_call_end(&client->call);
    covey_value_free(finished);
    covey_value_free(request);
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

    parking.done = note_done;
    for (size_t i = 0; i < SESSIONS; i++)
        clients[i].session.name = "differential";
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
    }
    end_sessions();
    for (size_t i = 0; i < MOST; i++)
        drop(&objects[i]);
    cvy_parking_free(&parking);
    covey_bytes_free(&data);
    covey_bytes_free(&out);
    return status;
}
