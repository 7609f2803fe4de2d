"""The ledger itself: with its bug switch off it is right, with it on it is wrong in one way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chaos.errors import NotSettled
from chaos.target import Instrumentation, OperationFailed, Scope
from tests.ledger.ledger import Ledger, expect_balance, open_account, transfer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    ledger = Ledger()

    def start(*bugs: str) -> Ledger:
        ledger.start(
            Instrumentation(f"ledger-{tmp_path.name}", tmp_path, lambda _: {}, lambda *_: None),
            frozenset(bugs),
        )
        return ledger

    yield start
    ledger.stop()


@pytest.fixture
def ledger(start: Callable[..., Ledger]) -> Ledger:
    return start()


def scope_of(ledger: Ledger, request: str = "request-1") -> Scope:
    """A client of the ledger where alice has 100 and bob has nothing."""
    scope = Scope(ledger.client(), request_id=request)
    open_account(scope, "alice", 100)
    open_account(scope, "bob", 0)
    return scope


def balances(ledger: Ledger) -> dict[str, int]:
    return {account.name: account.balance for account in ledger.observe().accounts}


def die_between_debit_and_credit(ledger: Ledger) -> None:
    """What a teller leaves behind that dies there: the journal's row and the debit."""
    ledger.services["teller"].kill()
    for database, statement in (
        ("teller.db", "INSERT INTO transfer VALUES ('t', 'alice', 'bob', 30)"),
        ("vault.db", "INSERT INTO posting VALUES ('t/debit')"),
        ("vault.db", "UPDATE account SET balance = 70 WHERE name = 'alice'"),
    ):
        with closing(sqlite3.connect(ledger.run_dir / database)) as connection, connection:
            connection.execute(statement)


def test_a_transfer_moves_money(ledger: Ledger) -> None:
    transfer(scope_of(ledger), "alice", "bob", 30)

    assert balances(ledger) == {"alice": 70, "bob": 30}


def test_a_transfer_that_the_source_cannot_bear_is_refused(ledger: Ledger) -> None:
    with pytest.raises(OperationFailed, match="refused"):
        transfer(scope_of(ledger), "alice", "bob", 101)


def test_a_transfer_to_nobody_gives_the_money_back(ledger: Ledger) -> None:
    with pytest.raises(OperationFailed):
        transfer(scope_of(ledger), "alice", "nobody", 30)

    assert balances(ledger)["alice"] == 100


def test_a_transfer_asked_for_again_moves_money_once(ledger: Ledger) -> None:
    scope = scope_of(ledger)
    for _ in range(2):
        transfer(scope, "alice", "bob", 30)

    assert expect_balance(scope, "bob", 30) == 30


@pytest.mark.parametrize(("bug", "bob"), [((), 30), (("lost-credit",), 0)])
def test_only_the_bug_keeps_a_teller_from_finishing_what_it_had_begun(
    start: Callable[..., Ledger], bug: tuple[str, ...], bob: int
) -> None:
    ledger = start(*bug)
    scope_of(ledger)
    die_between_debit_and_credit(ledger)

    ledger.services["teller"].start()

    assert balances(ledger) == {"alice": 70, "bob": bob}


def test_an_unfinished_transfer_keeps_the_ledger_from_settling(ledger: Ledger) -> None:
    scope_of(ledger)
    die_between_debit_and_credit(ledger)

    with pytest.raises(NotSettled, match="alice"):
        ledger.settle(0.05)


def test_a_teller_that_came_back_has_settled(ledger: Ledger) -> None:
    scope_of(ledger)
    die_between_debit_and_credit(ledger)
    ledger.services["teller"].start()

    ledger.settle(1.0)


def test_cleaning_up_brings_back_the_world_from_before(ledger: Ledger) -> None:
    before = ledger.observe()
    transfer(scope_of(ledger), "alice", "bob", 30)

    ledger.clean_up(ledger.client(), 5.0)

    assert ledger.observe().changes_since(before) == ()


def test_a_reset_brings_back_the_empty_ledger(ledger: Ledger) -> None:
    pristine = ledger.observe()
    scope_of(ledger)

    ledger.reset(frozenset())

    assert ledger.observe() == pristine
