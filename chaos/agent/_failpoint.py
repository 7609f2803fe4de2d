"""What happens when an armed function is called."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from types import FunctionType, TracebackType
from typing import Any, Literal, NamedTuple, Protocol

from ._hold import Hold
from ._native import Guard
from ._shim import shim, twin

guard = Guard()


class Rule(NamedTuple):  # no dataclass: that would cost every program the import of inspect
    """One arm as the controller sent it; ``ask``: the controller decides whether a hit acts."""

    arm: int
    function: str
    when: Literal["before", "after"]
    raised: bool | None
    requests: list[str] | None
    ask: bool
    action: dict[str, Any]


class Reached(NamedTuple):
    """What a failpoint knows about a call that came to a point.

    ``raised`` is the type of the exception with which it ended, so far; ``arguments`` are those by
    name, when a rule wants some of them told.
    """

    request: str | None
    raised: str
    arguments: Mapping[str, Any]


class Strike(NamedTuple):
    """What an action needs now that it acts: where the actor may wait, what it gets raised."""

    hold: Hold
    error: Exception | None


class Reporter(Protocol):
    """What a failpoint needs of the agent."""

    def request_id(self) -> str | None:
        """Of the current request."""

    def strike(self, rule: Rule, reached: Reached) -> Strike | None:
        """Report a hit; None when it shall not act."""


class Failpoint:
    """An armed function: one stand-in, however many rules there are for it.

    It stays armed as long as it has rules. Calls in flight at a change end as they began.
    """

    def __init__(self, function: FunctionType, reporter: Reporter) -> None:
        self._function = function
        self._reporter = reporter
        self._code = function.__code__
        self._shim = shim(function.__code__, self)
        self._twin: Callable[..., Any] = twin(function)
        self._rules: tuple[Rule, ...] = ()
        self._filtered = False
        self._telling = False

    @property
    def rules(self) -> tuple[Rule, ...]:
        """In the order in which they were armed; setting them arms or disarms the function."""
        return self._rules

    @rules.setter
    def rules(self, rules: tuple[Rule, ...]) -> None:
        self._filtered = any(rule.requests is not None for rule in rules)
        self._telling = any("tell" in rule.action for rule in rules)
        self._rules = rules
        if rules:
            self._function.__code__ = self._shim
        elif self.armed:  # else someone replaced our stand-in: what is there now is theirs
            self._function.__code__ = self._code

    @property
    def armed(self) -> bool:
        """Whether the function's code is the stand-in right now."""
        return self._function.__code__ is self._shim

    # The three ways of performing a visit, for functions, coroutine functions and generators.

    def call(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Stand in for one call of a function."""
        visit = self._visit(args, keywords)
        if visit is None:
            return self._twin(*args, **keywords)
        for hold in visit.steps():
            if hold is not None:
                hold.block()
                continue
            with visit:
                visit.value = self._twin(*args, **keywords)
        return visit.result()

    async def call_async(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Stand in for one call of a coroutine function."""
        visit = self._visit(args, keywords)
        if visit is None:
            return await self._coroutine(args, keywords)
        for hold in visit.steps():
            if hold is not None:
                await hold.suspend()
                continue
            with visit:
                visit.value = await self._coroutine(args, keywords)
        return visit.result()

    def _coroutine(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Awaitable[Any]:
        coroutine: Awaitable[Any] = self._twin(*args, **keywords)
        return coroutine

    def call_generator(
        self, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Generator[Any, Any, Any]:
        """Stand in for one run of a generator: *before* is its first step, *after* its end."""
        visit = self._visit(args, keywords)
        if visit is None:
            return (yield from self._twin(*args, **keywords))
        for hold in visit.steps():
            if hold is not None:
                hold.block()
                continue
            with visit:
                visit.value = yield from self._twin(*args, **keywords)
        return visit.result()

    def _visit(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Visit | None:
        """None when no rule concerns this call."""
        if guard.busy:
            return None
        request = self._reporter.request_id() if self._filtered else None
        rules = [
            rule
            for rule in self._rules
            if rule.requests is None
            or (request or "") in rule.requests
            # The function may be the one that starts the request: look again when it returned.
            or (request is None and rule.when == "after")
        ]
        if not rules:
            return None
        arguments = self._named(args, keywords) if self._telling else {}
        return Visit(rules, request, arguments, self._reporter)

    def _named(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        names = self._code.co_varnames[: self._code.co_argcount]
        return {**dict(zip(names, args, strict=False)), **keywords}  # args may go on: *rest


class Visit:
    """One call of an armed function: what it is to do next, and how it will end.

    As a context manager it takes down how the original call ended.
    """

    def __init__(
        self,
        rules: list[Rule],
        request: str | None,
        arguments: Mapping[str, Any],
        reporter: Reporter,
    ) -> None:
        self._rules = rules
        self._request = request
        self._arguments = arguments
        self._reporter = reporter
        self._calls_due = 1
        self._called = False
        self._error: Exception | None = None
        self.value: Any = None

    def steps(self) -> Iterator[Hold | None]:
        """A hold: wait there. None: call the original."""
        yield from self._strikes("before")
        yield from self._calls()
        if self._called:
            yield from self._strikes("after")
            yield from self._calls()

    def result(self) -> Any:
        """How the call ends for the caller."""
        if self._error is None:
            return self.value
        try:
            raise self._error
        finally:
            self._error = None  # its traceback holds this frame

    def __enter__(self) -> None:
        self._called = True
        self._calls_due -= 1
        self._error = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):  # a cancelled or killed actor does not come here again
            return False
        self._error = error
        return True

    def _calls(self) -> Iterator[None]:
        while self._calls_due:
            yield None

    def _strikes(self, when: str) -> Iterator[Hold]:
        for rule in self._rules:
            if rule.when != when or not self._concerned(rule):
                continue
            raised = type(self._error).__name__ if self._error is not None else ""
            reached = Reached(self._request, raised, self._arguments)
            strike = self._reporter.strike(rule, reached)
            if strike is not None:
                yield from self._act(rule.action, strike)

    def _concerned(self, rule: Rule) -> bool:
        if rule.requests is None:
            return True
        if self._request is None:
            self._request = self._reporter.request_id()
        return (self._request or "") in rule.requests

    def _act(self, action: dict[str, Any], strike: Strike) -> Iterator[Hold]:
        match action["word"]:
            case "crash":
                if action["scope"] == "service":
                    os.killpg(0, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
                os._exit(137)  # the first process of a container is immune to its own SIGKILL
            case "pause" | "delay":
                yield strike.hold
            case "raise":
                self._end(None, strike.error)
            case "return":
                self._end(copy.deepcopy(action["value"]), None)
            case "drop":
                self._end(None, None)
            case "duplicate":
                self._calls_due += 1

    def _end(self, value: Any, error: Exception | None) -> None:
        self._calls_due = 0
        self.value, self._error = value, error
