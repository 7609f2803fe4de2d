"""openstacksdk's own functional tests, as they were released, on the running reference.

They come with the package. Nothing of them is changed: the names of the clouds that they work with
are what they read from the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import openstack

from targets.embedded.clouds import CLOUD

PACKAGE = "openstack.tests.functional"
MODULES = tuple(
    f"{PACKAGE}.{module}"
    for module in (
        "compute.v2.test_server",
        "compute.v2.test_volume_attachment",
        "compute.v2.test_flavor",
        "compute.v2.test_keypair",
        "compute.v2.test_hypervisor",
        "compute.v2.test_service",
        "compute.v2.test_limits",
        "compute.v2.test_quota_set",
        "block_storage.v3.test_volume",
        "block_storage.v3.test_attachment",
        "block_storage.v3.test_type",
    )
)
QUICK = tuple(
    f"{PACKAGE}.{module}"
    for module in (
        "compute.v2.test_flavor",
        "compute.v2.test_hypervisor",
        "compute.v2.test_keypair",
        "compute.v2.test_limits",
        "compute.v2.test_quota_set",
        "compute.v2.test_service",
        "block_storage.v3.test_volume",
        "block_storage.v3.test_type",
    )
)
"""Those that wait for no server, which takes two seconds a look: part of our own tests."""
NOT_SUPPORTED: Mapping[str, str] = {}
"""Test → why the reference cannot pass it."""
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one test: passed, failed, or skipped by itself; and why."""

    test: str
    outcome: str
    reason: str
    duration_s: float


def run(clouds_yaml: Path, modules: Collection[str], folder: Path) -> list[Result]:
    """Run test modules of the package on the clouds of that file; ``folder`` is to write in."""
    report, settings = folder / "sdk.xml", folder / "pytest.ini"
    settings.write_text("[pytest]\n")
    installed = Path(openstack.__file__).parents[1]
    command = [
        sys.executable, "-m", "pytest", "--quiet", "--tb=native", "-p", "no:chaos",
        "-p", "no:cacheprovider", "-c", str(settings), f"--rootdir={installed}",
        f"--junit-xml={report}", "--pyargs", *modules,
    ]  # fmt: skip
    ran = subprocess.run(
        command, env=environment(clouds_yaml), cwd=folder, timeout=LIMIT_S,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if not report.exists():
        raise AssertionError(f"the tests did not run:\n{ran.stdout}")
    return [_result(case) for case in ElementTree.parse(report).iter("testcase")]


def environment(clouds_yaml: Path) -> dict[str, str]:
    """Return the environment in which clients find the reference, and nothing else."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "PYTEST_"))}
    return {
        **kept,
        "OS_CLIENT_CONFIG_FILE": str(clouds_yaml),
        "OS_CLOUD": f"{CLOUD}-admin",
        "OPENSTACKSDK_DEMO_CLOUD": CLOUD,
        "OPENSTACKSDK_DEMO_CLOUD_ALT": f"{CLOUD}-alt",
        "OPENSTACKSDK_OPERATOR_CLOUD": f"{CLOUD}-admin",
        "OPENSTACKSDK_SYSTEM_ADMIN_CLOUD": f"{CLOUD}-system-admin",
        "OS_TEST_TIMEOUT": "60",
        "OPENSTACKSDK_FUNC_TEST_TIMEOUT": "30",
        "no_proxy": "127.0.0.1",
    }


def _result(case: ElementTree.Element) -> Result:
    name = f"{case.get('classname', '')}.{case.get('name', '')}".removeprefix(f"{PACKAGE}.")
    duration_s = float(case.get("time", "0"))
    for kind, outcome in (("error", "failed"), ("failure", "failed"), ("skipped", "skipped")):
        found = case.find(kind)
        if found is not None:
            told = (found.text or found.get("message") or "").strip().splitlines()
            return Result(name, outcome, told[-1] if told else "", duration_s)
    return Result(name, "passed", "", duration_s)
