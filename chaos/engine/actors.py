"""The actors of a plan: on whose behalf something happens, told by the ids of their requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chaos.hit import Hit
from chaos.plan import ON_SERVICE, STEPS, Phase, Plan, Step


class Actors:
    """Who acts in a round, and the requests by which each is known inside the services.

    Each operation of a labelled step has its request id before anything is armed, so that a fault
    can wait for any of them.
    """

    def __init__(self, plan: Plan, new_request_id: Callable[[], str]) -> None:
        self._new_request_id = new_request_id
        self._steps = {
            step.label: step for phase in Phase for step in plan.actors(phase) if step.label
        }
        self.requests: dict[str, tuple[str, ...]] = {
            label: tuple(new_request_id() for _ in _single(step))
            for label, step in self._steps.items()
        }
        """Actor → the request ids of its operations, in their order."""
        self.serving: dict[str, str] = {}
        """Actor → the request id of its operation now, or of the last one."""
        self._unused = {label: iter(ids) for label, ids in self.requests.items()}
        self._by_request = {id_: label for label, ids in self.requests.items() for id_ in ids}

    def of(self, hit: Hit) -> str:
        """On whose behalf a point was reached; '' when nobody knows."""
        return self.of_request(hit.request or "")

    def of_request(self, request: str) -> str:
        """Whose request that is; '' when nobody knows."""
        return self._by_request.get(request, "")

    def identity(self, actor: str) -> tuple[tuple[str, ...] | None, str | None]:
        """By what an actor is known inside the services: its requests, or its service."""
        if not actor:
            return None, None
        singles = list(_single(self._steps[actor]))
        services = [step for step in singles if step.operation in ON_SERVICE]
        if services and len(services) == len(singles):
            # A service that starts has no request; nobody else's can be served there yet.
            return None, str(services[0].arguments["service"])
        return self.requests[actor], None

    def serves(self, actor: str) -> bool:
        """Whether an actor kills or starts services, in one of its steps."""
        step = self._steps.get(actor)
        return step is not None and any(one.operation in ON_SERVICE for one in _single(step))

    def next_request(self, actor: str, operation: str, *, looks: bool) -> str:
        """The id under which an actor's operation goes; who only ``looks`` acts for nobody."""
        if looks:
            return self._new_request_id()
        request = next(self._unused.get(actor, iter(())), None)
        if request is None:
            request = self._new_request_id()
            self._by_request[request] = actor or operation
        self.serving[actor] = request
        return request


def _single(actor: Step) -> Iterator[Step]:
    """The steps of an actor, one by one."""
    if actor.operation == STEPS:
        for step in actor.steps:
            yield from _single(step)
    else:
        yield actor
