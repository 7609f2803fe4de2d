"""Have a server moved to another host while it runs."""

from __future__ import annotations

from typing import Literal

from targets.reference.nova import moves, services
from targets.reference.nova.api import microversion
from targets.reference.nova.api.servers.actions import action, in_state, resumes
from targets.reference.nova.api.servers.moves import refused
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc
from targets.reference.nova.states import Task, Vm
from targets.reference.schema import Boolean, Schema, Text255, read
from targets.reference.web import HttpError, Request

MIGRATABLE = frozenset({Vm.ACTIVE, Vm.PAUSED})


class LiveMigration(Schema):
    """Where to, as of 2.68. Root disks are made of images, so it does not matter how they move."""

    host: Text255 | None
    block_migration: Boolean | Literal["auto"]


class ForcedLiveMigration(LiveMigration):
    """The same, as of 2.30: one may say that the scheduler is not to be asked."""

    force: Boolean = False


class OldLiveMigration(Schema):
    """The same, before 2.25."""

    host: Text255 | None
    block_migration: Boolean
    disk_over_commit: Boolean


@action("os-migrateLive", rule="servers:admin")
def migrate_live(request: Request, server: str, _: None) -> None:
    """Have a server moved; what its conductor finds out is told by its migration, as of 2.34."""
    schema = _schema(microversion.of(request))
    asked = read(schema, request.body["os-migrateLive"], "os-migrateLive")
    assert isinstance(asked, LiveMigration | OldLiveMigration)
    if isinstance(asked, ForcedLiveMigration) and asked.force and not asked.host:
        raise HttpError(400, "Can't force to a non-provided destination")
    instance = in_state(server, MIGRATABLE, "os-migrateLive")
    if asked.host and not services.find(binary=services.COMPUTE, host=asked.host):
        raise HttpError(400, f"Compute host {asked.host} could not be found.")
    with refused("os-migrateLive", instance):
        moves.migrate_live(instance, asked.host)


@resumes(Task.MIGRATING)
def resume_migrate_live(instance: Instance) -> None:
    """Ask for a host again; or whoever has begun to go on."""
    migration = Migration.of_instance(instance.cell, instance.uuid)
    if migration and migration.dest_compute is None:
        ConductorRpc.live_migrate_server(instance.cell, migration.uuid)
    elif migration:
        ComputeRpc.resume_move(migration.source_compute, migration.uuid)


def _schema(version: int) -> type[Schema]:
    if version < 25:
        return OldLiveMigration
    return ForcedLiveMigration if 30 <= version < 68 else LiveMigration
