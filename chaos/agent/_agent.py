"""The agent of one process: it does what the controller says and reports what it did."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from ._failpoint import Failpoint, Reached, Rule, Strike, guard
from ._hold import Hold
from ._imports import ImportWatch
from ._link import Link
from ._resolve import (
    Unresolvable,
    check_importable,
    find_exception,
    find_function,
    make_exception,
)
from ._whereabouts import Whereabouts

START_LIMIT_S = 5.0
VERDICT_LIMIT_S = 5.0
TOLD_LIMIT = 20_000
"""Characters of one argument's value."""


class Agent:
    """Connects on construction; :meth:`start` returns when what must be armed is armed.

    A thread of its own then obeys the controller. When the controller goes away everything is
    disarmed and everyone let go: the service carries on as if nothing had been there.

    The service's own threads come here through :meth:`strike` and :meth:`request_id`. ``_arming``
    guards what is armed, ``_striking`` what is under way at the points; who needs both takes
    ``_arming`` first. The service's code (an import, ``str()`` of its values, the reader of request
    ids) never runs under ``_striking``.

    Raises:
        OSError: the controller cannot be reached.
    """

    def __init__(self, address: str, *, token: str, service: str, request_id_reader: str) -> None:
        self._reader = request_id_reader
        self._reader_failed = False
        self._arming = threading.RLock()
        self._failpoints: dict[FunctionType, Failpoint] = {}
        self._pending: list[Rule] = []
        self._imports = ImportWatch(self._on_import)

        self._striking = threading.Lock()
        self._live: set[int] = set()  # the arms that may strike; none when the controller is gone
        self._numbers = itertools.count(1)
        self._holds: dict[int, Hold] = {}
        self._answers: dict[int, queue.SimpleQueue[bool]] = {}
        self._whereabouts = Whereabouts()

        self._link = Link(address, START_LIMIT_S)
        self._link.send(**{"is": "hello"}, token=token, service=service, pid=os.getpid())
        self._thread = threading.Thread(target=self._obey, name="chaos-agent", daemon=True)

    def start(self) -> None:
        """Wait for the first arms, put them in place, and obey from then on.

        Raises:
            OSError: the controller refused us, or did not answer in time.
        """
        welcome = self._link.receive()
        # sys.path may not be complete yet, so a module that cannot be found is no error.
        self._tell_states(self._arm(welcome["arms"], check=False))
        self._link.stay()
        self._thread.start()

    def stop(self) -> None:
        """Leave the controller, disarm everything and let everyone go."""
        self._link.leave()
        if self._thread.is_alive():
            self._thread.join()
        self._withdraw()
        self._link.close()

    def abandon(self) -> None:
        """In a forked child: undo what was inherited, leave the parent's connection alone."""
        self._arming, self._striking = threading.RLock(), threading.Lock()
        self._link.drop()
        self._withdraw()

    def _withdraw(self) -> None:
        self._disarm(None)
        self._let_everyone_go()
        with self._striking:
            answers = list(self._answers.values())
        for answer in answers:
            answer.put(False)

    # ------------------------------------------------------------------ the controller's words

    def _obey(self) -> None:
        guard.busy = True  # an armed function that we call ourselves must not strike
        try:
            for message in self._link:
                self._perform(message)
        except OSError:
            pass  # an answer could not be sent: gone
        except Exception as error:
            sys.stderr.write(f"chaos agent: stopped: {type(error).__name__}: {error}\n")
        finally:
            self._withdraw()
            self._link.close()

    def _perform(self, message: dict[str, Any]) -> None:
        match message["is"]:
            case "verdict" | "recorded":
                answer = self._answers.get(message["hit"])
                if answer is not None:  # else nobody waits any more
                    answer.put(message.get("act", True))
            case "release":
                hold = self._holds.get(message["hit"])
                if hold is not None:
                    hold.let_go()
            case "arm":
                states = self._arm(message["arms"], check=True)
                self._tell_states(states, ticket=message["ticket"])
            case "disarm":
                self._disarm(message["arms"])
                if message["arms"] is None:
                    self._let_everyone_go()
                self._link.send(**{"is": "done"}, ticket=message["ticket"])
            case "list":
                self._link.send(
                    **{"is": "functions"}, functions=self._armed(), ticket=message["ticket"]
                )
            case "where":
                places = self._whereabouts.places(message["hits"])
                self._link.send(**{"is": "places"}, places=places, ticket=message["ticket"])

    def _tell_states(self, states: dict[int, str], **ticket: int) -> None:
        self._link.send(**{"is": "states"}, states=states, **ticket)

    # ------------------------------------------------------------------ arming

    def _arm(self, arms: Iterable[dict[str, Any]], *, check: bool) -> dict[int, str]:
        rules = [Rule(**arm) for arm in arms]
        for name in {_module_of(rule.function) for rule in rules}:
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if getattr(spec, "_initializing", False):
                importlib.import_module(name)  # waits for the thread that is importing it
        with self._arming:
            with self._striking:
                self._live.update(rule.arm for rule in rules)
            states = {rule.arm: self._place(rule, check=check) for rule in rules}
            self._watch()
        return states

    def _place(self, rule: Rule, *, check: bool) -> str:
        name, colon, path = rule.function.partition(":")
        try:
            if not colon or not path:
                raise Unresolvable(f"`{rule.function}` is not of the form `module:function`")
            if rule.action["word"] == "raise":
                exception = rule.action["exception"]
                if find_exception(exception) is None and check:
                    check_importable(_module_of(exception))
            module = sys.modules.get(name)
            if module is None:
                if check:
                    check_importable(name)
                self._pending.append(rule)
                return "pending"
            function = find_function(module, path)
        except Unresolvable as error:
            return f"error: {error}"
        failpoint = self._failpoints.get(function)
        if failpoint is None:
            failpoint = self._failpoints[function] = Failpoint(function, self)
        failpoint.rules = (*failpoint.rules, rule)
        return "armed"

    def _on_import(self, module: ModuleType) -> None:
        was_busy, guard.busy = guard.busy, True
        try:
            with self._arming:
                name = module.__name__
                due = [rule for rule in self._pending if _module_of(rule.function) == name]
                self._pending = [rule for rule in self._pending if rule not in due]
                states = {rule.arm: self._place(rule, check=False) for rule in due}
                self._watch()
            self._tell_states(states)
        except OSError:
            pass  # the controller is gone; our own thread sees it too and disarms
        finally:
            guard.busy = was_busy

    def _watch(self) -> None:
        self._imports.watch(frozenset(_module_of(rule.function) for rule in self._pending))

    def _disarm(self, arms: list[int] | None) -> None:
        """These arms, or all: none of them strikes from now on; whoever is held stays held."""
        with self._arming:
            with self._striking:
                self._live = set() if arms is None else self._live.difference(arms)
            for function, failpoint in list(self._failpoints.items()):
                failpoint.rules = _without(failpoint.rules, arms)
                if not failpoint.rules:
                    del self._failpoints[function]
            self._pending = list(_without(self._pending, arms))
            self._watch()

    def _armed(self) -> list[str]:
        with self._arming:
            return sorted(
                failpoint.rules[0].function
                for failpoint in self._failpoints.values()
                if failpoint.armed
            )

    # ------------------------------------------------------------------ striking

    def request_id(self) -> str | None:
        """Id of the current request, as the service's own reader tells it."""
        module, _, name = self._reader.partition(":")
        read = getattr(sys.modules.get(module), name, None) if name else None
        if read is None:  # nobody imported the reader, so nothing set an id either
            return None
        was_busy, guard.busy = guard.busy, True
        try:
            request = read()
        except Exception as error:
            if not self._reader_failed:
                sys.stderr.write(f"chaos agent: {self._reader}: {type(error).__name__}: {error}\n")
            self._reader_failed = True  # told once; it may well answer the next time
            return None
        finally:
            guard.busy = was_busy
        return None if request is None else str(request)

    def strike(self, rule: Rule, reached: Reached) -> Strike | None:
        """Report a hit; None when it shall not act: the controller says no, or is gone.

        When the rule says to ask, it returns only after the controller recorded the strike.
        """
        at_ns = time.monotonic_ns()
        was_busy, guard.busy = guard.busy, True
        try:
            hit = {
                "hit": next(self._numbers),
                "arm": rule.arm,
                "at_ns": at_ns,
                "thread": threading.current_thread().name,
                "request": self.request_id() if reached.request is None else reached.request,
                "raised": reached.raised,
                "told": _told(reached.arguments, rule.action.get("tell", ())),
            }
            return self._ask_and_strike(rule, hit) if rule.ask else self._strike(rule, hit)
        except OSError:
            self._link.leave()  # a controller that does not listen is gone
            return None
        finally:
            guard.busy = was_busy

    def _strike(self, rule: Rule, hit: dict[str, Any]) -> Strike | None:
        strike, problem = None, ""
        if rule.raised in (None, bool(hit["raised"])):  # else it is reported only to be counted
            strike, problem = self._prepared(rule, hit["hit"])
        message = {"is": "hit", **hit, "problem": problem}
        return strike if self._commit(rule, hit, strike, message) else None

    def _ask_and_strike(self, rule: Rule, hit: dict[str, Any]) -> Strike | None:
        number = hit["hit"]
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        with self._striking:
            if rule.arm not in self._live:
                return None
            self._answers[number] = answers
        try:
            self._link.send(**{"is": "hit"}, **hit)
            if not answers.get(timeout=VERDICT_LIMIT_S):
                return None
            strike, problem = self._prepared(rule, number)
            message = {"is": "acted", "hit": number, "problem": problem}
            if not self._commit(rule, hit, strike, message):
                self._link.send(**{**message, "problem": "it was disarmed meanwhile"})
                return None
            if strike is not None:
                with contextlib.suppress(queue.Empty):  # it has said that it acts: it does
                    answers.get(timeout=VERDICT_LIMIT_S)
            return strike
        except queue.Empty:
            raise TimeoutError("no verdict") from None
        finally:
            self._answers.pop(number, None)

    def _prepared(self, rule: Rule, number: int) -> tuple[Strike | None, str]:
        """All that can fail; what failed, if it did."""
        error = None
        if rule.action["word"] == "raise":
            try:
                error = make_exception(rule.action["exception"], rule.action["message"])
            except Unresolvable as problem:
                return None, str(problem)
        hold = Hold(rule.action.get("limit_s", 0.0), lambda: self._resumed(number, rule))
        return Strike(hold, error), ""

    def _commit(
        self, rule: Rule, hit: dict[str, Any], strike: Strike | None, message: dict[str, Any]
    ) -> bool:
        """Say whether it acts, and from then on it does; False when it was disarmed meanwhile.

        Nothing comes between the two, so no strike follows the confirmation of its disarm.
        """
        number = hit["hit"]
        with self._striking:
            if rule.arm not in self._live:
                return False
            if strike is not None:
                self._whereabouts.note(number, hit["request"])
                if rule.action.get("limit_s"):
                    self._holds[number] = strike.hold
            try:
                self._link.send(**message)
            except OSError:
                self._holds.pop(number, None)
                raise
        return True

    def _resumed(self, number: int, rule: Rule) -> None:
        self._holds.pop(number, None)
        if rule.action["word"] != "pause":
            return
        was_busy, guard.busy = guard.busy, True
        try:
            self._link.send(**{"is": "resumed"}, hit=number)
        except OSError:
            pass  # the controller is gone: nobody needs to know
        finally:
            guard.busy = was_busy

    def _let_everyone_go(self) -> None:
        for hold in list(self._holds.values()):
            hold.let_go()


def _module_of(name: str) -> str:
    return name.partition(":")[0]


def _told(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    told = {}
    for name in names:
        if name in arguments:
            with contextlib.suppress(Exception):  # whatever the service's own code raises
                told[name] = str(arguments[name])[:TOLD_LIMIT]
    return told


def _without(rules: Iterable[Rule], arms: list[int] | None) -> tuple[Rule, ...]:
    return () if arms is None else tuple(rule for rule in rules if rule.arm not in arms)
