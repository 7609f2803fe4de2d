"""What all systems do: work, on behalf of a request, and say which process did it."""

import contextvars
import os

request = contextvars.ContextVar("request", default=None)


def current_request():
    return request.get()


def work(value):
    return value


def answer(value, number=None):
    """``process value``; ``number`` is the request's."""
    token = request.set(number)
    try:
        return f"{os.getpid()} {work(value)}"
    finally:
        request.reset(token)
