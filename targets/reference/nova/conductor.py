"""Conductor: brings an accepted server into a cell and hands it to a compute.

A delete may stop the build at any moment by removing the build request. The conductor looks after
each thing it made; when the request is gone it gives everything back. When it dies on the way the
build request, the unplaced mapping or the unclaimed instance remains, and is taken up at start-up.
"""

from __future__ import annotations

import logging

from targets.reference import config, context, tokens
from targets.reference.bus import CallLost, RpcServer
from targets.reference.client import BadRequest, NotFound
from targets.reference.nova import allocations, databases, deletion, process, services, volumes
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.allocations import NoValidHost
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.locks import Locks
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, SchedulerRpc, bus, retry_delay_s
from targets.reference.nova.states import Task, Vm

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


class Conductor:
    """The methods that others call over the bus."""

    def __init__(self) -> None:
        self._locks = Locks()

    def build_instance(self, instance: str, attempt: int = 0) -> None:
        """Carry out a build request, or give back what there is of one that was deleted.

        When a service that it needs is down it is tried again, and after some attempts the server
        ends in cell0.
        """
        with self._locks(instance):
            try:
                if BuildRequest.get(instance) is None:
                    self._finish(instance)
                elif attempt < LAST_ATTEMPT:
                    self._build(instance, resumed=attempt > 0)
                else:
                    self._discard(instance)
                    self._place(instance, None, "Build failed too often")
            except Exception:
                LOG.exception("building %s failed, attempt %d", instance, attempt)
                ConductorRpc.build_instance(instance, attempt + 1, retry_delay_s(attempt))

    def recover(self) -> None:
        """Take up every build that stopped half-way: its conductor, or its API, died."""
        found = {request.instance for request in BuildRequest.find()}
        found |= {mapping.instance for mapping in InstanceMapping.find(cell=None)}
        for cell in databases.cells():
            unclaimed = Instance.find(cell, host=None)
            found |= {instance.uuid for instance in unclaimed if instance.vm_state == Vm.BUILDING}
        for instance in sorted(found):
            LOG.info("taking up the build of %s again", instance)
            ConductorRpc.build_instance(instance, attempt=1)

    def _build(self, instance: str, resumed: bool) -> None:
        if resumed:
            self._discard(instance)
        try:
            self._place(instance, self._claim_host(instance), "")
        except (NoValidHost, BadRequest, NotFound) as error:
            LOG.warning("burying %s in cell0: %s", instance, error)
            self._discard(instance)
            self._place(instance, None, str(error))

    def _claim_host(self, instance: str) -> str | None:
        request = BuildRequest.get(instance)
        if request is None:
            return None
        wanted = allocations.resources(request.vcpus, request.ram, request.disk)
        for host in self._select_hosts(request):
            if allocations.claim(instance, host, wanted, request.project_id, request.user_id):
                return host
        raise NoValidHost("No valid host was found. There are not enough hosts available.")

    def _select_hosts(self, request: BuildRequest) -> list[str]:
        while True:
            try:
                return SchedulerRpc.select_hosts(request)
            except CallLost as error:
                # Selecting changes nothing. The next call waits until a scheduler is there.
                LOG.warning("asking for hosts again: %s", error)

    def _place(self, instance: str, host: str | None, fault: str) -> None:
        """Write the instance into the cell of its host, or into cell0 when it has none."""
        request = BuildRequest.get(instance)
        if request is None:
            deletion.abandon_build(instance)
            return
        InstanceMapping.create(instance, request.project_id)
        if host:
            cell = databases.cell_of_host(host)
            placed = Instance.create(cell, request, host, Vm.BUILDING, Task.SCHEDULING)
        else:
            cell = databases.CELL0
            placed = Instance.create(cell, request, None, Vm.ERROR, None)
            record_fault(cell, instance, fault)
        InstanceAction.start(cell, instance, "create")
        reserved = volumes.attachments_of(instance) if request.devices else {}
        for device in request.devices:
            attachment = reserved.get(device.volume)
            if attachment is None and host:
                attachment = volumes.create_attachment(instance, device.volume)
            if attachment:
                BlockDevice.create(
                    cell, instance, device.volume, attachment, device.delete_on_termination
                )
        InstanceMapping.set_cell(instance, cell)
        if not BuildRequest.destroy(instance):
            LOG.info("%s was deleted while it was built", instance)
            deletion.abandon_build(instance)
            return
        if host:
            ComputeRpc.build(placed)
        else:
            InstanceAction.finish(cell, instance, "create", "Error")

    def _finish(self, instance: str) -> None:
        """End a build whose request is gone: deleted, or built by a conductor that died then."""
        mapping = InstanceMapping.get(instance)
        if mapping is None or mapping.cell is None or mapping.queued_for_delete:
            deletion.abandon_build(instance)
            return
        placed = Instance.get(mapping.cell, instance)
        if placed and placed.node and not placed.host and placed.task_state == Task.SCHEDULING:
            ComputeRpc.build(placed)

    def _discard(self, instance: str) -> None:
        """Forget what an interrupted attempt made; the build request still has it all."""
        InstanceMapping.set_cell(instance, None)
        for cell in databases.cells():
            BlockDevice.discard(cell, instance)
            Instance.discard(cell, instance)
        allocations.release(instance)


def main() -> None:
    """Run the conductor."""
    process.begin()
    databases.api()
    for cell in databases.cells():
        databases.cell(cell)
    conductor = Conductor()

    def recover() -> None:
        with context.use(tokens.service_context()):
            conductor.recover()

    services.report(services.CONDUCTOR, databases.CELL0, config.current().service)
    bus().on_reconnect = recover
    RpcServer(bus(), "conductor", config.current().service, conductor, shared=True).start()
    recover()
    process.serve()
