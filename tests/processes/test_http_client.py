"""What the client of a system's own HTTP servers makes of their answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chaos.operation import OperationFailed, OperationIndeterminate, Scope
from targets.http_client import HttpClient


class Echo(BaseHTTPRequestHandler):
    """``/409`` is answered with 409; ``/cut`` not at all; the answer tells what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: Any) -> None:
        what = self.path[1:]
        if what == "cut":
            self.close_connection = True
            return
        told: Any = {"body": body, "request": self.headers.get("X-Request-Id")}
        content = {"text": b"hello", "204": b""}.get(what, json.dumps(told).encode())
        self.send_response(int(what) if what.isdigit() else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def client() -> Iterator[HttpClient]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield HttpClient(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


SCOPE = Scope(None, request_id="r-1")


def test_json_goes_there_and_back_with_the_request_id(client: HttpClient) -> None:
    assert client.post(SCOPE, "/echo", {"a": [1]}) == {"body": {"a": [1]}, "request": "r-1"}


def test_a_scope_without_a_request_sends_none(client: HttpClient) -> None:
    assert client.get(Scope(None), "/echo") == {"body": None, "request": None}


def test_an_answer_that_is_no_json_is_text_and_an_empty_one_is_none(client: HttpClient) -> None:
    assert client.get(SCOPE, "/text") == "hello"
    assert client.get(SCOPE, "/204") is None


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_a_refusal_is_a_clear_no_with_its_code(client: HttpClient, status: int) -> None:
    with pytest.raises(OperationFailed, match=f"GET /{status}: {status}") as refused:
        client.get(SCOPE, f"/{status}")
    assert refused.value.status == status


@pytest.mark.parametrize("what", ["cut", "502", "503", "504"])
def test_an_answer_that_is_lost_here_or_behind_the_server_may_mean_either(
    client: HttpClient, what: str
) -> None:
    with pytest.raises(OperationIndeterminate, match=f"GET /{what}"):
        client.get(SCOPE, f"/{what}")


def test_what_is_lost_is_the_systems_to_say(client: HttpClient) -> None:
    with pytest.raises(OperationFailed):
        HttpClient(client.port, lost=()).get(SCOPE, "/503")


def test_no_answer_in_time_may_mean_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpClient(silent.getsockname()[1])
        with pytest.raises(OperationIndeterminate, match="timed out"):
            client.get(Scope(None, deadline_s=0.05), "/")


def test_nobody_who_listens_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OperationIndeterminate, match=f"nobody listens on port {port}"):
        HttpClient(port).get(SCOPE, "/")
