"""The agent of one process: it does what the controller says and reports what it did."""

from __future__ import annotations

import importlib
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

from ._failpoint import Failpoint, Rule, guard
from ._hold import Hold
from ._imports import ImportWatch
from ._link import Link
from ._resolve import Unresolvable, check_importable, find_exception, find_function

START_LIMIT_S = 5.0
VERDICT_LIMIT_S = 5.0


class Agent:
    """Connects on construction; :meth:`start` returns when what must be armed is armed.

    A thread of its own then obeys the controller. When the controller goes away everything is
    disarmed and everyone let go: the service carries on as if nothing had been there.

    Raises:
        OSError: the controller cannot be reached.
    """

    def __init__(self, address: str, *, token: str, service: str, request_id_reader: str) -> None:
        self._reader = request_id_reader
        self._arming = threading.RLock()
        self._failpoints: dict[FunctionType, Failpoint] = {}
        self._pending: list[Rule] = []
        self._imports = ImportWatch(self._on_import)

        self._striking = threading.Lock()
        self._gone = False
        self._numbers = itertools.count(1)
        self._holds: dict[int, Hold] = {}
        self._verdicts: dict[int, queue.SimpleQueue[bool]] = {}

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
        with self._striking:
            self._gone = True
            verdicts = list(self._verdicts.values())
        self._disarm(None)
        self._let_everyone_go()
        for verdict in verdicts:
            verdict.put(False)

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
            case "verdict":
                verdict = self._verdicts.get(message["hit"])
                if verdict is not None:  # else nobody asked, or nobody waits any more
                    verdict.put(message["act"])
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

    def _tell_states(self, states: dict[int, str], **ticket: int) -> None:
        self._link.send(**{"is": "states"}, states=states, **ticket)

    # ------------------------------------------------------------------ arming

    def _arm(self, arms: Iterable[dict[str, Any]], *, check: bool) -> dict[int, str]:
        rules = [Rule(**arm) for arm in arms]
        for name in {_module_of(rule) for rule in rules}:
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if getattr(spec, "_initializing", False):
                importlib.import_module(name)  # waits for the thread that is importing it
        with self._arming:
            states = {rule.arm: self._place(rule, check=check) for rule in rules}
            self._watch()
        return states

    def _place(self, rule: Rule, *, check: bool) -> str:
        name, colon, path = rule.function.partition(":")
        try:
            if not colon or not path:
                raise Unresolvable(f"`{rule.function}` is not of the form `module:function`")
            if rule.action["word"] == "raise":
                find_exception(rule.action["exception"])
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
                due = [rule for rule in self._pending if _module_of(rule) == module.__name__]
                self._pending = [rule for rule in self._pending if rule not in due]
                states = {rule.arm: self._place(rule, check=False) for rule in due}
                self._watch()
            self._tell_states(states)
        except OSError:
            pass  # the controller is gone; our own thread sees it too and disarms
        finally:
            guard.busy = was_busy

    def _watch(self) -> None:
        self._imports.watch(frozenset(_module_of(rule) for rule in self._pending))

    def _disarm(self, arms: list[int] | None) -> None:
        """These arms, or all; whoever is held stays held."""
        with self._arming:
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
            sys.stderr.write(f"chaos agent: {self._reader}: {type(error).__name__}: {error}\n")
            self._reader = ""
            return None
        finally:
            guard.busy = was_busy
        return None if request is None else str(request)

    def strike(self, rule: Rule, request: str | None, raised: str) -> Hold | None:
        """Report a hit; None when it shall not act (the controller says no, or is gone).

        Returns only after the controller recorded the hit, when the rule says to ask.
        """
        at_ns = time.monotonic_ns()
        was_busy, guard.busy = guard.busy, True
        number = next(self._numbers)
        hold = Hold(rule.action.get("limit_s", 0.0), lambda: self._resumed(number, rule))
        verdict: queue.SimpleQueue[bool] = queue.SimpleQueue()
        try:
            with self._striking:
                if self._gone:
                    return None
                self._holds[number] = hold
                self._verdicts[number] = verdict
            self._link.send(
                **{"is": "hit"},
                hit=number,
                arm=rule.arm,
                at_ns=at_ns,
                thread=threading.current_thread().name,
                request=request if request is not None else self.request_id(),
                raised=raised,
            )
            acts = verdict.get(timeout=VERDICT_LIMIT_S) if rule.ask else True
        except (OSError, queue.Empty):
            self._link.leave()  # a controller that does not listen is gone
            acts = False
        finally:
            guard.busy = was_busy
            self._verdicts.pop(number, None)
        if not acts or not rule.action.get("limit_s"):
            self._holds.pop(number, None)
        return hold if acts else None

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


def _module_of(rule: Rule) -> str:
    return rule.function.partition(":")[0]


def _without(rules: Iterable[Rule], arms: list[int] | None) -> tuple[Rule, ...]:
    return () if arms is None else tuple(rule for rule in rules if rule.arm not in arms)
