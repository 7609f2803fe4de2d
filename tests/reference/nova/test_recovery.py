"""The decisions of a compute that starts, as tables."""

from __future__ import annotations

from itertools import product

import pytest

from targets.reference.nova.compute.recovery import Recovery, decide, reboot_retry
from targets.reference.nova.states import (
    BUILD_TASKS,
    HARD_REBOOT_TASKS,
    SOFT_REBOOT_TASKS,
    Power,
    Reboot,
    Task,
    Vm,
)

SOFT, HARD = Reboot.SOFT, Reboot.HARD
RUNNING, SHUTDOWN, CRASHED = Power.RUNNING, Power.SHUTDOWN, Power.CRASHED
ACTIVE, STOPPED, BUILDING = Vm.ACTIVE, Vm.STOPPED, Vm.BUILDING
"""ACTIVE may be rebooted softly and hard, STOPPED only hard, BUILDING not at all."""

# task state                  running: A S B          shutdown or crashed: A S B
MATRIX = {
    Task.REBOOT_PENDING: ((SOFT, None, None), (HARD, None, None)),
    Task.REBOOT_PENDING_HARD: ((HARD, HARD, None), (HARD, HARD, None)),
    Task.REBOOT_STARTED: ((None, None, None), (HARD, HARD, HARD)),
    Task.REBOOT_STARTED_HARD: ((None, None, None), (HARD, HARD, HARD)),
    Task.REBOOTING: ((None, None, None), (HARD, HARD, HARD)),
    Task.REBOOTING_HARD: ((None, None, None), (HARD, HARD, HARD)),
}
VM_STATES = (ACTIVE, STOPPED, BUILDING)


@pytest.mark.parametrize(
    ("task_state", "power_state", "vm_state"),
    list(product(MATRIX, (RUNNING, SHUTDOWN, CRASHED), VM_STATES)),
)
def test_a_reboot_is_retried_as_the_matrix_says(
    task_state: Task, power_state: Power, vm_state: Vm
) -> None:
    expected = MATRIX[task_state][power_state != RUNNING][VM_STATES.index(vm_state)]
    assert reboot_retry(task_state, vm_state, power_state) == expected


@pytest.mark.parametrize("task_state", [task for task in Task if task not in MATRIX] + [None])
def test_no_other_task_is_a_reboot(task_state: Task | None) -> None:
    assert reboot_retry(task_state, ACTIVE, SHUTDOWN) is None


@pytest.mark.parametrize(("vm_state", "power_state"), list(product(Vm, Power)))
def test_a_delete_goes_on_whatever_else_the_record_says(vm_state: Vm, power_state: Power) -> None:
    assert decide(Task.DELETING, vm_state, power_state) == Recovery.DELETE


@pytest.mark.parametrize(("task_state", "power_state"), list(product(sorted(BUILD_TASKS), Power)))
def test_a_build_that_stopped_is_given_up(task_state: Task, power_state: Power) -> None:
    assert decide(task_state, BUILDING, power_state) == Recovery.ABANDON_BUILD


@pytest.mark.parametrize(
    "task_state", sorted((SOFT_REBOOT_TASKS | HARD_REBOOT_TASKS) - {Task.REBOOT_PENDING_HARD})
)
def test_a_guest_that_runs_is_not_touched_for_a_stale_reboot(task_state: Task) -> None:
    expected = Recovery.REBOOT_SOFT if task_state == Task.REBOOT_PENDING else Recovery.CLEAR_TASK
    assert decide(task_state, ACTIVE, RUNNING) == expected


@pytest.mark.parametrize(
    ("task_state", "vm_state", "expected"),
    [(Task.POWERING_OFF, ACTIVE, Recovery.STOP), (Task.POWERING_ON, STOPPED, Recovery.START)],
)
@pytest.mark.parametrize("power_state", [RUNNING, SHUTDOWN])
def test_powering_on_and_off_is_done_again(
    task_state: Task, vm_state: Vm, expected: Recovery, power_state: Power
) -> None:
    assert decide(task_state, vm_state, power_state) == expected


@pytest.mark.parametrize(
    ("task_state", "vm_state", "power_state", "expected"),
    [
        (Task.PAUSING, ACTIVE, RUNNING, Recovery.CLEAR_TASK),
        (Task.PAUSING, ACTIVE, Power.PAUSED, Recovery.PAUSE),
        (Task.UNPAUSING, Vm.PAUSED, Power.PAUSED, Recovery.UNPAUSE),
        (Task.UNPAUSING, Vm.PAUSED, RUNNING, Recovery.CLEAR_TASK),
        (None, Vm.PAUSED, Power.PAUSED, Recovery.LEAVE),
    ],
)
def test_a_pause_is_completed_or_forgotten_and_a_guest_that_was_to_go_on_does(
    task_state: Task | None, vm_state: Vm, power_state: Power, expected: Recovery
) -> None:
    assert decide(task_state, vm_state, power_state) == expected


@pytest.mark.parametrize("power_state", [SHUTDOWN, CRASHED, Power.NOSTATE])
def test_a_guest_that_should_run_is_started(power_state: Power) -> None:
    assert decide(None, ACTIVE, power_state) == Recovery.RESUME_GUEST


@pytest.mark.parametrize(
    ("vm_state", "power_state"),
    [(ACTIVE, RUNNING), (STOPPED, SHUTDOWN), (Vm.ERROR, SHUTDOWN), (Vm.ERROR, Power.NOSTATE)],
)
def test_an_instance_at_rest_is_left_alone(vm_state: Vm, power_state: Power) -> None:
    assert decide(None, vm_state, power_state) == Recovery.LEAVE
