"""What clients may be answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from chaos.history import Done, History, Kind
from chaos.invariant import Evidence, invariant


@invariant("no-server-error", checked="always", number=10)
def no_server_error(evidence: Evidence) -> Iterator[str]:
    """No client gets a 5xx, unless the plan allows it or had cut a service off meanwhile."""
    cuts = list(_cuts(evidence.history))
    for operation in evidence.history.operations:
        status = operation.status or 0
        if status < HTTPStatus.INTERNAL_SERVER_ERROR or status in operation.allow:
            continue
        if not any(cut.meets(operation) for cut in cuts):
            told = "".join(f"; {cut}, but was back by then" for cut in cuts if cut.over(operation))
            yield (
                f"{operation.actor} got {status} for {operation.operation}: {operation.error}{told}"
            )


@dataclass(frozen=True, slots=True)
class _Cut:
    """A service that the plan took away, and when it was back; None: it is not yet."""

    service: str
    how: str
    from_ns: int
    until_ns: int | None

    def meets(self, operation: Done) -> bool:
        """Whether the service was away at some time between the question and the answer."""
        began = operation.ended_ns is None or self.from_ns <= operation.ended_ns
        return began and not self.over(operation)

    def over(self, operation: Done) -> bool:
        """Whether the service was back when the question was asked."""
        return self.until_ns is not None and self.until_ns < operation.invoked_ns

    def __str__(self) -> str:
        return f"{self.service} was {self.how}"


def _cuts(history: History) -> Iterator[_Cut]:
    """Each time that a service was killed, crashed or frozen: it ends when the service is back.

    A service that ended by itself was not cut off by the plan.
    """
    away: dict[str, _Cut] = {}
    for event in history.of(Kind.HIT, Kind.SERVICE):
        how = {"killed": "killed", "frozen": "frozen"}.get(event.name, "")
        if event.kind is Kind.HIT:
            how = "crashed" if event.data.get("action") == "crash" else ""
        if how and event.lane not in away:
            away[event.lane] = _Cut(event.lane, how, event.at_ns, None)
        elif event.kind is Kind.SERVICE and event.name in ("ready", "thawed"):
            cut = away.pop(event.lane, None)
            if cut:
                yield _Cut(cut.service, cut.how, cut.from_ns, event.at_ns)
    yield from away.values()
