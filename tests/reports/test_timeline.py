from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import pytest

from chaos.history import Event, Kind
from reports.timeline import ROW, Lane, Timeline, around_fault, timeline


def event(at_ms: float, kind: Kind, lane: str, name: str, **data: Any) -> Event:
    return Event(int(at_ms * 1e6), kind, lane, name, "", data)


def operation(number: int, since_ms: float, until_ms: float) -> list[Event]:
    facts: dict[str, Any] = {"operation": f"op-{number}"}
    return [
        event(since_ms, Kind.INVOKE, "client", "ledger.deposit", **facts, arguments={}),
        event(until_ms, Kind.OK, "client", "ledger.deposit", **facts, answer=None),
    ]


def hits(count: int, every_ms: float, action: str = "record") -> list[Event]:
    return [event(n * every_ms, Kind.HIT, "api", "save", action=action) for n in range(count)]


def lane(picture: Timeline, name: str) -> Lane:
    return next(each for each in picture.lanes if each.name == name)


def in_order(*events: Event) -> list[Event]:
    return sorted(events, key=lambda each: each.at_ns)


def test_operations_at_one_time_stand_in_rows_of_their_own() -> None:
    events = in_order(*operation(1, 0, 50), *operation(2, 10, 60), *operation(3, 95, 100))
    first, second, third = lane(timeline(events), "client").marks
    assert first.y == third.y
    assert second.y == first.y + ROW


def test_marks_of_one_row_never_overlap() -> None:
    events = in_order(*(each for n in range(40) for each in operation(n, n * 3, n * 3 + n % 20)))
    marks = lane(timeline(events), "client").marks
    rows = [[mark.taken for mark in marks if mark.y == y] for y in {mark.y for mark in marks}]
    assert all(
        one[1] <= other[0] or other[1] <= one[0]
        for row in rows
        for one, other in combinations(row, 2)
    )


def test_lane_with_too_many_rows_gives_up_labels_that_do_not_fit() -> None:
    crowd = (each for n in range(40) for each in operation(n, n, n + 1))
    events = in_order(*crowd, event(1000, Kind.STEP, "plan", "end"))
    assert {mark.label for mark in lane(timeline(events), "client").marks} == {""}


def test_dense_hits_become_one_tick_that_counts_them() -> None:
    events = [*hits(100, 0.001), event(1000, Kind.STEP, "plan", "end")]
    (tick,) = lane(timeline(events), "api").ticks
    assert tick.tip.splitlines()[-1] == "and 95 more hits"


def test_hit_that_acted_is_not_hidden_among_recorded_ones() -> None:
    events = [*hits(50, 0.001), *hits(1, 0, "crash"), event(1000, Kind.STEP, "plan", "end")]
    ticks = lane(timeline(events), "api").ticks
    assert [tick.kind for tick in ticks] == ["hit", "hit acted"]


def test_kill_that_is_told_twice_is_one_death() -> None:
    events = [
        event(0, Kind.STEP, "plan", "during"),
        event(10, Kind.SERVICE, "api", "killed"),
        event(12, Kind.SERVICE, "api", "exited"),
        event(40, Kind.SERVICE, "api", "started"),
        event(60, Kind.SERVICE, "api", "ready"),
    ]
    spans = [(span.kind, span.tip) for span in lane(timeline(events), "api").spans]
    assert spans == [
        ("state dead", "10.00 to 40.00 ms (30.00 ms): api dead until started"),
        ("state starting", "40.00 to 60.00 ms (20.00 ms): api starting until ready"),
    ]


def test_service_that_stays_frozen_is_frozen_to_the_end() -> None:
    events = [
        event(0, Kind.SERVICE, "api", "frozen"),
        event(50, Kind.STEP, "plan", "end"),
    ]
    (span,) = lane(timeline(events), "api").spans
    assert span.tip == "0.00 to 50.00 ms (50.00 ms): api frozen to the end of the round"


def test_operation_without_an_end_reaches_to_the_end_of_the_round() -> None:
    events = [*operation(1, 0, 9)[:1], event(100, Kind.STEP, "plan", "end")]
    (mark,) = lane(timeline(events), "client").marks
    assert mark.kind == "operation open"
    assert mark.tip.endswith("never ended")


def test_phase_lasts_until_the_next_and_a_note_is_a_moment() -> None:
    events = [
        event(0, Kind.STEP, "plan", "during", text="during"),
        event(20, Kind.STEP, "plan", "ended", text="delete-1"),
        event(50, Kind.STEP, "plan", "settle", text="settle"),
        event(60, Kind.STEP, "plan", "end", text="end"),
    ]
    marks = lane(timeline(events), "plan").marks
    assert [mark.tip for mark in marks] == [
        "0.00 to 50.00 ms (50.00 ms): during",
        "50.00 to 60.00 ms (10.00 ms): settle",
        "60.00 to 60.00 ms (0.00 ms): end",
        "20.00 ms: ended: delete-1",
    ]


def test_lanes_run_from_the_plan_over_the_services_to_the_world() -> None:
    names = ("world", "volume", "client", "api", "plan")
    events = [event(n, Kind.STEP, name, "x") for n, name in enumerate(names)]
    assert [each.name for each in timeline(events).lanes] == [
        "plan",
        "client",
        "api",
        "volume",
        "world",
    ]


def test_window_shows_only_what_happens_in_it() -> None:
    events = [event(n * 10, Kind.FAULT, f"service-{n}", "kill") for n in range(10)]
    shown = timeline(events, (25, 45)).lanes
    assert [each.name for each in shown] == ["service-3", "service-4"]


def test_window_around_the_fault_holds_every_fault() -> None:
    steps = [event(n * 10, Kind.STEP, "plan", "x") for n in range(200)]
    faults = [event(at_ms, Kind.FAULT, "api", "race") for at_ms in (1001, 1101)]
    window = around_fault(in_order(*steps, *faults))
    assert window is not None
    assert 900 < window[0] < 1001
    assert 1101 < window[1] < 1200


def test_lane_with_too_many_rows_falls_back_to_short_labels() -> None:
    faults = [
        event(n * 5, Kind.FAULT, "api", "race", text=f"actor {n} goes on " * 2) for n in range(12)
    ]
    picture = timeline([*faults, event(500, Kind.STEP, "plan", "end")])
    assert {mark.label for mark in lane(picture, "api").marks} == {"race"}


def test_round_without_a_fault_has_no_window() -> None:
    assert around_fault(hits(50, 10)) is None


@pytest.mark.parametrize("length_ms", [0.001, 0.7, 12, 480, 3_600_000])
def test_axis_has_a_handful_of_even_round_moments(length_ms: float) -> None:
    events = [event(0, Kind.STEP, "plan", "x"), event(length_ms, Kind.STEP, "plan", "y")]
    moments = [float(label.replace(",", "")) for _, label in timeline(events).grid]
    assert 2 <= len(moments) <= 9
    assert len({round(after - before, 6) for before, after in pairwise(moments)}) == 1


def test_round_without_events_is_an_empty_picture() -> None:
    assert timeline([]).lanes == ()
