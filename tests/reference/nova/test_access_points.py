"""The points at which services tell what they touch can be armed, and nothing goes past them."""

from __future__ import annotations

import pytest

from chaos.action import Action
from chaos.point import AccessPoint, When
from targets.embedded.accesses import ACCESSES
from tests.reference.nova.conftest import Cloud

USED = [access for access in ACCESSES if not access.point.function.endswith("no_params")]
"""All that this version of SQLAlchemy needs for the statements of the reference."""


@pytest.mark.parametrize("access", USED, ids=lambda access: access.point.function)
def test_a_server_that_is_made_and_deleted_passes_it(cloud: Cloud, access: AccessPoint) -> None:
    action = Action.record(access.arguments)
    arm = cloud.controller.arm(
        access.point, When.BEFORE, action, alias="access", requests=("req-test",), times=None
    )
    cloud.do("server.create", "vm")
    cloud.do("server.delete", "vm")
    cloud.do("server.wait_gone", "vm")
    cloud.target.settle(10)
    assert cloud.struck(arm).alias == "access"
    assert not [state for state in arm.state.values() if state.startswith("error")]
