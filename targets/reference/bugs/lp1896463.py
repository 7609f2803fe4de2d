"""A host forgets what an evacuated server uses when its periodic task runs as the evacuation ends.

Launchpad bug 1896463. The compute that has made an evacuated server anew sets its host and then the
migration to *done*, neither under the tracker's semaphore, and leaves what its claim has counted as
it is. A periodic task that has read the host's instances before that, and reads its migrations
after it, finds the server in neither, and counts it no more. Seen by *tracked usage* (4).
"""

from __future__ import annotations

from targets.reference.database import utc_now
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.compute import evacuating
from targets.reference.nova.compute.host import Host
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration, MoveStatus
from targets.reference.nova.states import Power, Task, Vm
from targets.reference.nova.usage import count, together


def _finish_unguarded(host: Host, migration: Migration, instance: Instance) -> None:
    running = migration.old_vm_state == Vm.ACTIVE
    instance.save(
        host=host.name,
        node=host.name,
        vm_state=migration.old_vm_state,
        power_state=Power.RUNNING if running else Power.SHUTDOWN,
        launched_at=utc_now(),
        task_state=None,
        expected_task_state={Task.REBUILD_SPAWNING},
        also=together(
            InstanceAction.ending(instance.uuid, "evacuate", "Success"),
            count(migration.source_compute),
        ),
    )
    done = migration.changing({MoveStatus.PRE_MIGRATING}, status=MoveStatus.DONE)
    instance.save(also=together(done, count(migration.source_compute)))


def apply() -> None:
    """End an evacuation without the semaphore, in two steps."""
    evacuating._finish = _finish_unguarded
