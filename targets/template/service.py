"""A shop that stands in for your services: replace it by them.

A sale is two writes, and a death can come between them: a shop that starts finishes what it finds.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS item (name TEXT PRIMARY KEY, stocked INT, remaining INT)",
    "CREATE TABLE IF NOT EXISTS sale (id TEXT PRIMARY KEY, item TEXT, taken INT DEFAULT 0)",
)


def execute(*statements: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """Execute all statements in one transaction; the rows of the last one."""
    with closing(sqlite3.connect("shop.db", timeout=5)) as database, database:
        return [database.execute(statement, values).fetchall() for statement in statements][-1]


def stock(item: str, count: int) -> None:
    """Put an item on the shelf."""
    execute("INSERT INTO item VALUES (?1, ?2, ?2)", values=(item, count))


def count(item: str) -> int:
    """Count what is on the shelf."""
    found: int = execute("SELECT remaining FROM item WHERE name = ?", values=(item,))[0][0]
    return found


def sell(sale: str, item: str) -> None:
    """Sell one: the promise first, then the shelf."""
    execute("INSERT OR IGNORE INTO sale (id, item) VALUES (?, ?)", values=(sale, item))
    take(sale)


def take(sale: str) -> None:
    """Take what was sold from the shelf, once."""
    sold = "(SELECT item FROM sale WHERE id = ?1 AND NOT taken)"
    execute(
        f"UPDATE item SET remaining = remaining - 1 WHERE name = {sold}",
        "UPDATE sale SET taken = 1 WHERE id = ?1",
        values=(sale,),
    )


def discard(item: str) -> None:
    """Forget an item and its sales."""
    execute("DELETE FROM sale WHERE item = ?", "DELETE FROM item WHERE name = ?", values=(item,))


def recover() -> None:
    """Finish the sales that an earlier shop has only promised."""
    for (sale,) in execute("SELECT id FROM sale WHERE NOT taken"):
        take(sale)


class Handler(BaseHTTPRequestHandler):
    """``POST /stock [item, count]``, and so on."""

    def do_POST(self) -> None:  # noqa: D102
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        services: dict[str, Callable[..., Any]] = {
            "/stock": stock,
            "/count": count,
            "/sell": sell,
            "/discard": discard,
        }
        content = json.dumps(services[self.path](*asked)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve on ``$SHOP_PORT``, for ever."""
    execute(*SCHEMA)
    if "no-recovery" not in os.environ["SHOP_BUGS"].split(","):
        recover()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SHOP_PORT"])), Handler).serve_forever()
