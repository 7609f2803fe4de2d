"""What all operations of a compute share: its host, and how an instance is worked on.

Each instance is worked on under its lock. A failure is handled like a crash: the instance is looked
at again a little later, by the same :mod:`.recoverer` that looks at every instance when the compute
starts. A *conflict* (the record is deleted, or its task state is somebody else's) is no failure:
that other one, who waits for the lock or has its message in the queue, does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from targets.reference.nova.action import ActionEvent, InstanceAction, record_fault
from targets.reference.nova.compute.driver import Driver
from targets.reference.nova.compute.tracker import ResourceTracker
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.locks import Locks
from targets.reference.nova.rpc import ComputeRpc, retry_delay_s
from targets.reference.nova.states import Task

LOG = logging.getLogger(__name__)


class GoesOn(Exception):
    """What was asked is not done yet: somebody else works on it, and calls again."""


class Host:
    """One host: where it is, the compute's hands there, and what its instances use."""

    def __init__(self, cell: str, name: str, driver: Driver, tracker: ResourceTracker) -> None:
        self.cell = cell
        self.name = name
        self.driver = driver
        self.tracker = tracker
        self._locks = Locks()

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Keep everybody else from working on an instance, say, for the length of the block."""
        return self._locks(name)

    @contextmanager
    def working_on(self, instance: str, action: str) -> Iterator[None]:
        """Carry out an action under its instance's lock, and record how it ended."""
        with self._locks(instance):
            try:
                ActionEvent.begin(self.cell, instance, action, self.name)
                yield
            except GoesOn as why:
                LOG.info("%s goes on later: %s", action, why)
            except (InstanceNotFound, UnexpectedTaskState) as conflict:
                LOG.info("%s of %s stops: %s", action, instance, conflict)
                InstanceAction.finish(self.cell, instance, action, "Error")
            except Exception as error:
                LOG.exception("%s of %s failed", action, instance)
                record_fault(self.cell, instance, f"{action}: {error}")
                ComputeRpc.recover(instance, self.name, 0, retry_delay_s(0))
            else:
                InstanceAction.finish(self.cell, instance, action)

    def get(self, instance: str, expected: Task | None = None) -> Instance:
        """Return an instance's record, which is in the ``expected`` task state.

        A message may come twice, and late: what it asks for is done if the record still says so.

        Raises:
            InstanceNotFound: it is deleted.
            UnexpectedTaskState: something else is done with it, or nothing any more.
        """
        found = Instance.get(self.cell, instance)
        if found is None:
            raise InstanceNotFound(f"instance {instance} is deleted")
        if expected and found.task_state != expected:
            raise UnexpectedTaskState(f"instance {instance} is {found.task_state}, not {expected}")
        return found
