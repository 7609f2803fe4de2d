"""What to do with an instance that a compute finds when it starts, or after a failure.

Pure decisions from Nova's ``_init_instance``, ``_retry_reboot`` and ``get_reboot_type``, with two
differences: a delete that had begun goes on whatever else the record says, and a build that stopped
gives back what it had made, so that no guest runs for a server in ERROR.
"""

from __future__ import annotations

from enum import Enum, auto

from targets.reference.nova.states import (
    ALLOW_HARD_REBOOT,
    ALLOW_SOFT_REBOOT,
    BUILD_TASKS,
    HARD_REBOOT_TASKS,
    MOVE_TASKS,
    REBUILD_TASKS,
    SHELVE_TASKS,
    SNAPSHOT_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Reboot,
    Task,
    Vm,
)


class Recovery(Enum):
    """What to do; a move goes on by itself (see :mod:`.resizing`)."""

    LEAVE = auto()
    MOVE = auto()
    DELETE = auto()
    ABANDON_BUILD = auto()
    REBOOT_SOFT = auto()
    REBOOT_HARD = auto()
    CLEAR_TASK = auto()
    ABANDON_REBUILD = auto()
    DISCARD_SNAPSHOT = auto()
    SOFT_DELETE = auto()
    RESTORE = auto()
    SHELVE = auto()
    OFFLOAD = auto()
    UNSHELVE = auto()
    STOP = auto()
    START = auto()
    PAUSE = auto()
    UNPAUSE = auto()
    RESUME_GUEST = auto()


def reboot_retry(task_state: Task | None, vm_state: Vm, power_state: Power) -> Reboot | None:
    """Return which reboot to do again, None when there is none to do.

    A pending reboot is done if the server may be rebooted so; one under way only if the guest does
    not run. A guest that does not run can only be rebooted hard.
    """
    running = power_state == Power.RUNNING
    kind = Reboot.SOFT if running and task_state in SOFT_REBOOT_TASKS else Reboot.HARD
    pending_soft = task_state == Task.REBOOT_PENDING and vm_state in ALLOW_SOFT_REBOOT
    pending_hard = task_state == Task.REBOOT_PENDING_HARD and vm_state in ALLOW_HARD_REBOOT
    under_way = task_state in (SOFT_REBOOT_TASKS | HARD_REBOOT_TASKS) - {
        Task.REBOOT_PENDING,
        Task.REBOOT_PENDING_HARD,
    }
    return kind if pending_soft or pending_hard or (under_way and not running) else None


def decide(task_state: Task | None, vm_state: Vm, power_state: Power) -> Recovery:
    """Return what to do with an instance of this host."""
    if task_state == Task.DELETING:
        return Recovery.DELETE
    if task_state in MOVE_TASKS or task_state == Task.MIGRATING:
        return Recovery.MOVE
    if vm_state == Vm.BUILDING or task_state in BUILD_TASKS:
        return Recovery.ABANDON_BUILD
    if task_state in REBUILD_TASKS:
        return Recovery.ABANDON_REBUILD
    if task_state in SNAPSHOT_TASKS:
        return Recovery.DISCARD_SNAPSHOT
    retry = reboot_retry(task_state, vm_state, power_state)
    if retry:
        return Recovery.REBOOT_SOFT if retry == Reboot.SOFT else Recovery.REBOOT_HARD
    if task_state == Task.POWERING_OFF:
        return Recovery.STOP
    if task_state == Task.POWERING_ON:
        return Recovery.START
    if task_state in SHELVE_TASKS:
        return Recovery.SHELVE
    if task_state == Task.SHELVING_OFFLOADING:
        return Recovery.OFFLOAD
    if task_state == Task.UNSHELVING:
        return Recovery.UNSHELVE
    if task_state == Task.SOFT_DELETING:
        return Recovery.SOFT_DELETE
    if task_state == Task.RESTORING:
        return Recovery.RESTORE
    if task_state == Task.PAUSING and power_state == Power.PAUSED:
        return Recovery.PAUSE
    if task_state == Task.UNPAUSING and power_state == Power.PAUSED:
        return Recovery.UNPAUSE
    if task_state is not None:
        return Recovery.CLEAR_TASK
    if vm_state == Vm.ACTIVE and power_state != Power.RUNNING:
        return Recovery.RESUME_GUEST
    return Recovery.LEAVE
