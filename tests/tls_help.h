/* SPDX-License-Identifier: MIT */
/* What the tests of TLS share: certificates, which are made when the test runs; and a
 * tap that records what goes over the wire. */
#ifndef TESTS_TLS_HELP_H
#define TESTS_TLS_HELP_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "conn_help.h"

#define SECRET   COVEY_VIEW("a secret of the tests", 21)
#define BY_KEY   COVEY_TLS(.from_key = COVEY_ON)
#define ANY_PORT "127.0.0.1:0"
#define LONG     COVEY_SEC(20)

/* Two authorities, `ca` and `other`. Signed by the first: `server`, for the name
 * server.test; `client`; and `old`, which has expired. By the other: `stranger`. */
static const char make_certificates[] =
    "set -e\n"
    "new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
    "for ca in ca other; do\n"
    "  openssl req -x509 $new -keyout $ca.key -out $ca.pem -subj /CN=$ca -days 2\n"
    "done\n"
    "printf 'subjectAltName=DNS:server.test,IP:127.0.0.1\\n' >names\n"
    "sign() {\n"
    "  name=$1 ca=$2; shift 2\n"
    "  openssl req $new -new -keyout $name.key -out $name.csr -subj /CN=$name\n"
    "  openssl x509 -req -in $name.csr -CA $ca.pem -CAkey $ca.key -CAcreateserial"
    " -extfile names -out $name.pem \"$@\"\n"
    "}\n"
    "sign server ca -days 2\n"
    "sign client ca -days 2\n"
    "sign stranger other -days 2\n"
    "sign old ca -days -1 || sign old ca -not_before 20200101000000Z"
    " -not_after 20200102000000Z\n";

struct certificates {
    char folder[64];
    unsigned count;
    char path[8][96]; /* the last ones that were asked for */
};

static inline void in_folder(const char *folder, const char *script)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        unsetenv("LD_PRELOAD");
        if (chdir(folder) == 0)
            execlp("sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static inline void certificates_make(struct certificates *c)
{
    *c = (struct certificates){.folder = "/tmp/covey-tls-XXXXXX"};
    CHECK(mkdtemp(c->folder) != NULL);
    in_folder(c->folder, make_certificates);
}

static inline void certificates_free(struct certificates *c)
{
    char script[128];
    snprintf(script, sizeof script, "rm -r %s", c->folder);
    in_folder("/", script);
}

static inline const char *file_of(struct certificates *c, const char *name,
                                  const char *kind)
{
    char *path = c->path[c->count++ % 8];
    char folder[sizeof c->folder];
    memcpy(folder, c->folder, sizeof folder);
    snprintf(path, sizeof c->path[0], "%s/%s.%s", folder, name, kind);
    return path;
}

/* Shows `own` and takes who is signed by `ca`; the last two that were made are valid. */
static inline struct covey_tls shows(struct certificates *c, const char *own,
                                     const char *ca)
{
    return (struct covey_tls){.size = sizeof(struct covey_tls),
                              .certificate = file_of(c, own, "pem"),
                              .key = file_of(c, own, "key"),
                              .authorities = file_of(c, ca, "pem")};
}

/* A server and a client, each with what it shows of `c`. It points into itself, and is not
 * to be copied. */
struct papers {
    struct certificates c;
    struct covey_tls server, client;
};

static inline void papers_make(struct papers *p, const char *client)
{
    certificates_make(&p->c);
    p->server = shows(&p->c, "server", "ca");
    p->client = shows(&p->c, client, "ca");
}

static inline void papers_free(struct papers *p)
{
    certificates_free(&p->c);
}

/* ---- bare sockets ---- */

static inline int port_of(const char *address)
{
    return atoi(strrchr(address, ':') + 1);
}

static inline int bare_connect(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port_of(address)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* ---- an eavesdropper ---- */

/* One connection through it; it ends when both sides have. */
struct tap {
    pthread_t thread;
    int listening;
    char to[256], address[64];
    char *heard;
    size_t size, capacity;
};

static inline bool tap_some(struct tap *t, int from, int to)
{
    char piece[65536];
    ssize_t n = recv(from, piece, sizeof piece, 0);
    if (n <= 0) {
        shutdown(to, SHUT_WR);
        return false;
    }
    if (t->size + (size_t)n > t->capacity) {
        t->capacity = 2 * (t->size + (size_t)n);
        t->heard = realloc(t->heard, t->capacity);
    }
    memcpy(t->heard + t->size, piece, (size_t)n);
    t->size += (size_t)n;
    for (ssize_t done = 0; done < n;) {
        ssize_t some = send(to, piece + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (some < 0)
            return false;
        done += some;
    }
    return true;
}

static inline void *tap_run(void *arg)
{
    struct tap *t = arg;
    int in = accept4(t->listening, NULL, NULL, SOCK_CLOEXEC), out = bare_connect(t->to);
    struct pollfd p[2] = {{.fd = in, .events = POLLIN}, {.fd = out, .events = POLLIN}};
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        CHECK_GT(poll(p, 2, 20000), 0);
        for (int i = 0; i < 2; i++)
            if (p[i].fd >= 0 && p[i].revents &&
                !tap_some(t, i ? out : in, i ? in : out))
                p[i].fd = -1;
    }
    close(in);
    close(out);
    return NULL;
}

static inline void tap_start(struct tap *t, const char *to)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *t = (struct tap){.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    snprintf(t->to, sizeof t->to, "%s", to);
    CHECK_EQ(bind(t->listening, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(t->listening, 8), 0);
    CHECK_EQ(getsockname(t->listening, (struct sockaddr *)&at, &size), 0);
    snprintf(t->address, sizeof t->address, "127.0.0.1:%d", ntohs(at.sin_port));
    CHECK_EQ(pthread_create(&t->thread, NULL, tap_run, t), 0);
}

/* Wait for its end. Returns: whether it has heard this. */
static inline bool tap_has_heard(struct tap *t, const char *what)
{
    CHECK_EQ(pthread_join(t->thread, NULL), 0);
    CHECK_GT(t->size, 0);
    bool has = memmem(t->heard, t->size, what, strlen(what)) != NULL;
    close(t->listening);
    free(t->heard);
    return has;
}

#endif
