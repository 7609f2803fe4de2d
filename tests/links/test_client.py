"""The client of toxiproxy, on the real server; what no real server does, on a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaos.errors import TargetError
from chaos.safety.program import launch
from targets.links.client import NoSuchProxy, Server, ToxiproxyError
from targets.links.proxied import Take
from targets.links.proxies import VARIABLE, Proxies, binary


def test_a_toxic_is_added_changed_and_removed(server: Server) -> None:
    added = server.add("client>api", "slow", "latency", "downstream", {"latency": 5})
    assert (added.type, added.attributes) == ("latency", {"latency": 5, "jitter": 0})
    changed = server.update("client>api", "slow", {"latency": 7})
    assert changed.attributes["latency"] == 7
    assert server.toxics("client>api")["slow"].attributes["latency"] == 7
    server.remove("client>api", "slow")
    assert server.toxics("client>api") == {}


def test_a_proxy_is_switched_off_and_on(server: Server) -> None:
    server.enable("client>api", False)
    assert not server.proxies()["client>api"].enabled
    server.enable("client>api")
    assert server.proxies()["client>api"].enabled


def test_what_is_not_there_is_named(server: Server) -> None:
    with pytest.raises(NoSuchProxy, match="proxy not found"):
        server.enable("no-such-proxy")
    with pytest.raises(NoSuchProxy, match="toxic not found"):
        server.remove("client>api", "no-such-toxic")


def test_a_kind_of_toxic_that_does_not_exist_is_refused(server: Server) -> None:
    with pytest.raises(ToxiproxyError, match="invalid toxic type"):
        server.add("client>api", "bad", "no-such-kind", "upstream", {})


def test_a_toxic_that_is_there_already_is_told(server: Server) -> None:
    server.add("client>api", "one", "latency", "upstream", {})
    with pytest.raises(ToxiproxyError, match="already exists"):
        server.add("client>api", "one", "latency", "upstream", {})


def test_two_clients_have_a_server_each(proxies: Proxies, toxiproxy: str, tmp_path: Path) -> None:
    other = Proxies([("client", "other")])
    other.open({"other": "127.0.0.1:1"}, tmp_path / "other", "test", launch, 30)
    try:
        assert [*proxies["client>api"].server.proxies()] == ["client>api"]
        assert [*other["client>other"].server.proxies()] == ["client>other"]
    finally:
        other.close()


def test_undoing_takes_a_toxic_away_once_and_does_nothing_again(
    proxies: Proxies, server: Server
) -> None:
    server.add("client>api", "latency-upstream", "latency", "upstream", {})
    undo = Take("127.0.0.1", server.port, "client>api", "latency", "upstream")
    undo.undo()
    assert server.toxics("client>api") == {}
    undo.undo()
    proxies.close()
    undo.undo()  # the server has taken its toxics along


# ---------------------------------------------------------------------- no good server


@pytest.fixture
def answering() -> Iterator[tuple[int, list[bytes]]]:
    """A port, and what whoever asks there is told; nothing: he waits."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as held:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.enter_context(connection)
                if answers:
                    connection.recv(1 << 16)
                    connection.sendall(answers.pop(0))
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], answers
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_error_of_the_server_is_an_error(answering: tuple[int, list[bytes]]) -> None:
    port, answers = answering
    answers.append(b"HTTP/1.0 500 Oh\r\nContent-Length: 2\r\n\r\n{}")
    with pytest.raises(ToxiproxyError, match="500 Server Error"):
        Server("127.0.0.1", port).version()


def test_a_server_that_does_not_answer_is_not_waited_for(
    answering: tuple[int, list[bytes]],
) -> None:
    port, _ = answering
    with pytest.raises(ToxiproxyError, match="timed out"):
        Server("127.0.0.1", port, limit_s=0.05).version()


def test_nobody_there_is_told() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(ToxiproxyError, match="Connection refused"):
            Server("127.0.0.1", held.getsockname()[1]).version()


def test_a_binary_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/no/such/toxiproxy")
    with pytest.raises(TargetError, match="CHAOS_TOXIPROXY names /no/such/toxiproxy"):
        binary()
