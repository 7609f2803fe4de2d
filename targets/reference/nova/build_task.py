"""The conductor's part of a build: from a build request to an instance that a compute is told of.

Several conductors may be at one build: one takes up what another, not dead but slow, still does.
And a delete may come at any moment. No lock keeps them apart; each decision is one statement, and
whoever comes second goes on with what was decided:

===================  =============================================================================
which host           the allocation: a consumer that holds something already is given nothing more
which cell           ``InstanceMapping.set_cell``: from none to one, once
what is in the cell  the instance's and its block devices' rows: each is there once
built or deleted     ``BuildRequest.destroy``: the row goes once
which compute        ``Instance.claim``: by the node that it was given to, once
===================  =============================================================================

So nothing is ever taken back to begin anew, and what stopped half-way is gone through again. What
could not be built is *buried*: an instance in ERROR on no node, in cell0 if no cell was decided.
It holds nothing, not even its volumes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from targets.reference.client import BadRequest, NotFound
from targets.reference.nova import allocations, databases, deletion, quotas, volumes
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.allocations import NoValidHost
from targets.reference.nova.block_device import BlockDevice, VolumeInUse
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.instance_mapping import InstanceMapping
from targets.reference.nova.migration import flavor_of
from targets.reference.nova.quotas import OverQuota
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, SchedulerRpc, retry_delay_s
from targets.reference.nova.states import Power, Task, Vm

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


def run(instance: str, attempt: int) -> None:
    """Carry out a build request, or end what there is of a build whose request is gone.

    When a service that it needs is down it is tried again, and after some attempts the server is
    buried.
    """
    try:
        request = BuildRequest.get(instance)
        if request:
            _build(request, attempt)
        _finish(instance)
    except Exception as error:
        conflict = isinstance(error, InstanceNotFound | UnexpectedTaskState)
        LOG.log(
            logging.INFO if conflict else logging.ERROR,
            "building %s failed, attempt %d: %s", instance, attempt, error, exc_info=not conflict,
        )  # fmt: skip
        ConductorRpc.build_instance(instance, attempt + 1, retry_delay_s(attempt))


def resume() -> None:
    """Take up every build that stopped half-way: its conductor, or its API, died."""
    # Those that are in no cell yet: also one whose delete came when only its cell was decided.
    found = {request.instance for request in BuildRequest.find()}
    unwanted = {mapping.instance for mapping in InstanceMapping.find(queued_for_delete=True)}
    for cell in databases.cells():
        unwanted -= Instance.ever_in(cell)
        unclaimed = Instance.find(cell, host=None)
        found |= {instance.uuid for instance in unclaimed if instance.vm_state == Vm.BUILDING}
    found |= unwanted
    for instance in sorted(found):
        LOG.info("taking up the build of %s again", instance)
        ConductorRpc.build_instance(instance, attempt=1)


def _build(request: BuildRequest, attempt: int) -> None:
    host: str | None = None
    alternates: list[str] = []
    fault = "Build failed too often"
    if attempt < LAST_ATTEMPT:
        try:
            # Once more, now that all who ask at one time are written down.
            quotas.check_instances(request.project_id, 0, request.vcpus, request.ram)
            host, *alternates = _claim_host(request, resumed=attempt > 0)
        except (OverQuota, NoValidHost, BadRequest, NotFound) as error:
            LOG.warning("%s can not be built: %s", request.instance, error)
            fault = str(error)
    if BuildRequest.get(request.instance) is None:
        return
    wanted = databases.cell_of_host(host) if host else databases.CELL0
    cell = InstanceMapping.set_cell(request.instance, wanted)
    if cell is None:
        # Its user wants it gone, and the API that was to see to it may be dead.
        deletion.delete_while_booting(request.instance)
        return
    if host and cell == wanted:
        _place(request, cell, host, alternates)
    else:
        _give_up(request, cell, fault)
    BuildRequest.destroy(request.instance)


def _claim_host(request: BuildRequest, resumed: bool) -> list[str]:
    """Claim a host; return it, and those to try when it refuses."""
    held = allocations.hosts_of(request.instance) if resumed else []
    if held:
        return held
    hosts = SchedulerRpc.select_hosts(RequestSpec.of_build(request))
    wanted = allocations.resources(request.vcpus, request.ram, request.disk)
    for number, host in enumerate(hosts):
        if allocations.claim(request.instance, host, wanted, request.project_id, request.user_id):
            return hosts[number:]
    held = allocations.hosts_of(request.instance)
    if not held:
        raise NoValidHost("No valid host was found. There are not enough hosts available.")
    return held  # the last room was claimed for it by another conductor


def _place(request: BuildRequest, cell: str, host: str, alternates: Sequence[str]) -> None:
    """Write the instance and its block devices, as far as they are not there yet."""
    near = [other for other in alternates if databases.cell_of_host(other) == cell]
    _write_instance(request, cell, host, near)
    reserved = volumes.attachments_of(request.instance) if request.devices else {}
    for device in request.devices:
        attachment = reserved.get(device.volume)
        if attachment is None:
            attachment = volumes.create_attachment(request.instance, device.volume)
        try:
            BlockDevice.create(
                cell, request.instance, device.volume, attachment, device.delete_on_termination
            )
        except VolumeInUse:
            LOG.info("%s has volume %s already", request.instance, device.volume)


def _give_up(request: BuildRequest, cell: str, fault: str) -> None:
    """Write the instance as one that no compute can claim; it is buried by whoever ends this."""
    _write_instance(request, cell, None)
    placed = Instance.get(cell, request.instance)
    if placed and placed.node:
        placed.save(node=None, alternates=[], expected_task_state={Task.SCHEDULING})
    record_fault(cell, request.instance, fault)


def _write_instance(
    request: BuildRequest, cell: str, node: str | None, alternates: Sequence[str] = ()
) -> None:
    asked = InstanceAction.starting(request.instance, "create")
    Instance.create(cell, request, node, Vm.BUILDING, Task.SCHEDULING, alternates, asked)


def _finish(instance: str) -> None:
    """End a build whose request is gone, by whose hand ever: deleted, built, or to be buried."""
    mapping = InstanceMapping.get(instance)
    if mapping is None or mapping.cell is None or mapping.queued_for_delete:
        return deletion.abandon_build(instance)
    placed = Instance.get(mapping.cell, instance)
    if placed is None or placed.host or placed.task_state != Task.SCHEDULING:
        return None
    if placed.node:
        return ComputeRpc.build(placed)
    if placed.alternates:
        return _reschedule(placed)
    return _bury(placed)


def _reschedule(instance: Instance) -> None:
    """Choose another host for an instance that its node has refused."""
    wanted = allocations.of_flavor(flavor_of(instance))
    owner = (instance.project_id, instance.user_id)
    try:
        host = allocations.claim_first(instance.uuid, instance.alternates, wanted, *owner)
    except NoValidHost as error:
        record_fault(instance.cell, instance.uuid, str(error))
        return _bury(instance)
    rest = instance.alternates[instance.alternates.index(host) + 1 :]
    try:
        chosen = instance.save(node=host, alternates=rest, expected_task_state={Task.SCHEDULING})
    except (InstanceNotFound, UnexpectedTaskState):
        allocations.release(instance.uuid)  # its delete may have been faster than the claim
        raise
    return ComputeRpc.build(chosen)


def _bury(instance: Instance) -> None:
    release_what_it_holds(instance)
    buried = {"vm_state": Vm.ERROR, "power_state": Power.NOSTATE, "task_state": None}
    over = InstanceAction.finishing_all(instance.uuid, "Error")
    instance.save(**buried, expected_task_state={Task.SCHEDULING}, also=over)


def release_what_it_holds(instance: Instance) -> None:
    """Give back what was claimed and reserved for an instance that is not to be built."""
    for device in BlockDevice.find(instance.cell, instance=instance.uuid):
        device.destroy()
    for attachment in volumes.attachments_of(instance.uuid).values():
        volumes.delete_attachment(attachment)
    allocations.release(instance.uuid)
