from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openstack import exceptions


@pytest.fixture
def volume(cloud: Any) -> Any:
    return cloud.block_storage.create_volume(name="data", size=1)


def attach(cloud: Any, volume: Any, connector: dict[str, str] | None = None) -> Any:
    body = {"volume_uuid": volume.id, "instance_uuid": str(uuid.uuid4()), "connector": connector}
    return cloud.block_storage.post(
        "/attachments", json={"attachment": body}, microversion="3.44", raise_exc=False
    )


def status(cloud: Any, volume: Any) -> str:
    return str(cloud.block_storage.get_volume(volume.id).status)


def test_an_attachment_takes_its_volume_from_reserved_to_in_use_and_back(
    cloud: Any, volume: Any
) -> None:
    seen = [volume.status]
    attachment = attach(cloud, volume).json()["attachment"]
    seen.append(status(cloud, volume))
    cloud.block_storage.update_attachment(attachment["id"], connector={"host": "host1"})
    seen.append(status(cloud, volume))
    cloud.block_storage.complete_attachment(attachment["id"])
    seen.append(status(cloud, volume))
    cloud.block_storage.delete_attachment(attachment["id"])
    seen.append(status(cloud, volume))
    assert seen == ["available", "reserved", "attaching", "in-use", "available"]


def test_a_volume_in_use_names_its_server_and_host(cloud: Any, volume: Any) -> None:
    attachment = attach(cloud, volume, {"host": "host1"}).json()["attachment"]
    cloud.block_storage.complete_attachment(attachment["id"])
    (shown,) = cloud.block_storage.get_volume(volume.id).attachments
    assert (shown["server_id"], shown["host_name"]) == (attachment["instance"], "host1")


def test_only_one_of_many_racing_attachments_reserves_a_volume(cloud: Any, volume: Any) -> None:
    with ThreadPoolExecutor(8) as racers:
        answers = list(racers.map(lambda _: attach(cloud, volume).status_code, range(8)))
    assert sorted(answers) == [200] + [400] * 7


def test_a_reserved_volume_cannot_be_deleted(cloud: Any, volume: Any) -> None:
    attach(cloud, volume)
    with pytest.raises(exceptions.BadRequestException, match="reserved"):
        cloud.block_storage.delete_volume(volume.id)


def test_racing_deletions_of_one_volume_all_succeed_or_find_it_gone(
    cloud: Any, volume: Any
) -> None:
    def delete(_: int) -> int:
        answer = cloud.block_storage.delete(f"/volumes/{volume.id}", raise_exc=False)
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as racers:
        answers = set(racers.map(delete, range(8)))
    assert 202 in answers
    assert answers <= {202, 404}


def test_a_deletion_that_a_crash_interrupted_ends_when_the_service_is_back(
    cloud: Any, volume: Any, peripherals: Any
) -> None:
    import sqlite3
    from contextlib import closing

    peripherals.services["volume"].kill()
    with closing(sqlite3.connect(peripherals.run_dir / "volume.sqlite")) as database:
        database.execute("UPDATE volumes SET status='deleting' WHERE id=?", (volume.id,))
        database.commit()
    peripherals.services["volume"].start()
    with pytest.raises(exceptions.NotFoundException):
        cloud.block_storage.get_volume(volume.id)


def test_deleting_an_attachment_twice_says_not_found(cloud: Any, volume: Any) -> None:
    attachment = attach(cloud, volume).json()["attachment"]
    cloud.block_storage.delete_attachment(attachment["id"])
    with pytest.raises(exceptions.NotFoundException):
        cloud.block_storage.delete_attachment(attachment["id"], ignore_missing=False)


@pytest.mark.parametrize("size", [0, -1, "big", None])
def test_a_volume_of_no_sensible_size_is_refused(cloud: Any, size: Any) -> None:
    with pytest.raises(exceptions.BadRequestException):
        cloud.block_storage.create_volume(name="bad", size=size)


def test_a_volume_of_another_project_is_not_found(peripherals: Any, cloud: Any) -> None:
    from openstack import connect

    volume = cloud.block_storage.create_volume(size=1, name="his")
    other = connect(
        load_yaml_config=False, load_envvars=False, auth_url=peripherals.url("identity") + "/v3",
        username="alt_demo", password="secret", project_name="alt_demo", user_domain_id="default",
        project_domain_id="default", region_name="RegionOne",
    )  # fmt: skip
    try:
        for method in ("GET", "DELETE"):
            answer = other.block_storage.request(f"/volumes/{volume.id}", method, raise_exc=False)
            assert answer.status_code == 404
        assert other.block_storage.get("/volumes").json() == {"volumes": []}
    finally:
        other.close()
    assert cloud.block_storage.get_volume(volume.id).name == "his"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/volumes", None),
        ("/volumes", {"volume": {"size": 0}}),
        ("/volumes", {"volume": {"size": 10**30}}),
        ("/volumes", {"volume": {"size": 1, "name": 7}}),
        ("/volumes", {"volume": {"size": 1, "metadata": {"a": 1}}}),
        ("/volumes", {"volume": {"size": 1, "imageRef": "nothing"}}),
        ("/attachments", {"attachment": {"instance_uuid": "x"}}),
        ("/volumes/x/action", {"dance": {}}),
    ],
)
def test_a_volume_that_is_none_is_a_bad_request(cloud: Any, path: str, body: Any) -> None:
    answer = cloud.block_storage.post(path, json=body, raise_exc=False)
    assert (answer.status_code, answer.json()["badRequest"]["code"]) == (400, 400)


def test_only_an_administrator_makes_volume_types(cloud: Any) -> None:
    wanted = {"volume_type": {"name": "fast"}}
    answer = cloud.block_storage.post("/types", json=wanted, raise_exc=False)
    assert (answer.status_code, answer.json()["forbidden"]["code"]) == (403, 403)


def test_a_volume_is_renamed_described_and_made_larger(cloud: Any) -> None:
    volumes = cloud.block_storage
    volume = volumes.create_volume(size=1, name="small", metadata={"a": "1", "b": "2"})
    volumes.update_volume(volume, name="large", description="of all")
    volumes.extend_volume(volume, 3)
    volumes.set_volume_metadata(volume, c="3")
    volumes.delete_volume_metadata(volume.id, ["a"])
    seen = volumes.get_volume(volume.id)
    assert (seen.name, seen.description, seen.size) == ("large", "of all", 3)
    assert seen.metadata == {"b": "2", "c": "3"}
    refused = volumes.post(
        f"/volumes/{volume.id}/action", json={"os-extend": {"new_size": 2}}, raise_exc=False
    )
    assert refused.status_code == 400
