"""The agent of one process: it does what the controller says and reports what it did."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ._arms import Arms
from ._failpoint import Reached, Rule, Strike, guard
from ._link import Link
from ._native import Gate, Lock, begin
from ._request import RequestReader
from ._strikes import Strikes

START_LIMIT_S = 5.0
TOLD_LIMIT = 20_000
"""Characters of one argument's value."""


class Agent:
    """:meth:`start` connects and returns when what must be armed is armed.

    A thread of its own then obeys the controller. When the controller goes away everything is
    disarmed and everyone let go: the service carries on as if nothing had been there.

    A forked child is a process of the service like any other: :meth:`follow` connects it by itself,
    and returns when that is armed which must be. So a child is armed from its beginning.

    The service's own threads come here through :meth:`strike` and :meth:`request_id`.
    """

    def __init__(
        self, address: str, *, main: int, token: str, service: str, request_id_reader: str
    ) -> None:
        self._main = main
        self._address = address
        self._hello = {"is": "hello", "token": token, "service": service}
        self.request_id = RequestReader(request_id_reader)
        self._arms = Arms(self, self._tell_later)
        self._following = Lock()
        self._session: Session | None = None

    def start(self) -> None:
        """Connect, put in place what must be, and obey from then on.

        Raises:
            OSError: the controller cannot be reached, refused us, or did not answer in time.
        """
        self._session = self._begin()

    def stop(self) -> None:
        """Leave the controller, disarm everything and let everyone go."""
        session, self._session = self._session, None
        if session is not None:
            session.stop()

    def follow(self) -> None:
        """In a forked child, right after the fork: become an agent of its own."""
        self._following = Lock()
        guard.forget_others()
        was_busy, guard.busy = guard.busy, True
        try:
            if self._session is not None:
                self._renew(self._session)
        finally:
            guard.busy = was_busy

    def _renew(self, left: Session) -> None:
        """Leave a session that is not ours, or not any more, and have another one."""
        with self._following:
            if self._session is not left or left.is_over:
                return
            left.abandon()
            try:
                self._session = self._begin()
            except OSError:  # the controller is gone
                self._session = None
                self._arms.disarm(None)

    def _begin(self) -> Session:
        link = Link(self._address, START_LIMIT_S)
        link.send(**self._hello, pid=os.getpid(), main=os.getpid() == self._main)
        session = Session(link, self._arms, self._main, self._renew)
        try:
            session.join()
        except BaseException:
            session.end()
            raise
        session.go_on()
        return session

    def _tell_later(self, states: dict[int, str]) -> None:
        session = self._session
        if session is not None and session.is_ours:
            with contextlib.suppress(OSError):  # gone; our own thread sees it too and disarms
                session.tell_states(states)

    def strike(self, rule: Rule, reached: Reached) -> Strike | None:
        """Report a hit; None when it shall not act: the controller says no, or is gone.

        When the rule says to ask, it returns only after the controller recorded the strike.
        """
        at_ns = time.monotonic_ns()
        was_busy, guard.busy = guard.busy, True
        session = None
        try:
            hit = {
                "arm": rule.arm,
                "at_ns": at_ns,
                "thread": threading.current_thread().name,
                "request": self.request_id() if reached.request is None else reached.request,
                "raised": reached.raised,
                "told": _told(reached.arguments, rule.action.get("tell", ())),
            }
            session = self._current()
            return None if session is None else session.strikes.strike(rule, hit)
        except OSError:
            if session is not None:
                session.link.leave()  # a controller that does not listen is gone
            return None
        finally:
            guard.busy = was_busy

    def _current(self) -> Session | None:
        """The session of this process, also where a fork has not told Python (uwsgi)."""
        session = self._session
        if session is not None and not session.is_ours:
            self._renew(session)
        return self._session


class Session:
    """One process's conversation with the controller, over one link.

    ``renew`` is called when a daemon has closed the link's file.
    """

    def __init__(self, link: Link, arms: Arms, main: int, renew: Callable[[Session], None]) -> None:
        self.link = link
        self.strikes = Strikes(link, main)
        self._arms = arms
        self._renew = renew
        self._pid = os.getpid()
        self._ended = Gate()
        self._is_abandoned = False

    @property
    def is_ours(self) -> bool:
        """Whether it is this process that speaks here, over a file that nobody has closed."""
        return os.getpid() == self._pid and (self.link.is_ours or self.is_over)

    @property
    def is_over(self) -> bool:
        """Whether the controller is gone, as far as we know."""
        return self._ended.is_open

    def join(self) -> None:
        """Wait for what must be armed, and arm it.

        Raises:
            OSError: the controller refused us, or did not answer in time.
        """
        welcome = self.link.receive()
        wanted = {arm["arm"] for arm in welcome["arms"]}
        self._arms.keep(wanted)
        self.strikes.allow(wanted)
        self.link.stay()
        self._arms.arm(welcome["arms"], self.tell_states)

    def go_on(self) -> None:
        """Obey in a thread of its own."""
        try:
            begin(self._obey)
        except RuntimeError:  # the interpreter is at its end
            self.end()

    def stop(self) -> None:
        """Leave the controller."""
        self.link.leave()
        self._ended.wait(START_LIMIT_S)

    def abandon(self) -> None:
        """Another session takes over what is armed: this one is another process's, or cut off."""
        self._is_abandoned = True
        self.link.close()
        if os.getpid() != self._pid:
            self._arms.inherit()  # and whoever is held is held in the other process
        else:
            self.strikes.end()

    def end(self) -> None:
        """Disarm everything and let everyone go."""
        if not self._is_abandoned:
            self._arms.disarm(None)
        self.strikes.end()
        self._ended.open()
        self.link.close()

    # ------------------------------------------------------------------ the controller's words

    def _obey(self) -> None:
        guard.busy = True  # an armed function that we call ourselves must not strike
        try:
            while True:
                message = self.link.receive(self._arms.patience_s)
                if message is None:
                    self._arms.review(self.tell_states, pending=True)
                else:
                    self._perform(message)
        except (OSError, ValueError):
            pass  # the controller is gone
        except Exception as error:
            sys.stderr.write(f"chaos agent: stopped: {type(error).__name__}: {error}\n")
        finally:
            if not self.link.is_ours and not self._is_abandoned:
                self._renew(self)
            self.end()
            guard.busy = False

    def _perform(self, message: dict[str, Any]) -> None:
        match message["is"]:
            case "verdict" | "recorded":
                self.strikes.answer(message["hit"], message.get("act", True))
            case "release":
                self.strikes.release(message["hit"])
            case "arm":
                self.strikes.allow({arm["arm"] for arm in message["arms"]})
                self._arms.arm(message["arms"], partial(self.tell_states, ticket=message["ticket"]))
            case "disarm":
                self.strikes.forbid(message["arms"])
                self._arms.disarm(message["arms"])
                if message["arms"] is None:
                    self.strikes.let_everyone_go()
                self.link.send(**{"is": "done"}, ticket=message["ticket"])
            case "list":
                self._arms.review(self.tell_states)
                functions = self._arms.functions()
                self.link.send(**{"is": "functions"}, functions=functions, ticket=message["ticket"])
            case "where":
                places = self.strikes.whereabouts.places(message["hits"])
                self.link.send(**{"is": "places"}, places=places, ticket=message["ticket"])

    def tell_states(self, states: dict[int, str], **ticket: int) -> None:
        """What became of arms."""
        self.link.send(**{"is": "states"}, states=states, **ticket)


def _told(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    told = {}
    for name in names:
        if name in arguments:
            with contextlib.suppress(Exception):  # whatever the service's own code raises
                told[name] = str(arguments[name])[:TOLD_LIMIT]
    return told
