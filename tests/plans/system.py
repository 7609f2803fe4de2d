"""A small system that is never started, and kinds of fault that never strike: words for plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from chaos.fault import Fault, FaultContext, Strike
from chaos.invariant import Evidence, Invariant, invariant
from chaos.language.catalogue import Vocabulary
from chaos.operation import Operations, Scope
from chaos.plan import Location
from chaos.point import Point
from chaos.target import Instrumentation, Service, Target
from chaos.words import Word
from chaos.world import World

Server = Annotated[str, Word("server")]
Volume = Annotated[str, Word("volume")]

operations = Operations()


@operations.named("server.create")
def create_server(
    scope: Scope,
    name: Annotated[str, Word("server", makes=True)],
    volumes: tuple[Volume, ...] = (),
    delete_on_termination: bool = False,
    count: int = 1,
) -> None:
    """Boot a server."""


@operations.named("server.delete")
def delete_server(scope: Scope, server: Server) -> None:
    """Delete a server."""


@operations.named("server.move")
def move_server(
    scope: Scope, server: Server, host: Annotated[str, Word("service")] | None = None
) -> None:
    """Move a server to the host of a service, or anywhere."""


@operations.named("server.group")
def group_servers(
    scope: Scope, apart: Literal["all"] | list[list[Server]], note: str | list[str] = ""
) -> None:
    """Keep servers apart."""


@operations.named("volume.create")
def create_volume(
    scope: Scope,
    name: Annotated[str, Word("volume", makes=True)] = "data",
    copy: Volume | None = None,
    size: float = 1,
) -> None:
    """Make a volume."""


@operations.named("tick")
def tick(scope: Scope) -> None:
    """Let the clock tick."""


class _Fault(Fault):
    def prepare(self, context: FaultContext, at: Location | None) -> Strike:
        raise NotImplementedError


class Crash(_Fault):
    """The service dies."""


class Delay(_Fault):
    """The call takes longer."""

    seconds: float = Field(gt=0)
    times: int = 1


class Pause(_Fault):
    """The caller is held."""

    until: Annotated[str, Word("step")] = ""


class Kill(_Fault):
    """A service dies, from outside."""

    located: ClassVar[bool | None] = None

    service: Annotated[str, Word("service")]


class Race(_Fault):
    """Actors go one at a time."""

    located: ClassVar[bool | None] = False

    actors: tuple[Annotated[str, Word("actor")], ...] = Field(min_length=2)
    points: tuple[Location, ...] = Field(min_length=1)


class Cut(_Fault):
    """A link is cut."""

    located: ClassVar[bool | None] = None
    needs: ClassVar[str] = "links"


class Lose(_Fault):
    """A server's guest is lost."""

    located: ClassVar[bool | None] = None

    server: Server


FAULTS: Mapping[str, type[Fault]] = {
    "crash": Crash, "delay": Delay, "pause": Pause, "kill": Kill, "race": Race, "cut": Cut,
    "lose": Lose,
}  # fmt: skip


@invariant("nothing-lost", checked="settled")
def nothing_lost(evidence: Evidence) -> list[str]:
    """Nothing is lost."""
    return []


@invariant("nothing-twice", checked="settled")
def nothing_twice(evidence: Evidence) -> list[str]:
    """Nothing is there twice."""
    return []


class Small(Target):
    """Two computes and an API, in words only."""

    name = "small"
    points = {
        "build.start": Point("m:f", "compute-*"),
        "build.claim": Point("m:g", "compute-*"),
        "recover.load": Point("m:h"),
    }
    operations = operations
    bugs = {"lp1": "loses things", "lp2": "has things twice"}
    capabilities = frozenset({"clock"})
    invariants: Mapping[str, Invariant] = {"nothing-lost": nothing_lost}

    @property
    def services(self) -> Mapping[str, Service]:
        names = ["api", "compute-host1", "compute-host2"]
        return cast(Mapping[str, Service], dict.fromkeys(names))

    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        raise NotImplementedError

    def client(self) -> Any:
        raise NotImplementedError

    def observe(self) -> World:
        raise NotImplementedError

    def settle(self, deadline_s: float) -> None:
        raise NotImplementedError

    def clean_up(self, scope: Scope) -> None:
        raise NotImplementedError


def target() -> Target:
    return Small()


def words() -> Vocabulary:
    """What plans for the small system may say."""
    small = Small()
    return Vocabulary(small, FAULTS, {**small.invariants, "nothing-twice": nothing_twice})
