"""Resource tracker: how much of a host its instances use.

Whatever changes the host's usage, and the record of it, happens under the semaphore, as one step:
a periodic task that counts anew finds it done, or not begun (LP#1879878).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from typing import Any

from targets.reference.client import Unreachable
from targets.reference.nova import allocations, cell_copies, databases
from targets.reference.nova.instance import Instance, Step
from targets.reference.nova.migration import IN_PROGRESS, Migration, MoveStatus, becoming
from targets.reference.nova.states import Task, Vm
from targets.reference.nova.tables import COMPUTE_NODES
from targets.reference.nova.usage import (
    RESOURCES,
    count,
    fits,
    forget,
    generation,
    of_instances,
    of_moves,
    together,
    write_if,
)

LOG = logging.getLogger(__name__)


class ResourceTracker:
    """Claims and gives back what instances and their moves use of one host."""

    def __init__(self, cell: str, host: str) -> None:
        self._cell = cell
        self._host = host
        self._semaphore = threading.Lock()

    def register(self) -> None:
        """Make the host known, in its cell and to placement."""
        has = _inventory()
        with databases.cell(self._cell).transaction() as connection:
            connection.execute(COMPUTE_NODES.delete().filter_by(host=self._host))
            unused = {f"{name}_used": 0 for name in RESOURCES}
            row = {"host": self._host, "generation": 0, **unused, **has}
            connection.execute(COMPUTE_NODES.insert(), row)
            count(self._host)(connection)
        try:
            allocations.register_host(self._host, allocations.resources(**has))
        except Unreachable as error:
            LOG.warning("placement is not told of %s now: %s", self._host, error)

    def claim(self, instance: str) -> Instance | None:
        """Take an instance for this host; None when that is not possible any more.

        Raises:
            ComputeResourcesUnavailable: there is no room for it.
        """
        with self._semaphore:
            also = self._counted(fits(self._host))
            return Instance.claim(self._cell, instance, self._host, also)

    def resize_claim(self, instance: Instance, migration: Migration) -> Instance:
        """Take what an instance will use here once it has moved.

        Raises:
            ComputeResourcesUnavailable: there is no room for it.
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is not to be moved any more.
        """
        with self._semaphore:
            mine = migration.changing({MoveStatus.PRE_MIGRATING}, dest_compute=self._host)
            return instance.save(
                expected_task_state={Task.RESIZE_PREP}, also=self._counted(mine, fits(self._host))
            )

    def drop_move_claim_at_source(self, instance: Instance, migration: Migration) -> None:
        """Give back the old flavor of an instance that stays where it has moved to.

        Raises:
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it does not stay.
        """
        with self._semaphore:
            self._confirm(instance, migration)

    def _confirm(self, instance: Instance, migration: Migration) -> None:
        over = migration.changing({MoveStatus.CONFIRMING}, status=MoveStatus.CONFIRMED)
        instance.save(expected_task_state={Task.RESIZE_CONFIRMING}, also=self._counted(over))

    def drop_move_claim_at_dest(self, instance: Instance, migration: Migration) -> Instance:
        """Give an instance back to the host that it came from, and what it had here.

        Raises:
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it does not go back.
        """
        with self._semaphore:
            over = migration.changing({MoveStatus.REVERTING}, status=MoveStatus.REVERTED)
            return instance.save(
                expected_task_state={Task.RESIZE_REVERTING},
                host=migration.source_compute,
                node=migration.source_compute,
                also=self._counted(over, becoming(instance.uuid, migration.old_flavor)),
            )

    def rebuild_claim(self, instance: Instance, migration: Migration) -> Instance:
        """Take what an instance will use here whose own host is down.

        Raises:
            ComputeResourcesUnavailable: there is no room for it.
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is not to come any more.
        """
        with self._semaphore:
            begun = {"dest_compute": self._host, "status": MoveStatus.PRE_MIGRATING}
            mine = migration.changing({MoveStatus.ACCEPTED}, **begun)
            return instance.save(
                task_state=Task.REBUILD_BLOCK_DEVICE_MAPPING,
                expected_task_state={Task.REBUILDING},
                also=self._counted(mine, fits(self._host)),
            )

    def finish_evacuation(
        self, instance: Instance, migration: Migration, ending: Step, **changes: Any
    ) -> None:
        """Have an instance be here, and its evacuation done, as one step (LP#1896463).

        Its old host, which is down, has its resources again.

        Raises:
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is not to come any more.
        """
        with self._semaphore:
            done = migration.changing({MoveStatus.PRE_MIGRATING}, status=MoveStatus.DONE)
            instance.save(
                host=self._host,
                node=self._host,
                task_state=None,
                expected_task_state={Task.REBUILD_SPAWNING},
                also=self._counted(done, ending, count(migration.source_compute)),
                **changes,
            )

    def fail_evacuation(self, instance: Instance, migration: Migration, ending: Step) -> None:
        """Leave an instance in ERROR on its own host, which is down.

        Raises:
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is not here to fail.
        """
        with self._semaphore:
            failed = migration.changing({MoveStatus.PRE_MIGRATING}, status=MoveStatus.FAILED)
            instance.save(
                vm_state=Vm.ERROR,
                task_state=None,
                expected_task_state={Task.REBUILD_BLOCK_DEVICE_MAPPING, Task.REBUILD_SPAWNING},
                also=self._counted(failed, ending),
            )

    def live_migration_claim(self, instance: Instance, migration: Migration) -> None:
        """Take what an instance will use here that is to come while it runs.

        Raises:
            ComputeResourcesUnavailable: there is no room for it.
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is not to come any more.
        """
        with self._semaphore:
            begun = {"dest_compute": self._host, "status": MoveStatus.QUEUED}
            mine = migration.changing({MoveStatus.ACCEPTED}, **begun)
            room = self._counted(mine, fits(self._host))
            instance.save(expected_task_state={Task.MIGRATING}, also=room)

    def drop_live_migration(self, instance: Instance, migration: Migration) -> None:
        """Give an instance away whose guest is at its destination already, and what it had here.

        Raises:
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is being deleted.
        """
        dest = str(migration.dest_compute)
        with self._semaphore:
            over = migration.changing({MoveStatus.RUNNING}, status=MoveStatus.COMPLETED)
            instance.save(
                host=dest,
                node=dest,
                expected_task_state={Task.MIGRATING},
                also=self._counted(over, count(dest)),
            )

    def drop_move_claim_at_rollback(self, migration: Migration) -> None:
        """Give back what an instance would have used here, and end its move, as one step.

        Raises:
            MoveConflict: the move is over.
        """
        with self._semaphore:
            self._roll_back(migration)

    def _roll_back(self, migration: Migration) -> None:
        over = migration.changing(IN_PROGRESS, status=MoveStatus.FAILED)
        with databases.cell(self._cell).transaction() as connection:
            self._counted(over)(connection)

    def end_move(self, migration: Migration, status: MoveStatus) -> None:
        """Give back what this host has of an instance that is on another one.

        Raises:
            MoveConflict: the move is over.
        """
        with self._semaphore, databases.cell(self._cell).transaction() as connection:
            self._counted(migration.changing(IN_PROGRESS, status=status))(connection)

    def cross_cell_claim(self, copy: Instance, migration: Migration) -> Instance:
        """Take the copy of an instance of another cell, as it will be here.

        Raises:
            ComputeResourcesUnavailable: there is no room for it.
            InstanceNotFound, UnexpectedTaskState, MoveConflict: it is not to be moved any more.
        """
        with self._semaphore:
            mine = migration.changing({MoveStatus.PRE_MIGRATING}, dest_compute=self._host)
            return copy.save(
                host=self._host,
                expected_task_state={Task.RESIZE_PREP},
                also=self._counted(mine, fits(self._host)),
            )

    def drop_copy(self, copy: Instance, also: Step | None = None) -> None:
        """Remove the copy of an instance of another cell, and what it had here."""
        with self._semaphore:
            self._drop_copy(copy, also)

    def _drop_copy(self, copy: Instance, also: Step | None) -> None:
        with databases.cell(self._cell).transaction() as connection:
            self._counted(cell_copies.hard_delete(copy, also))(connection)

    def receive(self, instance: Instance) -> Instance:
        """Take an instance that was given to this host to be unshelved.

        Raises:
            ComputeResourcesUnavailable: there is no room for it.
            InstanceNotFound, UnexpectedTaskState: it is not to come any more.
        """
        with self._semaphore:
            room = self._counted(fits(self._host))
            return instance.save(expected_task_state={Task.UNSHELVING}, host=self._host, also=room)

    def destroy(self, instance: Instance) -> None:
        """Delete an instance's record; the host has its resources again."""
        with self._semaphore:
            instance.destroy(forget(instance))

    def disown(self, instance: Instance, ending: Step, **changes: Any) -> None:
        """Save an instance as one that is on no host, and with it what was being done to it.

        Nobody would look at it again after a crash in between.
        """
        with self._semaphore:
            expected, also = {instance.task_state}, self._counted(ending)
            instance.save(expected_task_state=expected, host=None, also=also, **changes)

    def update(self) -> None:
        """Count anew what is used."""
        with self._semaphore, databases.cell(self._cell).transaction() as connection:
            count(self._host)(connection)

    def update_available_resource(self) -> None:
        """Count anew what is used, and tell placement what there is; the periodic task."""
        with self._semaphore:
            while not self._count_step_by_step():
                LOG.info("%s was counted by somebody else meanwhile", self._host)
        allocations.register_host(self._host, allocations.resources(**_inventory()))

    def _count_step_by_step(self) -> bool:
        """Read instances, then moves, and write down what they use; False if that has changed.

        Nothing is held meanwhile but the semaphore.
        """
        with databases.cell(self._cell).read() as connection:
            before = generation(connection, self._host)
        used = self.load_instances() + self.load_migrations()
        with databases.cell(self._cell).transaction() as connection:
            return write_if(connection, self._host, used, before)

    def load_instances(self) -> Counter[str]:
        """Read what the instances of this host use."""
        with databases.cell(self._cell).read() as connection:
            return of_instances(connection, self._host)

    def load_migrations(self) -> Counter[str]:
        """Read what moves in progress use here beside them."""
        with databases.cell(self._cell).read() as connection:
            return of_moves(connection, self._host)

    def _counted(self, *steps: Step) -> Step:
        return together(*steps, count(self._host))


def _inventory() -> dict[str, int]:
    """Return what the host has, from ``REFERENCE_VCPUS``, ``…_RAM_MB`` and ``…_DISK_GB``."""
    names = {"vcpus": ("VCPUS", 16), "ram": ("RAM_MB", 32768), "disk": ("DISK_GB", 500)}
    return {
        name: int(os.environ.get(f"REFERENCE_{variable}", otherwise))
        for name, (variable, otherwise) in names.items()
    }
