"""The ``openstack`` command works with the reference: what it was told, and what it said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.embedded.clouds import CLOUD
from targets.embedded.target import Embedded
from tests.conformance.running import running
from tests.conformance.sdk import environment

LIMIT_S = 10.0


class OpenStack:
    """One ``openstack`` command that reads what to do from its standard input."""

    def __init__(self, target: Embedded, folder: Path) -> None:
        self._target = target
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / "openstack")],
            env={**environment(target.clouds_yaml), "OS_CLOUD": CLOUD, "PYTHONUNBUFFERED": "1"},
            cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip

    def ask(self, command: str) -> Any:
        """Give a command that prints JSON, and return that."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{command} -f json\n")
        self._process.stdin.flush()
        said = ""
        while line := self._process.stdout.readline():
            said += line
            try:
                return json.loads(said)
            except ValueError:
                continue  # not all of it yet
        raise AssertionError(f"{command}: {said}{self.errors()}")

    def tell(self, command: str) -> None:
        """Give a command that prints nothing, and wait until nothing is under way any more."""
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")
        self.ask("flavor list")  # they are carried out one after the other
        self._target.settle(LIMIT_S)

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        ended = self._process.wait(LIMIT_S)
        self._errors.close()
        return ended


@pytest.fixture
def openstack(tmp_path: Path) -> Iterator[OpenStack]:
    with running(tmp_path) as target:
        command = OpenStack(target, tmp_path)
        try:
            yield command
        finally:
            command.close()


def test_a_day_of_a_user(openstack: OpenStack) -> None:
    def seen() -> Any:
        openstack._target.settle(LIMIT_S)
        return openstack.ask("server show vm")

    made = openstack.ask("server create --flavor m1.tiny --image cirros --network private vm")
    assert made["name"] == "vm"
    assert seen()["status"] == "ACTIVE"
    assert [server["Name"] for server in openstack.ask("server list")] == ["vm"]

    openstack.tell("server reboot vm")
    assert seen()["status"] == "ACTIVE"
    openstack.tell("server stop vm")
    assert seen()["status"] == "SHUTOFF"
    openstack.tell("server start vm")
    assert seen()["status"] == "ACTIVE"

    openstack.tell("server resize --flavor m1.small vm")
    assert (seen()["status"], seen()["flavor"]["name"]) == ("VERIFY_RESIZE", "m1.small")
    openstack.tell("server resize confirm vm")
    assert (seen()["status"], seen()["flavor"]["name"]) == ("ACTIVE", "m1.small")

    volume = openstack.ask("volume create --size 1 data")["id"]
    openstack.ask("server add volume vm data")
    assert [attached["id"] for attached in seen()["volumes_attached"]] == [volume]
    (listed,) = openstack.ask("volume list")
    assert (listed["Name"], listed["Status"]) == ("data", "in-use")
    openstack.tell("server remove volume vm data")
    assert openstack.ask("volume show data")["status"] == "available"

    openstack.tell("server set --property a=b --name other vm")
    assert openstack.ask("server show other")["properties"] == {"a": "b"}
    done = [event["Action"] for event in openstack.ask("server event list other")]
    assert done == [
        "detach_volume", "attach_volume", "confirmResize", "resize", "start", "stop", "reboot",
        "create",
    ]  # fmt: skip

    openstack.tell("server delete other")
    openstack.tell("volume delete data")
    assert openstack.ask("server list") == []
    assert openstack.ask("volume list") == []
    assert openstack.errors() == ""
