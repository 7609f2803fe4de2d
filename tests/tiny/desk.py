"""The desk is what clients talk to, by HTTP on ``$DESK_PORT``."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import AbstractContextManager, ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from tests.tiny.books import Refused, Store
from tests.tiny.service import TICK, WAKE, current_request_id, notify_ready, request_id, with_bugs


class Desk:
    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}

    def make(self, name: str, place: str, size: int) -> None:
        with Store.transaction() as store:
            if store.read("parcel", name):
                raise Refused(409, f"there is a parcel {name} already")
            store.write("parcel", name, size=size, place=place)
            store.give(place, size)

    def look(self, name: str) -> str | None:
        with Store.by_itself() as store:
            place: str | None = store.parcel(name)["place"]
            return place

    def drop(self, name: str) -> None:
        with Store.transaction() as store:
            parcel = store.parcel(name)
            store.write("parcel", name)
            store.take(parcel["place"], parcel["size"])

    # ------------------------------------------------------------------ a transient

    def move(self, name: str, to: str) -> None:
        with self.moving() as store:
            store.place(name, to)

    def moving(self) -> AbstractContextManager[Store]:
        return Store.transaction()

    # ------------------------------------------------------------------ a cast

    def send(self, name: str, to: str) -> None:
        """Leave it to the carrier; the answer does not wait for it."""
        self.wake_carrier(self.store_send(name, to))

    def store_send(self, name: str, to: str) -> str:
        key = uuid4().hex
        with Store.transaction() as store:
            store.parcel(name)
            row = {"request": current_request_id(), "parcel": name, "target": to, "begun": 0}
            store.write("outbox", key, **row)
        return key

    def wake_carrier(self, key: str) -> None:
        # A carrier that is dead or has its hands full finds it in the outbox later.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link, suppress(OSError):
            link.setblocking(False)
            link.sendto(key.encode(), WAKE)

    def tick(self) -> None:
        """Have the carrier's timer come round now; answered when it has."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.bind("")  # a name of its own, to which the carrier answers
            link.sendto(f"{TICK}{current_request_id()}".encode(), WAKE)
            link.recv(1)

    # ------------------------------------------------------------------ locks

    def hold(self, parcel: str) -> threading.Lock:
        """Wait for a parcel's lock and take it."""
        lock = self._locks.setdefault(parcel, threading.Lock())
        lock.acquire()
        return lock

    def hold_other(self, parcel: str) -> threading.Lock:
        return self.hold(parcel)

    def lend(self, name: str, to: str) -> None:
        lock = self.hold(name)
        with ExitStack() as held:
            held.callback(lock.release)
            self.lend_inside(name, to)

    def lend_inside(self, name: str, to: str) -> None:
        with Store.transaction() as store:
            store.parcel(name)
            store.write("parcel", name, borrower=to)

    def post(self, name: str, text: str) -> None:
        with Store.transaction() as store:
            self.post_inside(store, name, text)

    def post_inside(self, store: Store, name: str, text: str) -> None:
        store.parcel(name)
        store.write("parcel", name, text=text)

    def swap(self, first: str, second: str) -> None:
        if first == second:
            raise Refused(409, f"{first} cannot be swapped with itself")
        one, other = self.lock_order(first, second)
        with ExitStack() as held:
            held.callback(self.hold(one).release)
            held.callback(self.hold_other(other).release)
            self.swap_inside(first, second)

    def lock_order(self, first: str, second: str) -> tuple[str, str]:
        return min(first, second), max(first, second)

    def swap_inside(self, first: str, second: str) -> None:
        with Store.transaction() as store:
            places = [store.parcel(name)["place"] for name in (first, second)]
            if None in places:
                raise Refused(409, "one of them is on its way")
            store.place(first, places[1])
            store.place(second, places[0])

    # ------------------------------------------------------------------ check, then act

    def claim(self, name: str, by: str) -> None:
        self.refuse_claimed(self.read_owner(name))
        self.write_owner(name, by)

    def read_owner(self, name: str) -> str | None:
        with Store.by_itself() as store:
            owner: str | None = store.parcel(name)["owner"]
            return owner

    def write_owner(self, name: str, by: str) -> None:
        with Store.transaction() as store:
            self.look_again(store.parcel(name)["owner"])
            store.write("parcel", name, owner=by)

    def refuse_claimed(self, owner: str | None) -> None:
        if owner is not None:
            raise Refused(409, f"it is {owner}'s")

    def look_again(self, owner: str | None) -> None:
        self.refuse_claimed(owner)


class TornMove(Desk):
    """The bug: the usage follows a moment after the parcel."""

    def moving(self) -> AbstractContextManager[Store]:
        return Store.by_itself()


class UnorderedLocks(Desk):
    """The bug: two locks are taken in the order in which a client happens to name them."""

    def lock_order(self, first: str, second: str) -> tuple[str, str]:
        return first, second


class BlindClaim(Desk):
    """The bug: who has found no owner takes it that there still is none."""

    def look_again(self, owner: str | None) -> None:
        pass


BUGS = {"torn-move": TornMove, "unordered-locks": UnorderedLocks, "blind-claim": BlindClaim}


class Server(ThreadingHTTPServer):
    """Knows all its connections, from the moment at which it accepts them."""

    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.desk = with_bugs(Desk, BUGS)()
        self.serving: dict[Any, str] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        self.serving[request] = "a request that is not read yet"
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.serving.pop(request, None)


class Handler(BaseHTTPRequestHandler):
    server: Server
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """What else is being served."""
        del self.server.serving[self.request]
        self.answer(200, list(self.server.serving.values()))

    def do_POST(self) -> None:
        request_id.set(self.headers.get("X-Request-Id"))
        self.server.serving[self.request] = f"{self.path} for {current_request_id()}"
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            done = getattr(self.server.desk, self.path[1:])(*asked)
        except Refused as no:
            return self.answer(no.status, str(no))
        except Exception as error:
            return self.answer(500, repr(error))
        return self.answer(202 if self.path == "/send" else 200, done)

    def answer(self, status: int, body: object) -> None:
        # Before: who has the answer finds nothing of it still being served.
        self.server.serving.pop(self.request, None)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    server = Server(int(os.environ["DESK_PORT"]))
    notify_ready()
    server.serve_forever()
