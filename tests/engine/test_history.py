"""The history: many threads tell it what happened, and none of them ever waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.errors import ChaosError
from chaos.history import Event, History, Kind
from chaos.journal import Journal
from tests.reports.nightly import trial

LIMIT_S = 5.0


def in_a_thread(act: Callable[[], object]) -> threading.Thread:
    """A thread that does it; it has ended, or hangs, at the limit."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return thread


def test_a_sink_that_waits_for_another_thread_to_add_is_no_deadlock() -> None:
    hung: list[bool] = []

    def sink(event: Event) -> None:
        if event.name == "first":
            hung.append(in_a_thread(lambda: history.add(Kind.STEP, "plan", "second")).is_alive())

    history = History(sink)
    adding = in_a_thread(lambda: history.add(Kind.STEP, "plan", "first"))

    assert (hung, adding.is_alive()) == ([False], False)


def test_a_lock_that_the_sink_needs_may_be_held_by_who_adds() -> None:
    services, held, waiting = threading.Lock(), threading.Event(), threading.Event()

    def sink(event: Event) -> None:
        if event.name == "first":
            waiting.set()
            with services:
                pass

    history = History(sink)

    def tell_of_a_service() -> None:
        with services:
            held.set()
            assert waiting.wait(LIMIT_S)
            history.add(Kind.SERVICE, "vault", "exited")

    service = threading.Thread(target=tell_of_a_service, daemon=True)
    service.start()
    assert held.wait(LIMIT_S)
    adding = in_a_thread(lambda: history.add(Kind.STEP, "plan", "first"))
    service.join(LIMIT_S)

    assert not adding.is_alive()
    assert not service.is_alive()


def test_what_is_waited_for_may_need_a_lock_that_is_held_by_who_adds() -> None:
    controller, asking = threading.Lock(), threading.Event()
    history = History()

    def happened() -> bool:
        asking.set()
        with controller:
            return bool(history.of(Kind.HIT))

    with controller:
        waiting = threading.Thread(target=history.wait_for, args=(happened, LIMIT_S), daemon=True)
        waiting.start()
        assert asking.wait(LIMIT_S)
        telling = in_a_thread(lambda: history.add(Kind.HIT, "vault", "vault.post"))
        hung = telling.is_alive()
    waiting.join(LIMIT_S)

    assert (hung, waiting.is_alive()) == (False, False)


def test_an_event_was_handed_over_when_add_returns() -> None:
    told: list[Event] = []
    history = History(told.append)

    def add_some() -> list[bool]:
        return [history.add(Kind.HIT, "vault", "vault.post") in told for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        handed = [pool.submit(add_some) for _ in range(8)]
    assert all(all(each.result()) for each in handed)


def test_the_journal_has_the_events_of_many_threads_in_the_order_of_the_history(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        record = trial("many", 1)
        journal.begin(record)
        history = History(lambda event: journal.event(record.id, 1, event))

        def add_some(thread: int) -> None:
            for number in range(100):
                history.add(Kind.HIT, f"service-{thread}", str(number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add_some, range(8)))
        assert list(journal.events(record.id, 1)) == list(history)


def test_who_waits_for_an_event_finds_it_recorded() -> None:
    told: list[Event] = []
    history = History(told.append)
    found: list[int] = []

    def wait() -> None:
        history.wait_for(lambda: bool(told), LIMIT_S)
        found.append(len(told))

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    history.add(Kind.HIT, "vault", "vault.post")
    waiting.join(LIMIT_S)

    assert found == [1]


def test_waiting_ends_at_its_deadline_though_events_keep_coming() -> None:
    history = History()
    over = threading.Event()

    def keep_adding() -> None:
        while not over.is_set():
            history.ask_again()

    adding = threading.Thread(target=keep_adding, daemon=True)
    adding.start()
    began = time.monotonic()
    try:
        assert not history.wait_for(lambda: False, 0.05)
    finally:
        over.set()
        adding.join()
    assert time.monotonic() - began < LIMIT_S


def test_an_event_may_be_older_than_those_that_arrived_before_it() -> None:
    history = History()
    history.add(Kind.STEP, "plan", "during")
    history.add(Kind.HIT, "vault", "vault.post", at_ns=17)

    assert [(event.name, event.number) for event in history] == [("during", 1), ("vault.post", 2)]
    assert next(iter(history.of(Kind.HIT))).at_ns == 17


def test_a_sink_that_refuses_an_event_is_told_at_the_check_and_not_to_who_added_it() -> None:
    def refuse(event: Event) -> None:
        raise OSError("the disk is full")

    history = History(refuse)
    history.add(Kind.STEP, "plan", "during")

    with pytest.raises(ChaosError, match="the disk is full"):
        history.check()


def test_an_operation_knows_what_its_step_allows_and_whether_it_only_looks() -> None:
    history = History()
    history.add(
        Kind.INVOKE, "client", "server.expect",
        operation=1, arguments={}, allow=(404, 409), request="r-1", asserts=True,
    )  # fmt: skip
    history.add(Kind.INVOKE, "client", "server.delete", operation=2, arguments={})

    looked, deleted = history.operations
    assert (looked.allow, looked.request, looked.asserts) == ((404, 409), "r-1", True)
    assert (deleted.allow, deleted.request, deleted.asserts) == ((), "", False)
