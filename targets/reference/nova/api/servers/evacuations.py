"""Have a server made anew on another host, when its own is down."""

from __future__ import annotations

import secrets

from targets.reference.nova import moves, services
from targets.reference.nova.api import microversion
from targets.reference.nova.api.servers.actions import action, in_state
from targets.reference.nova.api.servers.moves import refused
from targets.reference.nova.states import Vm
from targets.reference.schema import Boolean, Schema, Text255, read
from targets.reference.web import HttpError, Reply, Request

EVACUABLE = frozenset({Vm.ACTIVE, Vm.STOPPED, Vm.ERROR})


class Evacuation(Schema):
    """Where to, as of 2.68."""

    host: Text255 | None = None
    adminPass: Text255 | None = None


class ForcedEvacuation(Evacuation):
    """The same, as of 2.14: from 2.29 on one may say that the scheduler is not to be asked."""

    force: Boolean = False


class SharedEvacuation(Evacuation):
    """The same before that: as if one knew whether the hosts share storage. Here they never do."""

    onSharedStorage: Boolean


@action("evacuate", rule="servers:admin")
def evacuate(request: Request, server: str, _: None) -> Reply:
    """Have a server made anew elsewhere; as of 2.95 it is stopped there, whatever it was."""
    version = microversion.of(request)
    asked = read(_schema(version), request.body["evacuate"], "evacuate")
    if isinstance(asked, ForcedEvacuation) and asked.force and not asked.host:
        raise HttpError(400, "Can't force to a non-provided destination")
    instance = in_state(server, EVACUABLE, "evacuate")
    assert instance.host
    if asked.host == instance.host:
        raise HttpError(400, "The target host can't be the same one.")
    if asked.host and not services.find(binary=services.COMPUTE, host=asked.host):
        raise HttpError(404, f"Compute host {asked.host} not found.")
    if services.is_host_up(instance.cell, instance.host):
        raise HttpError(400, f"Compute service of {instance.host} is still in use.")
    stopped = version >= 95 or instance.vm_state == Vm.STOPPED
    with refused("evacuate", instance):
        kept = instance.vm_state != Vm.ERROR and stopped
        moves.evacuate(instance, asked.host, Vm.STOPPED if kept else Vm.ACTIVE)
    if version >= 14:
        return Reply(200)
    return Reply(200, {"adminPass": asked.adminPass or secrets.token_urlsafe(9)})


def _schema(version: int) -> type[Evacuation]:
    if version < 14:
        return SharedEvacuation
    return ForcedEvacuation if 29 <= version < 68 else Evacuation
