"""The carrier does in the background what is in the outbox, each in a thread of its own.

A send is two steps, each one transaction: the parcel leaves its place, and it arrives and the send
leaves the outbox. So who comes back after a crash can go on wherever it was.
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.tiny.books import Refused, Store
from tests.tiny.service import TICK, WAKE, notify_ready, request_id, with_bugs

EVERY_S = 0.2

Send = sqlite3.Row
"""A row of the outbox."""


class Carrier:
    def __init__(self) -> None:
        self._carrying: set[str] = set()
        self._lock = threading.Lock()

    def start(self, key: str) -> None:
        """Carry it in the background, unless that is being done already."""
        with self._lock:
            if key in self._carrying:
                return
            self._carrying.add(key)
        threading.Thread(target=self.carry, args=(key,), name=f"carry-{key[:8]}").start()

    def carry(self, key: str) -> None:
        try:
            with Store.by_itself() as store:
                send = store.read("outbox", key)
            if send is not None:
                request_id.set(send["request"])
                self.take(key)
                self.put(key)
        except Exception:
            traceback.print_exc()  # the next tick tries again
        finally:
            with self._lock:
                self._carrying.discard(key)

    def take(self, key: str) -> None:
        """The parcel leaves its place."""
        with Store.transaction() as store:
            send = store.read("outbox", key)
            if send is not None:
                _begin(store, send)

    def put(self, key: str) -> None:
        """The parcel arrives, and that is that."""
        with Store.transaction() as store:
            send = store.read("outbox", key)
            if send is not None:
                _finish(store, send)

    def tick(self) -> None:
        """Carry what nobody told of: its desk died too early, or it went wrong before."""
        for key in self.unfinished():
            self.start(key)

    def unfinished(self) -> list[str]:
        with Store.by_itself() as store:
            return store.keys("outbox")

    # ------------------------------------------------------------------ start-up

    def recover(self) -> None:
        """Finish every send that an earlier carrier left; nobody else works meanwhile."""
        for key in self.unfinished():
            send = self.recover_take(key)
            if send is not None:
                self.recover_finish(send)

    def recover_take(self, key: str) -> Send | None:
        with Store.transaction() as store:
            send = store.read("outbox", key)
            return send if send is not None and self.go_on(store, send) else None

    def go_on(self, store: Store, send: Send) -> bool:
        """Do the first step, again if need be; whether the second one is to be done."""
        _begin(store, send)
        return True

    def recover_finish(self, send: Send) -> None:
        with Store.transaction() as store:
            _finish(store, send)


class LostSend(Carrier):
    """The bug: recovery takes a send that was begun for one that was carried out."""

    def go_on(self, store: Store, send: Send) -> bool:
        if send["begun"]:
            store.write("outbox", send["key"])
            return False
        return super().go_on(store, send)


class OnceOnlyRecovery(Carrier):
    """The bug: recovery strikes a send off the outbox before it has done it."""

    def go_on(self, store: Store, send: Send) -> bool:
        due = super().go_on(store, send)
        store.write("outbox", send["key"])
        return due


BUGS = {"lost-send": LostSend, "once-only-recovery": OnceOnlyRecovery}


def _begin(store: Store, send: Send) -> None:
    store.write("outbox", send["key"], begun=1)
    _place(store, send["parcel"], None)


def _finish(store: Store, send: Send) -> None:
    store.write("outbox", send["key"])
    _place(store, send["parcel"], send["target"])


def _place(store: Store, parcel: str, to: str | None) -> None:
    with suppress(Refused):  # somebody has dropped it meanwhile
        store.place(parcel, to)


def main() -> None:
    carrier = with_bugs(Carrier, BUGS)()
    Path(WAKE).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        # Before the recovery: what is sent from now on waits here, or is in the outbox already.
        link.bind(WAKE)
        carrier.recover()
        threading.Thread(target=_keep_time, args=(carrier,), name="timer", daemon=True).start()
        notify_ready()
        while True:
            told, teller = link.recvfrom(64)
            asked = told.decode()
            if asked.startswith(TICK):
                tick = (carrier, asked.removeprefix(TICK), link, teller)
                threading.Thread(target=_tick_for, args=tick, daemon=True).start()
            else:
                carrier.start(asked)


def _tick_for(carrier: Carrier, request: str, link: socket.socket, teller: Any) -> None:
    request_id.set(request)
    carrier.tick()
    link.sendto(b".", teller)


def _keep_time(carrier: Carrier) -> None:
    while True:
        time.sleep(EVERY_S)
        try:
            carrier.tick()
        except Exception:
            traceback.print_exc()  # the next tick tries again
