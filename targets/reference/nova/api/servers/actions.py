"""``POST /servers/{server}/action``: a table of functions, one for each action.

A module of this package adds an action by decorating a function:

    @action("os-stop")
    def stop(request: Request, server: str, asked: None) -> None:
        instance = in_state(server, frozenset({Vm.ACTIVE}), "stop")
        begin(instance, "stop", Task.POWERING_OFF, {None})
        ComputeRpc.stop(instance)

    @resumes(Task.POWERING_OFF)
    def resume_stop(instance: Instance) -> None:
        ComputeRpc.stop(instance)

``asked`` is what stands beside the action's name, read by the schema that ``action`` was given.
The second function is for the task state by which the first has written down what it is about to
ask of a compute: it is called when an API process finds that state at its start, and asks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from targets.reference.nova import databases
from targets.reference.nova.action import InstanceAction
from targets.reference.nova.api import microversion
from targets.reference.nova.api.policy import POLICY
from targets.reference.nova.api.router import Router
from targets.reference.nova.api.servers import lookup
from targets.reference.nova.instance import Instance, InstanceNotFound, UnexpectedTaskState
from targets.reference.nova.states import Task, Vm
from targets.reference.schema import Schema, read
from targets.reference.web import HttpError, Reply, Request, not_found

LOG = logging.getLogger(__name__)
Perform = Callable[[Request, str, Any], Reply | dict[str, Any] | None]
Resume = Callable[[Instance], None]


@dataclass(frozen=True, slots=True)
class _Action:
    perform: Perform
    schema: type[Schema] | None
    allowed: Callable[[], None]
    versions: range


_ACTIONS: dict[str, _Action] = {}
_RESUMES: dict[Task, Resume] = {}
router = Router()


def action(
    name: str,
    schema: type[Schema] | None = None,
    *,
    rule: str = "servers:act",
    since: int = microversion.OLDEST,
    until: int = microversion.LATEST,
) -> Callable[[Perform], Perform]:
    """Have ``{name: …}`` performed by the decorated function, which is given what is beside it.

    It returns None for a 202 without a body. Without a ``schema`` anything may stand there, and it
    is given None. Its microversions are 2.``since`` to 2.``until``; ``rule`` is one of
    :mod:`~targets.reference.nova.api.policy`.
    """

    def register(perform: Perform) -> Perform:
        assert name not in _ACTIONS, f"two functions for {name}"
        versions = range(since, until + 1)
        _ACTIONS[name] = _Action(perform, schema, POLICY.check(rule), versions)
        return perform

    return register


def resumes(*tasks: Task) -> Callable[[Resume], Resume]:
    """Have a server in one of these task states taken up by the decorated function at start-up."""

    def register(resume: Resume) -> Resume:
        _RESUMES.update(dict.fromkeys(tasks, resume))
        return resume

    return register


@router.route("POST", "/servers/{server}/action", "servers:act")
def act(request: Request) -> Reply | dict[str, Any]:
    """Perform one action of a server."""
    body = request.body
    if not isinstance(body, dict) or len(body) != 1:
        raise HttpError(400, "The body must name one action.")
    ((name, given),) = body.items()
    found = _ACTIONS.get(name)
    if found is None or microversion.of(request) not in found.versions:
        raise HttpError(400, f"There is no such action: {name}")
    found.allowed()
    asked = read(found.schema, given, name) if found.schema else None
    done = found.perform(request, request.path["server"], asked)
    return Reply(202) if done is None else done


def resume() -> None:
    """Tell the computes again what they may not have been told; for start-up.

    A task state that only the API sets says that a compute has not begun yet.
    """
    for cell in databases.cells()[1:]:
        for instance in Instance.find(cell, hidden=False):
            take_up = _RESUMES.get(instance.task_state) if instance.task_state else None
            if take_up and instance.host:
                LOG.debug("%s: task %s", instance.uuid, instance.task_state)
                take_up(instance)


def in_state(server: str, allowed: Collection[Vm], name: str) -> Instance:
    """Return a server that is on a host and in one of the ``allowed`` states.

    Raises:
        HttpError: 404; 409, it is not.
    """
    instance = lookup.get_placed(server)
    lookup.see_that_it_is_not_locked(instance)
    if instance.vm_state not in allowed:
        raise cannot(name, instance)
    return instance


def begin(
    instance: Instance, name: str, task: Task, expected: Collection[Task | None], /, **changes: Any
) -> Instance:
    """Write down that ``task`` is begun, with other changes, and the action called ``name``.

    Raises:
        HttpError: 404; 409, something other than what is ``expected`` is being done with it.
    """
    try:
        asked = InstanceAction.starting(instance.uuid, name)
        begun = instance.save(task_state=task, expected_task_state=expected, also=asked, **changes)
    except InstanceNotFound:
        raise not_found("Instance", instance.uuid) from None
    except UnexpectedTaskState as error:
        raise HttpError(409, f"Cannot '{name}' instance {instance.uuid}: {error}") from None
    return begun


def cannot(name: str, instance: Instance) -> HttpError:
    """Make the 409 for a server that is in no state for what was asked."""
    return HttpError(
        409,
        f"Cannot '{name}' instance {instance.uuid} while it is in vm_state {instance.vm_state}",
    )
