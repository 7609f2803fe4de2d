"""Functions of every kind that can be armed, for the tests to strike."""

import asyncio
import contextvars
import inspect
import os
import threading
from pathlib import Path

calls = []
request = contextvars.ContextVar("request", default=None)


def current_request():
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
    """What a forked child gets from a function, as text; and whether it still has sockets."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sockets = sum(fd.is_socket() for fd in Path("/proc/self/fd").iterdir())
            os.write(writing, f"{function(*arguments)} {sockets}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def signature(function):
    return str(inspect.signature(function))


def is_coroutine_function(function):
    return inspect.iscoroutinefunction(function)
