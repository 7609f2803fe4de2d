"""Requests that no reasonable client sends: whatever comes, the answer is none of the 5xx.

Each route of each service gets bodies that are almost right: a good one in which something was
replaced, left out or added. What stands in a path is something that there is, or nothing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from targets.embedded.target import Embedded
from targets.reference.image import CIRROS_ID
from targets.reference.network.store import NETWORK_ID, SUBNET_ID
from tests.reference.nova.asking import Asking

LIMIT_S = 20.0
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a service, as in ``POST /v2.1/servers/{server}/action``."""

    service: str
    method: str
    path: str


def routes() -> list[Route]:
    """All routes of the services that users talk to, but those that end a session."""
    from targets.reference import image
    from targets.reference.identity import api as identity
    from targets.reference.network import api as network
    from targets.reference.nova.api import routes as compute
    from targets.reference.volume import api as volume

    nothing: Any = None
    apis = {
        "identity": identity.api(nothing),
        "image": image.api(nothing),
        "network": network.api(nothing),
        "volume": volume.api(nothing, nothing),
        "api": compute.api(),
    }
    return [
        Route(service, route.method, route.path)
        for service, api in apis.items()
        for route in api.routes
        if not route.path.startswith("/-/")
    ]


_NEW_SERVER = {
    "name": "vm",
    "flavorRef": "1",
    "imageRef": CIRROS_ID,
    "networks": "none",
    "metadata": {"a": "b"},
    "tags": ["x"],
    "min_count": 1,
    "max_count": 1,
    "user_data": "YQ==",
    "block_device_mapping_v2": [{"source_type": "volume", "uuid": NOBODY, "boot_index": -1}],
}
_BODIES: Mapping[str, Sequence[Any]] = {
    "servers": (
        {"server": _NEW_SERVER},
        {"server": {"name": "other", "description": "x"}},
        {"metadata": {"a": "b"}},
        {"tags": ["a"]},
        {"meta": {"a": "b"}},
        {"reboot": {"type": "SOFT"}},
        {"os-stop": None},
        {"os-start": None},
        {"lock": {"locked_reason": "x"}},
        {"unlock": None},
        {"rebuild": {"imageRef": CIRROS_ID}},
        {"createImage": {"name": "x", "metadata": {}}},
        {"resize": {"flavorRef": "2"}},
        {"confirmResize": None},
        {"revertResize": None},
        {"migrate": {"host": "host2"}},
        {"pause": None},
        {"unpause": None},
        {"shelve": None},
        {"unshelve": None},
        {"forceDelete": None},
        {"restore": None},
        {"os-getConsoleOutput": {"length": 5}},
        {"volumeAttachment": {"volumeId": NOBODY, "delete_on_termination": True}},
        {"remote_console": {"protocol": "vnc", "type": "novnc"}},
        {"interfaceAttachment": {"port_id": NOBODY}},
    ),
    "flavors": (
        {"flavor": {"name": "x", "vcpus": 1, "ram": 64, "disk": 0, "id": "auto"}},
        {"flavor": {"description": "x"}},
        {"extra_specs": {"a": "b"}},
        {"addTenantAccess": {"tenant": "x"}},
        {"a": "b"},
    ),
    "os-keypairs": ({"keypair": {"name": "x", "type": "ssh", "public_key": "ssh-rsa AAAA"}},),
    "os-server-groups": ({"server_group": {"name": "g", "policy": "affinity", "rules": {}}},),
    "os-aggregates": (
        {"aggregate": {"name": "x", "availability_zone": "z"}},
        {"add_host": {"host": "host1"}},
        {"set_metadata": {"metadata": {"a": "b", "c": None}}},
    ),
    "os-services": ({"status": "enabled"}, {"host": "host1", "binary": "nova-compute"}),
    "os-quota-sets": ({"quota_set": {"instances": 50, "cores": -1}},),
    "volumes": (
        {"volume": {"size": 1, "name": "x", "metadata": {"a": "b"}}},
        {"metadata": {"a": "b"}},
        {"os-extend": {"new_size": 2}},
        {"os-set_bootable": {"bootable": True}},
    ),
    "attachments": (
        {"attachment": {"volume_uuid": NOBODY, "instance_uuid": NOBODY}},
        {"attachment": {"connector": {"host": "x"}}},
        {"os-complete": {}},
    ),
    "types": ({"volume_type": {"name": "x", "extra_specs": {"a": "b"}}}, {"extra_specs": {}}),
    "networks": ({"network": {"name": "x", "shared": False}},),
    "subnets": ({"subnet": {"network_id": NETWORK_ID, "cidr": "10.7.0.0/24", "ip_version": 4}},),
    "ports": ({"port": {"network_id": NETWORK_ID, "name": "x"}},),
    "images": ({"name": "x", "visibility": "private"},),
    "projects": ({"project": {"name": "x", "description": "y"}},),
    "users": ({"user": {"name": "x", "password": "y"}},),
    "roles": ({"role": {"name": "x"}},),
    "auth": ({"auth": {"identity": {"methods": ["password"], "password": {"user": {}}}}},),
}
_THERE = ("1", "host1", CIRROS_ID, NETWORK_ID, SUBNET_ID, "default", "lvm", NOBODY)
_texts = st.text(st.characters(codec="utf-8", exclude_characters="/?#"), min_size=1, max_size=12)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.sampled_from(_THERE),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)
_query = st.dictionaries(
    st.sampled_from(
        ["limit", "marker", "offset", "sort_key", "sort_dir", "name", "status", "all_tenants",
         "changes-since", "is_public", "minRam", "with_servers", "hypervisor_hostname_pattern",
         "user_id", "tags", "ip", "device_id", "network_id", "id", "bootable", "enabled", "host"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(["1", "-1", "true", "asc"]),
    max_size=3,
)  # fmt: skip
_versions = st.sampled_from(["2.1", "2.15", "2.37", "2.53", "2.61", "2.88", "2.96", "latest", "x"])


@dataclass(frozen=True, slots=True)
class Strange:
    """One such request."""

    route: Route
    path: str
    query: Mapping[str, str]
    body: bytes | None
    version: str


@st.composite
def strange(draw: Callable[..., Any], known: Sequence[Route], there: Sequence[str]) -> Strange:
    """Draw a request; ``there`` are ids of things that there are."""
    route = draw(st.sampled_from(known))
    parts = [
        draw(st.sampled_from(there) | _texts) if part.startswith("{") else part
        for part in route.path.split("/")
    ]
    body = None
    if route.method in ("POST", "PUT", "PATCH"):
        good = [
            body for name, found in _BODIES.items() if f"/{name}" in route.path for body in found
        ]
        wanted = draw(st.sampled_from(good)) if good else draw(_values)
        body = json.dumps(_disturbed(draw, copy.deepcopy(wanted), there)).encode()
        if draw(st.integers(0, 30)) == 0:
            body = draw(st.binary(max_size=20))
    query = draw(_query) if route.method == "GET" else {}
    return Strange(route, "/".join(parts), query, body, draw(_versions))


def _disturbed(draw: Callable[..., Any], body: Any, there: Sequence[str]) -> Any:
    """Replace, leave out or add something, somewhere inside; or nothing."""
    how = draw(st.sampled_from(["keep", "inside", "inside", "replace", "drop", "add", "there"]))
    if how == "replace" or not isinstance(body, dict) or not body:
        return body if how == "keep" else draw(_values)
    name = draw(st.sampled_from(sorted(body)))
    if how == "inside":
        body[name] = _disturbed(draw, body[name], there)
    elif how == "drop":
        del body[name]
    elif how == "add":
        body[draw(st.text(max_size=9))] = draw(_values)
    elif how == "there":
        body[name] = draw(st.sampled_from(there))
    return body


class Sender:
    """Sends such requests, as a user or an administrator, and judges the answers."""

    def __init__(self, target: Embedded) -> None:
        self.pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(LIMIT_S))
        self.ports = {name: target.port(name) for name in target.layout.http_services}
        self.ports["api"] = self.ports.get("api", self.ports.get("api-1", 0))
        self.answers: dict[int, int] = {}
        self.broken: dict[Route, str] = {}
        self.there = list(_THERE)
        self.tokens = []
        for user in ("", "admin"):
            asking = Asking(target, user)
            self.tokens.append(str(asking.cloud.auth_token))
            self.there += [str(asking.cloud.current_project_id), str(asking.cloud.current_user_id)]
            if not user:
                self._make_some(asking)
            asking.close()
        target.settle(LIMIT_S)

    def _make_some(self, asking: Asking) -> None:
        volume = asking.cloud.block_storage.create_volume(size=1)
        wanted = {"name": "vm", "flavorRef": "1", "imageRef": CIRROS_ID, "networks": "none"}
        server = asking("POST", "/servers", {"server": wanted}).json()["server"]
        port = asking.cloud.network.create_port(network_id=NETWORK_ID)
        self.there += [volume.id, port.id, *[server["id"]] * 4]

    def send(self, asked: Strange, as_admin: bool) -> None:
        """Send one, and note a 5xx."""
        headers = {
            "X-Auth-Token": self.tokens[as_admin],
            "Content-Type": "application/json",
            "OpenStack-API-Version": f"compute {asked.version}",
        }
        where = quote(asked.path, safe="/") + (f"?{urlencode(asked.query)}" if asked.query else "")
        url = f"http://127.0.0.1:{self.ports[asked.route.service]}{where}"
        answer = self.pool.request(asked.route.method, url, body=asked.body, headers=headers)
        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        if answer.status >= 500:
            self.broken.setdefault(asked.route, f"{answer.status} to {url}: {asked.body!r}")


def send_many(target: Embedded, count: int, *, alike: bool) -> dict[int, int]:
    """Send so many, the same ones each time if they shall be alike; how many got which answer.

    Raises:
        AssertionError: one got a 5xx, or a server is left in the middle of something.
    """
    sender, known = Sender(target), routes()

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=alike,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck), print_blob=not alike,
    )  # fmt: skip
    @given(strange(known, sender.there), st.booleans())
    def one(asked: Strange, as_admin: bool) -> None:
        sender.send(asked, as_admin)

    try:
        one()
    finally:
        sender.pool.clear()
    assert not sender.broken, "\n".join(sender.broken.values())
    target.settle(LIMIT_S)
    stuck = [instance for instance in target.observe().instances if instance.task_state]
    assert not stuck, stuck
    return dict(sorted(sender.answers.items()))
