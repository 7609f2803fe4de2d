"""What users say of their servers, and how they find them again."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from targets.reference.image import CIRROS_ID
from tests.reference.nova.asking import Asking
from tests.reference.nova.conftest import Cloud
from tests.reference.nova.test_api import NOBODY, fault


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


@pytest.fixture(autouse=True)
def pristine(booted: Cloud) -> None:
    booted.target.reset(frozenset())


def wish(name: str = "vm", **more: Any) -> dict[str, Any]:
    plain = {"name": name, "flavorRef": "1", "imageRef": CIRROS_ID, "networks": "none"}
    return {"server": {**plain, **more}}


@pytest.fixture
def create(booted: Cloud, demo: Asking) -> Any:
    def create(name: str = "vm", **more: Any) -> str:
        answer = demo("POST", "/servers", wish(name, **more))
        assert answer.status_code == 202, answer.text
        booted.target.settle(10)
        return str(answer.json()["server"]["id"])

    return create


def test_a_server_keeps_what_its_user_said_of_it(demo: Asking, create: Any) -> None:
    demo("POST", "/os-keypairs", {"keypair": {"name": "mine"}}, version="2.10")
    said = base64.b64encode(b"#!/bin/true").decode()
    server = create(
        "My VM", description="of mine", metadata={"a": "b"}, tags=["x", "y"], key_name="mine",
        user_data=said, accessIPv4="1.2.3.4", config_drive=True,
    )  # fmt: skip
    seen = demo("GET", f"/servers/{server}").json()["server"]
    assert seen["status"] == "ACTIVE"
    assert (seen["description"], seen["metadata"], seen["tags"]) == (
        "of mine",
        {"a": "b"},
        ["x", "y"],
    )
    assert (seen["key_name"], seen["config_drive"], seen["accessIPv4"]) == (
        "mine",
        "True",
        "1.2.3.4",
    )
    assert seen["OS-EXT-SRV-ATTR:user_data"] == said
    assert seen["OS-EXT-SRV-ATTR:hostname"] == "my-vm"


def test_a_server_shows_what_its_microversion_knows(demo: Asking, create: Any) -> None:
    server = create()
    seen = {
        version: demo("GET", f"/servers/{server}", version=f"2.{version}").json()["server"]
        for version in (1, 3, 9, 19, 26, 47, 73)
    }
    assert set(seen[1]["flavor"]) == {"id", "links"}
    assert seen[47]["flavor"]["original_name"] == "m1.tiny"
    for version, name in ((3, "OS-EXT-SRV-ATTR:hostname"), (9, "locked"), (19, "description"),
                          (26, "tags"), (73, "locked_reason")):  # fmt: skip
        assert name not in seen[1]
        assert name in seen[version]


@pytest.mark.parametrize(
    "more",
    [
        {"name": None},
        {"name": ""},
        {"name": "x" * 256},
        {"flavorRef": "nothing"},
        {"flavorRef": None},
        {"imageRef": "nothing"},
        {"imageRef": ""},
        {"metadata": {"a": 1}},
        {"metadata": {"a/b": "c"}},
        {"metadata": []},
        {"networks": "some"},
        {"networks": [{"uuid": "x"}]},
        {"networks": [{"uuid": NOBODY}]},
        {"networks": [{"port": NOBODY}]},
        {"networks": [{}]},
        {"key_name": "nothing"},
        {"user_data": "!"},
        {"min_count": 2, "max_count": 1},
        {"min_count": 0},
        {"block_device_mapping_v2": [{"source_type": "volume", "uuid": NOBODY}]},
        {"block_device_mapping_v2": [{"source_type": "moon"}]},
        {"block_device_mapping_v2": "all"},
        {"availability_zone": "elsewhere"},
        {"hostname": "-"},
        {"tags": ["a,b"]},
        {"accessIPv4": "here"},
        {"unknown": 1},
    ],
)
def test_a_server_that_makes_no_sense_is_a_bad_request(demo: Asking, more: dict[str, Any]) -> None:
    assert fault(demo("POST", "/servers", wish(**more))) == (400, "badRequest")


def test_what_a_microversion_does_not_know_is_a_bad_request(demo: Asking) -> None:
    answer = demo("POST", "/servers", wish(tags=["x"]), version="2.51")
    assert fault(answer) == (400, "badRequest")


def test_several_servers_are_made_at_once(booted: Cloud, demo: Asking) -> None:
    answer = demo("POST", "/servers", wish("many", min_count=2, max_count=3))
    assert answer.status_code == 202
    booted.target.settle(10)
    seen = demo("GET", "/servers/detail").json()["servers"]
    assert {server["name"] for server in seen} == {"many-1", "many-2", "many-3"}
    assert {server["status"] for server in seen} == {"ACTIVE"}
    assert len({server["OS-EXT-SRV-ATTR:reservation_id"] for server in seen}) == 1


def test_a_server_in_a_group_is_seen_there(demo: Asking, booted: Cloud) -> None:
    wanted = {"server_group": {"name": "apart", "policy": "anti-affinity"}}
    group = demo("POST", "/os-server-groups", wanted).json()["server_group"]["id"]
    body = wish() | {"os:scheduler_hints": {"group": group}}
    server = demo("POST", "/servers", body).json()["server"]["id"]
    booted.target.settle(10)
    assert demo("GET", f"/os-server-groups/{group}").json()["server_group"]["members"] == [server]
    assert demo("GET", f"/servers/{server}").json()["server"]["server_groups"] == [group]
    demo("DELETE", f"/servers/{server}")
    assert demo("GET", f"/os-server-groups/{group}").json()["server_group"]["members"] == []
    body["os:scheduler_hints"]["group"] = NOBODY
    assert fault(demo("POST", "/servers", body)) == (400, "badRequest")


def test_metadata_is_set_replaced_and_removed(demo: Asking, create: Any) -> None:
    where = f"/servers/{create()}/metadata"
    assert demo("POST", where, {"metadata": {"a": "1", "b": "2"}}).json()["metadata"]["a"] == "1"
    assert demo("PUT", where + "/c", {"meta": {"c": "3"}}).json() == {"meta": {"c": "3"}}
    assert fault(demo("PUT", where + "/c", {"meta": {"d": "3"}})) == (400, "badRequest")
    assert demo("DELETE", where + "/a").status_code == 204
    assert fault(demo("GET", where + "/a")) == (404, "itemNotFound")
    assert demo("GET", where).json() == {"metadata": {"b": "2", "c": "3"}}
    assert demo("PUT", where, {"metadata": {"z": "26"}}).json() == {"metadata": {"z": "26"}}
    too_many = {"metadata": {str(n): "" for n in range(129)}}
    assert fault(demo("PUT", where, too_many)) == (403, "forbidden")


def test_tags_are_set_and_removed(demo: Asking, create: Any) -> None:
    where = f"/servers/{create()}/tags"
    assert [demo("PUT", where + "/a").status_code for _ in range(2)] == [201, 204]
    assert demo("GET", where + "/a").status_code == 204
    assert demo("GET", where + "/b").status_code == 404
    assert demo("PUT", where, {"tags": ["b", "c"]}).json() == {"tags": ["b", "c"]}
    assert demo("DELETE", where + "/b").status_code == 204
    assert demo("GET", where).json() == {"tags": ["c"]}
    assert demo("DELETE", where).status_code == 204
    assert demo("GET", where, version="2.25").status_code == 404


def test_a_server_gets_another_name(demo: Asking, create: Any) -> None:
    server = create()
    change = {"server": {"name": "other", "description": "new", "accessIPv6": "::1"}}
    changed = demo("PUT", f"/servers/{server}", change).json()["server"]
    assert (changed["name"], changed["description"]) == ("other", "new")
    assert demo("GET", "/servers?name=other").json()["servers"][0]["id"] == server


def test_a_locked_server_is_left_alone(demo: Asking, admin: Asking, create: Any) -> None:
    server = create()
    act = f"/servers/{server}/action"
    assert demo("POST", act, {"lock": {"locked_reason": "mine"}}).status_code == 202
    assert demo("GET", f"/servers/{server}").json()["server"]["locked_reason"] == "mine"
    assert fault(demo("POST", act, {"os-stop": None})) == (409, "conflictingRequest")
    assert fault(demo("DELETE", f"/servers/{server}")) == (409, "conflictingRequest")
    assert demo("POST", act, {"unlock": None}).status_code == 202
    assert admin("POST", act, {"lock": None}).status_code == 202
    assert fault(demo("POST", act, {"unlock": None})) == (403, "forbidden")
    assert admin("DELETE", f"/servers/{server}").status_code == 204


def test_servers_are_found_by_what_is_said_of_them(demo: Asking, create: Any) -> None:
    one = create("one", tags=["x"], metadata={"n": "1"})
    two = create("two", tags=["x", "y"], flavorRef="2")

    def found(query: str) -> list[str]:
        return [server["id"] for server in demo("GET", f"/servers?{query}").json()["servers"]]

    assert {*found("")} == {one, two}
    assert found("name=^o") == [one]
    assert found("tags=x,y") == [two]
    assert {*found("tags-any=x,y")} == {one, two}
    assert found("not-tags=y") == [one]
    assert found("flavor=2") == [two]
    assert {*found("status=ACTIVE")} == {one, two}
    assert found("status=ERROR") == []
    assert found("sort_key=display_name&sort_dir=asc") == [one, two]
    assert found("sort_key=display_name&sort_dir=desc") == [two, one]
    assert found(f"sort_key=display_name&sort_dir=asc&limit=1&marker={one}") == [two]
    for bad in ("limit=x", f"marker={NOBODY}", "sort_key=password", "name=["):
        assert fault(demo("GET", f"/servers?{bad}")) == (400, "badRequest")


def test_a_console_has_an_address(demo: Asking, create: Any) -> None:
    server = create()
    wanted = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    console = demo("POST", f"/servers/{server}/remote-consoles", wanted).json()["remote_console"]
    assert console["url"].startswith("http")
    wanted["remote_console"]["type"] = "serial"
    assert fault(demo("POST", f"/servers/{server}/remote-consoles", wanted))[0] == 400


def test_what_two_creates_at_one_time_have_too_much_of_is_refused_later(
    booted: Cloud, demo: Asking, admin: Asking
) -> None:
    """LP#1806064: and the volume that was reserved for it is free again."""
    admin("PUT", f"/os-quota-sets/{demo.cloud.current_project_id}", {"quota_set": {"instances": 1}})
    booted.do("volume.create", "data")
    held = booted.hold("before build_request.create", actor="req-1")
    first = booted.begin("server.create", "first", actor="req-1", volumes=["data"], wait="")
    hit = booted.struck(held)
    booted.do("server.create", "second")
    hit.release()
    first.result(10)
    booted.settled()
    seen = {s["name"]: s for s in demo("GET", "/servers/detail").json()["servers"]}
    assert seen["second"]["status"] == "ACTIVE"
    assert seen["first"]["status"] == "ERROR"
    assert "Quota exceeded for instances" in seen["first"]["fault"]["message"]
    booted.do("volume.expect", "data", status="available")
    assert {a.consumer for a in booted.settled().allocations} == {seen["second"]["id"]}


def test_a_cell_that_cannot_be_asked_costs_a_list_the_details_of_its_servers(
    booted: Cloud, demo: Asking, create: Any
) -> None:
    server = create()
    database = booted.target.run_dir / "nova_cell1.sqlite"
    with closing(sqlite3.connect(database, isolation_level=None)) as cell:
        cell.execute("ALTER TABLE instances RENAME TO lost")
        try:
            answers = [
                demo("GET", "/servers/detail", version=v).json()["servers"]
                for v in ("2.68", "2.69")
            ]
        finally:
            cell.execute("ALTER TABLE lost RENAME TO instances")
    assert answers[0] == []
    assert [(seen["id"], seen["status"]) for seen in answers[1]] == [(server, "UNKNOWN")]
    assert demo("GET", "/servers/detail").json()["servers"][0]["status"] == "ACTIVE"


def test_an_operator_sees_where_servers_were_moved(
    booted: Cloud, demo: Asking, admin: Asking, create: Any
) -> None:
    server = create()
    demo("POST", f"/servers/{server}/action", {"resize": {"flavorRef": "2"}})
    booted.target.settle(10)
    (move,) = admin("GET", f"/os-migrations?instance_uuid={server}").json()["migrations"]
    assert (move["status"], move["migration_type"]) == ("finished", "resize")
    assert (move["old_instance_type_id"], move["new_instance_type_id"]) == ("1", "2")
    assert {move["source_compute"], move["dest_compute"]} == {"host1", "host2"}
    assert admin("GET", "/os-migrations?status=error").json()["migrations"] == []
    assert fault(demo("GET", "/os-migrations")) == (403, "forbidden")
