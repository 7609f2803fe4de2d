"""Nova's words for the states of a server."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Vm(StrEnum):
    """What a server is."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    PAUSED = "paused"
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"
    SOFT_DELETED = "soft-delete"
    RESIZED = "resized"
    ERROR = "error"
    DELETED = "deleted"


class Task(StrEnum):
    """What is being done with a server; None when nothing is."""

    SCHEDULING = "scheduling"
    NETWORKING = "networking"
    BLOCK_DEVICE_MAPPING = "block_device_mapping"
    SPAWNING = "spawning"
    REBOOTING = "rebooting"
    REBOOT_PENDING = "reboot_pending"
    REBOOT_STARTED = "reboot_started"
    REBOOTING_HARD = "rebooting_hard"
    REBOOT_PENDING_HARD = "reboot_pending_hard"
    REBOOT_STARTED_HARD = "reboot_started_hard"
    POWERING_OFF = "powering-off"
    POWERING_ON = "powering-on"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    REBUILDING = "rebuilding"
    REBUILD_BLOCK_DEVICE_MAPPING = "rebuild_block_device_mapping"
    REBUILD_SPAWNING = "rebuild_spawning"
    IMAGE_SNAPSHOT_PENDING = "image_snapshot_pending"
    IMAGE_SNAPSHOT = "image_snapshot"
    IMAGE_PENDING_UPLOAD = "image_pending_upload"
    IMAGE_UPLOADING = "image_uploading"
    SHELVING = "shelving"
    SHELVING_IMAGE_PENDING_UPLOAD = "shelving_image_pending_upload"
    SHELVING_IMAGE_UPLOADING = "shelving_image_uploading"
    SHELVING_OFFLOADING = "shelving_offloading"
    UNSHELVING = "unshelving"
    SOFT_DELETING = "soft-deleting"
    RESTORING = "restoring"
    MIGRATING = "migrating"
    RESIZE_PREP = "resize_prep"
    RESIZE_MIGRATING = "resize_migrating"
    RESIZE_MIGRATED = "resize_migrated"
    RESIZE_FINISH = "resize_finish"
    RESIZE_CONFIRMING = "resize_confirming"
    RESIZE_REVERTING = "resize_reverting"
    DELETING = "deleting"


class Power(IntEnum):
    """What a guest does."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6


class Reboot(StrEnum):
    """How patient a reboot is: soft asks the guest to shut down, hard does not."""

    SOFT = "SOFT"
    HARD = "HARD"


BUILD_TASKS = frozenset(
    {Task.SCHEDULING, Task.NETWORKING, Task.BLOCK_DEVICE_MAPPING, Task.SPAWNING}
)
REBUILD_TASKS = frozenset(
    {Task.REBUILDING, Task.REBUILD_BLOCK_DEVICE_MAPPING, Task.REBUILD_SPAWNING}
)
SNAPSHOT_TASKS = frozenset(
    {
        Task.IMAGE_SNAPSHOT_PENDING,
        Task.IMAGE_SNAPSHOT,
        Task.IMAGE_PENDING_UPLOAD,
        Task.IMAGE_UPLOADING,
    }
)
SHELVE_TASKS = frozenset(
    {Task.SHELVING, Task.SHELVING_IMAGE_PENDING_UPLOAD, Task.SHELVING_IMAGE_UPLOADING}
)
SOFT_REBOOT_TASKS = frozenset({Task.REBOOTING, Task.REBOOT_PENDING, Task.REBOOT_STARTED})
HARD_REBOOT_TASKS = frozenset(
    {Task.REBOOTING_HARD, Task.REBOOT_PENDING_HARD, Task.REBOOT_STARTED_HARD}
)
RESIZE_TASKS = frozenset(
    {Task.RESIZE_PREP, Task.RESIZE_MIGRATING, Task.RESIZE_MIGRATED, Task.RESIZE_FINISH}
)
MOVE_TASKS = RESIZE_TASKS | {Task.RESIZE_CONFIRMING, Task.RESIZE_REVERTING}
ALLOW_SOFT_REBOOT = frozenset({Vm.ACTIVE})
ALLOW_HARD_REBOOT = frozenset({Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED, Vm.ERROR})
ALLOW_SOFT_DELETE = frozenset({Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED, Vm.ERROR})
