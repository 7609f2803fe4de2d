"""A process's connection to RabbitMQ, and what it can tell of what is in flight.

RabbitMQ counts what waits in a queue, but not what its consumers have taken. Those know it: each
process that takes messages answers a question which is put into its own queue, behind everything
that was handed to it before, with what it works on, what it waits for, and what it has published
and is not confirmed yet. Nobody asks while nobody wants to know.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Container, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TypedDict
from urllib.parse import urlsplit

from targets.reference.bus.client import CONFIRM_S, Bus
from targets.reference.bus.frames import Frame
from targets.reference.bus.link import Link
from targets.reference.bus.rabbit import QUESTION_S, RabbitLink

_LOOK_S = 0.005
"""Between two looks of whoever waits until nothing is in flight."""


class Work(TypedDict):
    """A message that somebody works on; ``call`` says who waits for what answer, or is empty."""

    what: str
    queue: str
    call: str
    request: str


class Report(TypedDict):
    """What one process tells of itself; ``calls`` and ``put_off`` are (id, request) pairs."""

    taken: int
    working: list[Work]
    calls: list[tuple[str, str]]
    put_off: list[tuple[str, str]]
    unconfirmed: int


Reports = dict[str, Report | None]
"""What each process told, by its own queue; None: it did not answer."""


class RabbitBus(Bus):
    """The same as :class:`~.client.Bus` at RabbitMQ; ``address`` is its URL.

    Whoever asks what is in flight names the queues: the consumers' ``own`` and ``shared`` ones.
    """

    def __init__(
        self, address: str, own: Collection[str] = (), shared: Collection[str] = ()
    ) -> None:
        super().__init__(address, token="")
        self._own, self._shared = tuple(own), tuple(shared)
        self._taken = time.monotonic_ns()  # no other process counts from there
        self._last_taken = 0
        self._busy: list[str] = []
        """Who worked on what was asked for last."""

    @property
    def _name(self) -> str:
        found = urlsplit(self._address)
        return f"{found.hostname}:{found.port}"

    def _open(self) -> Link:
        return RabbitLink(self._address)

    # ------------------------------------------------------------------ whoever is asked

    def _obey(self, link: Link, frame: Frame) -> None:
        if frame["op"] == "deliver":
            self._taken += 1
        if frame["op"] == "question":
            link.send({"op": "tell", "answers": frame["answers"], "body": self._report(link)})
        else:
            super()._obey(link, frame)

    def _report(self, link: Link) -> Frame:
        assert isinstance(link, RabbitLink)
        with self._state:
            working = list(self._working.values())
        now = time.monotonic()
        report: Report = {
            "taken": self._taken,
            "working": [Work(**work) for work in working],  # type: ignore[typeddict-item]
            "calls": [
                (f"{link.inbox}/{number}", request)
                for number, request in link.calls.items()
                if number in self._waiting
            ],
            "put_off": [(one.what, one.request) for one in link.delayed if one.due > now],
            "unconfirmed": len(link.unconfirmed),
        }
        return {"report": report}

    # ------------------------------------------------------------------ whoever asks

    def drain(self, deadline_s: float, consumers: Iterable[str] = ()) -> list[str]:
        """As of our own broker; it is asked again and again until nothing is in flight.

        Not all are asked at one moment: a message may go from one who has not answered yet to one
        who has. So nothing is in flight when all say so twice, and nobody took anything between.
        """
        deadline, expected, before = time.monotonic() + deadline_s, tuple(consumers), -1
        while True:
            pending, taken = self._pending(expected)
            if not pending and taken == before:
                self._last_taken = taken
                return []
            if pending and time.monotonic() >= deadline:
                return pending
            before = -1 if pending else taken
            if pending:
                self._closed.wait(_LOOK_S)

    def stats(self) -> Frame:
        """Return how many messages were ``delivered`` until the last look."""
        return {"delivered": self._last_taken}

    def under_way(
        self, requests: Iterable[str], stopped: Iterable[str] = (), timeout_s: float = CONFIRM_S
    ) -> list[str]:
        """As of our own broker."""
        deadline = time.monotonic() + timeout_s
        if moving := self._as_before(frozenset(requests), frozenset(stopped), deadline):
            return moving
        still, wanted, before = frozenset(stopped), frozenset(requests), -1
        asked = [queue for queue in self._own if queue not in still]
        while True:
            found = self._count(asked, deadline)
            asked = [queue for queue in asked if found[queue][1]]
            reports = self._ask(asked, deadline)
            moving = [*_moving(reports, wanted)]
            taken = _taken(reports)
            if moving or taken == before:
                self._busy = [q for q, said in reports.items() if [*_moving({q: said}, wanted)]][:1]
                return moving
            before = taken

    def _as_before(
        self, wanted: frozenset[str], still: frozenset[str], deadline: float
    ) -> list[str]:
        """Say what goes on where something did last; nothing when the others must be asked too."""
        reports = self._ask([queue for queue in self._busy if queue not in still], deadline)
        if any(said is None or said["calls"] for said in reports.values()):
            return []
        return [*_moving(reports, wanted)]

    def listening(self, timeout_s: float = CONFIRM_S) -> Container[str]:
        """As of our own broker; what is returned asks when it is asked."""
        deadline = time.monotonic() + timeout_s
        self._connected(deadline)
        return _Listening(self, timeout_s)

    def consumers(self, queue: str, timeout_s: float) -> int:
        """How many consume a queue."""
        return self._count([queue], time.monotonic() + timeout_s)[queue][1]

    def purge(self) -> None:
        """Throw away every message that waits in a queue, or for its time."""
        self._confirmed({"op": "purge", "queues": [*self._own, *self._shared]})

    def _pending(self, consumers: Collection[str]) -> tuple[list[str], int]:
        """Look once: what there is, and how many messages were taken so far."""
        limit = time.monotonic() + QUESTION_S
        look = self._look(limit)
        pending = []
        for queue, (waiting, listeners) in look["found"].items():
            if queue in consumers and not listeners:
                pending.append(f"nobody listens to {queue}")
            if waiting:
                pending.append(
                    f"{queue}: {waiting} queued{'' if listeners else ', nobody listens'}"
                )
        if look["put_off"]:
            pending.append(f"{look['put_off']} wait to be tried again")
        reports = self._ask([q for q in self._own if look["found"][q][1]], limit)
        for queue, report in reports.items():
            if report is None:
                pending.append(f"{queue} does not answer")
                continue
            pending += [f"{work['what']} in flight" for work in report["working"]]
            pending += [f"{what} waits to be tried again" for what, _ in report["put_off"]]
            if report["unconfirmed"]:
                pending.append(f"{queue}: {report['unconfirmed']} not confirmed")
        return pending, _taken(reports)

    def _look(self, deadline: float) -> Frame:
        frame = {"op": "look", "queues": [*self._own, *self._shared], "all": True}
        return self._confirmed(frame, max(0.0, deadline - time.monotonic()))

    def _count(self, queues: Collection[str], deadline: float) -> dict[str, tuple[int, int]]:
        """How many messages wait in each of these queues, and how many consume it."""
        frame = {"op": "look", "queues": queues, "all": False}
        found: dict[str, tuple[int, int]] = self._confirmed(
            frame, max(0.0, deadline - time.monotonic())
        )["found"]
        return found

    def _ask(self, queues: Iterable[str], deadline: float) -> Reports:
        asked = {queue: self._send({"op": "ask", "queue": queue}, deadline) for queue in queues}
        return {queue: self._answer(*sent, deadline) for queue, sent in asked.items()}

    def _answer(self, number: int, future: Future[Frame], deadline: float) -> Report | None:
        try:
            found: Report = future.result(max(0.0, deadline - time.monotonic()))["report"]
        except (TimeoutError, ConnectionError):
            return None
        finally:
            self._waiting.pop(number, None)
        return found


def _taken(reports: Reports) -> int:
    return sum(report["taken"] for report in reports.values() if report)


def _moving(reports: Reports, wanted: Container[str]) -> Iterator[str]:
    """Say, one by one, what goes on by itself for these requests."""
    told = [report for report in reports.values() if report is not None]
    carried = {work["call"] for report in told for work in report["working"]}
    yield from (f"{queue} does not answer" for queue, said in reports.items() if said is None)
    for report in told:
        for what, request in report["put_off"]:
            if request in wanted:
                yield f"{what} waits to be tried again"
        # Whoever calls somebody who does not work on it does not go on.
        held_up = {request for call, request in report["calls"] if call not in carried}
        for work in report["working"]:
            if work["request"] in wanted and not work["call"] and work["request"] not in held_up:
                yield f"{work['what']} in flight"


class _Listening(Container[str]):
    def __init__(self, bus: RabbitBus, timeout_s: float) -> None:
        self._consumers = partial(bus.consumers, timeout_s=timeout_s)

    def __contains__(self, queue: object) -> bool:
        return self._consumers(str(queue)) > 0
