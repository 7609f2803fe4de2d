"""Your system, as chaos sees it.

It runs as it is, on the shop of service.py. Put your own in its place part by part, 1 to 6, and
run it after each:

    chaos run plans --target system.py        the plans, and a report in chaos-results/
    chaos points --target system.py           every word that your plans may use
    chaos schema --target system.py > plans/plan.schema.json      the same, for your editor
    pytest --chaos-target=system.py           the plans as tests

The whole story: docs/own-system.md of control-plane-chaos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from chaos import Evidence, ExpectationFailed, Operations, Point, Scope, Word, World
from chaos.invariant import invariant
from targets import sqlite
from targets.http_client import HttpClient
from targets.processes import ProcessTarget
from targets.topology import Forked, Listening, ServiceSpec, Topology

# 1. How it starts. A Python function is forked from a process that has imported it (milliseconds);
#    anything else is executed: Command("{python} -m gunicorn shop:app -b 127.0.0.1:{port:shop}").
#    Every service runs in a fresh folder. {port:NAME} is a free port, {bugs} the bug switches on.
TOPOLOGY = Topology(
    services=(
        ServiceSpec(
            "shop",
            Forked("service:main"),
            environment={"SHOP_PORT": "{port:shop}", "SHOP_BUGS": "{bugs}"},
            ready=Listening("shop"),  # or HttpOk("shop", "/health"), LogLine("^ready"), …
        ),
    ),
    preload=("service",),
)

# 2. Where faults may strike: functions of your services, as module:function or module:Class.method.
#    Look for the moments between two effects: written here, and not yet there.
POINTS = {
    "sale.promise": Point("service:sell", services="shop", summary="somebody buys something"),
    "sale.take": Point("service:take", services="shop", summary="what was sold leaves the shelf"),
}

# 3. What a client can do. `scope.client` is what the target's client() returns; a Word says which
#    arguments name a thing that an earlier step must have made.
operations = Operations()
Item = Annotated[str, Word("item")]
NewItem = Annotated[str, Word("item", makes=True)]


@operations.named("item.stock")
def stock(scope: Scope, name: NewItem, count: int) -> Any:
    """Put an item on the shelf."""
    scope.made[name] = name  # known to the clean-up, though the answer may be lost
    return scope.client.post(scope, "/stock", [name, count])


@operations.named("item.sell")
def sell(scope: Scope, item: Item) -> Any:
    """Sell one of an item."""
    return scope.client.post(scope, "/sell", [scope.request_id, item])


@operations.named("item.expect", asserts=True)
def expect(scope: Scope, item: Item, remaining: int) -> Any:
    """Check how many are left."""
    found = scope.client.post(scope, "/count", [item])
    if found != remaining:
        raise ExpectationFailed(f"{found} of {item} are left, not {remaining}")
    return found


# 4. What an observer sees: each field a table, its rows with a unique `key`. (A database as it
#    stands needs no classes: sqlite.world(file).)
@dataclass(frozen=True)
class ItemRow:
    """An item on the shelf."""

    key: str
    stocked: int
    remaining: int


@dataclass(frozen=True)
class SaleRow:
    """What was sold; ``taken``: it has left the shelf."""

    key: str
    item: str
    taken: int


@dataclass(frozen=True)
class Shop(World):
    """Everything that the shop knows."""

    items: tuple[ItemRow, ...] = ()
    sales: tuple[SaleRow, ...] = ()


# 5. What must hold: a sentence for each violation. That the system comes to rest, comes back and
#    leaves nothing behind is checked anyway.
@invariant("stock-is-right", checked="settled")
def stock_is_right(evidence: Evidence) -> Iterator[str]:
    """Everything that was stocked is on the shelf, or was sold."""
    for item in evidence.world.items:
        sold = sum(sale.item == item.key for sale in evidence.world.sales)
        if item.stocked != item.remaining + sold:
            yield f"{item.key}: {item.stocked} stocked, {item.remaining} left, {sold} sold"


# 6. The target itself.
class System(ProcessTarget):
    """The shop as a process of this machine."""

    name = "shop"
    topology = TOPOLOGY
    points = POINTS
    operations = operations
    data = ("shop.db*",)  # files: gone in the pristine world, made anew by the services
    bugs = {"no-recovery": "a shop that starts forgets what it has promised"}  # proves the plan

    def client(self) -> HttpClient:
        """What operations use; any object will do."""
        return HttpClient(self.port("shop"))

    def observe(self) -> Shop:
        """The world now: from the database, for the services may be dead."""
        file = self.run_dir / "shop.db"
        return Shop(
            sqlite.rows(file, "SELECT * FROM item ORDER BY name", ItemRow),
            sqlite.rows(file, "SELECT * FROM sale ORDER BY id", SaleRow),
        )

    def unfinished(self) -> tuple[str, ...]:
        """What is queued or in flight, so that chaos can wait until there is nothing."""
        return ()

    def clean_up(self, scope: Scope) -> None:
        """Delete as a user what the plan made; what is left after that is a leak."""
        for item in scope.made.values():
            scope.client.post(scope, "/discard", [item])


def target() -> System:
    """What `--target system.py` means."""
    return System()
