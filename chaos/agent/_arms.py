"""What is armed in this process, and what waits until it can be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from ._exceptions import check_exception
from ._failpoint import Failpoint, Reporter, Rule, guard
from ._imports import ImportWatch
from ._native import Nested
from ._resolve import Unresolvable, check_importable, find_function
from ._startup import Startup, is_coming, is_defining

Tell = Callable[[dict[int, str]], None]

ARMED, PENDING = "armed", "pending"


class Arms:
    """Rules by name become failpoints in functions, as soon as these exist.

    A rule is *pending* while its module is not imported, or is still defining the function. Who is
    armed stays so when the module is loaded again or the name gets another function.

    The thread that obeys the controller arms and disarms, any thread imports. States are told under
    the lock, so that the last that is told is true; ``tell`` is for those that an import changes.
    """

    def __init__(self, reporter: Reporter, tell: Tell) -> None:
        self._reporter = reporter
        self._tell = tell
        self._startup = Startup()
        self._lock = Nested()
        self._failpoints: dict[FunctionType, Failpoint] = {}
        self._pending: list[Rule] = []
        self._imports = ImportWatch(self._on_import)
        self._is_settled = False  # looked at since the start was over

    def inherit(self) -> None:
        """In a forked child: what is armed stays so; who held the lock was not forked."""
        self._lock = Nested()
        self._startup.skip()
        for failpoint in list(self._failpoints.values()):
            failpoint.rules = failpoint.rules  # the fork may have come in the middle of it

    def arm(self, arms: Iterable[dict[str, Any]], tell: Tell) -> None:
        """Put them in place, but for those that are; tell the state of each."""
        rules = [Rule(**arm) for arm in arms]
        functions = {rule.function for rule in rules}
        with self._lock:
            # Whatever else has changed is seen when it is armed, or by the next review.
            changed = self._look_again(lambda rule, _: rule.function in functions)
            present = {rule.arm: state for rule, state in self._present()}
            states = {
                rule.arm: present[rule.arm] if rule.arm in present else self._place(rule)
                for rule in rules
            }
            self._watch()
            tell(changed | states)

    def disarm(self, arms: Iterable[int] | None) -> None:
        """These, or all."""
        gone = None if arms is None else frozenset(arms)
        with self._lock:
            for function, failpoint in list(self._failpoints.items()):
                left = _without(failpoint.rules, gone)
                if len(left) < len(failpoint.rules):
                    failpoint.rules = left
                if not left:
                    del self._failpoints[function]
            self._pending = list(_without(self._pending, gone))
            self._watch()

    def keep(self, arms: Iterable[int]) -> None:
        """Disarm all others."""
        kept = frozenset(arms)
        with self._lock:
            self.disarm([rule.arm for rule, _ in self._present() if rule.arm not in kept])

    def review(self, tell: Tell, *, pending: bool = False) -> None:
        """Look again at everything, or at what is pending; tell the states that are others now."""
        with self._lock:
            self._is_settled = self._startup.is_over
            changed = self._look_again(lambda _, state: state == PENDING or not pending)
            self._watch()
            if changed:
                tell(changed)

    def functions(self) -> list[str]:
        """The armed ones, by the names under which they were armed."""
        with self._lock:
            return sorted(
                failpoint.rules[0].function
                for failpoint in self._failpoints.values()
                if failpoint.armed
            )

    @property
    def patience_s(self) -> float | None:
        """How soon to review; None: not before something is said."""
        with self._lock:
            if not self._pending:
                return None
            if not self._is_settled:
                return 0.01
            coming = {_module_of(rule.function) for rule in self._pending}
        coming = {module for module in coming if is_coming(module)}
        if not coming:
            return None
        return 0.02 if coming == {"__main__"} else 0.002  # an import is over soon, a program is not

    # ------------------------------------------------------------------ one rule

    def _present(self) -> Iterable[tuple[Rule, str]]:
        for failpoint in self._failpoints.values():
            for rule in failpoint.rules:
                yield rule, ARMED
        for rule in self._pending:
            yield rule, PENDING

    def _place(self, rule: Rule, *, imported: bool = False) -> str:
        """``imported``: its module has just been, and will define no more."""
        try:
            function = self._find(rule, imported=imported)
        except Unresolvable as error:
            return f"error: {error}"
        if function is None:
            self._pending.append(rule)
            return PENDING
        failpoint = self._failpoints.get(function)
        if failpoint is None:
            failpoint = self._failpoints[function] = Failpoint(function, self._reporter)
        failpoint.rules = (*failpoint.rules, rule)
        return ARMED

    def _find(self, rule: Rule, *, imported: bool) -> FunctionType | None:
        """The function; None: not yet."""
        name, colon, path = rule.function.partition(":")
        if not colon or not path:
            raise Unresolvable(f"`{rule.function}` is not of the form `module:function`")
        started = self._startup.is_over
        if rule.action["word"] == "raise":
            check_exception(rule.action, started=started)
        module = sys.modules.get(name)
        if module is None:
            if started:
                check_importable(name)
            return None
        # Asked first: what is not found right now may be there by the time of the question.
        may_come = not imported and (not started or is_defining(module, path.partition(".")[0]))
        try:
            return find_function(module, path)
        except Unresolvable:
            if may_come:
                return None
            raise

    def _look_again(self, due: Callable[[Rule, str], bool]) -> dict[int, str]:
        """The new states of those that are ``due`` and have another one now."""
        return {
            rule.arm: state
            for rule, before in list(self._present())
            if due(rule, before) and (state := self._review(rule, before)) != before
        }

    def _review(self, rule: Rule, before: str) -> str:
        if before == PENDING:
            self._pending.remove(rule)
            return self._place(rule)
        module, _, path = rule.function.partition(":")
        try:
            function = find_function(sys.modules[module], path)
        except (Unresolvable, KeyError):
            return before  # nobody calls it by that name any more; who holds it is struck
        return before if function in self._failpoints else self._move(rule)

    def _move(self, rule: Rule, *, imported: bool = False) -> str:
        """The name means another function now."""
        self.disarm([rule.arm])
        return self._place(rule, imported=imported)

    # ------------------------------------------------------------------ imports

    def _on_import(self, module: ModuleType) -> None:
        was_busy, guard.busy = guard.busy, True
        try:
            with self._lock:
                due = [
                    rule
                    for rule, _ in list(self._present())
                    if _module_of(rule.function) == module.__name__
                ]
                states = {rule.arm: self._move(rule, imported=True) for rule in due}
                self._watch()
                self._tell(states)
        finally:
            guard.busy = was_busy

    def _watch(self) -> None:
        self._imports.watch(frozenset(_module_of(rule.function) for rule, _ in self._present()))


def _module_of(name: str) -> str:
    return name.partition(":")[0]


def _without(rules: Iterable[Rule], arms: frozenset[int] | None) -> tuple[Rule, ...]:
    return () if arms is None else tuple(rule for rule in rules if rule.arm not in arms)
