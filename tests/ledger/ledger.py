"""The ledger as a target: everything that chaos needs to know about a system of one's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from chaos.invariant import Evidence, invariant
from chaos.operation import ExpectationFailed, Operations, Scope
from chaos.point import Point
from chaos.target import Target
from chaos.words import Word
from chaos.world import World
from targets import sqlite
from targets.http_client import HttpClient
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


AccountName = Annotated[str, Word("account")]
NewAccountName = Annotated[str, Word("account", makes=True)]


@operations.named("account.open")
def open_account(scope: Scope, name: NewAccountName, amount: int) -> Any:
    """Open an account that holds ``amount``."""
    # Before it is asked for: it may be there, though the answer is lost.
    scope.made[name] = name
    return scope.client.post(scope, "/open", [name, amount])


@operations.named("account.expect", asserts=True)
def expect_balance(scope: Scope, name: AccountName, balance: int) -> Any:
    """Check what an account holds."""
    found = scope.client.post(scope, "/balance", [name])
    if found != balance:
        raise ExpectationFailed(f"{name} holds {found}, not {balance}")
    return found


@operations.named("transfer")
def transfer(scope: Scope, source: AccountName, target: AccountName, amount: int) -> Any:
    """Move money from one account to another."""
    asked = [scope.request_id, source, target, amount]
    return scope.client.post(scope, "/transfer", asked)


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
    data = ("*.db*",)
    bugs = {"lost-credit": "recovery drops a transfer whose credit is still to come"}
    request_id_reader = "tests.ledger.teller:current_request_id"

    def client(self) -> HttpClient:
        """Asks the teller; 503, when it cannot reach the vault, may mean either."""
        return HttpClient(self.port("teller"))

    def observe(self) -> LedgerWorld:
        """Read both databases."""
        return LedgerWorld(
            sqlite.rows(self.run_dir / "vault.db", "SELECT * FROM account ORDER BY 1", Account),
            self.unfinished(),
        )

    def unfinished(self) -> tuple[OpenTransfer, ...]:
        """What is in the teller's journal."""
        journal = self.run_dir / "teller.db"
        return sqlite.rows(journal, "SELECT * FROM transfer ORDER BY 1", OpenTransfer)

    def clean_up(self, scope: Scope) -> None:
        """Close every account that the plan's steps opened, answered or not."""
        for account in self.observe().accounts:
            if account.name in scope.made.values():
                scope.client.post(scope, "/close", [account.name])


def target() -> Target:
    """What a plan's ``target: tests.ledger.ledger:target`` means."""
    return Ledger()
