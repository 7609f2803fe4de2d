"""HTTP/1.1 on a listening socket: each connection has a thread that reads, has answered and writes.

A request is held, fails or dies in the one thread that serves it, and no other has to be woken for
it: in a process with a handful of clients that takes a third of what an event loop with a pool of
threads does. httptools (Node's parser) reads the protocol.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

import httptools

from targets.reference.quiet import Quiet

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 1 << 20
MAX_HEAD_BYTES = 1 << 16
"""Beyond the first piece that is read."""
_MAX_CONNECTIONS = 1000
"""More are closed at once: each takes a thread."""
_GRACE_S = 1.0
"""How long what is in flight may take to end, once the service was asked to end."""
_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came.

    Names of ``headers`` are in lower case. ``body`` is None when it was longer than allowed.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written; ``headers`` without the body's length."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Respond = Callable[[Asked], Answer]


class HttpServer:
    """Serves a listening socket."""

    def __init__(self, listener: socket.socket, quiet: Quiet, respond: Respond) -> None:
        self._listener = listener
        self._quiet = quiet
        self._respond = respond
        self._refused = False
        listener.setblocking(False)
        quiet.accepting(self._accept)

    def start(self) -> None:
        """Serve from now on, in threads of its own."""
        threading.Thread(target=self._welcome, name="accept", daemon=True).start()

    def stop(self) -> None:
        """Accept nobody any more, and let what is in flight end, for a moment."""
        self._quiet.accepting(lambda: None)
        self._listener.shutdown(socket.SHUT_RDWR)  # or it goes on while it is polled
        self._listener.close()
        self._quiet.wait(_GRACE_S)

    def _welcome(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            poll.poll()
            if self._listener.fileno() < 0:
                return
            self._quiet.accept()
            if self._refused:  # there is no descriptor, or no memory, for one more
                time.sleep(_RETRY_S)

    def _accept(self) -> None:
        """Take in who waits; whoever calls this sees to it that only one does at a time."""
        self._refused = False
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                LOG.warning("cannot accept: %s", error)
                self._refused = True
                return
            if self._quiet.connections >= _MAX_CONNECTIONS:
                accepted.close()
                continue
            accepted.setblocking(True)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._quiet.opened(accepted)
            connection = _Connection(accepted, self._quiet, self._respond)
            try:
                threading.Thread(target=connection.serve, name="request", daemon=True).start()
            except RuntimeError as error:
                LOG.warning("cannot serve one more: %s", error)
                self._quiet.closing(accepted)
                accepted.close()
                self._refused = True
                return


class _Connection:
    """One client. The ``on_…`` methods are called by the parser."""

    def __init__(self, socket_: socket.socket, quiet: Quiet, respond: Respond) -> None:
        self._socket = socket_
        self._quiet = quiet
        self._respond = respond
        self._parser = httptools.HttpRequestParser(self)
        self._whole: list[tuple[Asked, bool]] = []
        """Requests that came whole, and whether the connection stays open after each."""
        self._start_anew()

    def serve(self) -> None:
        """Answer whatever comes, until either side has enough."""
        with self._socket:
            try:
                while (data := self._quiet.receive(self._socket)) and self._answer(data):
                    pass
            except OSError as error:  # it was cut
                LOG.debug("connection: %s", error)
            finally:
                self._quiet.closing(self._socket)

    def _answer(self, data: bytes) -> bool:
        """Take in what came and answer what came whole; whether the connection stays open."""
        began_before = self._has_begun
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # an invitation, which we decline
            self._whole = [(asked, False) for asked, _ in self._whole]
        except httptools.HttpParserError as error:
            self._write(Answer(400, f"{error}".encode()), stays=False)
            return False
        if began_before and not self._is_headed:
            self._head_bytes += len(data)
        whole, self._whole = self._whole, []
        stays = True
        for asked, stays in whole:
            self._quiet.serving(self._socket, f"{asked.method} {asked.path}")
            self._write(self._respond(asked), stays, bodiless=asked.method == "HEAD")
            if not stays:
                break
        self._quiet.served(self._socket, len(whole), all_of_them=stays and not self._is_headed)
        if stays and (self._head_bytes > MAX_HEAD_BYTES or self._is_long):
            stays = False
            self._write(self._respond(self._asked()) if self._is_headed else Answer(431), stays)
            self._discard()
        elif stays and self._is_headed:
            self._quiet.serving(self._socket, f"{self._parser.get_method().decode()} {self._path}")
            if self._headers.get("expect", "").lower() == "100-continue" and not self._body:
                self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return stays

    def _write(self, answer: Answer, stays: bool, *, bodiless: bool = False) -> None:
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"content-length: {len(answer.body)}")
        if not stays:
            lines.append("connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self._socket.sendall(head if bodiless else head + answer.body)

    def _discard(self) -> None:
        """Read what else comes for a moment: a cut would take our answer from who still sends."""
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(_GRACE_S)
        until = time.monotonic() + _GRACE_S
        with suppress(TimeoutError):
            while self._socket.recv(1 << 16) and time.monotonic() < until:
                pass

    def _start_anew(self) -> None:
        self._has_begun = False
        self._url = b""
        self._path = self._query = ""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._head_bytes = 0
        self._is_headed = self._is_long = False

    def _asked(self) -> Asked:
        return Asked(
            self._parser.get_method().decode(), self._path, self._query, self._headers,
            None if self._is_long else bytes(self._body),
        )  # fmt: skip

    # ------------------------------------------------------------------ the parser's

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_begun = True

    def on_url(self, url: bytes) -> None:
        """A part of its URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of several with one name the values are joined."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """All headers are there."""
        url = httptools.parse_url(self._url)
        path = url.path.decode("latin-1")
        self._path = unquote(path) if "%" in path else path
        self._query = (url.query or b"").decode("latin-1")
        length = self._headers.get("content-length", "0")
        self._is_long = len(length) > 10 or int(length) > MAX_BODY_BYTES
        self._is_headed = True

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            self._is_long = True
        if not self._is_long:
            self._body += body

    def on_message_complete(self) -> None:
        """It is whole."""
        stays = self._parser.should_keep_alive() and not self._is_long
        self._whole.append((self._asked(), stays))
        self._start_anew()
