"""Identity, image and network service, and what all services have in common."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from openstack import exceptions

CIRROS = "cirros"


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    pool = urllib3.PoolManager(retries=False)
    yield pool
    pool.clear()


def test_the_catalogue_names_every_service(cloud: Any) -> None:
    types = {service["type"] for service in cloud.service_catalog}
    assert types == {"identity", "image", "network", "block-storage", "placement"}


def test_a_wrong_password_is_refused(peripherals: Any, http: Any) -> None:
    user = {"name": "demo", "domain": {"id": "default"}, "password": "wrong"}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    answer = http.request(
        "POST", peripherals.url("identity") + "/v3/auth/tokens", json={"auth": auth}
    )
    assert (answer.status, answer.json()["error"]["code"]) == (401, 401)


@pytest.mark.parametrize("token", ["", "forged", "a.b.c"])
def test_a_request_without_a_valid_token_is_refused(
    peripherals: Any, http: Any, token: str
) -> None:
    headers = {"X-Auth-Token": token}
    answer = http.request("GET", peripherals.url("volume") + "/v3/volumes", headers=headers)
    assert answer.status == 401


def test_the_clients_request_id_comes_back(peripherals: Any, http: Any) -> None:
    headers = {"X-OpenStack-Request-Id": "req-mine"}
    answer = http.request("GET", peripherals.url("image") + "/v2/images", headers=headers)
    assert answer.headers["x-openstack-request-id"] == "req-mine"


def test_a_body_that_is_not_json_is_refused(cloud: Any) -> None:
    answer = cloud.block_storage.post("/volumes", data=b"{", raise_exc=False)
    assert (answer.status_code, "badRequest" in answer.json()) == (400, True)


def test_a_huge_body_is_refused(cloud: Any) -> None:
    body = json.dumps({"volume": {"size": 1, "name": "x" * (1 << 20)}})
    assert cloud.block_storage.post("/volumes", data=body, raise_exc=False).status_code == 413


def test_an_unknown_path_is_not_found_in_the_services_own_shape(cloud: Any) -> None:
    answer = cloud.block_storage.get("/nowhere", raise_exc=False)
    assert (answer.status_code, answer.json()["itemNotFound"]["code"]) == (404, 404)


def test_a_frozen_service_loses_no_request(cloud: Any, peripherals: Any) -> None:
    service = peripherals.services["network"]
    service.freeze()
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.extend(n.name for n in cloud.network.networks()))
    asking.start()
    service.thaw()
    asking.join(10)
    assert "private" in found


def test_a_token_survives_a_restart_of_the_identity_service(cloud: Any, peripherals: Any) -> None:
    token = cloud.auth_token
    peripherals.services["identity"].kill()
    peripherals.services["identity"].start()
    answer = cloud.identity.get("/auth/tokens", headers={"X-Subject-Token": token})
    assert answer.json()["token"]["user"]["name"] == "demo"


def test_the_built_in_image_is_found_by_name(cloud: Any) -> None:
    assert cloud.image.find_image(CIRROS).status == "active"


def test_an_image_can_be_made_and_deleted(cloud: Any) -> None:
    image = cloud.image.post("/images", json={"name": "snapshot"}).json()
    cloud.image.delete_image(image["id"])
    assert cloud.image.find_image(image["id"]) is None


def test_a_port_is_active_once_it_is_bound_to_a_host(cloud: Any) -> None:
    network = cloud.network.find_network("private")
    port = cloud.network.create_port(network_id=network.id, device_id="bound")
    seen = [port.status]
    seen.append(cloud.network.update_port(port, binding_host_id="host1").status)
    assert seen == ["DOWN", "ACTIVE"]


def test_ports_are_found_by_their_device(cloud: Any) -> None:
    network = cloud.network.find_network("private")
    port = cloud.network.create_port(network_id=network.id, device_id="mine")
    cloud.network.create_port(network_id=network.id, device_id="other")
    assert [found.id for found in cloud.network.ports(device_id="mine")] == [port.id]


def test_two_ports_never_share_an_address(cloud: Any) -> None:
    network = cloud.network.find_network("private")
    made = [cloud.network.create_port(network_id=network.id) for _ in range(3)]
    assert len({port.fixed_ips[0]["ip_address"] for port in made}) == 3


def test_deleting_a_port_twice_says_not_found(cloud: Any) -> None:
    port = cloud.network.create_port(network_id=cloud.network.find_network("private").id)
    cloud.network.delete_port(port)
    with pytest.raises(exceptions.NotFoundException):
        cloud.network.delete_port(port, ignore_missing=False)
