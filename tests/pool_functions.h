/* SPDX-License-Identifier: MIT */
/* Functions under the names of Python's, for the pools of managers: in tests, and in the
 * program that is compared with CPython. */
#ifndef TESTS_POOL_FUNCTIONS_H
#define TESTS_POOL_FUNCTIONS_H

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <covey.h>

static inline const covey_value *argument(const covey_request *request, size_t at)
{
    return covey_value_at(covey_request_args(request), at);
}

/* The only argument, as a number. Returns: 0; what the function is to return. */
static inline int take_number(covey_request *request, double *ret)
{
    int64_t whole;
    size_t count = covey_value_count(covey_request_args(request));
    if (count != 1)
        return covey_request_raise(request, "TypeError", "expected 1 argument, got %zu",
                                   count);
    if (covey_value_get_float(argument(request, 0), ret) == 0)
        return 0;
    if (covey_value_get_int(argument(request, 0), &whole) < 0)
        return covey_request_raise(request, "TypeError", "must be real number, not %s",
                                   covey_value_type(argument(request, 0)));
    *ret = (double)whole;
    return 0;
}

static inline int function_sqrt(covey_request *request)
{
    double number;
    int r = take_number(request, &number);
    if (r)
        return r;
    if (number < 0)
        return covey_request_raise(request, "ValueError", "math domain error");
    return covey_request_return(request, covey_value_float(sqrt(number)));
}

static inline int function_mul(covey_request *request)
{
    int64_t a, b;
    int r = covey_value_unpack(covey_request_args(request), "(L, L)", &a, &b);
    return r < 0 ? r : covey_request_return(request, covey_value_int(a * b));
}

/* complex(real, imag), by position or keyword. */
static inline int function_complex(covey_request *request)
{
    const covey_value *kwargs = covey_request_kwargs(request);
    const covey_value *real = argument(request, 0), *imag = argument(request, 1);
    double parts[2] = {0, 0};
    if (!real)
        real = covey_value_find_str(kwargs, "real");
    if (!imag)
        imag = covey_value_find_str(kwargs, "imag");
    if ((real && covey_value_get_float(real, &parts[0]) < 0) ||
        (imag && covey_value_get_float(imag, &parts[1]) < 0))
        return COVEY_ETYPE;
    return covey_request_return(request, covey_value_complex(parts[0], parts[1]));
}

static inline int function_len(covey_request *request)
{
    return covey_request_return(
        request, covey_value_uint(covey_value_count(argument(request, 0))));
}

/* bytes(count) */
static inline int function_zeros(covey_request *request)
{
    int64_t count = 0;
    int r = covey_value_unpack(covey_request_args(request), "(L)", &count);
    if (r < 0)
        return r;
    void *zeros = calloc(1, (size_t)count + 1);
    covey_value *value = zeros ? covey_value_bytes(zeros, (size_t)count) : NULL;
    free(zeros);
    return value ? covey_request_return(request, value) : -ENOMEM;
}

static inline int function_sleep(covey_request *request)
{
    double seconds;
    int r = take_number(request, &seconds);
    if (r)
        return r;
    (void)usleep((useconds_t)(seconds * 1e6));
    return covey_request_return(request, covey_value_none());
}

static inline int function_getpid(covey_request *request)
{
    return covey_request_return(request, covey_value_int(getpid()));
}

/* Ends its worker, as no function should. */
static inline int function_abort(covey_request *request)
{
    (void)request;
    (void)raise(SIGKILL);
    return 0;
}

/* The same after a while, so that others can come meanwhile. */
static inline int function_late_abort(covey_request *request)
{
    (void)usleep(500000);
    return function_abort(request);
}

static inline int function_raise_signal(covey_request *request)
{
    int64_t number = 0;
    int r = covey_value_unpack(covey_request_args(request), "(L)", &number);
    if (r < 0)
        return r;
    (void)raise((int)number);
    return covey_request_return(request, covey_value_none());
}

/* What initializers leave for functions. */
static inline int function_setenv(covey_request *request)
{
    const char *name, *value;
    int r = covey_value_unpack(covey_request_args(request), "(s, s)", &name, &value);
    if (r < 0)
        return r;
    if (setenv(name, value, 1) < 0)
        return -errno;
    return covey_request_return(request, covey_value_none());
}

static inline int function_getenv(covey_request *request)
{
    const char *name, *value;
    int r = covey_value_unpack(covey_request_args(request), "(s)", &name);
    if (r < 0)
        return r;
    value = getenv(name);
    return covey_request_return(request,
                                value ? covey_value_str(value) : covey_value_none());
}

/* Returns: 0; what failed. */
static inline int functions_register(void)
{
    static const struct {
        const char *name;
        covey_function_fn *fn;
    } functions[] = {
        {"math.sqrt", function_sqrt},
        {"_operator.mul", function_mul},
        {"complex", function_complex},
        {"len", function_len},
        {"bytes", function_zeros},
        {"time.sleep", function_sleep},
        {"posix.getpid", function_getpid},
        {"posix.abort", function_abort},
        {"__main__.late_abort", function_late_abort},
        {"_signal.raise_signal", function_raise_signal},
        {"__main__.setenv", function_setenv},
        {"os.getenv", function_getenv},
    };
    int r = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions && r >= 0; i++)
        r = covey_manager_register_function(functions[i].name, functions[i].fn);
    return r;
}

#endif
