"""Parcels: a target that is up in a moment, reset in milliseconds, and has every hard habit.

A desk takes requests, and a carrier does what is sent in the background; ``POINTS`` lists the
windows and ``bugs`` what goes wrong in them. Both are stateless but for one database.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from chaos.errors import TargetError
from chaos.history import Kind
from chaos.invariant import Evidence, invariant
from chaos.operation import (
    ExpectationFailed,
    OperationFailed,
    OperationIndeterminate,
    Operations,
    Scope,
)
from chaos.point import Access, AccessPoint, Point
from chaos.target import Instrumentation, Limits, ServiceState, Target
from chaos.words import Word
from chaos.world import World
from targets.http_client import HttpClient
from targets.processes import ProcessTarget
from targets.topology import Forked, ServiceSpec, Topology
from tests.tiny import books, carrier, desk

# ---------------------------------------------------------------------- how it is started

TOPOLOGY = Topology(
    services=(
        ServiceSpec("desk", Forked("tests.tiny.desk:main"), stateless=True),
        ServiceSpec("carrier", Forked("tests.tiny.carrier:main"), stateless=True),
    ),
    preload=("tests.tiny.desk", "tests.tiny.carrier"),
    environment={"DESK_PORT": "{port:desk}", "TINY_BUGS": "{bugs}"},
)


def _at(alias: str, function: str, summary: str, every_s: float = 0.0) -> dict[str, Point]:
    service = function.partition(":")[0]
    where = "*" if service == "books" else service
    return {alias: Point(f"tests.tiny.{function}", where, summary, every_s)}


POINTS: Mapping[str, Point] = {
    **_at("desk.make", "desk:Desk.make", "a parcel is made"),
    **_at("desk.drop", "desk:Desk.drop", "a parcel is deleted"),
    **_at("desk.move", "desk:Desk.move", "a parcel is moved"),
    **_at("usage.take", "books:Store.take", "in a move: its old place has less"),
    **_at("usage.give", "books:Store.give", "in a move: its new place has more"),
    **_at("desk.send", "desk:Desk.send", "a parcel is left to the carrier"),
    **_at("send.store", "desk:Desk.store_send", "the send is put into the outbox"),
    **_at("carry.take", "carrier:Carrier.take", "in the background: the parcel leaves its place"),
    **_at("carry.put", "carrier:Carrier.put", "in the background: the parcel arrives"),
    **_at("carrier.tick", "carrier:Carrier.tick", "the timer comes round", carrier.EVERY_S),
    **_at("carrier.recover", "carrier:Carrier.recover", "start-up recovery"),
    **_at("recover.take", "carrier:Carrier.recover_take", "in recovery: one send is taken up"),
    **_at("recover.finish", "carrier:Carrier.recover_finish", "in recovery: its parcel arrives"),
    **_at("desk.lend", "desk:Desk.lend", "a parcel is lent"),
    **_at("lend.inside", "desk:Desk.lend_inside", "the parcel's lock is held"),
    **_at("desk.post", "desk:Desk.post", "a parcel is written on"),
    **_at("post.inside", "desk:Desk.post_inside", "the database's write lock is held"),
    **_at("desk.swap", "desk:Desk.swap", "two parcels change places"),
    **_at("swap.between", "desk:Desk.hold_other", "one lock is held and the other is not"),
    **_at("swap.inside", "desk:Desk.swap_inside", "both locks are held"),
    **_at("desk.claim", "desk:Desk.claim", "a parcel is claimed"),
    **_at("claim.read", "desk:Desk.read_owner", "a claim looks who the owner is"),
    **_at("claim.write", "desk:Desk.write_owner", "a claim has seen no owner and writes its own"),
}


def _touch(
    function: str, arguments: tuple[str, ...], read: Callable[[Mapping[str, str]], Access]
) -> AccessPoint:
    (point,) = _at("", function, "").values()
    return AccessPoint(point, arguments, lambda _, told: [read(told)])


def _row(told: Mapping[str, str], writes: bool) -> Access:
    # The tick and the recovery read the outbox whole: it is one thing.
    row = "" if told["table"] == "outbox" else f"/{told['key']}"
    return Access(told["table"] + row, writes)


ACCESSES = (
    _touch("books:Store.read", ("table", "key"), lambda told: _row(told, writes=False)),
    _touch("books:Store.write", ("table", "key"), lambda told: _row(told, writes=True)),
    _touch("books:Store.add", ("table", "key"), lambda told: _row(told, writes=True)),
    _touch("books:Store.keys", ("table",), lambda told: Access(told["table"], writes=False)),
    # Who comes first decides who waits for whom. (Nobody waits for anything in a transaction.)
    _touch("desk:Desk.hold", ("parcel",), lambda told: Access(f"lock/{told['parcel']}", True)),
)

# ---------------------------------------------------------------------- what a client can do

_TABLES = ("parcel", "usage", "outbox")
_PATIENCE_S = 2.0
"""How long a desk that runs may take to say that it does nothing."""

operations = Operations()
Parcel = Annotated[str, Word("parcel")]


@dataclass(frozen=True, slots=True)
class Client(HttpClient):
    """Asks the desk; its 5xx are a clear no too."""

    lost: Collection[int] = ()

    def order(self, scope: Scope, what: str, *arguments: object) -> Any:
        """Have the desk do something."""
        return self.post(scope, f"/{what}", arguments)


@operations.named("parcel.make")
def make(
    scope: Scope, name: Annotated[str, Word("parcel", makes=True)], place: str, size: int = 1
) -> Any:
    """Make a parcel; answered when it is stored."""
    scope.made[name] = name  # known before the answer, which may be lost
    return scope.client.order(scope, "make", name, place, size)


@operations.named("parcel.expect", asserts=True)
def expect(scope: Scope, parcel: Parcel, place: str = "", exists: bool = True) -> Any:
    """Check where a parcel is, or whether it is there at all."""
    try:
        found = scope.client.order(scope, "look", parcel)
    except OperationFailed as no:
        if no.status != HTTPStatus.NOT_FOUND:
            raise
        if exists:
            raise ExpectationFailed(str(no)) from no
        return None
    if not exists:
        raise ExpectationFailed(f"{parcel} exists, at {found}")
    if place and found != place:
        raise ExpectationFailed(f"{parcel} is at {found}, not at {place}")
    return found


@operations.named("parcel.wait", asserts=True)
def wait(scope: Scope, parcel: Parcel, place: str) -> Any:
    """Wait until a parcel is somewhere."""
    waiting = Retrying(
        retry=retry_if_result(lambda found: found != place),
        stop=stop_after_delay(scope.deadline_s),
        wait=wait_fixed(scope.poll_s),
        sleep=scope.sleep,
    )
    try:
        return waiting(scope.client.order, scope, "look", parcel)
    except RetryError as error:
        found = error.last_attempt.result()
        raise ExpectationFailed(
            f"{parcel} is still at {found}, not at {place}, after {scope.deadline_s:g} s"
        ) from error


@operations.named("parcel.drop")
def drop(scope: Scope, parcel: Parcel) -> Any:
    """Delete a parcel; 404 when it is gone already."""
    return scope.client.order(scope, "drop", parcel)


@operations.named("parcel.move")
def move(scope: Scope, parcel: Parcel, to: str) -> Any:
    """Move a parcel; answered when it is there."""
    return scope.client.order(scope, "move", parcel, to)


@operations.named("parcel.send")
def send(scope: Scope, parcel: Parcel, to: str) -> Any:
    """Have a parcel carried somewhere; answered at once."""
    return scope.client.order(scope, "send", parcel, to)


@operations.named("carrier.tick")
def tick(scope: Scope) -> Any:
    """Have the carrier's timer come round now, and not only when its time has come."""
    return scope.client.order(scope, "tick")


@operations.named("parcel.lend")
def lend(scope: Scope, parcel: Parcel, to: str) -> Any:
    """Write down a borrower, under the parcel's lock in the desk."""
    return scope.client.order(scope, "lend", parcel, to)


@operations.named("parcel.post")
def post(scope: Scope, parcel: Parcel, text: str) -> Any:
    """Write a text on a parcel, in a transaction of the database."""
    return scope.client.order(scope, "post", parcel, text)


@operations.named("parcel.swap")
def swap(scope: Scope, first: Parcel, second: Parcel) -> Any:
    """Exchange the places of two parcels, under both their locks."""
    return scope.client.order(scope, "swap", first, second)


@operations.named("parcel.claim")
def claim(scope: Scope, parcel: Parcel, by: str) -> Any:
    """Become the owner; 409 when somebody is."""
    return scope.client.order(scope, "claim", parcel, by)


# ---------------------------------------------------------------------- what an observer sees


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """A parcel; ``place`` is None while it is carried."""

    key: str
    size: int
    place: str | None
    owner: str | None
    borrower: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """How much a place holds, as the services have counted."""

    key: str
    used: int


@dataclass(frozen=True, slots=True)
class SendRow:
    """A send that is not finished; ``begun``: the parcel has left its place."""

    key: str
    request: str
    parcel: str
    target: str
    begun: int


@dataclass(frozen=True)
class TinyWorld(World):
    """The database."""

    parcels: tuple[ParcelRow, ...] = ()
    usage: tuple[UsageRow, ...] = ()
    outbox: tuple[SendRow, ...] = ()


# ---------------------------------------------------------------------- what must hold


@invariant("usage-matches", checked="always")
def usage_matches(evidence: Evidence) -> Iterator[str]:
    """What every place holds is what its parcels add up to."""
    counted = {row.key: row.used for row in evidence.world.usage}
    derived = Counter[str]()
    for parcel in evidence.world.parcels:
        if parcel.place is not None:
            derived[parcel.place] += parcel.size
    for place in sorted(counted.keys() | derived.keys()):
        if counted.get(place, 0) != derived[place]:
            yield f"{place} is said to hold {counted.get(place, 0)} and holds {derived[place]}"


@invariant("parcels-somewhere", checked="settled")
def parcels_somewhere(evidence: Evidence) -> Iterator[str]:
    """No send is unfinished, and every parcel is somewhere."""
    for send in evidence.world.outbox:
        yield f"{send.parcel} is still to be carried to {send.target}"
    for parcel in evidence.world.parcels:
        if parcel.place is None:
            yield f"{parcel.key} is nowhere"


@invariant("one-owner", checked="settled")
def one_owner(evidence: Evidence) -> Iterator[str]:
    """Nobody is told that a parcel is his which is another's."""
    owners: dict[str, list[str]] = {}
    for done in evidence.history.operations:
        if done.operation == "parcel.make":
            owners.pop(done.arguments["name"], None)
        elif done.operation == "parcel.claim" and done.outcome is Kind.OK:
            owners.setdefault(done.arguments["parcel"], []).append(done.arguments["by"])
    for parcel, claimed in owners.items():
        if len(claimed) > 1:
            yield f"{parcel} was given to {' and to '.join(claimed)}"


# ---------------------------------------------------------------------- the target


class Database:
    """All that the services know, read and replaced as a whole; safe for several threads."""

    def __init__(self, run_dir: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            run_dir / books.FILE, isolation_level=None, check_same_thread=False, timeout=10
        )
        self._connection.execute("PRAGMA synchronous = OFF")
        # It opens the file: who closes it as the last one spends time on tidying it.
        self.read()

    def read(self) -> TinyWorld:
        """Everything as of one moment, in nobody's way."""
        with self._transaction("BEGIN") as execute:
            parcels, usage, outbox = (execute(f"SELECT * FROM {t} ORDER BY 1") for t in _TABLES)
            return TinyWorld(
                tuple(ParcelRow(*row) for row in parcels),
                tuple(UsageRow(*row) for row in usage),
                tuple(SendRow(*row) for row in outbox),
            )

    def replace(self, world: TinyWorld) -> None:
        """Make everything as it was."""
        with self._transaction("BEGIN IMMEDIATE") as execute:
            for table, rows in zip(_TABLES, astuple(world), strict=True):
                execute(f"DELETE FROM {table}")
                for row in rows:
                    execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock, self._connection:
            self._connection.execute(begin)
            yield self._connection.execute


class Tiny(ProcessTarget):
    """Desk and carrier as processes of this machine."""

    name = "tiny"
    topology = TOPOLOGY
    points = POINTS
    accesses = ACCESSES
    operations = operations
    bugs = {
        name: (kind.__doc__ or "").removeprefix("The bug: ")
        for name, kind in {**desk.BUGS, **carrier.BUGS}.items()
    }
    invariants = {item.name: item for item in (usage_matches, parcels_somewhere, one_owner)}
    limits = Limits(start_s=5.0, stop_s=5.0, settle_s=5.0, client_s=5.0)
    request_id_reader = "tests.tiny.service:current_request_id"

    def __init__(self) -> None:
        super().__init__()
        self._database: Database | None = None

    # ------------------------------------------------------------------ life

    def start(self, instrumentation: Instrumentation, bugs: frozenset[str]) -> None:
        """Make an empty database, and boot."""
        books.make(instrumentation.run_dir)
        self._database = Database(instrumentation.run_dir)
        super().start(instrumentation, bugs)

    def keep(self) -> TinyWorld:
        """The world is all that there is."""
        return self.observe()

    def reset(self, bugs: frozenset[str], kept: object = None) -> None:
        """Replace the database's content; restart only who is dead, frozen or still busy."""
        ready = self.services["desk"].state is ServiceState.READY
        if ready and self._serving():
            self.services["desk"].kill()
        if self.observe().outbox:
            self.services["carrier"].kill()
        super().reset(bugs, kept)

    def restore(self, run_dir: Path, kept: object = None) -> None:
        """The pristine world is an empty one."""
        world = TinyWorld() if kept is None else kept
        assert isinstance(world, TinyWorld)
        self._open.replace(world)

    def stop(self) -> None:
        """End both services and close the file."""
        super().stop()
        if self._database is not None:
            self._database.close()
            self._database = None

    # ------------------------------------------------------------------ the contract

    def client(self) -> Client:
        """Knows the desk's port."""
        return Client(self.port("desk"))

    def observe(self) -> TinyWorld:
        """Read the database."""
        return self._open.read()

    def unfinished(self) -> tuple[str, ...]:
        """What the desk serves, and then what is in the outbox, in this order."""
        return (*self._serving(), *self._in_flight(self.observe().outbox))

    def under_way(self, requests: Collection[str]) -> tuple[str, ...]:
        """The sends of these requests, while there is a carrier to carry them."""
        if self.services["carrier"].state in (ServiceState.DEAD, ServiceState.FROZEN):
            return ()
        return self._in_flight(s for s in self.observe().outbox if s.request in requests)

    def clean_up(self, scope: Scope) -> None:
        """Drop every parcel that the plan made."""
        for parcel in scope.made.values():
            try:
                drop(scope, parcel)
            except OperationFailed as no:
                if no.status != HTTPStatus.NOT_FOUND:
                    raise

    # ------------------------------------------------------------------ steps

    @property
    def _open(self) -> Database:
        if self._database is None:
            raise TargetError(f"target {self.name} is not started")
        return self._database

    def _serving(self) -> list[str]:
        """What the desk is busy with; a dead one is not, and one that does not say so is."""
        if self.services["desk"].state is ServiceState.DEAD:
            return []
        try:
            serving: list[str] = self.client().get(Scope(None, deadline_s=_PATIENCE_S), "/serving")
        except (OperationFailed, OperationIndeterminate) as error:
            return [f"the desk does not say what it does: {error}"]
        return serving

    @staticmethod
    def _in_flight(sends: Iterable[SendRow]) -> tuple[str, ...]:
        return tuple(f"{s.parcel} is being carried to {s.target}, for {s.request}" for s in sends)


def target() -> Target:
    """What a plan's ``target: tests.tiny.tiny:target`` means."""
    return Tiny()
