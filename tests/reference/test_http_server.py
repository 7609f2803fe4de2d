"""The server of the reference: what clients send, whole or not, and what is in flight meanwhile."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from targets.reference.http_server import MAX_BODY_BYTES, MAX_HEAD_BYTES, Answer, Asked, HttpServer
from targets.reference.quiet import Quiet

DEADLINE_S = 30.0
HOST = b"Host: here\r\n"
UNREAD = "a request that was not read yet"


class Echo:
    """Tells what it was asked, and answers ``/held`` no sooner than it is let go."""

    def __init__(self) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/held":
            self.reached.set()
            self.let_go.wait(DEADLINE_S)
        if asked.path == "/nothing":
            return Answer(204)
        if asked.body is None:
            return Answer(413)
        told = {
            "method": asked.method, "path": asked.path, "query": asked.query,
            "headers": dict(asked.headers), "body": asked.body.decode(),
        }  # fmt: skip
        return Answer(200, json.dumps(told).encode(), {"x-told": "yes"})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


@pytest.fixture
def connect(echo: Echo, quiet: Quiet) -> Iterator[Callable[[], socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = HttpServer(listener, quiet, echo)
    server.start()
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(address, DEADLINE_S))
        return opened[-1]

    yield connect
    echo.let_go.set()
    for connection in opened:
        connection.close()
    server.stop()
    assert quiet.wait(DEADLINE_S)[1] == []


@pytest.fixture
def client(connect: Callable[[], socket.socket]) -> socket.socket:
    return connect()


def answer(client: socket.socket, method: str = "GET") -> tuple[int, Message, bytes]:
    with HTTPResponse(client, method=method) as response:
        response.begin()
        return response.status, response.headers, response.read()


def told(client: socket.socket) -> Any:
    return json.loads(answer(client)[2])


def is_closed(client: socket.socket) -> bool:
    return client.recv(1) == b""


def test_what_was_asked_comes_whole(client: socket.socket) -> None:
    body = b"x" * 10
    client.sendall(
        b"PUT /a%20b/c?d=e&f HTTP/1.1\r\n" + HOST + b"X-One: 1\r\nx-one: 2\r\n"
        b"Content-Length: 10\r\n\r\n" + body
    )
    _, headers, body_of_answer = answer(client)
    asked = json.loads(body_of_answer)
    assert headers["x-told"] == "yes"
    assert (asked["method"], asked["path"], asked["query"]) == ("PUT", "/a b/c", "d=e&f")
    assert (asked["body"], asked["headers"]["x-one"]) == (body.decode(), "1, 2")


def test_a_request_may_come_in_single_bytes(client: socket.socket) -> None:
    request = b"POST /slow HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nok"
    for number in range(len(request)):
        client.sendall(request[number : number + 1])
    assert told(client)["body"] == "ok"


def test_a_body_may_come_in_chunks(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    client.sendall(b"1\r\nc\r\n0\r\n\r\n")
    assert told(client)["body"] == "abc"


def test_several_requests_may_be_sent_at_once(client: socket.socket, quiet: Quiet) -> None:
    requests = [b"GET /%d HTTP/1.1\r\n" % number + HOST + b"\r\n" for number in range(3)]
    client.sendall(b"".join(requests) + b"GET /3")
    client.sendall(b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    with client.makefile("rb") as file:
        received = file.read().decode()
    assert re.findall(r'"path": "(.*?)"', received) == ["/0", "/1", "/2", "/3"]
    assert quiet.wait(DEADLINE_S) == (4, [])


def test_a_connection_is_used_again_until_the_client_has_enough(client: socket.socket) -> None:
    for _ in range(3):
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer(client)[2]
    client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer(client)[2]
    assert is_closed(client)


def test_a_head_is_answered_without_a_body(client: socket.socket) -> None:
    client.sendall(b"HEAD /it HTTP/1.1\r\n" + HOST + b"\r\n")
    status, headers, _ = answer(client, "HEAD")
    assert (status, int(headers["content-length"]) > 0) == (200, True)
    client.sendall(b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(client)["path"] == "/next"


def test_nothing_is_said_of_the_length_of_no_content(client: socket.socket) -> None:
    client.sendall(b"DELETE /nothing HTTP/1.1\r\n" + HOST + b"\r\n")
    status, headers, _ = answer(client)
    assert (status, "content-length" in headers) == (204, False)


def test_who_waits_to_be_asked_for_the_body_is_asked(client: socket.socket) -> None:
    client.sendall(
        b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"ok")
    assert told(client)["body"] == "ok"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        b"Content-Length: 99999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY_BYTES + 1),
    ],
    ids=["declared", "declared as huge", "chunked"],
)
def test_a_body_that_is_too_long_is_refused_and_the_answer_arrives(
    client: socket.socket, head: bytes
) -> None:
    client.sendall(b"PUT / HTTP/1.1\r\n" + HOST + head)
    client.sendall(b"x" * (MAX_BODY_BYTES + 1))
    assert answer(client)[0] == 413
    assert is_closed(client)


def test_headers_without_an_end_are_refused(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 3 * MAX_HEAD_BYTES)
    assert answer(client)[0] == 431


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: two\r\n\r\n", b"\x16\x03\x01\x00"],
)
def test_what_is_no_http_is_refused(client: socket.socket, sent: bytes) -> None:
    client.sendall(sent)
    assert answer(client)[0] == 400
    assert is_closed(client)


def test_another_protocol_is_declined(client: socket.socket) -> None:
    client.sendall(
        b"GET /it HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert told(client)["path"] == "/it"
    assert is_closed(client)


def test_a_request_is_in_flight_until_it_is_answered(
    client: socket.socket, echo: Echo, quiet: Quiet
) -> None:
    client.sendall(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
    assert echo.reached.wait(DEADLINE_S)
    assert quiet.wait(0.0) == (0, ["GET /held"])
    echo.let_go.set()
    assert quiet.wait(DEADLINE_S) == (1, [])
    assert told(client)["path"] == "/held"


def test_who_asks_is_told_as_soon_as_nothing_is_in_flight(
    client: socket.socket, echo: Echo, quiet: Quiet
) -> None:
    client.sendall(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(quiet.wait(DEADLINE_S)))
    asking.start()
    assert echo.reached.wait(DEADLINE_S)
    assert found == []
    echo.let_go.set()
    asking.join(DEADLINE_S)
    assert found == [(1, [])]


def test_a_request_whose_body_is_to_come_is_in_flight(client: socket.socket, quiet: Quiet) -> None:
    client.sendall(b"PUT /it HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n")
    while (found := quiet.wait(0.0)[1]) in ([], [UNREAD]):
        pass
    assert found == ["PUT /it"]
    client.sendall(b"ok")
    assert told(client)["body"] == "ok"


def test_who_connects_and_says_nothing_is_not_in_flight(
    connect: Callable[[], socket.socket], quiet: Quiet
) -> None:
    for _ in range(5):
        connect()
    assert quiet.wait(DEADLINE_S) == (0, [])
    assert quiet.connections == 5


@pytest.mark.parametrize("sent", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"])
def test_who_goes_away_leaves_nothing_in_flight(
    client: socket.socket, quiet: Quiet, sent: bytes
) -> None:
    client.sendall(sent)
    client.close()
    while quiet.connections or quiet.wait(DEADLINE_S)[1]:
        pass
    assert quiet.wait(DEADLINE_S)[1] == []


def test_who_goes_away_while_he_is_served_disturbs_nobody(
    client: socket.socket, connect: Callable[[], socket.socket], echo: Echo, quiet: Quiet
) -> None:
    client.sendall(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
    assert echo.reached.wait(DEADLINE_S)
    client.close()
    other = connect()
    other.sendall(b"GET /other HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(other)["path"] == "/other"
    echo.let_go.set()
    assert quiet.wait(DEADLINE_S) == (2, [])


def test_many_clients_are_served_at_the_same_time(
    connect: Callable[[], socket.socket], echo: Echo, quiet: Quiet
) -> None:
    clients = [connect() for _ in range(50)]
    for one in clients:
        one.sendall(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
    while quiet.wait(0.0)[1] != ["GET /held"] * 50:
        pass
    echo.let_go.set()
    assert [told(one)["path"] for one in clients] == ["/held"] * 50
    assert quiet.wait(DEADLINE_S) == (50, [])


def test_too_many_connections_are_closed_and_the_others_go_on(
    connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("targets.reference.http_server._MAX_CONNECTIONS", 1)
    first = connect()
    first.sendall(b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(first)["path"] == "/1"
    assert is_closed(connect())
    first.sendall(b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(first)["path"] == "/2"


def test_who_can_have_no_thread_is_refused_and_the_others_go_on(
    connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch, quiet: Quiet
) -> None:
    first = connect()
    first.sendall(b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(first)["path"] == "/1"

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr("targets.reference.http_server.threading.Thread.start", start)
        assert is_closed(connect())
    assert quiet.connections == 1
    first.sendall(b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(first)["path"] == "/2"
    later = connect()
    later.sendall(b"GET /3 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told(later)["path"] == "/3"


def test_a_server_that_stops_lets_what_is_in_flight_end() -> None:
    quiet, echo = Quiet(), Echo()
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    server = HttpServer(listener, quiet, echo)
    server.start()
    connection = HTTPConnection(host, port, timeout=DEADLINE_S)
    connection.request("GET", "/held")
    assert echo.reached.wait(DEADLINE_S)
    echo.let_go.set()
    server.stop()
    response = connection.getresponse()
    assert (response.status, response.read() != b"") == (200, True)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))
    connection.close()
