"""What is under way at the points of one process: who asks, who acts, who is held."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Any

from ._exceptions import make_exception
from ._failpoint import Rule, Strike, guard
from ._hold import Hold
from ._link import Link
from ._native import Empty, Lock, SimpleQueue
from ._resolve import Unresolvable
from ._whereabouts import Whereabouts

VERDICT_LIMIT_S = 5.0


class Strikes:
    """Takes hits to the controller over one link, and its answers back to who waits.

    ``main`` is the service's first process. The service's own threads strike, the thread that obeys
    the controller hands out answers. A lock guards what is under way; the service's code never runs
    under it.
    """

    def __init__(self, link: Link, main: int) -> None:
        self._link = link
        self._main = main
        self._changing = Lock()
        self._live: set[int] = set()  # the arms that may strike; none when the controller is gone
        self._numbers = itertools.count(1)
        self._holds: dict[int, Hold] = {}
        self._answers: dict[int, SimpleQueue[bool]] = {}
        self.whereabouts = Whereabouts()

    def allow(self, arms: set[int]) -> None:
        """These may strike from now on."""
        with self._changing:
            self._live |= arms

    def forbid(self, arms: list[int] | None) -> None:
        """None of these (None: of all) strikes from now on; whoever is held stays held."""
        with self._changing:
            self._live = set() if arms is None else self._live.difference(arms)

    def answer(self, hit: int, act: bool) -> None:
        """What the controller says of a hit."""
        waiting = self._answers.get(hit)
        if waiting is not None:  # else nobody waits any more
            waiting.put(act)

    def release(self, hit: int) -> None:
        """Let go who is held there."""
        hold = self._holds.get(hit)
        if hold is not None:
            hold.let_go()

    def let_everyone_go(self) -> None:
        """Let go whoever is held."""
        for hold in list(self._holds.values()):
            hold.let_go()

    def end(self) -> None:
        """The controller is gone: nobody strikes, nobody waits."""
        self.forbid(None)
        self.let_everyone_go()
        with self._changing:
            answers = list(self._answers.values())
        for answer in answers:
            answer.put(False)

    # ------------------------------------------------------------------ who came to a point

    def strike(self, rule: Rule, hit: dict[str, Any]) -> Strike | None:
        """Report a hit; None when it shall not act. ``hit`` gets its number here.

        When the rule says to ask, it returns only after the controller recorded the strike.

        Raises:
            OSError: the controller is gone.
        """
        hit = {"hit": next(self._numbers), **hit}
        return self._ask_and_strike(rule, hit) if rule.ask else self._strike(rule, hit)

    def _strike(self, rule: Rule, hit: dict[str, Any]) -> Strike | None:
        strike, problem = None, ""
        if rule.raised in (None, bool(hit["raised"])):  # else it is reported only to be counted
            strike, problem = self._prepared(rule, hit["hit"])
        message = {"is": "hit", **hit, "problem": problem}
        return strike if self._commit(rule, hit, strike, message) else None

    def _ask_and_strike(self, rule: Rule, hit: dict[str, Any]) -> Strike | None:
        number = hit["hit"]
        answers: SimpleQueue[bool] = SimpleQueue()
        with self._changing:
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
                with contextlib.suppress(Empty):  # it has said that it acts: it does
                    answers.get(timeout=VERDICT_LIMIT_S)
            return strike
        except Empty:
            raise TimeoutError("no verdict") from None
        finally:
            self._answers.pop(number, None)

    def _prepared(self, rule: Rule, number: int) -> tuple[Strike | None, str]:
        """All that can fail; what failed, if it did."""
        error = None
        if rule.action["word"] == "raise":
            try:
                error = make_exception(rule.action)
            except Unresolvable as problem:
                return None, str(problem)
        if rule.action.get("scope") == "service" and os.getpgid(0) != self._main:
            return None, (
                f"process {self._main}, the service's first, leads no process group that could be"
                " killed with all that is in it and nothing else"
            )
        hold = Hold(rule.action.get("limit_s", 0.0), lambda: self._resumed(number, rule))
        return Strike(hold, error), ""

    def _commit(
        self, rule: Rule, hit: dict[str, Any], strike: Strike | None, message: dict[str, Any]
    ) -> bool:
        """Say whether it acts, and from then on it does; False when it was disarmed meanwhile.

        Nothing comes between the two, so no strike follows the confirmation of its disarm.
        """
        number = hit["hit"]
        with self._changing:
            if rule.arm not in self._live:
                return False
            if strike is not None:
                self.whereabouts.note(number, hit["request"])
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
