"""Networks and subnets of users, and the ports on them."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def network(cloud: Any) -> Any:
    return cloud.network.create_network(name="own")


def refused(cloud: Any, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = cloud.network.request(path, method, json=body, raise_exc=False)
    return answer.status_code, answer.json()["NeutronError"]["type"]


def test_a_port_gets_an_address_of_its_networks_subnet(cloud: Any, network: Any) -> None:
    subnet = cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24")
    ports = [cloud.network.create_port(network_id=network.id) for _ in range(2)]
    addresses = [port.fixed_ips[0] for port in ports]
    assert {found["subnet_id"] for found in addresses} == {subnet.id}
    assert [found["ip_address"] for found in addresses] == ["10.9.0.10", "10.9.0.11"]


def test_a_network_goes_only_when_no_port_is_on_it(cloud: Any, network: Any) -> None:
    cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/24")
    port = cloud.network.create_port(network_id=network.id)
    assert refused(cloud, "DELETE", f"/networks/{network.id}") == (409, "NetworkInUse")
    cloud.network.delete_port(port)
    cloud.network.delete_network(network)
    assert refused(cloud, "GET", f"/networks/{network.id}") == (404, "NetworkNotFound")
    assert list(cloud.network.subnets(network_id=network.id)) == []


def test_a_full_subnet_has_no_more_addresses(cloud: Any, network: Any) -> None:
    cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/30")
    cloud.network.create_port(network_id=network.id)
    body = {"port": {"network_id": network.id}}
    assert refused(cloud, "POST", "/ports", body) == (409, "IpAddressGenerationFailure")


def test_two_subnets_of_a_network_do_not_overlap(cloud: Any, network: Any) -> None:
    cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/16")
    body = {"subnet": {"network_id": network.id, "cidr": "10.9.7.0/24"}}
    assert refused(cloud, "POST", "/subnets", body) == (400, "InvalidInput")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/networks", None),
        ("/networks", {"network": {"name": 7}}),
        ("/subnets", {"subnet": {"network_id": "x"}}),
        ("/subnets", {"subnet": {"network_id": "x", "cidr": "here"}}),
        ("/subnets", {"subnet": {"network_id": "x", "cidr": "10.0.0.0/8", "ip_version": 6}}),
        ("/ports", {"port": {}}),
        ("/ports", {"port": {"network_id": 1}}),
    ],
)
def test_bad_input_is_a_bad_request(cloud: Any, path: str, body: Any) -> None:
    assert refused(cloud, "POST", path, body)[0] == 400


def test_only_an_administrator_shares_a_network(cloud: Any) -> None:
    body = {"network": {"name": "everybodys", "shared": True}}
    assert refused(cloud, "POST", "/networks", body) == (403, "PolicyNotAuthorized")


def test_what_is_shared_is_used_and_not_changed_by_others(cloud: Any, peripherals: Any) -> None:
    import openstack

    other = openstack.connect(
        load_yaml_config=False, load_envvars=False, auth_url=peripherals.url("identity") + "/v3",
        username="alt_demo", password="secret", project_name="alt_demo", user_domain_id="default",
        project_domain_id="default", region_name="RegionOne",
    )  # fmt: skip
    try:
        own = cloud.network.create_network(name="not shared")
        assert refused(other, "GET", f"/networks/{own.id}") == (404, "NetworkNotFound")
        shared = other.network.find_network("private", ignore_missing=False)
        port = other.network.create_port(network_id=shared.id)
        assert refused(cloud, "GET", f"/ports/{port.id}") == (404, "PortNotFound")
        assert refused(other, "DELETE", f"/networks/{shared.id}")[0] == 403
        other.network.delete_port(port)
    finally:
        other.close()
