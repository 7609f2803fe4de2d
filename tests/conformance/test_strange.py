"""A few of the requests that no reasonable client sends; thousands: ``make conformance``."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.running import running
from tests.conformance.strange import send_many


def test_whatever_is_asked_no_service_breaks_and_no_server_is_stuck(tmp_path: Path) -> None:
    with running(tmp_path) as target:
        answers = send_many(target, 400, alike=True)
    assert {200, 400, 403, 404} <= {*answers}
