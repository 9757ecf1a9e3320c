/* SPDX-License-Identifier: MIT */
/* Lists the files of a folder and counts one of them; no covey in here. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "words.h"

enum { OPEN_FOLDERS = 16 };

/* ---- the list ------------------------------------------------------------------ */

static struct words_list found; /* nftw hands on no pointer of ours */
static size_t found_capacity;

static int skip(const char *path, const char *why)
{
    printf("  skipped %s: %s\n", path, why);
    found.skipped++;
    return 0;
}

static int visit(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)where;
    if (kind == FTW_DNR || kind == FTW_NS)
        return skip(path, "cannot be read");
    if (kind != FTW_F || !S_ISREG(info->st_mode))
        return 0;
    if (strlen(path) >= sizeof found.files->path)
        return skip(path, "the path is too long");
    if (found.count == found_capacity) {
        size_t capacity = found_capacity ? 2 * found_capacity : 256;
        void *files = realloc(found.files, capacity * sizeof *found.files);
        if (!files)
            return -ENOMEM;
        found.files = files;
        found_capacity = capacity;
    }
    struct words_file *file = &found.files[found.count++];
    memset(file, 0, sizeof *file);
    memcpy(file->path, path, strlen(path));
    return 0;
}

static int by_path(const void *left, const void *right)
{
    const struct words_file *a = left, *b = right;
    return strcmp(a->path, b->path);
}

int words_list(const char *folder, struct words_list *ret_list)
{
    struct stat info;
    memset(&found, 0, sizeof found);
    found_capacity = 0;
    if (stat(folder, &info) < 0)
        return -errno;
    if (!S_ISDIR(info.st_mode))
        return -ENOTDIR;
    int r = nftw(folder, visit, OPEN_FOLDERS, FTW_PHYS);
    if (r != 0) {
        r = r == -1 ? -errno : r;
        free(found.files);
        return r;
    }
    if (found.count)
        qsort(found.files, found.count, sizeof *found.files, by_path);
    *ret_list = found;
    return 0;
}

/* ---- one file ------------------------------------------------------------------ */

/* The bytes of a file, in memory of its own; the answer is 0 or an errno value. */
static int read_file(const char *path, char **ret_bytes, size_t *ret_size)
{
    char *bytes = NULL;
    size_t size = 0, capacity = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return errno;
    do {
        size += (size_t)got;
        if (size == capacity) {
            capacity = capacity ? 2 * capacity : 65536;
            char *grown = realloc(bytes, capacity);
            if (!grown) {
                got = -1;
                break;
            }
            bytes = grown;
        }
        got = read(fd, bytes + size, capacity - size);
    } while (got > 0);
    int error = got < 0 ? errno : 0;
    close(fd);
    if (error) {
        free(bytes);
        return error;
    }
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}

static int is_word(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c >= 0x80;
}

static uint64_t hash_word(const char *word, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)word[i]) * 0x100000001b3;
    return hash;
}

static void keep_longest(struct words_count *count, const char *word, size_t length)
{
    if (length <= count->longest)
        return;
    size_t cut = length < sizeof count->example ? length : sizeof count->example - 1;
    count->longest = length;
    memset(count->example, 0, sizeof count->example);
    memcpy(count->example, word, cut);
}

static void count_text(const char *bytes, size_t size, struct words_count *count)
{
    count->bytes = size;
    for (size_t at = 0; at < size;) {
        if (!is_word((unsigned char)bytes[at])) {
            count->lines += bytes[at++] == '\n';
            continue;
        }
        size_t begin = at;
        while (at < size && is_word((unsigned char)bytes[at]))
            at++;
        count->words++;
        count->hash += hash_word(bytes + begin, at - begin);
        keep_longest(count, bytes + begin, at - begin);
    }
}

void words_count(const char *path, struct words_count *ret_count)
{
    char *bytes = NULL;
    size_t size = 0;
    memset(ret_count, 0, sizeof *ret_count);
    ret_count->error = read_file(path, &bytes, &size);
    if (ret_count->error)
        return;
    if (size && memchr(bytes, '\0', size))
        ret_count->binary = 1;
    else
        count_text(bytes, size, ret_count);
    free(bytes);
}

void words_add(struct words_count *sum, const struct words_count *file)
{
    sum->bytes += file->bytes;
    sum->lines += file->lines;
    sum->words += file->words;
    sum->hash += file->hash;
    keep_longest(sum, file->example, file->longest);
}
