"""Reads the world of the reference control plane straight from its databases.

No service is asked, so nothing can be held up or disturbed by a look, which takes about a
millisecond. SQLite counts the commits of each file (``PRAGMA data_version``): when none has come in
between, all files were read as of one moment.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from chaos.errors import WorldMoved
from targets.cloud.world import (
    Allocation,
    Attachment,
    BlockDevice,
    BuildRequest,
    CloudWorld,
    ComputeNode,
    Guest,
    HostConnection,
    Image,
    Instance,
    InstanceAction,
    InstanceMapping,
    Migration,
    Notification,
    Port,
    QuotaUsage,
    Usage,
    Volume,
)

R = TypeVar("R")

_BUILD_REQUESTS = "SELECT instance FROM build_requests ORDER BY 1"
_MAPPINGS = "SELECT instance, cell, queued_for_delete FROM instance_mappings ORDER BY 1"
_QUOTA_USAGES = """
    SELECT project_id, instance FROM instance_mappings WHERE NOT queued_for_delete ORDER BY 2
"""
_INSTANCES = """
    SELECT uuid, name, host, vm_state, task_state, power_state, hidden, vcpus, ram, disk, ports,
           (SELECT message FROM instance_faults f WHERE f.instance = uuid ORDER BY id DESC LIMIT 1)
    FROM instances WHERE deleted_at IS NULL ORDER BY uuid
"""
_BLOCK_DEVICES = """
    SELECT id, instance, volume, attachment, delete_on_termination
    FROM block_device_mappings ORDER BY id
"""
_ACTIONS = "SELECT request, instance, action, finished_at, result FROM instance_actions ORDER BY id"
_NOTIFICATIONS = "SELECT id, request, instance, event_type, host FROM notifications ORDER BY id"
_VOLUMES = "SELECT id, name, status, size FROM volumes ORDER BY id"
_ATTACHMENTS = "SELECT id, volume_id, instance, status FROM attachments ORDER BY id"
_PORTS = """
    SELECT id, device_id, host, CASE host WHEN '' THEN 'DOWN' ELSE 'ACTIVE' END
    FROM ports ORDER BY id
"""
_ALLOCATIONS = """
    SELECT consumer, name, resource_class, used
    FROM allocations JOIN resource_providers ON provider = uuid ORDER BY 1, 2, 3
"""
_CONNECTIONS = "SELECT volume FROM connections ORDER BY 1"
_IMAGES = """
    SELECT id, name, status, properties FROM images WHERE visibility != 'public' ORDER BY id
"""
_NODES = """
    SELECT host, vcpus, ram, disk, vcpus_used, ram_used, disk_used FROM compute_nodes ORDER BY 1
"""
_MIGRATIONS = """
    SELECT uuid, instance, migration_type, status, source_compute, dest_compute,
           old_flavor, new_flavor
    FROM migrations ORDER BY id
"""
_GUESTS = "SELECT uuid, power FROM guests ORDER BY uuid"
_DISKS = "SELECT guest, volume FROM disks ORDER BY guest, volume"

Look = Callable[[str, str], Iterable[tuple[Any, ...]]]
"""``look(database, query)`` returns the rows that a query finds in the database of that name."""


class Observer:
    """The open databases of one run directory; safe for several threads."""

    def __init__(self, run_dir: Path, cells: tuple[str, ...], hosts: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self._last: tuple[dict[str, int], CloudWorld] | None = None
        """What was found last, and of which versions."""
        self._cells, self._hosts = cells, hosts
        self._all = {name: _open(run_dir / f"{name}.sqlite") for name in databases(cells, hosts)}

    def world(self, deadline_s: float = 1.0) -> CloudWorld:
        """Read all that a user of the cloud, or its operator, could find at one moment.

        Raises:
            WorldMoved: somebody wrote during each look of these ``deadline_s`` seconds.
        """
        deadline, looks = time.monotonic() + deadline_s, 0
        with self._lock:
            before = self._versions()
            if self._last is not None and self._last[0] == before:
                return self._last[1]
            while True:
                found = self._read_all()
                after = self._versions()
                if after == before:
                    self._last = after, found
                    return found
                looks += 1
                if time.monotonic() >= deadline:
                    moved = [n for n, v in after.items() if v != before[n]]
                    raise WorldMoved(
                        f"looked {looks} times in {deadline_s:g} s, and each time something was"
                        f" written meanwhile, the last time to {', '.join(moved)}"
                    )
                before = after

    def close(self) -> None:
        """Close all files."""
        for database in self._all.values():
            database.close()

    def _versions(self) -> dict[str, int]:
        # Differs whenever another connection has committed, and only then.
        return {
            name: database.execute("PRAGMA data_version").fetchone()[0]
            for name, database in self._all.items()
        }

    def _read_all(self) -> CloudWorld:
        return read(self._look, self._cells, self._hosts)

    def _look(self, database: str, query: str) -> Iterable[tuple[Any, ...]]:
        return self._all[database].execute(query)


def databases(cells: Iterable[str], hosts: Iterable[str]) -> tuple[str, ...]:
    """Name the databases in which a world is."""
    shared = ("nova_api", "placement", "volume", "network", "image")
    return *shared, *(f"nova_{name}" for name in cells), *(f"hypervisor_{name}" for name in hosts)


def read(look: Look, cells: tuple[str, ...], hosts: tuple[str, ...]) -> CloudWorld:
    """Read the world; whoever looks sees to it that all looks are at one moment."""

    def rows(database: str, query: str, make: Callable[..., R]) -> tuple[R, ...]:
        return tuple(make(*row) for row in look(database, query))

    def of_cells(query: str, make: Callable[..., R]) -> tuple[R, ...]:
        return tuple(make(cell, *row) for cell in cells for row in look(f"nova_{cell}", query))

    def of_hosts(query: str, make: Callable[..., R]) -> tuple[R, ...]:
        return tuple(make(h, *row) for h in hosts for row in look(f"hypervisor_{h}", query))

    instances = of_cells(_INSTANCES, _instance)
    placed = {(instance.cell, instance.uuid) for instance in instances}
    disks = of_hosts(_DISKS, lambda *disk: disk)
    return CloudWorld(
        build_requests=rows("nova_api", _BUILD_REQUESTS, BuildRequest),
        instance_mappings=tuple(
            InstanceMapping(instance, cell)
            for instance, cell, queued in look("nova_api", _MAPPINGS)
            # A mapping outlives its deleted server, as Nova's do; no user can see it.
            if not (queued and cell and (cell, instance) not in placed)
        ),
        quota_usages=rows("nova_api", _QUOTA_USAGES, QuotaUsage),
        instances=instances,
        block_devices=of_cells(_BLOCK_DEVICES, _block_device),
        volumes=rows("volume", _VOLUMES, Volume),
        attachments=rows("volume", _ATTACHMENTS, Attachment),
        ports=rows("network", _PORTS, Port),
        allocations=rows("placement", _ALLOCATIONS, Allocation),
        guests=of_hosts(
            _GUESTS,
            lambda host, uuid, power: Guest(
                host, uuid, power, tuple(disk[2] for disk in disks if disk[:2] == (host, uuid))
            ),
        ),
        host_connections=of_hosts(_CONNECTIONS, HostConnection),
        images=rows("image", _IMAGES, _image),
        actions=of_cells(_ACTIONS, _action),
        notifications=of_cells(_NOTIFICATIONS, _notification),
        compute_nodes=of_cells(_NODES, _node),
        migrations=of_cells(_MIGRATIONS, _migration),
    )


def _open(path: Path) -> sqlite3.Connection:
    # Not read-only: after a writer was killed amid a commit, a reader must repair the log's index.
    address = f"{path.absolute().as_uri()}?mode=rw"  # quoted: a `#` or `?` would be another file
    database = sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )
    database.execute("PRAGMA query_only=ON")
    return database


def _instance(cell: str, uuid: str, name: str, *row: Any) -> Instance:
    host, vm_state, task_state, power_state, hidden, vcpus, ram, disk, ports, fault = row
    return Instance(
        uuid, name, cell, host, vm_state, task_state, power_state, bool(hidden), vcpus, ram, disk,
        fault or "", tuple(port["id"] for port in json.loads(ports)),
    )  # fmt: skip


def _block_device(cell: str, row_id: str, *row: Any) -> BlockDevice:
    instance, volume, attachment, delete = row
    return BlockDevice(row_id, cell, instance, volume, attachment, bool(delete))


def _image(row_id: str, name: str, status: str, properties: str) -> Image:
    known = json.loads(properties)
    temporary = known.get("temporary") == "True"
    return Image(row_id, name, status, known.get("instance_uuid", ""), temporary)


def _action(cell: str, request: str, instance: str, action: str, *row: Any) -> InstanceAction:
    finished_at, result = row
    return InstanceAction(request, instance, action, finished_at is not None, result, cell)


def _notification(cell: str, number: int, request: str, *row: Any) -> Notification:
    instance, event_type, host = row
    told, _, phase = event_type.rpartition(".")
    return Notification(cell, number, request, instance, told, phase, host)


def _node(cell: str, host: str, *row: int) -> ComputeNode:
    return ComputeNode(host, cell, Usage(*row[:3]), Usage(*row[3:]))


def _migration(cell: str, uuid: str, *row: Any) -> Migration:
    instance, kind, status, source, dest, old, new = row
    return Migration(uuid, cell, instance, kind, status, source, dest, _usage(old), _usage(new))


def _usage(flavor: str) -> Usage:
    found = json.loads(flavor)
    return Usage(found["vcpus"], found["ram"], found["disk"])
