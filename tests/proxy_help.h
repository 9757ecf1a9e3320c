/* SPDX-License-Identifier: MIT */
/* What the tests of proxies share: stock CPython's managers beside the test, and short
 * ways to say what is in the objects there. */
#ifndef TESTS_PROXY_HELP_H
#define TESTS_PROXY_HELP_H

#include <signal.h>

#include "object_help.h"
#include "process_help.h"
#include "python_help.h"
#include "value_help.h"

#define SECRET  COVEY_VIEW("secret", 6)
#define PATIENT COVEY_SEC(20)
/* 3.12 and later do not say MD5 first. */
#define MD5_OF(p) ((p)->minor < 12 ? COVEY_ON : COVEY_OFF)

/* What each server begins with; it ends with serve(m). */
#define SERVER                                                                         \
    "import sys, threading, queue\n"                                                   \
    "from multiprocessing import process\n"                                            \
    "from multiprocessing.managers import BaseManager, SyncManager, BaseProxy\n"       \
    "process.current_process().authkey = b'secret'\n" PYTHON_ADDRESS                   \
    "def serve(cls):\n"                                                                \
    "    s = cls(address(sys.argv[1]), authkey=b'secret').get_server()\n"              \
    "    a = s.address\n"                                                              \
    "    if isinstance(a, tuple): a = '%s:%d' % a\n"                                   \
    "    if isinstance(a, bytes): a = a.decode()\n"                                    \
    "    print(a.replace('\\0', '@'))\n"                                               \
    "    s.serve_forever()\n"

#define STOCK SERVER "serve(SyncManager)\n"

struct server {
    struct beside beside;
    char address[256];
};

static inline struct server server_start(const struct python *p, const char *script,
                                         const char *address)
{
    struct server s;
    s.beside = python_start(p, script, address, "");
    python_line(&s.beside, s.address, sizeof s.address);
    return s;
}

static inline void server_kill(struct server *s)
{
    int status;
    CHECK_EQ(kill(s->beside.pid, SIGKILL), 0);
    CHECK_EQ(waitpid(s->beside.pid, &status, 0), s->beside.pid);
    close(s->beside.out);
}

static inline covey_manager *manager_at(const char *address, enum covey_switch md5)
{
    covey_manager *m = NULL;
    CHECK_OK(covey_manager_connect(
        &m, address,
        COVEY_CONNECT_OPTS(.authkey = SECRET, .allow_md5 = md5, .timeout = PATIENT),
        PATIENT));
    return m;
}

/* The last call failed by this exception. */
static inline void failed_by(const char *type, const char *text)
{
    CHECK_STR_EQ(covey_proxy_error_type(), type);
    CHECK_STR_EQ(covey_proxy_error_text(), text);
}

static inline size_t count_of(covey_manager *m)
{
    size_t count = 99;
    CHECK_OK(covey_manager_count(m, &count));
    return count;
}

/* ---- covey's own manager ---- */

static inline void own_is_ready(void *context, const char *address)
{
    CHECK_GT(dprintf(*(int *)context, "%s\n", address), 0);
}

static inline struct server own_start(const char *address)
{
    int ends[2];
    struct server s = {0};
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    s.beside.pid = fork();
    CHECK_GE(s.beside.pid, 0);
    if (!s.beside.pid) {
        CHECK_OK(covey_manager_serve_forever(
            COVEY_MANAGER_OPTS(.address = address, .authkey = SECRET,
                               .ready = own_is_ready, .context = &ends[1])));
        exit(0);
    }
    close(ends[1]);
    s.beside.out = ends[0];
    python_line(&s.beside, s.address, sizeof s.address);
    return s;
}

/* Stands for it where tests ask for the version. */
#define OWN_MINOR 99

/* A test of one manager; `test` for covey's own and for each Python. */
static inline void with_each_manager(void (*test)(covey_manager *m,
                                                  const struct python *p))
{
    const struct python own = {"covey", OWN_MINOR};
    struct server s = own_start("127.0.0.1:0");
    covey_manager *m = manager_at(s.address, COVEY_OFF);
    test(m, &own);
    covey_manager_free(m);
    server_kill(&s);
    EACH_PYTHON(p)
    {
        s = server_start(p, STOCK, "127.0.0.1:0");
        m = manager_at(s.address, MD5_OF(p));
        test(m, p);
        covey_manager_free(m);
        server_kill(&s);
    }
}

#endif
