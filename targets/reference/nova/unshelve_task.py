"""The conductor's part of an unshelve: finds a host, and claims it in placement.

Two conductors may be at one: what the first has claimed the second finds and goes on with, and the
instance's record takes a node only while it is to be unshelved. Who finds that it is not gives back
what he has claimed.
"""

from __future__ import annotations

import logging

from targets.reference.nova import allocations, databases
from targets.reference.nova.action import InstanceAction, record_fault
from targets.reference.nova.allocations import NoValidHost
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.rpc import ComputeRpc, ConductorRpc, SchedulerRpc, retry_delay_s
from targets.reference.nova.states import Task

LOG = logging.getLogger(__name__)
LAST_ATTEMPT = 6


def run(cell: str, uuid: str, attempt: int) -> None:
    """Give an instance that is to be unshelved to a host; leave it shelved if there is none."""
    instance = Instance.get(cell, uuid)
    if instance is None or instance.task_state != Task.UNSHELVING:
        LOG.info("%s is not to be unshelved any more", uuid)
        return
    try:
        if instance.node is None:
            instance = _place(instance, attempt)
        ComputeRpc.unshelve(instance)
    except NoValidHost as error:
        _refuse(instance, str(error))
    except (InstanceNotFound, UnexpectedTaskState) as conflict:
        LOG.info("%s is not unshelved: %s", uuid, conflict)
        allocations.release(uuid)
    except Exception:
        LOG.exception("unshelving %s failed, attempt %d", uuid, attempt)
        ConductorRpc.unshelve_instance(cell, uuid, attempt + 1, retry_delay_s(attempt))


def resume() -> None:
    """Take up every unshelve for which no host has begun yet."""
    for cell in databases.cells()[1:]:
        for instance in Instance.find(cell, host=None, task_state=Task.UNSHELVING):
            ConductorRpc.unshelve_instance(cell, instance.uuid, attempt=1)


def _place(instance: Instance, attempt: int) -> Instance:
    held = allocations.hosts_of(instance.uuid)
    host = held[0] if held else _claim(instance, attempt)
    return instance.save(node=host, expected_task_state={Task.UNSHELVING})


def _claim(instance: Instance, attempt: int) -> str:
    if attempt >= LAST_ATTEMPT:
        raise NoValidHost("The unshelve failed too often.")
    found = SchedulerRpc.select_hosts(RequestSpec.of_unshelve(instance))
    wanted = allocations.resources(instance.vcpus, instance.ram, instance.disk)
    owner = (instance.project_id, instance.user_id)
    return allocations.claim_first(instance.uuid, found, wanted, *owner)


def _refuse(instance: Instance, why: str) -> None:
    record_fault(instance.cell, instance.uuid, why)
    over = InstanceAction.finishing_all(instance.uuid, "Error")
    instance.save(task_state=None, expected_task_state={Task.UNSHELVING}, also=over)
