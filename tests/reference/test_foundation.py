"""Configuration, context, databases, and the client by which services call each other."""

from __future__ import annotations

import multiprocessing
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
import urllib3

from targets.embedded.quiet import Quiet
from targets.reference import config, context, tokens
from targets.reference.client import BadRequest, Conflict, NotFound, ServiceClient, Unreachable
from targets.reference.config import ConfigError, from_environment
from targets.reference.context import RequestContext
from targets.reference.database import Database, matching

NEEDED = {
    "REFERENCE_SERVICE": "volume",
    "REFERENCE_RUN_DIR": "/run/reference",
    "REFERENCE_TOKEN_SECRET": "s" * 32,
}


@pytest.fixture
def as_service(peripherals: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process call the services as one of them."""
    endpoints = ",".join(f"{name}={peripherals.url(name)}" for name in peripherals.services)
    for name, value in {**NEEDED, "REFERENCE_ENDPOINTS": endpoints}.items():
        monkeypatch.setenv(name, value)
    config.current.cache_clear()
    with context.use(tokens.service_context("req-service")):
        yield
    config.current.cache_clear()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[Database, sa.Table]]:
    metadata = sa.MetaData()
    table = sa.Table("counter", metadata, sa.Column("value", sa.Integer))
    database = Database(f"sqlite:///{tmp_path}/test.sqlite")
    database.create(metadata)
    with database.transaction() as connection:
        connection.execute(table.insert(), {"value": 0})
    yield database, table
    database.engine.dispose()


def test_everything_that_the_environment_lacks_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match="REFERENCE_RUN_DIR, REFERENCE_TOKEN_SECRET"):
        from_environment({"REFERENCE_SERVICE": "volume"})


@pytest.mark.parametrize(
    ("name", "value"), [("REFERENCE_PORT", "http"), ("REFERENCE_ENDPOINTS", "volume")]
)
def test_a_malformed_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        from_environment({**NEEDED, name: value})


def test_an_unknown_endpoint_is_an_error_that_names_the_known_ones() -> None:
    found = from_environment({**NEEDED, "REFERENCE_ENDPOINTS": "image=http://x,volume=http://y/"})
    with pytest.raises(ConfigError, match="`network`; it names image, volume"):
        found.endpoint("network")


def test_a_database_is_a_file_in_the_run_directory_unless_a_url_is_given() -> None:
    urls = [
        str(from_environment({**NEEDED, **more}).database_url("volume"))
        for more in ({}, {"REFERENCE_DATABASE": "postgresql://db/{name}"})
    ]
    assert urls == ["sqlite:////run/reference/volume.sqlite", "postgresql://db/volume"]


def test_a_context_survives_its_way_through_a_message() -> None:
    sent = RequestContext("req-1", "project", "demo", "token", ("member",))
    assert RequestContext.from_message(sent.to_message()) == sent


def test_a_token_is_good_until_it_is_out_of_date(
    as_service: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens.issue("her", "project", ("member",))
    known = tokens.verify(token)
    assert (known.user_id, known.roles) == ("her", ("member",))
    monkeypatch.setattr("targets.reference.tokens.time.time", lambda: known.expires_at - 1)
    assert tokens.verify(token) == known
    monkeypatch.setattr("targets.reference.tokens.time.time", lambda: known.expires_at)
    with pytest.raises(tokens.InvalidToken, match="out of date"):
        tokens.verify(token)


def test_a_token_of_another_control_plane_is_none(as_service: None) -> None:
    token = tokens.issue("her", "project", ("member",))
    tokens.verify(token)
    forged = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "x" * 32, "HS256")
    with pytest.raises(tokens.InvalidToken):
        tokens.verify(forged)


def test_a_thread_that_serves_no_request_has_no_request_id() -> None:
    seen: list[str | None] = []
    with context.use(RequestContext("req-1")):
        stranger = threading.Thread(target=lambda: seen.append(context.current_request_id()))
        stranger.start()
        stranger.join()
        seen.append(context.current_request_id())
    assert seen == [None, "req-1"]


def test_writers_wait_for_each_other_and_lose_no_update(database: Any) -> None:
    counter, table = database

    def count() -> None:
        for _ in range(20):
            with counter.transaction() as connection:
                value = connection.scalar(sa.select(table.c.value))
                connection.execute(table.update().values(value=value + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with counter.read() as connection:
        assert connection.scalar(sa.select(table.c.value)) == 80


def _open_new(directory: Path, together: Any) -> None:
    metadata = sa.MetaData()
    table = sa.Table("counter", metadata, sa.Column("value", sa.Integer))
    for number in range(100):
        together.wait()
        database = Database(f"sqlite:///{directory}/{number}.sqlite")
        database.create(metadata)
        with database.transaction() as connection:
            connection.execute(table.insert(), {"value": 1})


@pytest.mark.slow
def test_processes_may_open_a_new_database_at_the_same_time(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    together = processes.Barrier(3, timeout=10)
    openers = [processes.Process(target=_open_new, args=(tmp_path, together)) for _ in range(3)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * 3


def test_an_exception_undoes_its_transaction(database: Any) -> None:
    counter, table = database
    with pytest.raises(RuntimeError), counter.transaction() as connection:  # noqa: PT012
        connection.execute(table.update().values(value=1))
        raise RuntimeError
    with counter.read() as connection:
        assert connection.scalar(sa.select(table.c.value)) == 0


def test_a_reader_does_not_wait_for_a_writer(database: Any) -> None:
    counter, table = database
    with counter.transaction() as writer, counter.read() as reader:
        writer.execute(table.update().values(value=1))
        assert reader.scalar(sa.select(table.c.value)) == 0


@pytest.mark.parametrize(
    ("equal", "found"),
    [({}, [None, 0, 1]), ({"value": 1}, [1]), ({"value": 0}, [0]), ({"value": None}, [None])],
)
def test_rows_are_found_by_what_their_columns_hold(
    database: Any, equal: dict[str, object], found: list[int | None]
) -> None:
    counter, table = database
    with counter.transaction() as connection:
        connection.execute(table.insert(), [{"value": 1}, {"value": None}])
    with counter.read() as connection:
        assert list(connection.scalars(*matching(table, equal, "value"))) == found


@pytest.mark.parametrize(
    ("error", "method", "path"),
    [
        (NotFound, "GET", "/v3/volumes/none"),
        (BadRequest, "POST", "/v3/volumes"),
    ],
)
def test_an_errors_status_becomes_its_type(
    as_service: None, error: type[Exception], method: str, path: str
) -> None:
    with pytest.raises(error):
        ServiceClient("volume").request(method, path, {})


def test_a_conflict_is_told_apart(as_service: None) -> None:
    placement = ServiceClient("placement")
    placement.post("/resource_providers", {"name": "twice"})
    with pytest.raises(Conflict, match="409"):
        placement.post("/resource_providers", {"name": "twice"})


def test_the_request_id_travels_to_the_other_service(as_service: None) -> None:
    answer = ServiceClient("image").request("GET", "/v2/images")
    assert answer.headers["x-openstack-request-id"] == "req-service"


def test_a_dead_service_is_unreachable(as_service: None, peripherals: Any) -> None:
    images = ServiceClient("image")
    images.get("/v2/images")
    peripherals.services["image"].kill()
    try:
        with pytest.raises(Unreachable, match="image gave no answer"):
            images.post("/v2/images", {})
    finally:
        peripherals.services["image"].start()


def test_a_service_that_comes_back_soon_is_waited_for(as_service: None, peripherals: Any) -> None:
    images = ServiceClient("image")
    images.get("/v2/images")
    peripherals.services["image"].kill()
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(_images(images)))
    asking.start()
    peripherals.services["image"].start()
    asking.join(10)
    assert [image["name"] for image in found[0]] == ["cirros"]


def _images(client: ServiceClient) -> list[dict[str, Any]]:
    with context.use(tokens.service_context()):
        found: list[dict[str, Any]] = client.get("/v2/images")["images"]
        return found


@pytest.fixture
def quiet(peripherals: Any) -> Iterator[Quiet]:
    quiet = Quiet(peripherals.run_dir)
    yield quiet
    quiet.close()


def test_a_service_tells_when_it_is_quiet(peripherals: Any, quiet: Quiet) -> None:
    before = quiet.ask(["image"], 1.0)["image"]
    with urllib3.PoolManager() as pool:
        pool.request("GET", peripherals.url("image") + "/v2/images")
    after = quiet.ask(["image"], 1.0)["image"]
    assert (after.served - before.served, after.active) == (1, ())


def test_a_service_is_never_called_quiet_while_it_serves(peripherals: Any, quiet: Quiet) -> None:
    asked = threading.Event()

    def ask() -> None:
        with urllib3.PoolManager() as pool:
            while not asked.is_set():
                pool.request("GET", peripherals.url("image") + "/v2/images")

    asking = threading.Thread(target=ask)
    asking.start()
    answers = [quiet.ask(["image"], 5.0)["image"].active for _ in range(200)]
    asked.set()
    asking.join()
    assert answers == [()] * 200


def test_a_request_that_was_sent_before_the_question_counts(peripherals: Any, quiet: Quiet) -> None:
    address = ("127.0.0.1", peripherals.port("image"))
    request = b"GET /v2/images HTTP/1.1\r\nHost: image\r\n\r\n"
    served = quiet.ask(["image"], 5.0)["image"].served
    for number in range(1, 101):
        with socket.create_connection(address) as connection:  # a new one each time
            connection.sendall(request)
            assert quiet.ask(["image"], 5.0)["image"].served == served + number


def test_a_service_that_is_frozen_or_gone_is_not_called_quiet(
    peripherals: Any, quiet: Quiet
) -> None:
    image = peripherals.services["image"]
    image.freeze()
    assert quiet.ask(["image"], 0.0)["image"].active == ("nothing, it does not answer",)
    image.thaw()
    assert quiet.ask(["image"], 5.0)["image"].active == ()
    image.kill()
    assert quiet.ask(["image"], 5.0)["image"].active == ("nothing, it does not answer",)
    image.start()
    assert quiet.ask(["image"], 5.0)["image"].active == ()


def test_only_the_owner_of_the_run_directory_can_ask(peripherals: Any) -> None:
    mode = peripherals.run_dir.stat().st_mode
    assert stat.S_ISSOCK((peripherals.run_dir / "image.quiet").stat().st_mode)
    assert mode & 0o077 == 0
