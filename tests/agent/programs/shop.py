"""Functions of every kind that can be armed, for the tests to strike."""

import asyncio
import contextvars
import functools
import inspect
import os
import queue
import sys
import threading
import time

calls = []
request = contextvars.ContextVar("request", default=None)


def current_request():
    return request.get()


def moody_request():
    if request.get() == "moody":
        raise ValueError("not now")
    return request.get()


def in_request(name, function, *arguments):
    """Call on behalf of a request, as a web framework does."""

    def run():
        request.set(name)
        return function(*arguments)

    return contextvars.copy_context().run(run)


def plain(value):
    calls.append("plain")
    return value


def keywords(first, /, second=2, *rest, third=3, **more):
    return [first, second, list(rest), third, more]


def fails():
    calls.append("fails")
    raise ValueError("out of stock")


class Picky(Exception):
    """Takes no message for granted."""

    def __init__(self, code):
        raise KeyError("no such code")


class Mute(Exception):
    """Cannot be made without its second argument, nor told."""

    def __init__(self, code, words):
        self.words = words

    def __str__(self):
        return self.words


def stops():
    raise StopIteration("the end")


def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)


def _make_closure():
    offset = 0

    def closure(value):
        calls.append("closure")
        return value + offset

    return closure


closure = _make_closure()


class Base:
    def method(self, value):
        return value

    def inherited(self):
        return "base"


class Shop(Base):
    def method(self, value):
        calls.append("method")
        return super().method(value)

    @staticmethod
    def static(value):
        calls.append("static")
        return value

    @classmethod
    def klass(cls, value):
        assert cls is Shop
        calls.append("klass")
        return value

    @property
    def stock(self):
        calls.append("stock")
        return 7


async def fetch(value):
    calls.append("fetch")
    await asyncio.sleep(0)
    return value


def count(limit):
    calls.append("count")
    yield from range(limit)
    return 7


async def stream():
    yield 1


def drain(generator):
    """What a generator yields, and what it returns."""
    items = []
    while True:
        try:
            items.append(next(generator))
        except StopIteration as end:
            return [items, end.value]


tick = threading.Event()


def in_ticking_loop(function, *arguments):
    """Await a coroutine function in an event loop that sets ``tick`` all the time."""

    async def main():
        task = asyncio.ensure_future(function(*arguments))
        while not task.done():
            await asyncio.sleep(0.001)
            tick.set()
        return await task

    return asyncio.run(main())


def tasks_of(requests):
    """One asyncio task for each request, all calling ``fetch``."""

    async def one(name):
        request.set(name)
        return await fetch(name)

    async def main():
        return await asyncio.gather(*(one(name) for name in requests))

    return asyncio.run(main())


def cancelled_while_held():
    async def main():
        task = asyncio.ensure_future(fetch(1))
        while not task.done():
            await asyncio.sleep(0.001)
            if cancel_now.is_set():
                task.cancel()
        return task.cancelled()

    return asyncio.run(main())


cancel_now = threading.Event()


def in_fork(function, *arguments):
    """What a forked child gets from a function, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(function(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def until_disarmed(function):
    """Wait until a function has its own code."""
    while "Failpoint" in {type(constant).__name__ for constant in function.__code__.co_consts}:
        time.sleep(0.001)


def signature(function):
    return str(inspect.signature(function))


def is_coroutine_function(function):
    return inspect.iscoroutinefunction(function)


def sells(amount):
    """Raises when there is nothing left to sell."""
    if not amount:
        raise ValueError("sold out")
    return amount


def results(function, *arguments):
    """What each call gives: its value, or the name of its exception."""

    def result(argument):
        try:
            return function(argument)
        except Exception as error:
            return type(error).__name__

    return [result(argument) for argument in arguments]


stopping = threading.Event()


def until_stopped(function, *arguments):
    """What all calls give until ``stopping`` is set."""
    answers = []
    while not stopping.is_set():
        answers.append(function(*arguments))
    return answers


shelf = queue.SimpleQueue()
entered = threading.Event()


def takes(holding=None):
    """Waits until something is put on the shelf."""
    entered.set()
    return shelf.get()


def serves(times):
    """Is at a point, and then waits so many times."""
    plain(0)
    return [takes() for _ in range(times)]


freed = threading.Event()


class Kept:
    """Sets ``freed`` when nobody has it any more."""

    def __del__(self):
        freed.set()


traced = []


def trace(frame, event, argument):
    """Follows each line, as a debugger does."""
    traced.append(event)
    return trace


def traced_before(times):
    """As ``serves``, with a debugger from its beginning on."""
    sys.settrace(trace)
    try:
        return serves(times)
    finally:
        sys.settrace(None)


def traced_after(times):
    """As ``serves``, with a debugger from its last wait on."""
    plain(0)
    taken = [shelf.get()]
    sys.settrace(trace)
    taken += [takes() for _ in range(times - 1)]
    stop_tracing()
    return taken


def stop_tracing():
    sys.settrace(None)


def same_ident_again(first, second):
    """Whether a thread that runs ``second`` has the ident of one that ran ``first`` and ended."""
    once = threading.Thread(target=first, args=[1])
    once.start()
    once.join()
    for _ in range(100):
        again = threading.Thread(target=second, daemon=True)
        again.start()
        if again.ident == once.ident:
            return entered.wait(5)
        shelf.put(1)
        again.join()
    return False


class Unspeakable:
    """Has no text."""

    def __str__(self):
        raise RuntimeError("do not ask")


unspeakable = Unspeakable()


class Task:
    """What a decorator makes of a function: called, it runs it."""

    def __init__(self, function):
        self.run = function

    def __call__(self, value):
        return self.run(value)

    def method(self, value):
        return value


class Lazy:
    """Stands for an object that is made when somebody needs it."""

    def __init__(self, find):
        self.__dict__["_find"] = find

    def __getattr__(self, name):
        return getattr(self._find(), name)

    def __call__(self, value):
        return self._find()(value)


@Task
def task(value):
    return value


@functools.lru_cache
def cached(value):
    return value


lazy_task = Lazy(lambda: task)
partial = functools.partial(lambda first, second: second, 0)


class Requests:
    """Where a framework keeps what it serves: ``requests.current.id``."""

    @property
    def current(self):
        return self

    @property
    def id(self):
        return request.get()


requests = Requests()
