"""What the compute API lets whom do, and how it refuses the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from targets.reference.image import CIRROS_ID
from tests.reference.nova.asking import Asking
from tests.reference.nova.conftest import Cloud

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def demo(booted: Cloud) -> Iterator[Asking]:
    asking = Asking(booted.target)
    yield asking
    asking.close()


@pytest.fixture(scope="module")
def admin(booted: Cloud) -> Iterator[Asking]:
    asking = Asking(booted.target, "admin")
    yield asking
    asking.close()


@pytest.fixture(scope="module")
def alt(booted: Cloud) -> Iterator[Asking]:
    asking = Asking(booted.target, "alt")
    yield asking
    asking.close()


@pytest.fixture(autouse=True)
def pristine(booted: Cloud) -> None:
    booted.target.reset(frozenset())


def fault(answer: Any) -> tuple[int, str]:
    """The status of an error, and the name that its body has."""
    ((name, body),) = answer.json().items()
    assert body["code"] == answer.status_code
    assert body["message"]
    return answer.status_code, name


# ---------------------------------------------------------------------- microversions


def test_a_microversion_that_does_not_exist_is_not_acceptable(demo: Asking) -> None:
    assert fault(demo("GET", "/flavors", version="2.9999")) == (406, "computeFault")


def test_a_microversion_that_is_none_is_a_bad_request(demo: Asking) -> None:
    assert fault(demo("GET", "/flavors", version="two")) == (400, "badRequest")


def test_the_answer_tells_its_microversion(demo: Asking) -> None:
    answer = demo("GET", "/flavors", version="2.61")
    assert answer.headers["OpenStack-API-Version"] == "compute 2.61"
    latest = demo("GET", f"/servers/{NOBODY}", version="latest")
    assert latest.headers["OpenStack-API-Version"] == "compute 2.96"


@pytest.mark.parametrize(
    ("path", "last"), [("/os-hypervisors/statistics", 87), ("/os-hypervisors/host/search", 52)]
)
def test_what_a_later_microversion_dropped_is_not_found_there(
    admin: Asking, path: str, last: int
) -> None:
    assert admin("GET", path, version=f"2.{last}").status_code == 200
    assert admin("GET", path, version=f"2.{last + 1}").status_code == 404


def test_a_flavor_shows_what_its_microversion_knows(demo: Asking) -> None:
    shown = [set(demo("GET", "/flavors/1", version=v).json()["flavor"]) for v in ("2.1", "2.61")]
    assert shown[1] - shown[0] == {"description", "extra_specs"}


# ---------------------------------------------------------------------- who may what


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/os-hypervisors", None),
        ("GET", "/os-services", None),
        ("GET", "/os-aggregates", None),
        ("GET", "/os-availability-zone/detail", None),
        ("POST", "/flavors", {"flavor": {"name": "x", "vcpus": 1, "ram": 1, "disk": 1}}),
        ("POST", "/flavors/1/os-extra_specs", {"extra_specs": {"a": "b"}}),
        ("PUT", "/os-quota-sets/mine", {"quota_set": {"instances": 7}}),
    ],
)
def test_only_an_administrator_may(
    demo: Asking, admin: Asking, method: str, path: str, body: Any
) -> None:
    refused = demo(method, path, body)
    assert fault(refused) == (403, "forbidden")
    assert "Policy doesn't allow os_compute_api:" in refused.json()["forbidden"]["message"]
    assert admin(method, path, body).status_code < 300


def test_who_has_a_token_for_the_whole_system_has_no_project_to_work_in(booted: Cloud) -> None:
    system = Asking(booted.target, "system-admin")
    token = system.cloud.auth_token
    system.close()
    demo = Asking(booted.target)
    asked = demo("GET", "/servers", headers={"X-Auth-Token": token}, authenticated=False)
    assert fault(asked) == (403, "forbidden")
    demo.close()


def test_a_server_of_another_project_is_not_found(
    booted: Cloud, demo: Asking, alt: Asking, admin: Asking
) -> None:
    booted.do("server.create", "vm")
    (server,) = demo("GET", "/servers").json()["servers"]
    where = f"/servers/{server['id']}"
    assert fault(alt("GET", where)) == (404, "itemNotFound")
    assert fault(alt("DELETE", where)) == (404, "itemNotFound")
    assert fault(alt("POST", where + "/action", {"os-stop": None})) == (404, "itemNotFound")
    assert alt("GET", "/servers").json()["servers"] == []
    assert admin("GET", where).status_code == 200
    assert admin("GET", "/servers").json()["servers"] == []
    assert len(admin("GET", "/servers?all_tenants=1").json()["servers"]) == 1


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/flavors", None),
        ("POST", "/flavors", []),
        ("POST", "/flavors", {"flavor": None}),
        ("POST", "/flavors", {"flavor": {"name": "x", "vcpus": 0, "ram": 1, "disk": 1}}),
        ("POST", "/flavors", {"flavor": {"name": "x", "vcpus": 1, "ram": 2**70, "disk": 1}}),
        ("POST", "/flavors", {"flavor": {"name": " ", "vcpus": 1, "ram": 1, "disk": 1}}),
        ("POST", "/flavors", {"flavor": {"name": "x", "vcpus": 1, "ram": 1, "disk": 1, "no": 1}}),
        ("POST", "/os-keypairs", {"keypair": {"name": "a/b", "public_key": "x"}}),
        ("POST", "/os-keypairs", {"keypair": {"name": "ab", "public_key": "ssh-rsa !!"}}),
        ("POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "none"}}),
        ("POST", "/os-aggregates", {"aggregate": {"name": ""}}),
        ("POST", "/os-aggregates/x/action", {"add_host": {"host": "h"}}),
        ("PUT", "/os-quota-sets/p", {"quota_set": {"instances": "many"}}),
        ("PUT", "/os-quota-sets/p", {"quota_set": {"unknown": 1}}),
        ("GET", "/flavors?limit=-1", None),
        ("GET", "/flavors?marker=nothing", None),
        ("GET", "/flavors?sort_key=password", None),
        ("GET", "/os-hypervisors?with_servers=perhaps", None),
        ("POST", f"/servers/{NOBODY}/action", {}),
        ("POST", f"/servers/{NOBODY}/action", {"reboot": {"type": "GENTLY"}}),
        ("POST", f"/servers/{NOBODY}/action", {"dance": None}),
    ],
)
def test_bad_input_is_a_bad_request(admin: Asking, method: str, path: str, body: Any) -> None:
    assert fault(admin(method, path, body)) == (400, "badRequest")


def test_what_is_no_json_has_the_wrong_type(demo: Asking) -> None:
    answer = demo.cloud.compute.request(
        "/servers", "POST", data=b"<xml/>", headers={"Content-Type": "text/xml"}, raise_exc=False
    )
    assert fault(answer) == (415, "badMediaType")


def test_half_a_character_is_a_bad_request(demo: Asking) -> None:
    answer = demo("POST", "/servers", {"server": {"name": "\udcff", "flavorRef": "1"}})
    assert fault(answer) == (400, "badRequest")


# ---------------------------------------------------------------------- pages


def test_a_listing_comes_in_pages(demo: Asking) -> None:
    seen: list[str] = []
    path = "/flavors?limit=2"
    for _ in range(9):
        answer = demo("GET", path).json()
        seen += [flavor["id"] for flavor in answer["flavors"]]
        links = answer.get("flavors_links")
        if not links:
            break
        path = links[0]["href"]
    assert seen == ["1", "2", "3", "4", "5"]


def test_a_listing_is_sorted_as_asked(demo: Asking) -> None:
    answer = demo("GET", "/flavors?sort_key=memory_mb&sort_dir=desc&minRam=4096").json()
    assert [flavor["name"] for flavor in answer["flavors"]] == [
        "m1.xlarge",
        "m1.large",
        "m1.medium",
    ]


# ---------------------------------------------------------------------- what operators keep


def test_a_flavor_of_one_project_is_seen_by_it_alone(
    demo: Asking, alt: Asking, admin: Asking
) -> None:
    wanted = {"name": "own", "vcpus": 1, "ram": 64, "disk": 0, "os-flavor-access:is_public": False}
    flavor = admin("POST", "/flavors", {"flavor": wanted}).json()["flavor"]["id"]
    project = demo.cloud.current_project_id

    def seen() -> list[bool]:
        lists = [asking("GET", "/flavors").json()["flavors"] for asking in (demo, alt)]
        return [any(found["id"] == flavor for found in listed) for listed in lists]

    assert seen() == [False, False]
    grant = {"addTenantAccess": {"tenant": project}}
    assert admin("POST", f"/flavors/{flavor}/action", grant).status_code == 200
    assert fault(admin("POST", f"/flavors/{flavor}/action", grant)) == (409, "conflictingRequest")
    assert seen() == [True, False]
    revoke = {"removeTenantAccess": {"tenant": project}}
    assert admin("POST", f"/flavors/{flavor}/action", revoke).status_code == 200
    assert seen() == [False, False]
    assert admin("DELETE", f"/flavors/{flavor}").status_code == 202
    assert fault(admin("DELETE", f"/flavors/{flavor}")) == (404, "itemNotFound")


def test_a_host_is_in_the_zone_of_its_aggregate(admin: Asking) -> None:
    wanted = {"aggregate": {"name": "fast", "availability_zone": "here"}}
    aggregate = admin("POST", "/os-aggregates", wanted).json()["aggregate"]["id"]
    where = f"/os-aggregates/{aggregate}"
    assert admin("POST", where + "/action", {"add_host": {"host": "host1"}}).status_code == 200
    assert fault(admin("POST", where + "/action", {"add_host": {"host": "x"}}))[0] == 404
    zones = admin("GET", "/os-availability-zone/detail").json()["availabilityZoneInfo"]
    assert {zone["zoneName"]: set(zone["hosts"]) for zone in zones} == {
        "here": {"host1"},
        "nova": {"host2"},
    }
    assert fault(admin("DELETE", where)) == (400, "badRequest")
    assert admin("POST", where + "/action", {"remove_host": {"host": "host1"}}).status_code == 200
    assert admin("DELETE", where).status_code == 200


def test_an_operator_disables_a_compute_and_says_why(admin: Asking) -> None:
    found = admin("GET", "/os-services?binary=nova-compute&host=host1").json()["services"]
    (service,) = found
    assert (service["status"], service["state"], service["forced_down"]) == ("enabled", "up", False)
    change = {"status": "disabled", "disabled_reason": "broken fan", "forced_down": True}
    changed = admin("PUT", f"/os-services/{service['id']}", change).json()["service"]
    assert (changed["status"], changed["state"]) == ("disabled", "down")
    assert changed["disabled_reason"] == "broken fan"
    (seen,) = admin("GET", "/os-hypervisors?hypervisor_hostname_pattern=host1").json()[
        "hypervisors"
    ]
    assert (seen["status"], seen["state"]) == ("disabled", "down")


def test_a_keypair_is_its_users_alone(demo: Asking, alt: Asking, admin: Asking) -> None:
    made = demo("POST", "/os-keypairs", {"keypair": {"name": "mine"}}, version="2.10")
    assert made.status_code == 201
    assert "PRIVATE KEY" in made.json()["keypair"]["private_key"]
    again = demo("POST", "/os-keypairs", {"keypair": {"name": "mine"}}, version="2.10")
    assert fault(again) == (409, "conflictingRequest")
    assert "private_key" not in demo("GET", "/os-keypairs/mine").json()["keypair"]
    user = demo.cloud.current_user_id
    assert fault(alt("GET", "/os-keypairs/mine")) == (404, "itemNotFound")
    assert fault(alt("GET", f"/os-keypairs/mine?user_id={user}")) == (403, "forbidden")
    assert admin("GET", f"/os-keypairs/mine?user_id={user}").status_code == 200
    assert demo("DELETE", "/os-keypairs/mine").status_code == 204


# ---------------------------------------------------------------------- quota


def test_a_project_gets_no_more_servers_than_it_may_have(
    booted: Cloud, demo: Asking, admin: Asking
) -> None:
    quota = f"/os-quota-sets/{demo.cloud.current_project_id}"
    assert admin("PUT", quota, {"quota_set": {"instances": 1}}).status_code == 200
    booted.do("server.create", "vm")
    more = {"name": "more", "flavorRef": "1", "imageRef": CIRROS_ID, "networks": "none"}
    refused = demo("POST", "/servers", {"server": more})
    assert fault(refused) == (403, "forbidden")
    assert "Quota exceeded for instances" in refused.json()["forbidden"]["message"]
    assert fault(admin("PUT", quota, {"quota_set": {"instances": 0}})) == (400, "badRequest")
    used = demo("GET", quota + "/detail").json()["quota_set"]["instances"]
    assert (used["limit"], used["in_use"]) == (1, 1)

    booted.do("server.delete", "vm")
    assert demo("GET", "/limits").json()["limits"]["absolute"]["totalInstancesUsed"] == 0
    assert demo("POST", "/servers", {"server": more}).status_code == 202
    assert admin("DELETE", quota).status_code == 202
    assert demo("GET", quota).json()["quota_set"]["instances"] == 100


def test_cores_and_memory_are_counted_too(booted: Cloud, demo: Asking, admin: Asking) -> None:
    quota = f"/os-quota-sets/{demo.cloud.current_project_id}"
    admin("PUT", quota, {"quota_set": {"cores": 2, "ram": 600}})
    booted.do("server.create", "vm")
    more = {"name": "more", "imageRef": CIRROS_ID, "networks": "none"}
    refused = [demo("POST", "/servers", {"server": {**more, "flavorRef": f}}) for f in "13"]
    assert [fault(answer) for answer in refused] == [(403, "forbidden")] * 2
    assert "for ram" in refused[0].json()["forbidden"]["message"]
    assert "for cores" in refused[1].json()["forbidden"]["message"]
