"""The world of a compute control plane: every record, guest and claim at one moment.

Soft-deleted rows are not part of it: a user cannot see them. Identifiers are the control plane's
own; states are Nova's, Cinder's and Neutron's own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chaos.world import World


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A server that was accepted and is not in a cell yet (API database)."""

    instance: str

    @property
    def key(self) -> str:
        """The instance it is for."""
        return self.instance


@dataclass(frozen=True, slots=True)
class InstanceMapping:
    """Which cell an instance lives in (API database); ``cell`` is None before scheduling."""

    instance: str
    cell: str | None

    @property
    def key(self) -> str:
        """The instance it is for."""
        return self.instance


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """A server that counts as one of its project's, by what the quota is counted from."""

    project: str
    instance: str

    @property
    def key(self) -> str:
        """The instance that counts."""
        return self.instance


@dataclass(frozen=True, slots=True)
class Instance:
    """A server's record in a cell database. ``ram`` in MiB, ``disk`` in GiB."""

    uuid: str
    name: str
    cell: str
    host: str | None
    vm_state: str
    task_state: str | None
    power_state: int
    hidden: bool
    vcpus: int
    ram: int
    disk: int
    fault: str = ""
    ports: tuple[str, ...] = ()
    """The network ports that its record names."""

    @property
    def key(self) -> str:
        """Cell and uuid: during a cross-cell move one instance has a record in two cells."""
        return f"{self.cell}/{self.uuid}"


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device mapping: the compute side's record of an attached volume."""

    id: str
    cell: str
    instance: str
    volume: str
    attachment: str
    delete_on_termination: bool

    @property
    def key(self) -> str:
        """Cell and row."""
        return f"{self.cell}/{self.id}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume and its status; ``size`` in GiB."""

    id: str
    name: str
    status: str
    size: int

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


@dataclass(frozen=True, slots=True)
class Attachment:
    """The volume service's side of a block device: reserved, attaching or attached."""

    id: str
    volume: str
    instance: str
    status: str

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


@dataclass(frozen=True, slots=True)
class Port:
    """A network port; ``device`` is the instance it is bound to, or ''."""

    id: str
    device: str
    host: str
    status: str

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


@dataclass(frozen=True, slots=True)
class Allocation:
    """Placement's claim of ``amount`` of one resource class on one provider (a host's name)."""

    consumer: str
    provider: str
    resource: str
    amount: int

    @property
    def key(self) -> str:
        """Consumer, provider and resource class."""
        return f"{self.consumer}/{self.provider}/{self.resource}"


@dataclass(frozen=True, slots=True)
class Guest:
    """What runs, or could run, on a hypervisor; ``power`` is running, shutdown or crashed."""

    host: str
    uuid: str
    power: str
    disks: tuple[str, ...]
    """The volumes connected to it, sorted."""

    @property
    def key(self) -> str:
        """Host and uuid."""
        return f"{self.host}/{self.uuid}"


@dataclass(frozen=True, slots=True)
class HostConnection:
    """A host's connection to a volume, which all its guests that have the volume share."""

    host: str
    volume: str

    @property
    def key(self) -> str:
        """Host and volume."""
        return f"{self.host}/{self.volume}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: queued until its data has come, then active.

    ``instance`` is the one of which it is a snapshot, or ''; a ``temporary`` one is no user's.
    """

    id: str
    name: str
    status: str
    instance: str
    temporary: bool

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


@dataclass(frozen=True, slots=True)
class InstanceAction:
    """What was asked of an instance, in a cell database; it outlives its instance."""

    request: str
    instance: str
    action: str
    finished: bool
    result: str
    cell: str = ""

    @property
    def key(self) -> str:
        """Cell, request, instance and action: one that moves between cells takes its past along."""
        return f"{self.cell}/{self.request}/{self.instance}/{self.action}"


@dataclass(frozen=True, slots=True)
class Notification:
    """What the compute service told of an instance, in a cell database, by ``number`` in order.

    ``event_type`` is ``instance.reboot``, say, and ``phase`` start, end or error; or
    ``instance`` and exists.
    """

    cell: str
    number: int
    request: str
    instance: str
    event_type: str
    phase: str
    host: str

    @property
    def key(self) -> str:
        """Cell and number."""
        return f"{self.cell}/{self.number}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Amounts of what a host has: ``ram`` in MiB, ``disk`` in GiB."""

    vcpus: int
    ram: int
    disk: int


@dataclass(frozen=True, slots=True)
class ComputeNode:
    """A host, and how much of it is in use as its own compute has counted."""

    host: str
    cell: str
    has: Usage
    used: Usage

    @property
    def key(self) -> str:
        """Its name."""
        return self.host


@dataclass(frozen=True, slots=True)
class Migration:
    """A server's move, in its cell's database; it stays when the move is over.

    ``dest`` is the host that has claimed what the server will use, None before that.
    """

    uuid: str
    cell: str
    instance: str
    kind: str
    status: str
    source: str
    dest: str | None
    old: Usage
    new: Usage

    @property
    def key(self) -> str:
        """Cell and uuid."""
        return f"{self.cell}/{self.uuid}"


@dataclass(frozen=True)
class CloudWorld(World):
    """All of it. What tells of the past is no resource, and no leak."""

    past: ClassVar[frozenset[str]] = frozenset({"actions", "notifications", "migrations"})

    build_requests: tuple[BuildRequest, ...] = ()
    instance_mappings: tuple[InstanceMapping, ...] = ()
    quota_usages: tuple[QuotaUsage, ...] = ()
    instances: tuple[Instance, ...] = ()
    block_devices: tuple[BlockDevice, ...] = ()
    volumes: tuple[Volume, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    ports: tuple[Port, ...] = ()
    allocations: tuple[Allocation, ...] = ()
    guests: tuple[Guest, ...] = ()
    host_connections: tuple[HostConnection, ...] = ()
    images: tuple[Image, ...] = ()
    actions: tuple[InstanceAction, ...] = ()
    notifications: tuple[Notification, ...] = ()
    compute_nodes: tuple[ComputeNode, ...] = ()
    migrations: tuple[Migration, ...] = ()
