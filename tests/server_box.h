/* SPDX-License-Identifier: MIT */
/* A class of the test's own: a box for a value, with a gate that blocks. */
#ifndef TESTS_SERVER_BOX_H
#define TESTS_SERVER_BOX_H

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

struct box {
    covey_value *value;
    int gate[2]; /* a pipe: reading waits, opening writes */
    atomic_int sums;
};

static inline int box_make(covey_request *request, void **ret_self)
{
    const covey_value *first = covey_value_at(covey_request_args(request), 0);
    if (covey_value_count(covey_request_args(request)) > 1)
        return covey_request_raise(request, "TypeError", "a box is for one thing");
    struct box *box = calloc(1, sizeof *box);
    if (!box || pipe(box->gate) < 0) {
        free(box);
        return -ENOMEM;
    }
    box->value = first ? covey_value_ref(first) : covey_value_none();
    *ret_self = box;
    return 0;
}

static inline void box_free(void *self)
{
    struct box *box = self;
    covey_value_free(box->value);
    close(box->gate[0]);
    close(box->gate[1]);
    free(box);
}

static inline int box_get(covey_request *request, void *self)
{
    struct box *box = self;
    return covey_request_return(request, covey_value_ref(box->value));
}

static inline int box_set(covey_request *request, void *self)
{
    struct box *box = self;
    const covey_value *value = covey_value_at(covey_request_args(request), 0);
    if (!value)
        return covey_request_raise(request, "TypeError", "set() needs a value");
    covey_value_free(box->value);
    box->value = covey_value_ref(value);
    return covey_request_return(request, covey_value_none());
}

/* Waits until somebody opens the gate, or the client is gone. */
static inline int box_wait(covey_request *request, void *self)
{
    struct box *box = self;
    char byte;
    if (read(box->gate[0], &byte, 1) != 1)
        return -EIO;
    if (covey_request_cancelled(request))
        box->sums = 1000;
    return covey_request_return(request,
                                covey_value_str(covey_request_client(request)));
}

static inline int box_open(covey_request *request, void *self)
{
    struct box *box = self;
    return write(box->gate[1], "", 1) == 1
               ? covey_request_return(request, covey_value_int(box->sums))
               : -EIO;
}

/* A box in a box. */
static inline int box_split(covey_request *request, void *self)
{
    void *half = NULL;
    int r = box_make(request, &half);
    (void)self;
    return r < 0 ? r : covey_request_return_object(request, "Box", half);
}

static inline int box_empty(covey_request *request, void *self)
{
    (void)self;
    return covey_request_raise(request, "queue.Empty", NULL);
}

static inline int box_fail(covey_request *request, void *self)
{
    int64_t number;
    (void)self;
    return covey_value_get_int(covey_value_at(covey_request_args(request), 0), &number);
}

/* As many bytes as wanted. */
static inline int box_big(covey_request *request, void *self)
{
    int64_t size = 0;
    (void)self;
    int r = covey_value_get_int(covey_value_at(covey_request_args(request), 0), &size);
    void *bytes = r < 0 ? NULL : calloc(1, (size_t)size + 1);
    if (!bytes)
        return r < 0 ? r : -ENOMEM;
    covey_value *value = covey_value_bytes(bytes, (size_t)size);
    free(bytes);
    return covey_request_return(request, value);
}

static inline int box_repr(covey_request *request, void *self)
{
    struct box *box = self;
    struct covey_bytes text = {0};
    int r = covey_value_repr(box->value, &text);
    if (r >= 0)
        r = covey_request_return(
            request, covey_value_str_format("Box(%s)", (const char *)text.data));
    covey_bytes_free(&text);
    return r;
}

static const struct covey_method box_methods[] = {
    {"get", box_get, 0},
    {"set", box_set, COVEY_METHOD_GROWS},
    {"wait", box_wait, COVEY_METHOD_BLOCKS},
    {"open", box_open, 0},
    {"split", box_split, 0},
    {"empty", box_empty, 0},
    {"fail", box_fail, 0},
    {"big", box_big, 0},
};
static const struct covey_class box_class = {
    .size = sizeof(struct covey_class),
    .methods = box_methods,
    .method_count = sizeof box_methods / sizeof *box_methods,
    .create = box_make,
    .destroy = box_free,
    .repr = box_repr,
    .value = box_get,
};

static inline void box_register(void)
{
    CHECK_OK(covey_manager_register("Box", &box_class, NULL));
}

#endif
