"""A world is that of one moment, whoever writes meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from chaos.errors import WorldMoved
from targets.cloud.world import CloudWorld
from targets.embedded.observer import Observer
from targets.reference import image, network
from targets.reference.database import Database
from targets.reference.nova import hypervisor
from targets.reference.nova import tables as nova
from targets.reference.placement import store as placement
from targets.reference.volume import store as volume

FILES: dict[str, sa.MetaData] = {
    "nova_api": nova.API, "nova_cell1": nova.CELL, "placement": placement.METADATA,
    "volume": volume.METADATA, "network": network.METADATA,
    "image": image.METADATA, "hypervisor_host1": hypervisor.METADATA,
}  # fmt: skip


class Interrupted(Observer):
    """One that somebody writes behind, each time that it has read the build requests."""

    write: Callable[[], None]

    def _read_all(self) -> CloudWorld:
        self._all["volume"].set_trace_callback(lambda _: self._interrupt())
        return super()._read_all()

    def _interrupt(self) -> None:
        self._all["volume"].set_trace_callback(None)  # once in each look
        self.write()


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    for name, metadata in FILES.items():
        database = Database(f"sqlite:///{tmp_path}/{name}.sqlite")
        database.create(metadata)
        database.engine.dispose()
    return tmp_path


@pytest.fixture
def observer(databases: Path) -> Iterator[Interrupted]:
    with closing(Interrupted(databases, ("cell1",), ("host1",))) as observer:
        yield observer


@pytest.fixture
def accept(databases: Path) -> Iterator[Callable[[], None]]:
    """Accept another server: its build request comes first, then a volume for it."""
    api = sqlite3.connect(databases / "nova_api.sqlite", isolation_level=None)
    volumes = sqlite3.connect(databases / "volume.sqlite", isolation_level=None)
    number = iter(range(1_000_000))
    columns = ", ".join(column.name for column in volume.VOLUMES.columns)
    values = ", ".join(":id" if c.name == "id" else "1" for c in volume.VOLUMES.columns)

    def accept() -> None:
        key = str(next(number))
        api.execute("INSERT INTO build_requests VALUES (?, '{}', '')", [key])
        volumes.execute(f"INSERT INTO volumes ({columns}) VALUES ({values})", {"id": key})

    with closing(api), closing(volumes):
        yield accept


def seen(world: CloudWorld) -> tuple[int, int]:
    return len(world.build_requests), len(world.volumes)


def test_what_is_written_during_a_look_is_seen_whole(
    observer: Interrupted, accept: Callable[[], None]
) -> None:
    writes = [accept, accept, accept]
    observer.write = lambda: writes.pop()() if writes else None
    assert seen(observer.world()) == (3, 3)


def test_a_world_that_never_stands_still_is_no_world(
    observer: Interrupted, accept: Callable[[], None]
) -> None:
    observer.write = accept
    with pytest.raises(WorldMoved, match="the last time to nova_api, volume"):
        observer.world(deadline_s=0.05)


def test_a_world_that_stands_still_again_is_seen(
    observer: Interrupted, accept: Callable[[], None]
) -> None:
    observer.write = accept
    with pytest.raises(WorldMoved):
        observer.world(deadline_s=0)
    observer.write = lambda: None
    assert seen(observer.world()) == (1, 1)
