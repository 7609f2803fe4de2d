"""The vault keeps the accounts and their balances; it answers XML-RPC on ``$VAULT_PORT``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from socketserver import ThreadingMixIn
from xmlrpc.server import SimpleXMLRPCServer

SCHEMA = """
CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, opened_with INT, balance INT);
CREATE TABLE IF NOT EXISTS posting (id TEXT PRIMARY KEY);
"""


class Vault:
    def __init__(self, path: str) -> None:
        self.path = path
        with self._database() as database:
            database.executescript(SCHEMA)

    def open_account(self, name: str, amount: int) -> bool:
        """Open an account; False when there is one of that name."""
        with self._database() as database:
            return self._wrote(
                database, "INSERT OR IGNORE INTO account VALUES (?1, ?2, ?2)", name, amount
            )

    def close_account(self, name: str) -> bool:
        with self._database() as database:
            return self._wrote(database, "DELETE FROM account WHERE name = ?", name)

    def balance(self, name: str) -> int:
        """What the account holds; -1 when there is none."""
        query = "SELECT balance FROM account WHERE name = ?"
        with self._database() as database:
            row = database.execute(query, (name,)).fetchone()
        return int(row[0]) if row else -1

    def post(self, posting: str, name: str, amount: int) -> bool:
        """Add ``amount``, once however often it is asked; False when the account cannot bear it."""
        with self._database() as database:
            if not self._wrote(database, "INSERT OR IGNORE INTO posting VALUES (?)", posting):
                return True
            change = (
                "UPDATE account SET balance = balance + ?1 WHERE name = ?2 AND balance + ?1 >= 0"
            )
            if self._wrote(database, change, amount, name):
                return True
            database.rollback()
            return False

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end of the block, rolled back by an exception."""
        with closing(sqlite3.connect(self.path, timeout=5)) as database, database:
            yield database

    def _wrote(self, database: sqlite3.Connection, statement: str, *values: object) -> bool:
        return database.execute(statement, values).rowcount > 0


class Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True


def main() -> None:
    server = Server(("127.0.0.1", int(os.environ["VAULT_PORT"])), logRequests=False)
    server.register_instance(Vault("vault.db"))
    server.serve_forever()
