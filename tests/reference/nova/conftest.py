"""The whole control plane with failpoints, for the tests of the compute service."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest

from chaos.action import Action
from chaos.failpoints.controller import Arm, Controller, Hit
from chaos.operation import OperationIndeterminate, Scope
from chaos.point import When
from chaos.target import Instrumentation
from targets.cloud.world import CloudWorld, Usage
from targets.embedded.target import Embedded

DEADLINE_S = 10.0


class Cloud:
    """A control plane in its pristine state, whose requests can be held, failed and killed."""

    def __init__(self, target: Embedded, controller: Controller) -> None:
        self.target = target
        self.controller = controller
        self.threads = ThreadPoolExecutor(16)
        self._scope = Scope(target.client(), deadline_s=DEADLINE_S)

    def do(self, operation: str, *positional: Any, actor: str = "req-test", **named: Any) -> Any:
        """Run an operation on behalf of ``actor``."""
        function = self.target.operations[operation].function
        return function(self._scope.actor(actor), *positional, **named)

    def begin(self, operation: str, *positional: Any, actor: str, **named: Any) -> Future[Any]:
        """Run an operation in a thread of its own."""
        return self.threads.submit(self.do, operation, *positional, actor=actor, **named)

    def try_to(self, operation: str, *positional: Any, **named: Any) -> None:
        """Run an operation whose answer may get lost."""
        with suppress(OperationIndeterminate):
            self.do(operation, *positional, **named)

    def arm(self, at: str, action: Action, actor: str | None = "req-test", **named: Any) -> Arm:
        """Put an action at a point such as ``before bdm.destroy``."""
        when, _, alias = at.partition(" ")
        point = self.target.points[alias]
        return self.controller.arm(
            point, When(when), action, alias=alias, requests=(actor,) if actor else None, **named
        )

    def hold(self, at: str, actor: str = "req-test", **named: Any) -> Arm:
        """Hold an actor at a point until its hit is released."""
        return self.arm(at, Action.pause(), actor, **named)

    def struck(self, arm: Arm) -> Hit:
        """Wait until an armed point was reached."""
        hit = arm.wait(DEADLINE_S)
        assert hit is not None, f"{arm} was never reached"
        return hit

    def restart(self, hit: Hit) -> None:
        """Bring back the service that a crash ended."""
        service = self.target.services[hit.service]
        assert service.wait_dead(DEADLINE_S)
        service.start()

    def settled(self) -> CloudWorld:
        """The world when nothing is under way any more."""
        self.target.settle(DEADLINE_S)
        return self.target.observe()

    def left_over(self) -> list[Any]:
        """What is left in the settled world, beside the hosts themselves."""
        world = self.settled()
        assert {node.used for node in world.compute_nodes} == {Usage(0, 0, 0)}
        always = world.past | {"compute_nodes"}
        tables = [table.name for table in fields(world) if table.name not in always]
        return [record for table in tables for record in getattr(world, table)]


@pytest.fixture(scope="package")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    target, label = Embedded(), f"test-{secrets.token_hex(4)}"
    with Controller(label=label, request_id_reader=target.request_id_reader) as controller:
        run_dir = tmp_path_factory.mktemp("nova")
        environment = controller.environment
        target.start(Instrumentation(label, run_dir, environment, lambda *_: None), frozenset())
        cloud = Cloud(target, controller)
        try:
            yield cloud
        finally:
            cloud.threads.shutdown()
            target.stop()


@pytest.fixture
def with_bugs(booted: Cloud) -> Iterator[Callable[..., Cloud]]:
    def prepare(*bugs: str) -> Cloud:
        booted.target.reset(frozenset(bugs))
        return booted

    yield prepare
    booted.controller.disarm_all()


@pytest.fixture
def cloud(with_bugs: Callable[..., Cloud]) -> Cloud:
    return with_bugs()
