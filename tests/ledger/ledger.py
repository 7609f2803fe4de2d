"""The ledger as a target: everything that chaos needs to know about a system of one's own."""

from __future__ import annotations

import http.client
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from chaos.errors import NotSettled
from chaos.invariant import Evidence, invariant
from chaos.operation import (
    ExpectationFailed,
    OperationFailed,
    OperationIndeterminate,
    Operations,
    Scope,
)
from chaos.point import Point
from chaos.target import Target
from chaos.words import Word
from chaos.world import World
from targets.processes import ProcessTarget
from targets.topology import Command, Forked, Listening, ServiceSpec, Topology

# ---------------------------------------------------------------------- how it is started

TOPOLOGY = Topology(
    services=(
        ServiceSpec(
            "vault",
            Command((sys.executable, "-c", "from tests.ledger.vault import main; main()")),
            environment={
                "VAULT_PORT": "{port:vault}",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
            ready=Listening("vault"),
        ),
        ServiceSpec(
            "teller",
            Forked("tests.ledger.teller:main"),
            environment={
                "TELLER_PORT": "{port:teller}",
                "VAULT_URL": "http://127.0.0.1:{port:vault}",
                "LEDGER_BUGS": "{bugs}",
            },
            after=("vault",),
        ),
    ),
    preload=("tests.ledger.teller",),
)

POINTS = {
    "transfer.debit": Point("tests.ledger.teller:Teller.debit", "teller", "money leaves"),
    "transfer.credit": Point("tests.ledger.teller:Teller.credit", "teller", "money arrives"),
    "transfer.finish": Point("tests.ledger.teller:Teller.finish", "teller", "journal cleared"),
    "teller.recover": Point("tests.ledger.teller:Teller.recover", "teller", "start-up recovery"),
    "vault.post": Point("tests.ledger.vault:Vault.post", "vault", "an account changes"),
}

# ---------------------------------------------------------------------- what a client can do

operations = Operations()


@dataclass(frozen=True, slots=True)
class Client:
    """Where the teller is."""

    port: int

    def ask(self, scope: Scope, path: str, *arguments: object) -> Any:
        """The teller's answer; 4xx is a clear no, a lost answer may mean either."""
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=scope.deadline_s)
        ) as connection:
            try:
                headers = {"X-Request-Id": scope.request_id}
                connection.request("POST", path, json.dumps(arguments), headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except ConnectionRefusedError as error:
                raise OperationFailed("the teller is down") from error
            except (OSError, http.client.HTTPException) as error:
                raise OperationIndeterminate(f"{path}: {error!r}") from error
        if response.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            raise OperationIndeterminate(f"{path}: {answer}")
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise OperationFailed(f"{path} was refused", response.status)
        return answer


AccountName = Annotated[str, Word("account")]
NewAccountName = Annotated[str, Word("account", makes=True)]


@operations.named("account.open")
def open_account(scope: Scope, name: NewAccountName, amount: int) -> Any:
    """Open an account that holds ``amount``."""
    # Before it is asked for: it may be there, though the answer is lost.
    scope.made[name] = name
    return scope.client.ask(scope, "/open", name, amount)


@operations.named("account.expect", asserts=True)
def expect_balance(scope: Scope, name: AccountName, balance: int) -> Any:
    """Check what an account holds."""
    found = scope.client.ask(scope, "/balance", name)
    if found != balance:
        raise ExpectationFailed(f"{name} holds {found}, not {balance}")
    return found


@operations.named("transfer")
def transfer(scope: Scope, source: AccountName, target: AccountName, amount: int) -> Any:
    """Move money from one account to another."""
    return scope.client.ask(scope, "/transfer", scope.request_id, source, target, amount)


# ---------------------------------------------------------------------- what an observer sees


@dataclass(frozen=True, slots=True)
class Account:
    """A row of the vault."""

    name: str
    opened_with: int
    balance: int

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, slots=True)
class OpenTransfer:
    """A row of the teller's journal: begun and not finished."""

    id: str
    source: str
    target: str
    amount: int

    @property
    def key(self) -> str:
        """The request that asked for it."""
        return self.id


@dataclass(frozen=True)
class LedgerWorld(World):
    """Both databases."""

    accounts: tuple[Account, ...] = ()
    open_transfers: tuple[OpenTransfer, ...] = ()


# ---------------------------------------------------------------------- what must hold


@invariant("money-is-kept", checked="settled")
def money_is_kept(evidence: Evidence) -> Iterator[str]:
    """Transfers move money: all accounts together hold what they were opened with."""
    accounts = evidence.world.accounts
    opened, held = sum(a.opened_with for a in accounts), sum(a.balance for a in accounts)
    if held != opened:
        yield f"the accounts were opened with {opened} and hold {held}"


@invariant("no-negative-balance", checked="always")
def no_negative_balance(evidence: Evidence) -> Iterator[str]:
    """Nobody ever owes money."""
    for account in evidence.world.accounts:
        if account.balance < 0:
            yield f"{account.name} is at {account.balance}"


# ---------------------------------------------------------------------- the target


class Ledger(ProcessTarget):
    """Teller and vault as processes of this machine."""

    name = "ledger"
    topology = TOPOLOGY
    points = POINTS
    operations = operations
    bugs = {"lost-credit": "recovery drops a transfer whose credit is still to come"}
    request_id_reader = "tests.ledger.teller:current_request_id"

    def client(self) -> Client:
        """Knows the teller's port."""
        return Client(self.port("teller"))

    def observe(self) -> LedgerWorld:
        """Read both databases."""
        return LedgerWorld(
            accounts=tuple(Account(*row) for row in self._rows("vault.db", "account")),
            open_transfers=tuple(OpenTransfer(*row) for row in self._rows("teller.db", "transfer")),
        )

    def settle(self, deadline_s: float) -> None:
        """Nothing is under way once the teller's journal is empty."""
        waiting = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_delay(deadline_s),
            wait=wait_fixed(self.limits.poll_s),
        )
        try:
            waiting(self._rows, "teller.db", "transfer")
        except RetryError as error:
            unfinished = error.last_attempt.result()
            raise NotSettled(f"transfers not finished: {unfinished}") from error

    def clean_up(self, scope: Scope) -> None:
        """Close every account that the plan's steps opened, answered or not."""
        for account in self.observe().accounts:
            if account.name in scope.made.values():
                scope.client.ask(scope, "/close", account.name)

    def keep(self) -> Mapping[str, bytes]:
        """Both databases as they are; nobody writes to them at rest."""
        return {path.name: path.read_bytes() for path in self.run_dir.glob("*.db")}

    def restore(self, run_dir: Path, kept: object = None) -> None:
        """A pristine ledger is an empty one: the services make their databases when they start."""
        for path in run_dir.glob("*.db*"):
            path.unlink()
        for name, content in cast(Mapping[str, bytes], kept or {}).items():
            (run_dir / name).write_bytes(content)

    def _rows(self, database: str, table: str) -> list[tuple[Any, ...]]:
        uri = f"{(self.run_dir / database).as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def target() -> Target:
    """What a plan's ``target: tests.ledger.ledger:target`` means."""
    return Ledger()
