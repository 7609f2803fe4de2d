"""Other users of the machine can neither log in, nor reach the bus, nor exhaust a service."""

from __future__ import annotations

import http.client
import json
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import urllib3

from chaos.operation import Scope
from targets.embedded.target import Embedded
from targets.reference.bus import Bus, BusUnreachable
from targets.reference.bus.frames import MOST_BYTES, BadFrame, Decoder, encode
from targets.reference.config import from_environment
from targets.reference.database import Database
from tests.reference.conftest import instrumentation
from tests.reference.test_foundation import NEEDED

LIMIT_S = 10.0
ELSEWHERE = "http://127.0.0.1:9"
"""A proxy where nobody listens."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The control plane in a directory of an odd name, among variables that are not its own."""
    target = Embedded()
    run_dir = tmp_path_factory.mktemp("odd") / "a #b?c%20d{e}&'f"
    run_dir.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFERENCE_BIND", "0.0.0.0")
        patch.setenv("REFERENCE_DATABASE", "sqlite:////nowhere/{name}")
        patch.setenv("REFERENCE_CELLS", "elsewhere")
        for name in ("http_proxy", "all_proxy"):
            patch.setenv(name, ELSEWHERE)
        for name in ("no_proxy", "NO_PROXY"):
            patch.delenv(name, raising=False)
        target.start(instrumentation(run_dir), frozenset())
        yield target
        target.stop()


def test_it_works_wherever_it_is_and_whatever_its_callers_environment_says(odd: Embedded) -> None:
    scope = Scope(odd.client(), request_id="req-test")
    odd.operations["server.create"].function(scope, "vm")
    odd.operations["server.wait"].function(scope, "vm", status="ACTIVE")
    odd.settle(LIMIT_S)

    assert len(odd.observe().instances) == 1
    databases = {path.name for path in odd.run_dir.glob("*.sqlite")}
    assert {"nova_api.sqlite", "nova_cell1.sqlite", "placement.sqlite"} <= databases


def test_only_this_machine_reaches_it(odd: Embedded) -> None:
    ours = {f"{odd.port(name):04X}" for name in odd.topology.port_names}
    listening = [
        fields[1].partition(":")
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := row.split())[3] == "0A"
    ]
    assert {address for address, _, port in listening if port in ours} == {"0100007F"}


def test_who_may_not_read_the_runs_files_does_not_know_the_password(odd: Embedded) -> None:
    assert stat.S_IMODE(odd.clouds_yaml.stat().st_mode) == 0o600
    assert not {*_secrets(odd)} & {*_secrets(Embedded())}


def _secrets(target: Embedded) -> list[str]:
    environment = target.topology.environment
    return [environment[name] for name in ("REFERENCE_PASSWORD", "REFERENCE_TOKEN_SECRET")]


@pytest.mark.parametrize("password", ["secret", "", None, 0, "\ufdff", [], {}])
def test_nobody_logs_in_with_another_password(odd: Embedded, password: Any) -> None:
    user = {"name": "admin", "domain": {"id": "default"}, "password": password}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    url = f"http://127.0.0.1:{odd.port('identity')}/v3/auth/tokens"
    with urllib3.PoolManager(retries=False) as pool:
        assert pool.request("POST", url, body=json.dumps({"auth": auth})).status == 401


# ---------------------------------------------------------------------- the bus


@pytest.fixture
def stranger(odd: Embedded) -> Iterator[socket.socket]:
    """A connection to the bus by somebody who has no token."""
    with socket.create_connection(("127.0.0.1", odd.port("bus")), LIMIT_S) as connection:
        yield connection


def heard(connection: socket.socket) -> list[dict[str, Any]]:
    """All that is said until the other end hangs up."""
    decoder = Decoder()
    found: list[dict[str, Any]] = []
    try:
        while data := connection.recv(1 << 16):
            found += decoder.feed(data)
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "frame",
    [
        {"op": "purge", "id": 1},
        {"op": "publish", "id": 1, "queue": "compute.host1", "body": {}},
        {"op": "stats", "id": 1},
        {"op": "hello", "token": "guessed"},
        {"op": "hello"},
        {"op": "hello", "token": None},
    ],
)
def test_a_stranger_is_refused_by_the_bus(
    odd: Embedded, stranger: socket.socket, frame: dict[str, Any]
) -> None:
    stranger.sendall(encode(frame) + encode({"op": "stats", "id": 2}))

    assert heard(stranger) == [{"op": "refused"}]


@pytest.mark.parametrize(
    "data",
    [
        (200 << 20).to_bytes(4, "big"),
        (2 << 10).to_bytes(4, "big"),
        b"\0\0\0\1{",
        b"\0\0\0\2[]",
        b"\0\0\1\xf4" + b"[" * 500,
    ],
    ids=["200 MiB", "2 KiB", "no JSON", "no object", "deep"],
)
def test_the_bus_hangs_up_on_a_stranger_who_sends_too_much_or_no_frame(
    stranger: socket.socket, data: bytes
) -> None:
    stranger.sendall(data)

    assert heard(stranger) == []


def test_a_client_with_a_wrong_token_is_told_so(odd: Embedded) -> None:
    bus = Bus(f"127.0.0.1:{odd.port('bus')}", "guessed")
    with closing(bus), pytest.raises(BusUnreachable, match="the broker refused the token"):
        bus.purge()


def test_a_frame_that_is_too_long_is_not_awaited() -> None:
    with pytest.raises(BadFrame, match="where 8388608 are allowed"):
        list(Decoder().feed((MOST_BYTES + 1).to_bytes(4, "big")))


# ---------------------------------------------------------------------- bodies


@pytest.mark.parametrize("path", ["/v3/auth/tokens", "/v3/auth/catalog"])
def test_a_body_without_an_end_is_not_awaited(odd: Embedded, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", odd.port("identity"), timeout=LIMIT_S)
    with closing(connection):
        connection.putrequest("POST", path)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for _ in range(17):
            connection.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

        # Without the last chunk, which says that this is all.
        assert connection.getresponse().status in {401, 405, 413}


@pytest.mark.parametrize("length", ["x", "-1", "9" * 5000])
def test_a_length_that_is_none_is_refused(odd: Embedded, length: str) -> None:
    with socket.create_connection(("127.0.0.1", odd.port("identity")), LIMIT_S) as connection:
        head = f"POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).split()[1][:1] == b"4"


# ---------------------------------------------------------------------- files


def test_a_database_stands_where_the_run_directory_is_whatever_that_is_called(
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "a?b#c%20{d}"
    run_dir.mkdir()
    url = from_environment({**NEEDED, "REFERENCE_RUN_DIR": str(run_dir)}).database_url("volume")
    database = Database(url)
    database.create(sa.MetaData())
    database.engine.dispose()

    assert [path.name for path in run_dir.iterdir()] == ["volume.sqlite"]
    assert len([*tmp_path.iterdir()]) == 1
