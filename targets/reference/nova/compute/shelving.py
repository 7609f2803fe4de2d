"""Shelve servers: keep their root disk as an image, give the host back, and bring them again.

A server that is *shelved* is shut off, and its image is there. One that is *offloaded* is on no
host: its volumes stay reserved for it, its ports are its own and bound to no host, and it holds
nothing in placement. Each step may be done again, and is by whoever finds the task state.
"""

from __future__ import annotations

from targets.reference.database import utc_now
from targets.reference.nova import allocations, images, ports
from targets.reference.nova.action import ActionEvent, InstanceAction
from targets.reference.nova.block_device import BlockDevice
from targets.reference.nova.compute import devices
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.periodic import periodic_task
from targets.reference.nova.instance import Instance
from targets.reference.nova.states import SHELVE_TASKS, Power, Task, Vm


class Shelver:
    """What is called over the bus."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def shelve(self, instance: str) -> None:
        """Shut the guest off, and keep its root disk as an image."""
        with self._host.working_on(instance, "shelve"):
            shelve(self._host, self._host.get(instance, Task.SHELVING))

    def shelve_offload(self, instance: str) -> None:
        """Remove the guest of a shelved instance from this host."""
        with self._host.working_on(instance, "shelveOffload"):
            offload(self._host, self._host.get(instance, Task.SHELVING_OFFLOADING))

    def unshelve(self, instance: str) -> None:
        """Bring an instance here that was shelved."""
        with self._host.working_on(instance, "unshelve"):
            unshelve(self._host, self._host.get(instance, Task.UNSHELVING))


def shelve(host: Host, instance: Instance) -> None:
    """Shelve an instance that is being shelved, from whatever step on."""
    if instance.task_state == Task.SHELVING:
        if not host.driver.shutdown(instance.uuid):
            host.driver.power_off(instance.uuid)
        instance = instance.save(
            task_state=Task.SHELVING_IMAGE_PENDING_UPLOAD,
            power_state=host.driver.power_state(instance.uuid),
            expected_task_state={Task.SHELVING},
        )
    content = host.driver.snapshot(instance.uuid)
    if instance.task_state == Task.SHELVING_IMAGE_PENDING_UPLOAD:
        instance = instance.save(
            task_state=Task.SHELVING_IMAGE_UPLOADING,
            expected_task_state={Task.SHELVING_IMAGE_PENDING_UPLOAD},
        )
    image = instance.system_metadata[images.SHELVED]
    name = f"{instance.name}-shelved"
    images.create_snapshot(image, name, instance, temporary=True)
    images.upload(image, content)
    instance.save(vm_state=Vm.SHELVED, task_state=None, expected_task_state=SHELVE_TASKS)


def offload(host: Host, instance: Instance) -> None:
    """Give back what an instance that is being offloaded has of this host; its record goes last."""
    for device in BlockDevice.find(host.cell, instance=instance.uuid):
        devices.park(host, device)
    host.driver.destroy(instance.uuid)
    for port in instance.ports:
        ports.unbind_host(port["id"])
    allocations.release(instance.uuid)
    host.tracker.disown(
        instance,
        InstanceAction.finishing_all(instance.uuid, "Success"),
        vm_state=Vm.SHELVED_OFFLOADED,
        power_state=Power.NOSTATE,
        task_state=None,
        node=None,
    )


def is_to_come(host: Host, instance: Instance) -> bool:
    """Whether an instance was given to this host, to be unshelved, and is not here yet."""
    given = instance.node == host.name and instance.host is None
    return given and instance.task_state == Task.UNSHELVING


def unshelve(host: Host, instance: Instance) -> None:
    """Bring an instance that is being unshelved, here or to here; the image goes in the end."""
    if instance.host is None:
        instance = host.tracker.receive(instance)
    for port in instance.ports:
        ports.bind(port["id"], instance.uuid, host.name)
    attached = BlockDevice.find(host.cell, instance=instance.uuid)
    for device in attached:
        devices.connect(host, device)
    shelved = instance.system_metadata.get(images.SHELVED, "")
    host.driver.spawn(instance, [device.volume for device in attached], shelved)
    for device in attached:
        devices.complete(device)
    images.delete(shelved)
    instance.save(
        vm_state=Vm.ACTIVE,
        power_state=Power.RUNNING,
        task_state=None,
        launched_at=utc_now(),
        system_metadata=instance.remembering(**{images.SHELVED: None}),
        expected_task_state={Task.UNSHELVING},
    )


@periodic_task
def poll_shelved_instances(host: Host) -> None:
    """Offload what has been shelved for long enough: all that is, when this comes."""
    for instance in Instance.find(host.cell, host=host.name, vm_state=Vm.SHELVED, task_state=None):
        with host.working_on(instance.uuid, "shelveOffload"):
            offload_idle(host, host.get(instance.uuid))


def offload_idle(host: Host, instance: Instance) -> None:
    """Do so for one instance, unless something else is done with it by now."""
    if instance.host == host.name and instance.vm_state == Vm.SHELVED and not instance.task_state:
        asked = InstanceAction.starting(instance.uuid, "shelveOffload")
        begun = instance.save(
            task_state=Task.SHELVING_OFFLOADING, expected_task_state={None}, also=asked
        )
        ActionEvent.begin(host.cell, instance.uuid, "shelveOffload", host.name)
        offload(host, begun)
