/* SPDX-License-Identifier: MIT */
/* serve.c: `covey serve`, a manager in the foreground. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/events.h"
#include "os/service.h"
#include "tools/tools.h"

#include <covey.h>

#define KEY_MAX 256

static const char help[] =
    "usage: covey serve --address ADDRESS --authkey-file FILE [OPTION...]\n"
    "\n"
    "Holds lists, dicts, queues, locks and the like for clients: programs in C (see\n"
    "covey/proxy.h), and Python's multiprocessing.managers.SyncManager. Ends in\n"
    "order by SIGTERM, SIGINT, or a client's shutdown.\n"
    "\n"
    "  --address HOST:PORT | [V6]:PORT | /PATH | ./PATH | @NAME\n"
    "                         where to listen; port 0 is any free one, no host all\n"
    "                         (not needed with a socket that systemd has opened)\n"
    "  --authkey-file FILE    what clients have to know; a newline at its end is\n"
    "                         left out\n"
    "  --allow-md5            let clients prove that by MD5: CPython before 3.12\n"
    "                         needs it\n"
    "  --tls-certificate FILE, --tls-key FILE, --tls-authorities FILE\n"
    "                         speak TLS 1.3, with clients whose certificate one\n"
    "                         of the authorities has signed; files in PEM\n"
    "  --tls-from-key         speak TLS 1.3, with clients that know the key\n"
    "  --segments             look after named memory, as Python's\n"
    "                         SharedMemoryManager\n"
    "  --log LEVEL            debug, info, warning (default) or error\n"
    "\n"
    "  --max-message SIZE     of a request (default 256M)\n"
    "  --max-reply SIZE       of a reply (1G)\n"
    "  --max-memory SIZE      beyond which objects may not grow (half of what there\n"
    "                         is)\n"
    "  --max-objects N        (1000000)\n"
    "  --max-sessions N       connections at the same time (20000, and what the\n"
    "                         limit of open files allows)\n"
    "  --max-steps N          a request may take: items looked at (50000000)\n"
    "  --max-bytes SIZE       a request may make of others, by repeating, printing\n"
    "                         (256M)\n"
    "  --handshake-timeout S  seconds for proving that one knows the key (10)\n"
    "  --send-timeout S       seconds until a client that does not read is left (60)\n"
    "\n"
    "SIZE may end in K, M, G or T.\n";

enum choice {
    ADDRESS = 256,
    KEY_FILE,
    ALLOW_MD5,
    TLS_CERTIFICATE,
    TLS_KEY,
    TLS_AUTHORITIES,
    TLS_FROM_KEY,
    SEGMENTS,
    LOG,
    MESSAGE,
    REPLY,
    MEMORY,
    OBJECTS,
    SESSIONS,
    STEPS,
    BYTES,
    HANDSHAKE,
    SENDING,
    HELP
};

static const struct option options[] = {
    {"address", required_argument, NULL, ADDRESS},
    {"authkey-file", required_argument, NULL, KEY_FILE},
    {"allow-md5", no_argument, NULL, ALLOW_MD5},
    {"tls-certificate", required_argument, NULL, TLS_CERTIFICATE},
    {"tls-key", required_argument, NULL, TLS_KEY},
    {"tls-authorities", required_argument, NULL, TLS_AUTHORITIES},
    {"tls-from-key", no_argument, NULL, TLS_FROM_KEY},
    {"segments", no_argument, NULL, SEGMENTS},
    {"log", required_argument, NULL, LOG},
    {"max-message", required_argument, NULL, MESSAGE},
    {"max-reply", required_argument, NULL, REPLY},
    {"max-memory", required_argument, NULL, MEMORY},
    {"max-objects", required_argument, NULL, OBJECTS},
    {"max-sessions", required_argument, NULL, SESSIONS},
    {"max-steps", required_argument, NULL, STEPS},
    {"max-bytes", required_argument, NULL, BYTES},
    {"handshake-timeout", required_argument, NULL, HANDSHAKE},
    {"send-timeout", required_argument, NULL, SENDING},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

struct settings {
    struct covey_manager_opts opts;
    struct covey_tls tls; /* of `opts`, if one of its options was given */
    const char *key_file;
    int log_level;
};

static int wrong(const char *what, const char *text)
{
    fprintf(stderr, "covey serve: %s '%s'\n", what, text);
    return -EINVAL;
}

/* ---- texts ---- */

/* A whole number of at least 1, with a unit. */
static int read_number(const char *text, uint64_t most, uint64_t *ret)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long number =
        isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
    if (!number || errno)
        return wrong("this is no number of at least 1:", text);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (end[unit ? 1 : 0] || number > most >> shift)
        return wrong("this is no number, or too large:", text);
    *ret = (uint64_t)number << shift;
    return 0;
}

static int read_size(const char *text, size_t *ret)
{
    uint64_t number;
    int r = read_number(text, SIZE_MAX / 4, &number);
    if (r >= 0)
        *ret = number;
    return r;
}

static int read_seconds(const char *text, covey_nsec *ret)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0.001 && seconds <= 1e9))
        return wrong("these are no seconds:", text);
    *ret = (covey_nsec)(seconds * 1e9);
    return 0;
}

static int read_level(const char *text, int *ret)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"debug", COVEY_LOG_DEBUG},
                  {"info", COVEY_LOG_INFO},
                  {"warning", COVEY_LOG_WARNING},
                  {"error", COVEY_LOG_ERROR}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *ret = levels[i].level;
            return 0;
        }
    }
    return wrong("there is no level", text);
}

/* ---- options ---- */

static int take_limit(struct covey_manager_opts *o, int option, const char *text)
{
    switch (option) {
    case MESSAGE:
        return read_size(text, &o->max_message);
    case REPLY:
        return read_size(text, &o->max_reply);
    case MEMORY:
        return read_number(text, UINT64_MAX / 4, &o->max_memory);
    case OBJECTS:
        return read_size(text, &o->max_objects);
    case SESSIONS:
        return read_size(text, &o->max_sessions);
    case STEPS:
        return read_number(text, UINT64_MAX / 4, &o->max_steps);
    case BYTES:
        return read_number(text, UINT64_MAX / 4, &o->max_bytes);
    case HANDSHAKE:
        return read_seconds(text, &o->handshake_timeout);
    default:
        return read_seconds(text, &o->send_timeout);
    }
}

static void take_tls(struct settings *s, int option, const char *text)
{
    s->opts.tls = &s->tls;
    switch (option) {
    case TLS_CERTIFICATE:
        s->tls.certificate = text;
        break;
    case TLS_KEY:
        s->tls.key = text;
        break;
    case TLS_AUTHORITIES:
        s->tls.authorities = text;
        break;
    default:
        s->tls.from_key = COVEY_ON;
    }
}

/* Returns: 0; 1 if help was asked for; -EINVAL, after saying why. */
static int take_options(int argc, char **argv, struct settings *s)
{
    int option, r = 0;
    while (!r && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case ADDRESS:
            s->opts.address = optarg;
            break;
        case KEY_FILE:
            s->key_file = optarg;
            break;
        case ALLOW_MD5:
            s->opts.allow_md5 = COVEY_ON;
            break;
        case TLS_CERTIFICATE:
        case TLS_KEY:
        case TLS_AUTHORITIES:
        case TLS_FROM_KEY:
            take_tls(s, option, optarg);
            break;
        case SEGMENTS:
            s->opts.segments = COVEY_ON;
            break;
        case LOG:
            r = read_level(optarg, &s->log_level);
            break;
        case HELP:
            r = 1;
            break;
        case '?':
            r = -EINVAL;
            break;
        default:
            r = take_limit(&s->opts, option, optarg);
        }
    }
    if (!r && optind < argc)
        r = wrong("what is this:", argv[optind]);
    bool has_place = s->opts.address || s->opts.listen_fd;
    if (!r && (!has_place || !s->key_file))
        r = wrong("this has to be given:", has_place ? "--authkey-file" : "--address");
    if (s->opts.listen_fd)
        s->opts.address = NULL;
    return r;
}

/* A socket that systemd has opened. */
static int take_socket(struct settings *s)
{
    int count = cvy_os_handed_sockets();
    if (count > 1) {
        fprintf(stderr, "covey serve: of %d sockets one could be served\n", count);
        return -EINVAL;
    }
    s->opts.listen_fd = count ? CVY_OS_FIRST_HANDED : 0;
    return 0;
}

static int read_key(const char *path, unsigned char key[KEY_MAX + 2],
                    struct covey_view *ret)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "covey serve: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    errno = 0;
    size_t size = fread(key, 1, KEY_MAX + 2, file);
    int error = ferror(file) ? errno : 0;
    (void)fclose(file);
    if (error) {
        fprintf(stderr, "covey serve: %s: %s\n", path, strerror(error));
        return -error;
    }
    if (size > 0 && size < KEY_MAX + 2 && key[size - 1] == '\n')
        size--;
    if (!size || size > KEY_MAX) {
        fprintf(stderr, "covey serve: %s: a key has 1 to %d bytes\n", path, KEY_MAX);
        return -EINVAL;
    }
    *ret = COVEY_VIEW(key, size);
    return 0;
}

/* ---- serving ---- */

static _Atomic int is_ending; /* by a signal */

static void tell_manager(const char *state)
{
    int r = cvy_os_tell_service_manager(state);
    if (r < 0)
        fprintf(stderr, "covey serve: NOTIFY_SOCKET: %s\n", strerror(-r));
}

static void say_ready(void *context, const char *address)
{
    char state[512];
    (void)context;
    printf("serving at %s\n", address);
    fflush(stdout);
    (void)snprintf(state, sizeof state, "READY=1\nSTATUS=serving at %.400s", address);
    tell_manager(state);
    if (is_ending) /* the signal came before there was anything to stop */
        covey_manager_stop();
}

/* In a signal handler. */
static void stop(void)
{
    if (!is_ending++)
        (void)cvy_os_tell_service_manager("STOPPING=1");
    covey_manager_stop();
}

static int serve(struct settings *s)
{
    (void)covey_log_to_stderr(s->log_level);
    (void)cvy_os_raise_open_files();
    cvy_os_ignore_lost_readers(); /* stdout's and stderr's may go before the server */
    cvy_os_find_service_manager();
    cvy_os_on_terminate(stop);
    cvy_os_on_interrupt(stop);
    s->opts.ready = say_ready;
    int r = covey_manager_serve_forever(&s->opts);
    if (r >= 0) {
        if (!is_ending) /* a client has asked for it */
            tell_manager("STOPPING=1");
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "covey serve: %s\n", covey_error_detail());
    return r == -EINVAL ? CVY_TOOL_USAGE : CVY_TOOL_FAILED;
}

int cvy_tool_serve(int argc, char **argv)
{
    static unsigned char key[KEY_MAX + 2];
    struct settings s = {.opts = {.size = sizeof s.opts},
                         .tls = {.size = sizeof s.tls},
                         .log_level = COVEY_LOG_WARNING};
    int r = take_socket(&s);
    if (r >= 0)
        r = take_options(argc, argv, &s);
    if (r > 0) {
        fputs(help, stdout);
        return cvy_tool_printed();
    }
    if (r < 0) {
        fputs("`covey serve --help` tells more\n", stderr);
        return CVY_TOOL_USAGE;
    }
    if (read_key(s.key_file, key, &s.opts.authkey) < 0)
        return CVY_TOOL_FAILED;
    return serve(&s);
}
