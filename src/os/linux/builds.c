/* SPDX-License-Identifier: MIT */
/*
 * What tells one build of a module from another: the note that linkers leave with
 * --build-id, which all Linux distributions' compilers ask for, or else a hash.
 *
 * The hash of the program covers what the loader maps of its file. It is read from the
 * file because a debugger writes its breakpoints into the memory of one of the processes.
 * For the same reason, and because the file may have been replaced meanwhile, the hash of
 * a shared object covers only what says where its functions lie.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "os/linux/calls.h"
#include "os/linux/modules.h"
#include "os/modules.h"
#include "os/os.h"

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    return hash ^ hash >> 32;
}

uint64_t cvy_os_hash(uint64_t seed, const void *data, size_t size)
{
    const uint8_t *byte = data;
    uint64_t word;

    for (; size >= sizeof word; byte += sizeof word, size -= sizeof word) {
        memcpy(&word, byte, sizeof word);
        seed = mix(seed, word);
    }
    word = size;
    for (size_t i = 0; i < size; i++)
        word = word << 8 | byte[i];
    return mix(seed, word);
}

/* ---- build-ids -------------------------------------------------------------- */

static void set_build(struct cvy_os_build *build, const uint8_t *id, size_t size)
{
    memset(build, 0, sizeof *build);
    build->size = (uint8_t)(size < sizeof build->id ? size : sizeof build->id);
    memcpy(build->id, id, build->size);
    if (size > sizeof build->id) {
        const uint64_t hash = cvy_os_hash(CVY_OS_HASH_SEED, id, size);

        memcpy(build->id + sizeof build->id - sizeof hash, &hash, sizeof hash);
    }
}

/* The size of a name or a descriptor and of the gap that follows it. */
static size_t padded(size_t size, size_t align)
{
    return (size + align - 1) / align * align;
}

/* Looks for a build-id among notes that may be damaged. */
static bool build_in_notes(const uint8_t *at, size_t left, size_t align,
                           struct cvy_os_build *build)
{
    ElfW(Nhdr) note;

    if (align != 8)
        align = 4;
    while (left >= sizeof note) {
        size_t name, id;

        memcpy(&note, at, sizeof note);
        name = sizeof note;
        if (note.n_namesz > left || note.n_descsz > left)
            return false;
        id = padded(name + note.n_namesz, align);
        if (id > left || note.n_descsz > left - id)
            return false;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU &&
            note.n_descsz > 0 &&
            memcmp(at + name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0) {
            set_build(build, at + id, note.n_descsz);
            return true;
        }
        id = padded(id + note.n_descsz, align);
        if (id > left)
            return false;
        at += id;
        left -= id;
    }
    return false;
}

/* Where a segment lies in memory; NULL if it is not within one that is loaded. */
static const uint8_t *loaded(const struct cvy_os_module *module,
                             const ElfW(Phdr) * part)
{
    const ElfW(Phdr) *header = module->headers;

    for (size_t i = 0; i < module->header_count; i++, header++)
        if (header->p_type == PT_LOAD && (header->p_flags & PF_R) &&
            part->p_vaddr >= header->p_vaddr && part->p_memsz <= header->p_memsz &&
            part->p_vaddr - header->p_vaddr <= header->p_memsz - part->p_memsz)
            return (const uint8_t *)(module->base + part->p_vaddr);
    return NULL;
}

static bool build_in_memory(const struct cvy_os_module *module,
                            struct cvy_os_build *build)
{
    const ElfW(Phdr) *header = module->headers;

    for (size_t i = 0; i < module->header_count; i++, header++) {
        const uint8_t *notes;

        if (header->p_type != PT_NOTE)
            continue;
        notes = loaded(module, header);
        if (notes != NULL &&
            build_in_notes(notes, header->p_memsz, header->p_align, build))
            return true;
    }
    return false;
}

/* ---- files ------------------------------------------------------------------ */

/* Whether all of it could be read. */
static bool read_at(int fd, void *data, size_t size, uint64_t offset)
{
    for (char *at = data; size > 0;) {
        const ssize_t n = cvy_call_read_at(fd, at, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
        offset += (size_t)n;
    }
    return true;
}

static bool build_in_segment(int fd, const ElfW(Phdr) * header,
                             struct cvy_os_build *build)
{
    uint8_t notes[4096];

    return header->p_type == PT_NOTE && header->p_filesz <= sizeof notes &&
           read_at(fd, notes, header->p_filesz, header->p_offset) &&
           build_in_notes(notes, header->p_filesz, header->p_align, build);
}

static int build_in_file(int fd, struct cvy_os_build *ret_build)
{
    struct cvy_os_build build = {0};
    ElfW(Ehdr) elf;
    ElfW(Phdr) header;

    if (!read_at(fd, &elf, sizeof elf, 0) ||
        memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_phentsize != sizeof header)
        return -ENOEXEC;
    for (size_t i = 0; i < elf.e_phnum; i++) {
        if (!read_at(fd, &header, sizeof header, elf.e_phoff + i * sizeof header))
            return -ENOEXEC;
        if (build_in_segment(fd, &header, &build))
            break;
    }
    *ret_build = build;
    return 0;
}

int cvy_os_file_build(const char *path, struct cvy_os_build *ret_build)
{
    const int fd = cvy_call_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r;

    if (fd < 0)
        return -errno;
    r = build_in_file(fd, ret_build);
    cvy_os_close(fd);
    return r;
}

/* ---- hashes ----------------------------------------------------------------- */

static uint64_t hash_headers(const struct cvy_os_module *module)
{
    return cvy_os_hash(CVY_OS_HASH_SEED, module->headers,
                       module->header_count * sizeof(ElfW(Phdr)));
}

static bool hash_range(int fd, uint64_t offset, uint64_t size, uint64_t *hash)
{
    uint8_t buffer[16384];

    while (size > 0) {
        const size_t part = size < sizeof buffer ? (size_t)size : sizeof buffer;

        if (!read_at(fd, buffer, part, offset))
            return false;
        *hash = cvy_os_hash(*hash, buffer, part);
        offset += part;
        size -= part;
    }
    return true;
}

static bool hash_program(const struct cvy_os_module *module, uint64_t *ret_hash)
{
    const ElfW(Phdr) *header = module->headers;
    const int fd = cvy_call_open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    uint64_t hash = hash_headers(module);
    bool fine = fd >= 0;

    for (size_t i = 0; fine && i < module->header_count; i++, header++)
        if (header->p_type == PT_LOAD)
            fine = hash_range(fd, header->p_offset, header->p_filesz, &hash);
    cvy_os_close(fd);
    if (fine)
        *ret_hash = hash;
    return fine;
}

/* The index of .eh_frame has the offset of every function. */
static uint64_t hash_layout(const struct cvy_os_module *module)
{
    const ElfW(Phdr) *header = module->headers;
    uint64_t hash = hash_headers(module);

    for (size_t i = 0; i < module->header_count; i++, header++) {
        const uint8_t *functions;

        if (header->p_type != PT_GNU_EH_FRAME)
            continue;
        functions = loaded(module, header);
        if (functions != NULL)
            hash = cvy_os_hash(hash, functions, header->p_memsz);
    }
    return hash;
}

void cvy_os_module_build(const struct cvy_os_module *module,
                         struct cvy_os_build *ret_build)
{
    uint64_t hash;

    if (build_in_memory(module, ret_build))
        return;
    if (!module->is_main || !hash_program(module, &hash))
        hash = hash_layout(module);
    memset(ret_build, 0, sizeof *ret_build);
    ret_build->size = sizeof hash;
    ret_build->stand_in = 1;
    memcpy(ret_build->id, &hash, sizeof hash);
}
