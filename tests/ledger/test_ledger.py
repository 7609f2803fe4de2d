"""The ledger itself: with its bug switch off it is right, with it on it is wrong in one way."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.action import Action
from chaos.errors import NotSettled
from chaos.failpoints.controller import Controller
from chaos.operation import OperationFailed, OperationIndeterminate, Scope
from chaos.point import Point, When
from chaos.target import Instrumentation
from tests.ledger.ledger import Ledger, expect_balance, open_account, transfer

LABEL = f"ledger-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def controller() -> Iterator[Controller]:
    with Controller(label=LABEL, request_id_reader=Ledger.request_id_reader) as controller:
        yield controller


@pytest.fixture
def start(tmp_path: Path, controller: Controller) -> Iterator[Callable[..., Ledger]]:
    ledger = Ledger()

    def start(*bugs: str) -> Ledger:
        ledger.start(
            Instrumentation(LABEL, tmp_path, controller.environment, lambda *_: None),
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


def die_between_debit_and_credit(ledger: Ledger, controller: Controller) -> None:
    """The teller dies when alice has paid 30 and bob has not got them."""
    controller.arm(ledger.points["transfer.credit"], When.BEFORE, Action.crash())
    with pytest.raises(OperationIndeterminate):
        transfer(scope_of(ledger), "alice", "bob", 30)
    assert ledger.services["teller"].wait_dead(5.0)


def test_a_transfer_moves_money(ledger: Ledger) -> None:
    transfer(scope_of(ledger), "alice", "bob", 30)

    assert balances(ledger) == {"alice": 70, "bob": 30}


def test_a_transfer_that_the_source_cannot_bear_is_refused(ledger: Ledger) -> None:
    with pytest.raises(OperationFailed, match="409"):
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
    start: Callable[..., Ledger], controller: Controller, bug: tuple[str, ...], bob: int
) -> None:
    ledger = start(*bug)
    die_between_debit_and_credit(ledger, controller)

    ledger.services["teller"].start()

    assert balances(ledger) == {"alice": 70, "bob": bob}


def test_a_vault_that_dies_in_a_transfer_leaves_the_answer_open(
    ledger: Ledger, controller: Controller
) -> None:
    controller.arm(ledger.points["vault.post"], When.BEFORE, Action.crash())

    with pytest.raises(OperationIndeterminate, match="vault cannot be reached"):
        transfer(scope_of(ledger), "alice", "bob", 30)


def test_a_fault_can_be_aimed_at_one_request(ledger: Ledger, controller: Controller) -> None:
    arm = controller.arm(
        ledger.points["transfer.debit"], When.BEFORE, Action.answer(False), requests=("aimed-at",)
    )
    transfer(scope_of(ledger, "another"), "alice", "bob", 30)
    with pytest.raises(OperationFailed):
        transfer(Scope(ledger.client(), request_id="aimed-at"), "alice", "bob", 30)

    assert [hit.request for hit in arm.hits] == ["aimed-at"]


@pytest.mark.parametrize("alias", Ledger.points)
def test_every_point_of_the_ledger_is_one(
    ledger: Ledger, controller: Controller, alias: str
) -> None:
    arm = controller.arm(ledger.points[alias], When.AFTER, Action.record())

    assert set(arm.state.values()) == {"armed"}


def test_an_unfinished_transfer_keeps_the_ledger_from_settling(
    ledger: Ledger, controller: Controller
) -> None:
    die_between_debit_and_credit(ledger, controller)

    with pytest.raises(NotSettled, match="alice"):
        ledger.settle(0.05)


def test_a_teller_that_came_back_has_settled(ledger: Ledger, controller: Controller) -> None:
    die_between_debit_and_credit(ledger, controller)
    ledger.services["teller"].start()

    ledger.settle(1.0)


def test_cleaning_up_brings_back_the_world_from_before(ledger: Ledger) -> None:
    before, scope = ledger.observe(), scope_of(ledger)
    transfer(scope, "alice", "bob", 30)

    ledger.clean_up(scope)

    assert ledger.observe().changes_since(before) == ()


def test_cleaning_up_closes_an_account_though_the_answer_to_its_opening_was_lost(
    ledger: Ledger, controller: Controller
) -> None:
    opened = Point("tests.ledger.vault:Vault.open_account", "vault")
    controller.arm(opened, When.AFTER, Action.crash())
    scope = Scope(ledger.client())
    with pytest.raises(OperationIndeterminate):
        open_account(scope, "alice", 100)
    assert ledger.services["vault"].wait_dead(5.0)
    ledger.services["vault"].start()

    ledger.clean_up(scope)

    assert balances(ledger) == {}


def test_cleaning_up_closes_nobody_elses_account(ledger: Ledger) -> None:
    open_account(Scope(ledger.client()), "carol", 5)

    ledger.clean_up(scope_of(ledger))

    assert balances(ledger) == {"carol": 5}


def test_a_reset_brings_back_the_empty_ledger(ledger: Ledger) -> None:
    pristine = ledger.observe()
    scope_of(ledger)

    ledger.reset(frozenset())

    assert ledger.observe() == pristine


def test_a_reset_to_a_kept_world_brings_it_back(ledger: Ledger) -> None:
    transfer(scope_of(ledger), "alice", "bob", 30)
    kept, then = ledger.copy_of_data(), ledger.observe()
    transfer(Scope(ledger.client(), request_id="later"), "alice", "bob", 30)

    ledger.reset(frozenset(), kept)

    assert ledger.observe() == then
