# SPDX-License-Identifier: MIT
"""CPython's Condition, Barrier and Queue where nothing is left to chance.

The code is that of this Python's modules threading and queue; only the locks below it and
the clock are ours. Each session has a thread, and one thread runs at a time: when it waits
for a lock it hands over to the next. So it is known who waits, without a look at a clock.
Who waits longest gets a lock first, which CPython leaves open. Time passes by `pass_time`
only, for the one who has least of it.
"""
import _thread
import queue
import threading
import types
from collections import deque


class Ended(BaseException):
    """The session is over: what waits in it comes back by this."""


class Session:
    """A thread that makes one call after the other."""

    def __init__(self):
        self.turn, self.handed_back = _thread.allocate_lock(), _thread.allocate_lock()
        self.turn.acquire()
        self.handed_back.acquire()
        self.work = self.outcome = self.lock = self.until = None
        self.ident = _thread.start_new_thread(self.serve, ())

    def serve(self):
        while True:
            self.turn.acquire()
            function, args, kwds = self.work
            try:
                self.outcome = "#RETURN", function(*args, **kwds)
            except BaseException as error:
                self.outcome = "#ERROR", error
            self.work = None
            self.handed_back.release()

    def go_on(self):
        """Let it run until it waits or is done."""
        self.turn.release()
        self.handed_back.acquire()

    def hand_over(self):
        self.handed_back.release()
        self.turn.acquire()


class Lock:
    """threading.Lock for those who run by turns."""

    def __init__(self, world):
        self.world, self.held, self.waiting = world, False, deque()

    def acquire(self, *args, **kwds):
        until = self.world.until(*args, **kwds)
        if self.held and not self.world.ending:
            if until == 0:
                return False
            self.waiting.append(self.world.current)
            return self.world.wait(self, until)
        self.held = True
        return True

    def release(self, *args, **kwds):
        if args or kwds:
            held = _thread.allocate_lock()
            held.acquire()
            held.release(*args, **kwds)
        if not self.held and not self.world.ending:
            raise RuntimeError("release unlocked lock")
        self.held = bool(self.waiting)  # it is passed on
        if self.waiting:
            self.world.ready.append(self.waiting.popleft())

    def locked(self):
        return self.held

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()


def copy_of(cls, bases=(), **names):
    """The class, with these behind its global names."""
    space = {**vars(__import__(cls.__module__)), **names}
    body = {name: part for name, part in vars(cls).items()
            if name not in ("__dict__", "__weakref__")}
    for name, part in body.items():
        if isinstance(part, types.FunctionType):
            body[name] = types.FunctionType(part.__code__, space, part.__name__,
                                            part.__defaults__, part.__closure__)
            body[name].__qualname__ = part.__qualname__
            body[name].__kwdefaults__ = part.__kwdefaults__
    return type(cls.__name__, bases, body)


def rlock_class(allocate_lock):
    """That of Python, which complains of its arguments as the one in C does."""
    plain = copy_of(threading._PyRLock, _allocate_lock=allocate_lock)

    class RLock(plain):
        def acquire(self, *args, **kwds):
            _thread.RLock().acquire(*args, **kwds)
            return bool(plain.acquire(self, *args, **kwds))

        def release(self, *args, **kwds):
            if args or kwds:
                held = _thread.RLock()
                held.acquire()
                held.release(*args, **kwds)
            plain.release(self)
    return RLock


class World:
    """Sessions by number, and the classes whose objects they share. What makes sessions go on
    returns, by number, kind and value of each call that is done thereby."""

    def __init__(self, count):
        self.sessions = [Session() for _ in range(count)]
        self.ready, self.current, self.ending, self.clock = deque(), None, False, 0.0
        self.Lock = lambda: Lock(self)
        self.RLock = rlock_class(self.Lock)
        self.Condition = copy_of(threading.Condition, _allocate_lock=self.Lock,
                                 RLock=self.RLock, _time=self.now)
        self.Barrier = copy_of(threading.Barrier, Condition=self.Condition, Lock=self.Lock)
        self.Queue = copy_of(queue.Queue, time=self.now, threading=types.SimpleNamespace(
            Lock=self.Lock, Condition=self.Condition))

    def now(self):
        return self.clock

    def until(self, *args, **kwds):
        """When an acquire with these arguments has to end. None: never, 0: at once."""
        if args or kwds:
            _thread.allocate_lock().acquire(*args, **kwds)  # for its complaints
        blocking, timeout = (*args, True, -1)[:2] if len(args) != 1 else (args[0], -1)
        blocking, timeout = kwds.get("blocking", blocking), kwds.get("timeout", timeout)
        if not blocking or timeout == 0:
            return 0
        return None if timeout < 0 else self.clock + timeout

    def wait(self, lock, until):
        """Wait for the lock. Returns: False if the time is over."""
        session = self.current
        session.lock, session.until = lock, until
        session.hand_over()
        if self.ending:
            raise Ended
        was_late, session.until = session.until == 0, None
        return not was_late

    def waiting(self):
        """The numbers of sessions whose calls wait."""
        return [number for number, session in enumerate(self.sessions) if session.work]

    def run(self):
        done = {}
        while self.ready:
            self.current = session = self.ready.popleft()
            session.go_on()
            if session.outcome:
                done[self.sessions.index(session)] = session.outcome
                session.outcome = None
        return done

    def start(self, number, function, args, kwds):
        """Call this in a session that does not wait."""
        self.clock += 0.001
        self.sessions[number].work = function, args, kwds
        self.ready.append(self.sessions[number])
        return self.run()

    def has_time(self):
        return any(session.work and session.until for session in self.sessions)

    def pass_time(self):
        """Let the time of the one who has least be over; has_time() has to be true."""
        session = min((s for s in self.sessions if s.work and s.until), key=lambda s: s.until)
        before, self.clock = self.clock, session.until
        session.until = 0
        session.lock.waiting.remove(session)
        self.ready.append(session)
        done = self.run()
        self.clock = before
        return done

    def end(self):
        """End all calls, however."""
        self.ending = True
        for number in self.waiting():
            self.current = self.sessions[number]
            self.current.go_on()
            self.current.outcome = None
        self.ready.clear()
        self.ending = False
