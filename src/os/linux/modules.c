/* SPDX-License-Identifier: MIT */
/*
 * Which program or shared object an address lies in.
 *
 * Guarantees: an answer is about what is loaded now; nothing is remembered that dlclose
 * could make wrong. Addresses are looked up by _dl_find_object, which takes no lock and
 * so works in any fork child; the program itself is known from a constructor on.
 *
 * A statically linked program must not name dlopen: the linker warns about it, even of a
 * weak reference, because libc.a always contains it. Asking dlsym finds it in dynamic
 * programs and nothing in static ones, which is just the right answer.
 */
#include "os/linux/modules.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "os/faults.h"
#include "os/linux/calls.h"
#include "os/modules.h"
#include "os/os.h"

extern __typeof(dlsym) dlsym __attribute__((weak));
extern __typeof(dlinfo) dlinfo __attribute__((weak));
extern __typeof(dlclose) dlclose __attribute__((weak));
extern __typeof(dlerror) dlerror __attribute__((weak));
extern __typeof(dladdr) dladdr __attribute__((weak));
#ifdef DLFO_STRUCT_HAS_EH_DBASE
extern __typeof(_dl_find_object) _dl_find_object __attribute__((weak));
#endif

/* ---- views ------------------------------------------------------------------ */

/* Completes a view of which base, name and headers are set. */
static void measure(struct cvy_os_module *module)
{
    const ElfW(Phdr) *header = module->headers;
    bool has_code = false;

    module->size = module->code_start = module->code_end = 0;
    module->more_code = false;
    for (size_t i = 0; i < module->header_count; i++, header++) {
        const uint64_t end = header->p_vaddr + header->p_memsz;

        if (header->p_type != PT_LOAD)
            continue;
        if (end > module->size)
            module->size = end;
        if (!(header->p_flags & PF_X))
            continue;
        if (has_code) {
            module->more_code = true;
        } else {
            module->code_start = header->p_vaddr;
            module->code_end = end;
            has_code = true;
        }
    }
}

struct visit {
    cvy_os_module_fn *fn;
    void *ctx;
    bool is_later; /* the first module is the program */
};

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct visit *visit = data;
    struct cvy_os_module module = {
        .base = info->dlpi_addr,
        .name = info->dlpi_name != NULL ? info->dlpi_name : "",
        .headers = info->dlpi_phdr,
        .header_count = info->dlpi_phnum,
        .is_main = !visit->is_later,
    };

    (void)size;
    visit->is_later = true;
    if (module.is_main)
        module.name = "";
    measure(&module);
    return visit->fn(visit->ctx, &module);
}

int cvy_os_modules_each(cvy_os_module_fn *fn, void *ctx)
{
    struct visit data = {fn, ctx, false};

    return dl_iterate_phdr(visit, &data);
}

CVY_CHILD_CODE bool cvy_os_module_is_code(const struct cvy_os_module *module,
                                          uint64_t offset)
{
    const ElfW(Phdr) *header = module->headers;

    if (offset - module->code_start < module->code_end - module->code_start)
        return true;
    for (size_t i = 0; module->more_code && i < module->header_count; i++, header++)
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) &&
            offset - header->p_vaddr < header->p_memsz)
            return true;
    return false;
}

/* ---- the program ------------------------------------------------------------ */

enum { UNKNOWN, BEING_WRITTEN, KNOWN };

static struct cvy_os_module program; /* valid when KNOWN, then constant */
static _Atomic uint32_t program_state;

static int take_first(void *ctx, const struct cvy_os_module *module)
{
    struct cvy_os_module *ret_module = ctx;

    *ret_module = *module;
    return 1;
}

static const struct cvy_os_module *known_program(void)
{
    /* Pairs with the store in cvy_os_module_main. */
    return atomic_load_explicit(&program_state, memory_order_acquire) == KNOWN
               ? &program
               : NULL;
}

CVY_CHILD_CODE void cvy_os_module_main(struct cvy_os_module *ret_module)
{
    uint32_t expected = UNKNOWN;

    if (known_program() != NULL) {
        *ret_module = program;
        return;
    }
    cvy_os_modules_each(take_first, ret_module);
    if (atomic_compare_exchange_strong(&program_state, &expected, BEING_WRITTEN)) {
        program = *ret_module;
        atomic_store_explicit(&program_state, KNOWN, memory_order_release);
    }
}

/* Early, while no fork can have left the loader's lock taken. */
__attribute__((constructor)) static void remember_program(void)
{
    struct cvy_os_module module;

    cvy_os_module_main(&module);
}

/* ---- the module of an address ----------------------------------------------- */

#ifdef DLFO_STRUCT_HAS_EH_DBASE
#define HEADERS_WITHIN 4096 /* the smallest page: so much is mapped at the start */

/* Returns: 0; -ENOENT; -EAGAIN when only the loader's list can tell. */
static int view_without_lock(uintptr_t address, struct cvy_os_module *module)
{
    struct dl_find_object object;
    const ElfW(Ehdr) * elf;

    if (_dl_find_object == NULL)
        return -EAGAIN;
    if (_dl_find_object((void *)address, &object) < 0)
        return -ENOENT;
    elf = object.dlfo_map_start;
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phoff > HEADERS_WITHIN ||
        elf->e_phoff + elf->e_phnum * sizeof(ElfW(Phdr)) > HEADERS_WITHIN)
        return -EAGAIN;
    module->base = object.dlfo_link_map->l_addr;
    module->name = object.dlfo_link_map->l_name;
    module->headers = (const char *)elf + elf->e_phoff;
    module->header_count = elf->e_phnum;
    module->is_main = false;
    measure(module);
    return 0;
}
#else
static int view_without_lock(uintptr_t address, struct cvy_os_module *module)
{
    (void)address;
    (void)module;
    return -EAGAIN;
}
#endif

struct wanted {
    uintptr_t address;
    struct cvy_os_module *ret_module;
};

static int take_if_code(void *ctx, const struct cvy_os_module *module)
{
    const struct wanted *wanted = ctx;

    if (!cvy_os_module_is_code(module, wanted->address - module->base))
        return 0;
    *wanted->ret_module = *module;
    return 1;
}

static int module_without_lock(uintptr_t address, struct cvy_os_module *ret_module)
{
    struct cvy_os_module module;
    const int r = view_without_lock(address, &module);

    if (r < 0)
        return r;
    if (!cvy_os_module_is_code(&module, address - module.base))
        return -ENOENT;
    *ret_module = module;
    return 0;
}

int cvy_os_module_at(uintptr_t address, struct cvy_os_module *ret_module)
{
    const struct cvy_os_module *self = known_program();
    struct wanted wanted = {address, ret_module};
    int r;

    if (self != NULL && cvy_os_module_is_code(self, address - self->base)) {
        *ret_module = *self;
        return 0;
    }
    r = self != NULL ? module_without_lock(address, ret_module) : -EAGAIN;
    if (r == -EAGAIN)
        r = cvy_os_modules_each(take_if_code, &wanted) == 1 ? 0 : -ENOENT;
    return r;
}

/* ---- paths ------------------------------------------------------------------ */

/* Takes the path from a line of /proc/self/maps, if the line is about `address`. */
static int path_in_line(char *line, uintptr_t address, char *path, size_t capacity)
{
    static const char deleted[] = " (deleted)";
    char *end, *at = strchr(line, '/');
    const uint64_t first = strtoull(line, &end, 16);
    size_t size;

    if (at == NULL || *end != '-' || address < first ||
        address >= strtoull(end + 1, &end, 16))
        return -ENOENT;
    size = strlen(at);
    if (size >= sizeof deleted &&
        strcmp(at + size - (sizeof deleted - 1), deleted) == 0)
        size -= sizeof deleted - 1;
    if (size >= capacity)
        return -ENAMETOOLONG;
    memcpy(path, at, size);
    path[size] = '\0';
    return 0;
}

/* Where the file mapped at `address` lies, also after chdir. */
static int mapped_path(uintptr_t address, char *path, size_t capacity)
{
    char buffer[PATH_MAX + 256];
    size_t filled = 0;
    int r = -ENOENT, fd = cvy_call_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && r == -ENOENT) {
        char *line = buffer, *end;
        const ssize_t n = cvy_os_read(fd, buffer + filled, sizeof buffer - filled);

        if (n <= 0)
            break;
        filled += (size_t)n;
        while (r == -ENOENT &&
               (end = memchr(line, '\n', filled - (size_t)(line - buffer))) != NULL) {
            *end = '\0';
            r = path_in_line(line, address, path, capacity);
            line = end + 1;
        }
        filled -= (size_t)(line - buffer);
        memmove(buffer, line, filled);
    }
    cvy_os_close(fd);
    return r;
}

/*
 * Names relative to the working folder are looked up once. The key covers base, name and
 * build, so that an entry that outlives its module is about the very same module.
 */
#define REMEMBERED 8

static struct {
    _Atomic uint32_t state; /* only grows; an entry that is KNOWN is constant */
    uint64_t key;
    char path[512];
} remembered[REMEMBERED];

static uint64_t key_of(const struct cvy_os_module *module)
{
    struct cvy_os_build build;
    uint64_t hash = cvy_os_hash(module->base, module->name, strlen(module->name));

    cvy_os_module_build(module, &build);
    return build.stand_in ? 0 : cvy_os_hash(hash, build.id, build.size) | 1;
}

static const char *recall(uint64_t key)
{
    for (size_t i = 0; i < REMEMBERED && key != 0; i++)
        /* Pairs with the release in remember(). */
        if (atomic_load_explicit(&remembered[i].state, memory_order_acquire) == KNOWN &&
            remembered[i].key == key)
            return remembered[i].path;
    return NULL;
}

static void remember(uint64_t key, const char *path)
{
    const size_t size = strlen(path) + 1;

    for (size_t i = 0; i < REMEMBERED && key != 0; i++) {
        uint32_t expected = UNKNOWN;

        if (size <= sizeof remembered[i].path &&
            atomic_compare_exchange_strong(&remembered[i].state, &expected,
                                           BEING_WRITTEN)) {
            remembered[i].key = key;
            memcpy(remembered[i].path, path, size);
            atomic_store_explicit(&remembered[i].state, KNOWN, memory_order_release);
            return;
        }
    }
}

static int relative_path(const struct cvy_os_module *module, char *path,
                         size_t capacity)
{
    const uint64_t key = key_of(module);
    const char *known = recall(key);
    int r;

    if (known != NULL) {
        const size_t size = strlen(known);

        if (size >= capacity)
            return -ENAMETOOLONG;
        memcpy(path, known, size + 1);
        return 0;
    }
    r = mapped_path(module->base + module->code_start, path, capacity);
    if (r == 0)
        remember(key, path);
    return r;
}

static int program_path(char *path, size_t capacity)
{
    const ssize_t n = readlink("/proc/self/exe", path, capacity - 1);

    if (n < 0)
        snprintf(path, capacity, "the program");
    else
        path[n] = '\0';
    return 0;
}

int cvy_os_module_path(const struct cvy_os_module *module, char *path, size_t capacity)
{
    const size_t size = strlen(module->name);

    if (module->is_main)
        return program_path(path, capacity);
    if (module->name[0] != '/' && strchr(module->name, '/') != NULL)
        return relative_path(module, path, capacity);
    if (size >= capacity)
        return -ENAMETOOLONG;
    memcpy(path, module->name, size + 1);
    return 0;
}

/* ---- loading ---------------------------------------------------------------- */

int cvy_os_module_load(const char *path, void **ret_handle, uintptr_t *ret_base,
                       char *why, size_t why_size)
{
    void *(*open_fn)(const char *, int) = NULL, *symbol, *handle;
    struct link_map *map = NULL;

    if (dlsym == NULL || dlinfo == NULL || dlclose == NULL || dlerror == NULL)
        return -ENOSYS;
    symbol = dlsym(RTLD_DEFAULT, "dlopen");
    if (symbol == NULL)
        return -ENOSYS;
    CVY_FAULT_POINT("dlopen", ENOMEM);
    memcpy(&open_fn, &symbol, sizeof open_fn);
    handle = open_fn(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) < 0) {
        const char *text = dlerror();

        snprintf(why, why_size, "%s", text != NULL ? text : "unknown");
        cvy_os_module_unload(handle);
        return -ELIBACC;
    }
    *ret_handle = handle;
    *ret_base = map->l_addr;
    return 0;
}

void *cvy_os_module_symbol(void *handle, const char *name)
{
    return dlsym == NULL ? NULL : dlsym(handle, name);
}

void cvy_os_module_unload(void *handle)
{
    if (handle != NULL)
        dlclose(handle);
}

const char *cvy_os_symbol_at(uintptr_t address, uint64_t *ret_distance)
{
    Dl_info info;

    if (dladdr == NULL || dladdr((const void *)address, &info) == 0 ||
        info.dli_sname == NULL)
        return NULL;
    *ret_distance = address - (uintptr_t)info.dli_saddr;
    return info.dli_sname;
}
