/* SPDX-License-Identifier: MIT */
/* Stock clients of every CPython of this machine: with `covey serve`, and with a program in
 * C that has a class and a queue of its own. */
#include "python_help.h"
#include "server_box.h"
#include "server_help.h"
#include "tool_help.h"

#define FIRST_SHA 12 /* 3.12 and later do not say MD5 first */

/* What each script begins with: a manager that is connected, and what remains of it. */
#define PRELUDE                                                                        \
    "import sys, time, queue, multiprocessing\n"                                       \
    "from multiprocessing.managers import BaseManager, SyncManager, RemoteError\n"     \
    "multiprocessing.current_process().authkey = b'secret'\n" PYTHON_ADDRESS           \
    "where = address(sys.argv[1])\n"                                                   \
    "def raised(f, *args, **kwds):\n"                                                  \
    "    try: return 'returned %r' % (f(*args, **kwds),)\n"                            \
    "    except Exception as e: return repr(e).replace(',)', ')')\n"

/* ---- covey serve ---- */

static struct tool serve_at(const char *address, bool allow_md5)
{
    return tool_start(address, "secret", NULL, allow_md5 ? "--allow-md5" : "");
}

static const char all_types[] = PRELUDE
    "m = SyncManager(where, authkey=b'secret'); m.connect()\n"
    "l = m.list([1, 2, 3]); l.append(4); l.extend((5, 6)); l += [7]; l.reverse()\n"
    "print(l, len(l), l[0], l[-1], l[1:3], 5 in l, l.index(4), l.count(9), list(l))\n"
    "print(raised(l.pop, 50), raised(l.remove, 99), raised(lambda: l[99]))\n"
    "d = m.dict(a=1); d['x'] = [1, 2]; d[0.25] = None; d.update(b=2)\n"
    "print(d, len(d), sorted(map(str, d.keys())), d.get('no', 5), d.pop('b'))\n"
    "print(raised(lambda: d['nope']), list(d.values()), list(iter(d)), 'a' in d)\n"
    "n = m.Namespace(x=1); n.y = 'z'; del n.x\n"
    "print(n, n.y, raised(lambda: n.x))\n"
    "k = m.Lock(); print(k.acquire(), k.acquire(False), k.release(), "
    "raised(k.release))\n"
    "r = m.RLock(); print(r.acquire(), r.acquire(), r.release(), r.release())\n"
    "s = m.Semaphore(2); print(s.acquire(), s.acquire(), s.acquire(False))\n"
    "b = m.BoundedSemaphore(1); print(raised(b.release))\n"
    "e = m.Event(); print(e.is_set(), e.wait(0.01), e.set(), e.wait(1))\n"
    "c = m.Condition(); print(raised(c.notify), c.acquire(), c.wait(0.01), "
    "c.release())\n"
    "p = m.Barrier(1); print(p.wait(), p.parties, p.broken)\n"
    "q = m.Queue(2); q.put(1); q.put('z')\n"
    "print(q.full(), q.get(), q.qsize(), raised(q.put_nowait, 1), raised(q.put_nowait, "
    "2))\n"
    "q.get(); q.get(); print(raised(q.get, timeout=0.01), raised(q.get_nowait))\n"
    "j = m.JoinableQueue(); j.put(1); j.get(); print(j.task_done(), j.join())\n"
    "v = m.Value('i', 3); v.value += 4; print(v.value, v)\n"
    "a = m.Array('i', [1, 2, 3]); a[1] = 7; print(list(a), len(a), a[0:2])\n"
    "l.append(d); l[-1]['q'] = 5; print(d['q'], type(l[-1]).__name__)\n"
    "print(raised(l._callmethod, 'fly').split('\\\\n')[-2])\n"
    "print(m._number_of_objects(), m._debug_info().count('refcount=1'))\n"
    "del l, d, n, k, r, s, b, e, c, p, q, j, v, a\n"
    "import gc; gc.collect()\n"
    "for i in range(100):\n"
    "    if not m._number_of_objects(): break\n"
    "    time.sleep(0.05)\n"
    "print(m._number_of_objects())\n";

static const char all_results[] =
    "[7, 6, 5, 4, 3, 2, 1] 7 7 1 [6, 5] True 3 0 [7, 6, 5, 4, 3, 2, 1]\n"
    "IndexError('pop index out of range') ValueError('list.remove(x): x not in list') "
    "IndexError('list index out of range')\n"
    "{'a': 1, 'x': [1, 2], 0.25: None} 4 ['0.25', 'a', 'b', 'x'] 5 2\n"
    "KeyError('nope') [1, [1, 2], None] ['a', 'x', 0.25] True\n"
    "Namespace(y='z') z AttributeError(\"'Namespace' object has no attribute 'x'\")\n"
    "True False None RuntimeError('release unlocked lock')\n"
    "True True None None\n"
    "True True False\n"
    "ValueError('Semaphore released too many times')\n"
    "False False None True\n"
    "RuntimeError('cannot notify on un-acquired lock') True False None\n"
    "0 1 False\n"
    "True 1 1 returned None Full()\n"
    "Empty() Empty()\n"
    "None None\n"
    "7 Value('i', 7)\n"
    "[1, 7, 3] 3 array('i', [1, 7])\n"
    "5 DictProxy\n"
    "AttributeError: method 'fly' of 'list' object is not exposed\n"
    "14 14\n"
    "0";

TEST_TIMEOUT(stock_clients_use_all_types_over_tcp, 200)
{
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at("127.0.0.1:0", p->minor < FIRST_SHA);
        python_prints(p, all_types, tool.address, "", all_results);
        tool_ends(&tool, SIGTERM);
    }
}

TEST_TIMEOUT(stock_clients_use_all_types_over_a_path, 200)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-serve-%d", (int)getpid());
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at(path, p->minor < FIRST_SHA);
        python_prints(p, all_types, tool.address, "", all_results);
        tool_ends(&tool, SIGINT);
        CHECK_NE(access(path, F_OK), 0);
    }
}

TEST(a_socket_that_was_left_behind_is_replaced)
{
    char path[64];
    int status;
    snprintf(path, sizeof path, "/tmp/covey-test-serve-%d", (int)getpid());
    struct tool tool = serve_at(path, false);
    CHECK_EQ(kill(tool.pid, SIGKILL), 0);
    CHECK_EQ(waitpid(tool.pid, &status, 0), tool.pid);
    close(tool.out);
    CHECK_EQ(access(path, F_OK), 0);
    tool = serve_at(path, false);
    tool_ends(&tool, SIGTERM);
}

/* ---- several processes ---- */

static const char processes[] = PRELUDE
    "def work(i, l, d, lock, q):\n"
    "    l[i] = l[i] ** 2\n"
    "    with lock: d['sum'] = d['sum'] + i\n"
    "    q.put(i)\n"
    "if __name__ == '__main__':\n"
    "    multiprocessing.set_start_method('fork')\n"
    "    m = SyncManager(where, authkey=b'secret'); m.connect()\n"
    "    l, d, q, lock = m.list(range(10)), m.dict(sum=0), m.Queue(), m.Lock()\n"
    "    ps = [multiprocessing.Process(target=work, args=(i, l, d, lock, q))\n"
    "          for i in range(10)]\n"
    "    for p in ps: p.start()\n"
    "    for p in ps: p.join()\n"
    "    print(l, d, sorted(q.get() for i in range(10)), m._number_of_objects())\n";

TEST_TIMEOUT(proxies_go_to_child_processes, 200)
{
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at("127.0.0.1:0", p->minor < FIRST_SHA);
        python_prints(p, processes, tool.address, "",
                      "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81] {'sum': 45} "
                      "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] 4");
        tool_ends(&tool, SIGTERM);
    }
}

static const char killed[] = PRELUDE
    "import os, signal\n"
    "m = SyncManager(where, authkey=b'secret'); m.connect()\n"
    "lock, l = m.Lock(), m.list()\n"
    "pid = os.fork()\n"
    "if not pid:\n"
    "    own = SyncManager(where, authkey=b'secret'); own.connect()\n"
    "    things = [own.list() for i in range(5)]\n"
    "    mine = type(lock)(lock._token, 'pickle', manager=own, authkey=b'secret')\n"
    "    mine._tls = type(mine._tls)(); mine.acquire()\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
    "os.waitpid(pid, 0)\n"
    "print(lock.acquire(True, 20))\n"
    "for i in range(400):\n"
    "    if m._number_of_objects() == 2: break\n"
    "    time.sleep(0.05)\n"
    "print(m._number_of_objects())\n";

TEST_TIMEOUT(what_a_killed_python_held_is_given_back, 200)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-serve-%d", (int)getpid());
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at(path, p->minor < FIRST_SHA);
        python_prints(p, killed, tool.address, "", "True\n2");
        tool_ends(&tool, SIGTERM);
    }
}

/* ---- keys and the end ---- */

static const char wrong_key[] =
    PRELUDE "m = SyncManager(where, authkey=b'wrong')\n"
            "print(raised(m.connect))\n"
            "SyncManager(where, authkey=b'secret').connect()\n";

TEST_TIMEOUT(a_wrong_key_is_an_authentication_error, 120)
{
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at("127.0.0.1:0", p->minor < FIRST_SHA);
        python_prints(p, wrong_key, tool.address, "",
                      "AuthenticationError('digest sent was rejected')");
        tool_ends(&tool, SIGTERM);
    }
}

static const char no_md5[] =
    PRELUDE "try: SyncManager(where, authkey=b'secret').connect()\n"
            "except Exception as e: print(type(e).__name__)\n"
            "else: print('connected')\n";

TEST_TIMEOUT(md5_is_refused_unless_allowed, 120)
{
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at("127.0.0.1:0", false);
        python_prints(p, no_md5, tool.address, "",
                      p->minor < FIRST_SHA ? "AuthenticationError" : "connected");
        tool_ends(&tool, SIGTERM);
    }
}

static const char shutdown_script[] =
    PRELUDE "m = SyncManager(where, authkey=b'secret'); m.connect()\n"
            "l = m.list([1])\n"
            "from multiprocessing.managers import dispatch\n"
            "c = l._Client(where, authkey=b'secret')\n"
            "print(dispatch(c, None, 'shutdown'))\n";

TEST_TIMEOUT(a_stock_client_can_shut_it_down, 120)
{
    EACH_PYTHON(p)
    {
        struct tool tool = serve_at("127.0.0.1:0", p->minor < FIRST_SHA);
        python_prints(p, shutdown_script, tool.address, "", "None");
        tool_ends(&tool, 0);
    }
}

/* ---- a program in C ---- */

static const char custom_class[] = PRELUDE
    "class M(BaseManager): pass\n"
    "M.register('Box'); M.register('get_queue'); M.register('Nothing')\n"
    "m = M(where, authkey=b'secret'); m.connect()\n"
    "b = m.Box({'a': 1})\n"
    "print(b.get(), b.set([1, 2.5, 'x']), b.get(), b, b._getvalue())\n"
    "print(raised(b.set), raised(b.empty), raised(m.Box, 1, 2).split('\\\\n')[-2])\n"
    "print(raised(m.Nothing).split('\\\\n')[-2], hasattr(b, 'fly'))\n"
    "h = b.split(7)\n"
    "print(h)\n"
    "import threading\n"
    "t = threading.Thread(target=b.wait); t.start()\n"
    "print(b.get(), b.open()); t.join()\n"
    "q = m.get_queue(); q.put('from Python')\n"
    "print(m.get_queue().get(), q.qsize())\n";

TEST_TIMEOUT(stock_clients_use_classes_of_a_c_program, 120)
{
    box_register();
    CHECK_OK(covey_manager_share("get_queue", "Queue", NULL));
    EACH_PYTHON(p)
    {
        struct server server = server_start((struct covey_manager_opts){
            .address = "127.0.0.1:0",
            .allow_md5 = p->minor < FIRST_SHA ? COVEY_ON : COVEY_OFF});
        python_prints(p, custom_class, server.address, "",
                      "{'a': 1} None [1, 2.5, 'x'] Box([1, 2.5, 'x']) [1, 2.5, 'x']\n"
                      "TypeError('set() needs a value') Empty() "
                      "TypeError: a box is for one thing\n"
                      "KeyError: 'Nothing' False\n"
                      "Box(7)\n"
                      "[1, 2.5, 'x'] 0\n"
                      "from Python 0");
        server_stop(&server);
    }
}

/* ---- wrong use of the command ---- */

static int tool_says(const char *const *args, char *text, size_t size)
{
    char path[600];
    const char *argv[12] = {"covey"};
    int ends[2], status;
    size_t got = 0;
    ssize_t n;
    tool_path(path);
    for (int i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    int pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        char *copy[12];
        memcpy(copy, argv, sizeof copy);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execv(path, copy);
        _exit(127);
    }
    close(ends[1]);
    while ((n = read(ends[0], text + got, size - 1 - got)) > 0)
        got += (size_t)n;
    text[got] = 0;
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define SAYS(status, part, ...)                                                        \
    do {                                                                               \
        char text_[6000];                                                              \
        const char *const args_[] = {__VA_ARGS__, NULL};                               \
        CHECK_EQ(tool_says(args_, text_, sizeof text_), (status));                     \
        CHECK_STR_HAS(text_, (part));                                                  \
    } while (0)

TEST(wrong_use_of_the_command_is_told)
{
    SAYS(2, "there is no verb 'fly'", "fly");
    SAYS(0, "usage: covey serve", "serve", "--help");
    SAYS(0, "covey 0.", "--version");
    SAYS(2, "'--address'", "serve");
    SAYS(2, "'--authkey-file'", "serve", "--address", "127.0.0.1:0");
    SAYS(2, "'x'", "serve", "--max-memory", "x");
    SAYS(2, "'-5'", "serve", "--max-objects", "-5");
    SAYS(2, "no level 'loud'", "serve", "--log", "loud");
    SAYS(2, "what is this: 'more'", "serve", "more");
    SAYS(1, "/nowhere/key: No such file", "serve", "--address", "127.0.0.1:0",
         "--authkey-file", "/nowhere/key");
    SAYS(1, "a key has 1 to 256 bytes", "serve", "--address", "127.0.0.1:0",
         "--authkey-file", "/dev/null");
    SAYS(1, "/: Is a directory", "serve", "--address", "127.0.0.1:0", "--authkey-file",
         "/");
    SAYS(2, "address nowhere", "serve", "--address", "nowhere", "--authkey-file",
         "/proc/self/comm");
    SAYS(2, "certificate", "serve", "--address", "127.0.0.1:0", "--authkey-file",
         "/proc/self/comm", "--tls-certificate", "/proc/self/comm");
}

CHECK_MAIN()
