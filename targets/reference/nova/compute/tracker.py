"""Resource tracker: how much of a host its instances use."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import sqlalchemy as sa

from targets.reference.client import Unreachable
from targets.reference.nova import allocations, databases
from targets.reference.nova.instance import Instance
from targets.reference.nova.tables import COMPUTE_NODES

LOG = logging.getLogger(__name__)


class ResourceTracker:
    """Keeps the host's record equal to the sum of its instances.

    Whatever changes that sum happens under the semaphore, together with the record.
    """

    def __init__(self, cell: str, host: str) -> None:
        self._cell = cell
        self._host = host
        self._semaphore = threading.Lock()

    def register(self) -> None:
        """Make the host known, in its cell and to placement."""
        has = {"vcpus": _inventory("VCPUS", 16), "ram": _inventory("RAM_MB", 32768),
               "disk": _inventory("DISK_GB", 500)}  # fmt: skip
        with databases.cell(self._cell).transaction() as connection:
            connection.execute(COMPUTE_NODES.delete().filter_by(host=self._host))
            row = {"host": self._host, "vcpus_used": 0, "ram_used": 0, "disk_used": 0, **has}
            connection.execute(COMPUTE_NODES.insert(), row)
        self.update()
        try:
            allocations.register_host(self._host, allocations.resources(**has))
        except Unreachable as error:
            LOG.warning("placement is not told of %s now: %s", self._host, error)

    def claim(self, instance: str) -> Instance | None:
        """Take an instance for this host; None when that is not possible any more."""
        with self._semaphore:
            claimed = Instance.claim(self._cell, instance, self._host)
            if claimed:
                self._update()
            return claimed

    def destroy(self, instance: Instance) -> None:
        """Delete an instance's record; the host has its resources again."""
        with self._semaphore:
            instance.destroy()
            self._update()

    def disown(self, instance: Instance, **changes: Any) -> None:
        """Save an instance as one that is on no host."""
        with self._semaphore:
            instance.save(expected_task_state={instance.task_state}, host=None, **changes)
            self._update()

    def update(self) -> None:
        """Count anew what the instances use; the periodic task."""
        with self._semaphore:
            self._update()

    def _update(self) -> None:
        here = Instance.find(self._cell, host=self._host)
        used = {
            "vcpus_used": sum(instance.vcpus for instance in here),
            "ram_used": sum(instance.ram for instance in here),
            "disk_used": sum(instance.disk for instance in here),
        }
        change = sa.update(COMPUTE_NODES).filter_by(host=self._host).values(**used)
        with databases.cell(self._cell).transaction() as connection:
            connection.execute(change)


def _inventory(name: str, otherwise: int) -> int:
    return int(os.environ.get(f"REFERENCE_{name}", otherwise))
