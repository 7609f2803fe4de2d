"""Processes that a service forks, in which it evaluates expressions as it does in itself."""

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import sys
import tempfile
import threading
import time

import shop

members = {}


class Member:
    """A forked process: by ``fork``, a function that returns 0 in the child."""

    def __init__(self, fork):
        self.questions, self.answers = socket.socketpair(), socket.socketpair()
        self.pid = fork()
        if self.pid == 0:
            try:
                self.serve()
            finally:
                os._exit(0)
        self.lines = self.answers[0].makefile()

    def serve(self):
        global own
        self.questions[1].close()
        self.answers[0].close()
        own = self.questions[0].fileno(), self.answers[1].fileno()
        names = {**vars(shop), **globals(), "shop": shop}
        for line in self.questions[0].makefile():
            try:
                answer = eval(line, names)
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            self.answers[1].sendall(json.dumps(answer).encode() + b"\n")

    def ask(self, expression):
        """None: it has died."""
        self.questions[0].close()
        self.answers[1].close()
        self.questions[1].sendall(expression.encode() + b"\n")
        line = self.lines.readline()
        return json.loads(line) if line else None


def fork(name="child", fork=os.fork):
    """Returns as soon as there is a child, whatever it has done until then."""
    members[name] = Member(fork)
    return members[name].pid


def ask(name, expression):
    return members[name].ask(expression)


def fork_behind_python():
    """As a program in C does that embeds Python and tells it nothing (uwsgi).

    Such a program forks while nobody else wants the interpreter: a thread that has asked for it
    leaves the child waiting for ever until that thread has had it. So nobody asks meanwhile.
    """
    fork = ctypes.PyDLL(None).fork
    patience_s = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        time.sleep(0.001)  # who waits already has it now
        return fork()
    finally:
        sys.setswitchinterval(patience_s)


def short_lived():
    """A helper that does next to nothing."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def close_all_files():
    """As a daemon does; what it opens then gets the numbers of what was there before."""
    open_ones = {int(file.name) for file in pathlib.Path("/proc/self/fd").iterdir()}
    for number in sorted(open_ones - {0, 1, 2, *own}):
        with contextlib.suppress(OSError):  # the list's own
            os.close(number)
    files.extend(tempfile.TemporaryFile() for _ in open_ones)  # noqa: SIM115


own = ()
files = []


def sizes():
    """How much was written into each of them."""
    return [os.fstat(file.fileno()).st_size for file in files]


def wait_for_signal():
    """As a service that takes its signals by itself."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    return signal.sigwait([signal.SIGUSR1])


def join_all_threads():
    """As a service does at its end."""
    for thread in threading.enumerate():
        if thread not in (threading.current_thread(), threading.main_thread()):
            thread.join()
    return "joined"
