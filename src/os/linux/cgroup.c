/* SPDX-License-Identifier: MIT */
/*
 * Limits of control groups, versions 1 and 2, also where both are mounted.
 *
 * A limit holds for all groups below it: the smallest on the way from the process's group
 * up to the top that is mounted counts. In a container the mount may begin inside of the
 * hierarchy ("root" in mountinfo), and what lies above is not visible. What cannot be
 * read is no limit.
 */
#include "os/linux/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "os/linux/calls.h"
#include "os/linux/linux.h"

/* ---- lines of a file ---- */

struct line_reader {
    int fd;
    size_t start, end; /* of what is in the buffer and not yet returned */
    char buffer[4096];
};

static void fill(struct line_reader *reader)
{
    ssize_t r;

    memmove(reader->buffer, reader->buffer + reader->start,
            reader->end - reader->start);
    reader->end -= reader->start;
    reader->start = 0;
    do {
        r = cvy_call_read(reader->fd, reader->buffer + reader->end,
                          sizeof(reader->buffer) - 1 - reader->end);
    } while (r < 0 && errno == EINTR);
    if (r > 0)
        reader->end += (size_t)r;
}

/* The next line without its newline, valid until the next call; NULL at the end. A line
 * longer than the buffer comes in pieces, and none of them is one we look for. */
static char *next_line(struct line_reader *reader)
{
    char *line = reader->buffer + reader->start;
    char *newline = memchr(line, '\n', reader->end - reader->start);

    if (!newline) {
        fill(reader);
        line = reader->buffer;
        newline = memchr(line, '\n', reader->end);
    }
    if (!reader->end)
        return NULL;
    if (!newline)
        newline = line + reader->end;
    *newline = 0;
    reader->start = cvy_min_size((size_t)(newline - reader->buffer) + 1, reader->end);
    return line;
}

/* ---- one group's limit, from the files in its folder ---- */

typedef uint64_t limit_fn(const char *folder);

/* Returns: whether there is such a file. */
static bool read_setting(const char *folder, const char *file, char *text, size_t size)
{
    char path[PATH_MAX];

    if (strlen(folder) + 1 + strlen(file) >= sizeof(path))
        return false;
    strcpy(path, folder);
    strcat(path, "/");
    strcat(path, file);
    return cvy_file_read(path, text, size) > 0;
}

/* The number at the start of the text; UINT64_MAX for "max", "-1" and the like. */
static uint64_t parse_limit(const char *text, const char **ret_end)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);

    *ret_end = end;
    return *text < '0' || *text > '9' ? UINT64_MAX : number;
}

static uint64_t read_limit(const char *folder, const char *file)
{
    char text[64];
    const char *end;

    return read_setting(folder, file, text, sizeof(text)) ? parse_limit(text, &end)
                                                          : UINT64_MAX;
}

static uint64_t count_cpus(uint64_t quota, uint64_t period)
{
    if (quota == UINT64_MAX || period == UINT64_MAX || !period)
        return UINT64_MAX;
    return cvy_max_u64(quota / period + (quota % period != 0), 1);
}

static uint64_t memory_v1(const char *folder)
{
    return read_limit(folder, "memory.limit_in_bytes");
}

static uint64_t memory_v2(const char *folder)
{
    return read_limit(folder, "memory.max");
}

static uint64_t cpus_v1(const char *folder)
{
    return count_cpus(read_limit(folder, "cpu.cfs_quota_us"),
                      read_limit(folder, "cpu.cfs_period_us"));
}

static uint64_t cpus_v2(const char *folder)
{
    char text[64];
    const char *at;
    uint64_t quota;

    if (!read_setting(folder, "cpu.max", text, sizeof(text)))
        return UINT64_MAX;
    quota = parse_limit(text, &at);
    return count_cpus(quota, *at == ' ' ? parse_limit(at + 1, &at) : UINT64_MAX);
}

/* ---- finding the folders ---- */

/* Whether the list "cpu,cpuacct" has `name`. */
static bool list_has(const char *list, const char *name)
{
    size_t length = strlen(name);

    while (list) {
        if (!strncmp(list, name, length) && (list[length] == ',' || !list[length]))
            return true;
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return false;
}

/* Cut the word at the start of `*text` off and step behind it; "" when there is none. */
static char *next_word(char **text)
{
    char *word = *text;
    char *end = strchrnul(word, ' ');

    *text = *end ? end + 1 : end;
    *end = 0;
    return word;
}

/* If this line of mountinfo is the hierarchy of `controller` (NULL: version 2), put the
 * folder of group `path` in it into `folder`. Returns: length of the mount point, 0. */
static size_t match_mount(char *line, const char *controller, const char *path,
                          char folder[PATH_MAX])
{
    char *root, *point, *type;

    for (int i = 0; i < 3; i++) /* mount id, parent id, device */
        next_word(&line);
    root = next_word(&line);
    point = next_word(&line);
    line = strstr(line, "- ");
    if (!line)
        return 0;
    next_word(&line);
    type = next_word(&line);
    next_word(&line); /* source */
    if (strcmp(type, controller ? "cgroup" : "cgroup2") != 0 ||
        (controller && !list_has(line, controller)))
        return 0;
    if (strcmp(root, "/") != 0) /* else the path is from the mounted top already */
        path = !strncmp(path, root, strlen(root)) ? path + strlen(root) : "";
    if (!strcmp(path, "/") || (*path && *path != '/') || strstr(path, "/.."))
        path = "";
    if (strlen(point) + strlen(path) >= PATH_MAX)
        return 0;
    strcpy(folder, point);
    strcat(folder, path);
    return strlen(point);
}

/* The smallest limit from group `path` upwards. */
static uint64_t walk_up(const struct cvy_cgroup_source *source, const char *controller,
                        const char *path, limit_fn *read_group)
{
    struct line_reader reader = {
        .fd = cvy_call_open(source->mounts, O_RDONLY | O_CLOEXEC)};
    char folder[PATH_MAX];
    uint64_t limit = UINT64_MAX;
    size_t top = 0;
    char *line;

    if (reader.fd < 0)
        return limit;
    while (!top && (line = next_line(&reader)))
        top = match_mount(line, controller, path, folder);
    cvy_call_close(reader.fd);
    while (top) {
        char *end = strrchr(folder + top, '/');

        limit = cvy_min_u64(limit, read_group(folder));
        if (!end)
            break;
        *end = 0;
    }
    return limit;
}

static uint64_t find_limit(const struct cvy_cgroup_source *source,
                           const char *controller, limit_fn *read_v1, limit_fn *read_v2)
{
    static const struct cvy_cgroup_source own = {"/proc/self/cgroup",
                                                 "/proc/self/mountinfo"};
    struct line_reader reader;
    uint64_t limit = UINT64_MAX;
    char *line;

    source = source ? source : &own;
    reader = (struct line_reader){
        .fd = cvy_call_open(source->membership, O_RDONLY | O_CLOEXEC)};
    if (reader.fd < 0)
        return limit;
    while ((line = next_line(&reader))) { /* id:controllers:path */
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        uint64_t found = UINT64_MAX;

        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        if (!*controllers)
            found = walk_up(source, NULL, path, read_v2);
        else if (list_has(controllers, controller))
            found = walk_up(source, controller, path, read_v1);
        limit = cvy_min_u64(limit, found);
    }
    cvy_call_close(reader.fd);
    return limit;
}

uint64_t cvy_cgroup_memory(const struct cvy_cgroup_source *source)
{
    return find_limit(source, "memory", memory_v1, memory_v2);
}

uint64_t cvy_cgroup_cpus(const struct cvy_cgroup_source *source)
{
    return find_limit(source, "cpu", cpus_v1, cpus_v2);
}
