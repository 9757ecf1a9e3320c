/* SPDX-License-Identifier: MIT */
/*
 * A program that the script `variants` builds in many ways and runs in pairs, so that one
 * process encodes a function and another one decodes and calls it:
 *
 *     subject encode FUNCTION        prints the code in hex digits
 *     subject decode HEX             prints what the function makes of -6, or the error
 *     subject describe HEX
 *     subject id
 *     subject closed PLUGIN OTHER    see closed()
 *
 * FUNCTION is main, main_static, libc, vdso, linked, linked_static or, followed by a
 * path, plugin, plugin_static. LINKED: plugin.c is linked in as a shared object.
 * STATIC: no plug-ins.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <covey/base.h>
#ifndef STATIC
#include <dlfcn.h>
#endif

#include "os/code.h"

typedef int number_fn(int);

int square(int x);
int plugin_global(int x);
number_fn *plugin_static(void);

int square(int x)
{
    return x * x;
}

static int twice(int x)
{
    return 2 * x;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "subject: %s\n", what);
    exit(2);
}

static int fail_call(int code)
{
    printf("%s: %s\n", covey_error_name(code), covey_error_detail());
    return 0;
}

#ifndef STATIC
static number_fn *symbol(const char *path, const char *name, void **ret_handle)
{
    void *handle = dlopen(path, RTLD_NOW), *at = handle ? dlsym(handle, name) : NULL;
    number_fn *fn, *(*getter)(void);

    if (at == NULL)
        fail(dlerror());
    memcpy(&fn, &at, sizeof fn);
    memcpy(&getter, &at, sizeof getter);
    *ret_handle = handle;
    return strcmp(name, "plugin_static") == 0 ? getter() : fn;
}

static number_fn *plugin_function(const char *name, const char *path)
{
    void *handle;

    if (strcmp(name, "plugin") == 0)
        return symbol(path, "plugin_global", &handle);
    if (strcmp(name, "plugin_static") == 0)
        return symbol(path, name, &handle);
    fail("no such function");
}

static void show_call(const struct cvy_code *code)
{
    cvy_code_fn *fn;
    const int r = cvy_code_decode(code, &fn);

    if (r < 0)
        fail_call(r);
    else
        printf("%d\n", ((number_fn *)fn)(-6));
}

/* A plug-in is closed, another build is put in its place, and the first comes back. */
static int closed(const char *plugin, const char *other)
{
    struct cvy_code code, again;
    char parked[4096];
    void *handle;
    number_fn *fn = symbol(plugin, "plugin_static", &handle);
    int r;

    snprintf(parked, sizeof parked, "%s.parked", plugin);
    if (cvy_code_encode((cvy_code_fn *)fn, &code) < 0)
        return fail_call(-1);
    show_call(&code);
    dlclose(handle);
    r = cvy_code_encode((cvy_code_fn *)fn, &again);
    printf("%s\n", covey_error_name(r));
    if (rename(plugin, parked) < 0 || rename(other, plugin) < 0)
        fail("rename");
    handle = dlopen(plugin, RTLD_NOW);
    show_call(&code);
    dlclose(handle);
    show_call(&code);
    if (rename(plugin, other) < 0 || rename(parked, plugin) < 0)
        fail("rename");
    show_call(&code);
    show_call(&code);
    return 0;
}
#else
static number_fn *plugin_function(const char *name, const char *path)
{
    (void)path;
    fail(name);
}
#endif

static cvy_code_fn *function(const char *name, const char *path)
{
    number_fn *volatile fn = abs;

    if (strcmp(name, "main") == 0)
        return (cvy_code_fn *)square;
    if (strcmp(name, "main_static") == 0)
        return (cvy_code_fn *)twice;
    if (strcmp(name, "libc") == 0)
        return (cvy_code_fn *)fn;
    if (strcmp(name, "vdso") == 0)
        return (cvy_code_fn *)(getauxval(AT_SYSINFO_EHDR) + 0x800);
#ifdef LINKED
    if (strcmp(name, "linked") == 0)
        return (cvy_code_fn *)plugin_global;
    if (strcmp(name, "linked_static") == 0)
        return (cvy_code_fn *)plugin_static();
#endif
    return (cvy_code_fn *)plugin_function(name, path);
}

static void print_hex(const void *data, size_t size)
{
    const unsigned char *byte = data;

    for (size_t i = 0; i < size; i++)
        printf("%02x", byte[i]);
    putchar('\n');
}

static void read_hex(const char *hex, struct cvy_code *code)
{
    unsigned char *byte = (unsigned char *)code;

    if (strlen(hex) != 2 * sizeof *code)
        fail("wrong number of digits");
    for (size_t i = 0; i < sizeof *code; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};

        byte[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
}

static int encode(const char *name, const char *path)
{
    struct cvy_code code;
    cvy_code_fn *fn = function(name, path);
    int r;

    if (path != NULL && chdir("/") < 0) /* a relative path must survive this */
        fail("chdir");
    r = cvy_code_encode(fn, &code);
    if (r < 0)
        return fail_call(r);
    print_hex(&code, sizeof code);
    return 0;
}

static int decode(const char *hex)
{
    struct cvy_code code;
    cvy_code_fn *fn;
    int r;

    read_hex(hex, &code);
    r = cvy_code_decode(&code, &fn);
    if (r < 0)
        return fail_call(r);
    if (strcmp(code.path, "linux-vdso.so.1") == 0)
        return puts("vdso"), 0;
    printf("%d\n", ((number_fn *)fn)(-6));
    return 0;
}

static int describe(const char *hex)
{
    struct cvy_code code;
    char text[600];

    read_hex(hex, &code);
    cvy_code_describe(&code, text, sizeof text);
    puts(text);
    return 0;
}

static int id(void)
{
    uint8_t bytes[CVY_CODE_ID_SIZE];
    size_t size;
    const int r = cvy_code_build_id(bytes, sizeof bytes, &size);

    if (r < 0)
        return fail_call(r);
    print_hex(bytes, size);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    if (argc > 2 && strcmp(verb, "encode") == 0)
        return encode(argv[2], argv[3]);
    if (argc > 2 && strcmp(verb, "decode") == 0)
        return decode(argv[2]);
    if (argc > 2 && strcmp(verb, "describe") == 0)
        return describe(argv[2]);
    if (strcmp(verb, "id") == 0)
        return id();
#ifndef STATIC
    if (argc > 3 && strcmp(verb, "closed") == 0)
        return closed(argv[2], argv[3]);
#endif
    fail("usage");
}
