"""The teller is what clients talk to, by HTTP on ``$TELLER_PORT``.

A transfer is a debit and then a credit. It is in the teller's journal before the first and until
after the second, so a teller that dies in between finishes it when it comes back.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xmlrpc.client import ServerProxy

SCHEMA = "CREATE TABLE IF NOT EXISTS transfer (id TEXT PRIMARY KEY, source, target, amount INT)"

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """Whose request this thread is serving: lets a fault be aimed at one client's request."""
    return _request_id.get()


class Teller:
    def __init__(self, path: str, vault: str) -> None:
        self.path = path
        self.vault_url = vault
        with self._database() as database:
            database.executescript(SCHEMA)

    @property
    def vault(self) -> ServerProxy:
        return ServerProxy(self.vault_url)

    def transfer(self, ident: str, source: str, target: str, amount: int) -> bool:
        """Move money; False when the source cannot bear it."""
        with self._database() as database:
            row = (ident, source, target, amount)
            database.execute("INSERT OR IGNORE INTO transfer VALUES (?, ?, ?, ?)", row)
        return self.carry_out(ident, source, target, amount)

    def carry_out(self, ident: str, source: str, target: str, amount: int) -> bool:
        """Do what the journal says; every step may be repeated."""
        moved = self.debit(ident, source, amount)
        if moved and not self.credit(ident, target, amount):
            moved = not self.refund(ident, source, amount)
        self.finish(ident)
        return moved

    def debit(self, ident: str, account: str, amount: int) -> bool:
        return bool(self.vault.post(f"{ident}/debit", account, -amount))

    def credit(self, ident: str, account: str, amount: int) -> bool:
        return bool(self.vault.post(f"{ident}/credit", account, amount))

    def refund(self, ident: str, account: str, amount: int) -> bool:
        return bool(self.vault.post(f"{ident}/refund", account, amount))

    def finish(self, ident: str) -> None:
        with self._database() as database:
            database.execute("DELETE FROM transfer WHERE id = ?", (ident,))

    def recover(self) -> None:
        """Finish every transfer that an earlier teller left in the journal."""
        for row in self._open_transfers():
            self.carry_out(*row)

    def _open_transfers(self) -> list[tuple[str, str, str, int]]:
        with self._database() as database:
            return database.execute("SELECT * FROM transfer").fetchall()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end of the block, rolled back by an exception."""
        with closing(sqlite3.connect(self.path, timeout=5)) as database, database:
            yield database


class LostCredit(Teller):
    """The bug: recovery takes a transfer that was begun for one that was carried out."""

    def recover(self) -> None:
        for row in self._open_transfers():
            self.finish(row[0])


class Handler(BaseHTTPRequestHandler):
    teller: Teller
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        _request_id.set(self.headers.get("X-Request-Id"))
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vault = self.teller.vault
        services: dict[str, Callable[..., Any]] = {
            "/open": vault.open_account,
            "/close": vault.close_account,
            "/balance": vault.balance,
            "/transfer": self.teller.transfer,
        }
        try:
            done = services[self.path](*asked)
        except (OSError, HTTPException):
            return self.answer(503, "the vault cannot be reached")
        return self.answer(409 if done is False else 200, done)

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    bugs = os.environ["LEDGER_BUGS"].split(",")
    kind = LostCredit if "lost-credit" in bugs else Teller
    Handler.teller = kind("teller.db", os.environ["VAULT_URL"])
    Handler.teller.recover()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["TELLER_PORT"])), Handler)
    notify_ready()
    server.serve_forever()


def notify_ready() -> None:
    """Tell whoever started this service that it serves now."""
    notify("READY=1")


def notify(state: str) -> None:
    """Tell whoever started this service how it is (sd_notify(3))."""
    address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.sendto(state.encode(), address)
