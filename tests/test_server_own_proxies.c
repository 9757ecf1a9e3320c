/* SPDX-License-Identifier: MIT */
/* Stock clients of every CPython of this machine whose proxies are of classes of their own:
 * with the standard types of `covey serve`, and with a program in C. */
#include "python_help.h"
#include "server_box.h"
#include "server_help.h"
#include "tool_help.h"

#define FIRST_SHA 12 /* 3.12 and later do not say MD5 first */

/* What each script begins with. */
#define PRELUDE                                                                        \
    "import sys, time, copy, pickle, multiprocessing\n"                                \
    "from multiprocessing.managers import (BaseManager, BaseProxy, SyncManager,\n"     \
    "    NamespaceProxy, IteratorProxy, MakeProxyType, AutoProxy, RemoteError)\n"      \
    "multiprocessing.current_process().authkey = b'secret'\n" PYTHON_ADDRESS           \
    "where = address(sys.argv[1])\n"                                                   \
    "def connected(cls):\n"                                                            \
    "    m = cls(where, authkey=b'secret'); m.connect(); return m\n"                   \
    "def raised(f, *args, **kwds):\n"                                                  \
    "    try: return 'returned %r' % (f(*args, **kwds),)\n"                            \
    "    except RemoteError as e: return str(e).strip('-\\n').split('\\n')[-1]\n"      \
    "    except Exception as e: return repr(e).replace(',)', ')')\n"                   \
    "def empty(m):\n"                                                                  \
    "    import gc; gc.collect()\n"                                                    \
    "    while m._number_of_objects(): time.sleep(0.01)\n"                             \
    "    return True\n"

static void serve_and_run(const char *address, const char *script, const char *wanted)
{
    EACH_PYTHON(p)
    {
        struct tool tool = tool_start(address, "secret", NULL,
                                      p->minor < FIRST_SHA ? "--allow-md5" : "");
        python_prints(p, script, tool.address, "", wanted);
        tool_ends(&tool, SIGTERM);
    }
}

/* ---- the standard types of covey serve ---- */

/* A list with chosen methods, and some that exist at the client only. */
#define STACK                                                                          \
    "class Stack(BaseProxy):\n"                                                        \
    "    _exposed_ = ('append', 'pop', 'sort', '__len__', '__getitem__')\n"            \
    "    def push(self, *things):\n"                                                   \
    "        for thing in things: self._callmethod('append', (thing,))\n"              \
    "        return self\n"                                                            \
    "    def pop(self): return self._callmethod('pop')\n"                              \
    "    def top(self): return self._callmethod('__getitem__', (-1,))\n"               \
    "    def sort(self, **kwds): self._callmethod('sort', (), kwds)\n"                 \
    "    def __len__(self): return self._callmethod('__len__')\n"

static const char own_list[] = PRELUDE STACK
    "class M(BaseManager): pass\n"
    "M.register('list', proxytype=Stack)\n"
    "m = connected(M)\n"
    "s = m.list([3, 1]).push(2, 'x')\n"
    "print(type(s).__name__, len(s), s.top(), s.pop(), s)\n"
    "s.sort(reverse=True)\n"
    "print(s._getvalue(), copy.deepcopy(s), hasattr(s, 'append'), bool(m.list()))\n"
    "print(raised(s._callmethod, 'pop', (9,)), raised(s.sort, key=len))\n"
    "print(raised(s._callmethod, 'fly'))\n"
    "print(repr(s).split(' object')[0], m._number_of_objects())\n"
    "del s; print(empty(m))\n";

TEST_TIMEOUT(a_client_has_a_proxy_class_for_lists, 200)
{
    serve_and_run("127.0.0.1:0", own_list,
                  "Stack 4 x x [3, 1, 2]\n"
                  "[3, 2, 1] [3, 2, 1] False False\n"
                  "IndexError('pop index out of range') "
                  "NotImplementedError('this manager cannot call what came as key')\n"
                  "AttributeError: method 'fly' of 'list' object is not exposed\n"
                  "<Stack 1\n"
                  "True");
}

/* The manager knows them as what they stand for, though not their class. */
static const char own_in_others[] =
    PRELUDE STACK "class M(SyncManager): pass\n"
                  "M.register('list', proxytype=Stack)\n"
                  "m = connected(M)\n"
                  "inner, outer, d = m.list([1]), m.list(), m.dict()\n"
                  "outer.push(inner); d['it'] = inner\n"
                  "outer.top().push(2); d['it'].push(3)\n"
                  "print(type(outer.top()).__name__, type(d['it']).__name__, inner)\n"
                  "print(m.list(inner), raised(m.list().push, 7).split(' object')[0])\n"
                  "again = pickle.loads(pickle.dumps(inner)); again.push(4)\n"
                  "print(type(again).__name__, inner, m._number_of_objects())\n"
                  "del inner, again; print(outer.top())\n"
                  "Process = multiprocessing.get_context('fork').Process\n"
                  "def work(it, lock):\n"
                  "    with lock: it.push('child')\n"
                  "lock = m.Lock()\n"
                  "ps = [Process(target=work, args=(outer, lock)) for "
                  "i in range(3)]\n"
                  "for p in ps: p.start()\n"
                  "for p in ps: p.join()\n"
                  "print(len(outer), outer.top())\n"
                  "del outer, d, lock, ps, p; print(empty(m))\n";

TEST_TIMEOUT(proxies_of_own_classes_go_where_others_go, 200)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/covey-test-own-%d", (int)getpid());
    serve_and_run(path, own_in_others,
                  "Stack Stack [1, 2, 3]\n"
                  "[1, 2, 3] returned <Stack\n"
                  "Stack [1, 2, 3, 4] 3\n"
                  "[1, 2, 3, 4]\n"
                  "4 child\n"
                  "True");
}

static const char made_types[] = PRELUDE
    "class Short(BaseManager): pass\n"
    "Short.register('list', proxytype=MakeProxyType('Short', ('append', '__len__')))\n"
    "class Auto(BaseManager): pass\n"
    "Auto.register('list', exposed=['append', '__len__']); Auto.register('Event')\n"
    "short, auto = connected(Short), connected(Auto)\n"
    "s, a, e = short.list([1]), auto.list([1, 2]), auto.Event()\n"
    "print(type(s).__name__, s.append(5), len(s), hasattr(s, 'pop'), s)\n"
    "print(type(a).__name__, a.append(6), len(a), a.pop(0), a)\n"
    "again = AutoProxy(a._token, 'pickle', manager=auto, authkey=b'secret')\n"
    "print(type(again).__name__, again.index(6), again.count(2))\n"
    "print(type(e).__name__, e.is_set(), e.set(), e.wait(1), hasattr(e, 'append'))\n"
    "del s, a, e, again; print(empty(auto))\n";

TEST_TIMEOUT(a_client_makes_proxy_classes, 200)
{
    serve_and_run("127.0.0.1:0", made_types,
                  "Short None 2 False [1, 5]\n"
                  "AutoProxy[list] None 3 1 [2, 6]\n"
                  "AutoProxy[list] 1 1\n"
                  "AutoProxy[Event] False None True False\n"
                  "True");
}

/* What a method returns gets the client's class for its type. */
static const char own_dict[] =
    PRELUDE "class Walk(IteratorProxy):\n"
            "    def all(self): return sorted(self)\n"
            "class Table(BaseProxy):\n"
            "    _exposed_ = ('__setitem__', '__iter__', 'items')\n"
            "    _method_to_typeid_ = {'__iter__': 'Iterator'}\n"
            "    def names(self): return self._callmethod('__iter__')\n"
            "    def put(self, **kwds):\n"
            "        for k in kwds: self._callmethod('__setitem__', (k, kwds[k]))\n"
            "    def rows(self): return sorted(self._callmethod('items'))\n"
            "class Config(NamespaceProxy):\n"
            "    _exposed_ = NamespaceProxy._exposed_ + ('describe',)\n"
            "    def describe(self):\n"
            "        call = object.__getattribute__(self, '_callmethod')\n"
            "        return 'level %d' % call('__getattribute__', ('level',))\n"
            "class M(BaseManager): pass\n"
            "M.register('dict', proxytype=Table)\n"
            "M.register('Iterator', proxytype=Walk, create_method=False)\n"
            "M.register('Namespace', proxytype=Config)\n"
            "m = connected(M)\n"
            "t = m.dict(b=2); t.put(a=1, c=[3])\n"
            "w = t.names()\n"
            "print(t.rows(), type(w).__name__, w.all(), raised(next, w))\n"
            "n = m.Namespace(level=3); n.level += 4\n"
            "print(n.describe(), n, hasattr(m, 'Iterator'))\n"
            "del t, w, n; print(empty(m))\n";

TEST_TIMEOUT(what_methods_return_has_the_clients_class, 200)
{
    serve_and_run(
        "127.0.0.1:0", own_dict,
        "[('a', 1), ('b', 2), ('c', [3])] Walk ['a', 'b', 'c'] StopIteration()\n"
        "level 7 Namespace(level=7) False\n"
        "True");
}

/* ---- a program in C ---- */

static const char own_box[] = PRELUDE
    "class Box(BaseProxy):\n"
    "    _exposed_ = ('get', 'set', 'split', 'wait', 'open', 'fail')\n"
    "    _method_to_typeid_ = {'split': 'Box'}\n"
    "    value = property(lambda self: self._callmethod('get'),\n"
    "                     lambda self, v: self._callmethod('set', (v,)))\n"
    "    def half(self, thing): return self._callmethod('split', (thing,))\n"
    "Jobs = MakeProxyType('Jobs', ('put', 'get', 'qsize'))\n"
    "class M(BaseManager): pass\n"
    "M.register('Box', proxytype=Box)\n"
    "M.register('Sealed', proxytype=Box, exposed=['get', 'set'])\n"
    "M.register('get_jobs', proxytype=Jobs)\n"
    "class Plain(BaseManager): pass\n"
    "Plain.register('Box'); Plain.register('Sealed')\n"
    "m, plain = connected(M), connected(Plain)\n"
    "b = m.Box({'a': 1}); b.value = [1, b.value]\n"
    "h = b.half('x'); q = h.half((2,))\n"
    "print(b.value, type(h).__name__, h.value, q, copy.deepcopy(b))\n"
    "b.value = None; print(raised(b._callmethod, 'set'), raised(b._callmethod, "
    "'empty'))\n"
    "print(raised(b._callmethod, '_secret'))\n"
    "s = m.Sealed(5)\n"
    "print(s.value, raised(setattr, s, 'value', 6))\n"
    "p, a = plain.Box(7), plain.Sealed(8)\n"
    "print(type(p).__name__, p.get(), type(p.split(9)).__name__, hasattr(a, 'set'), "
    "a.get())\n"
    "m.get_jobs().put('job'); jobs = m.get_jobs()\n"
    "print(type(jobs).__name__, jobs.qsize(), jobs.get(), hasattr(jobs, 'full'))\n"
    "del b, h, q, s, p, a\n"
    "import gc; gc.collect()\n"
    "while m._number_of_objects() > 1: time.sleep(0.01)\n"
    "print(jobs.qsize())\n"
    "o, i = m.Box(), m.Box(); o.value = i; o.value.value = 'through'\n"
    "print(type(o.value).__name__, i.value)\n";

TEST_TIMEOUT(a_client_has_proxy_classes_for_classes_in_c, 200)
{
    static const char *const shown[] = {"get"};
    box_register();
    CHECK_OK(covey_manager_register(
        "Sealed", &box_class,
        COVEY_REGISTER_OPTS(.exposed = shown, .exposed_count = 1)));
    CHECK_OK(covey_manager_share("get_jobs", "Queue", NULL));
    EACH_PYTHON(p)
    {
        struct server server = server_start((struct covey_manager_opts){
            .address = "127.0.0.1:0",
            .allow_md5 = p->minor < FIRST_SHA ? COVEY_ON : COVEY_OFF});
        python_prints(
            p, own_box, server.address, "",
            "[1, {'a': 1}] Box x Box((2,)) [1, {'a': 1}]\n"
            "TypeError('set() needs a value') Empty()\n"
            "AttributeError: method '_secret' of 'Box' object is not exposed\n"
            "5 AttributeError: method 'set' of 'Sealed' object is not exposed\n"
            "AutoProxy[Box] 7 AutoProxy[Box] False 8\n"
            "Jobs 1 job False\n"
            "0\n"
            "Box through");
        server_stop(&server);
    }
}

CHECK_MAIN()
