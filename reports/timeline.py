"""The timeline of one round: where every mark of the picture goes.

Pure arithmetic: events in, coordinates out; ``templates/timeline.html`` draws them as SVG. There is
one lane per service that has events, between the lanes of the plan and the client above and the
world below. A lane is as many rows high as it needs for its labelled marks not to overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from chaos.history import Event, Kind
from reports.sentence import sentence
from reports.text import shortened

WIDTH = 1200.0
GUTTER = 140.0
"""Width of the lanes' names, left of the axis (user units, like all lengths here)."""
MARGIN = 90.0
"""Right of the axis, so that labels of what happens last stand where all labels stand."""
HEADER = 22.0
ROW = 20.0
LETTER = 6.0
"""Width of a letter of a label, on average."""
PADDING = 6.0
MANY_ROWS = 10
"""A lane that would need more rows has short labels, then only those that fit into their bars."""
TICK = 3.0
"""Hits closer together than this become one tick."""
LABEL = 60
"""Characters of a label, at most."""
EARLIER, LATER = 3, 8
"""Events before the first and after the last fault that stand in the picture around them."""
TIP = 600
"""Characters of a tooltip, at most."""

_DOWN = ("killed", "exited")
_STATES = {"killed": "dead", "exited": "dead", "started": "starting", "frozen": "frozen"}
"""Event of a service → the state that it begins; any other event ends the state before."""
_SYMBOLS = {Kind.FAIL: "✗ ", Kind.INDETERMINATE: "? ", None: "… "}
_ENDS = (Kind.OK, Kind.FAIL, Kind.INDETERMINATE)


@dataclass(slots=True)
class Mark:
    """Something that happened at, or from ``x`` for ``width``; ``kind`` says how it looks.

    ``tip`` tells it exactly, with its time. ``before`` puts the label left of the mark;
    ``short`` takes its place where room is scarce.
    """

    kind: str
    x: float
    tip: str
    width: float = 0.0
    label: str = ""
    short: str = ""
    before: bool = False
    inside: bool = False
    y: float = 0.0

    @property
    def taken(self) -> tuple[float, float]:
        """From where to where it needs its row for itself, label included."""
        text = len(self.label) * LETTER + 2 * PADDING if self.label else 0.0
        if self.inside:
            return self.x, self.x + self.width
        if self.before:
            return self.x - text - PADDING, self.x + self.width + PADDING
        return self.x - PADDING, self.x + self.width + PADDING + text


@dataclass(slots=True)
class Lane:
    """One horizontal strip: background ``spans`` (states), ``ticks`` (hits) and ``marks``."""

    name: str
    y: float = 0.0
    height: float = ROW
    spans: list[Mark] = field(default_factory=list)
    ticks: list[Mark] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A picture, ready to be drawn. ``strikes`` are the x of faults, ``grid`` x and label."""

    lanes: tuple[Lane, ...]
    grid: tuple[tuple[float, str], ...]
    strikes: tuple[float, ...]
    height: float
    title: str


def timeline(events: Sequence[Event], window_ms: tuple[float, float] | None = None) -> Timeline:
    """Lay out ``events`` of one round, or the part of them within ``window_ms`` of its start."""
    return _Drawing(events, window_ms).finish()


def around_fault(events: Sequence[Event]) -> tuple[float, float] | None:
    """Milliseconds from and to that show every fault of the round with the events next to them.

    None when nothing struck, or when the window would be most of the round anyway.
    """
    moments = [event for event in events if event.kind is not Kind.HIT or _acted(event)]
    struck = [number for number, event in enumerate(moments) if event.kind is Kind.FAULT]
    if not struck:
        return None
    drawing = _Drawing(events)
    start_ms = drawing.ms(moments[max(0, struck[0] - EARLIER)])
    end_ms = drawing.ms(moments[min(len(moments) - 1, struck[-1] + LATER)])
    margin_ms = (end_ms - start_ms) * 0.04 + 0.1
    window_ms = (max(0.0, start_ms - margin_ms), end_ms + margin_ms)
    return window_ms if window_ms[1] - window_ms[0] < 0.6 * drawing.last_ms else None


class _Drawing:
    """Events on their way to a picture; all times in milliseconds since the round's start."""

    def __init__(
        self, events: Sequence[Event], window_ms: tuple[float, float] | None = None
    ) -> None:
        self.events = events
        self.zero_ns = min((event.at_ns for event in events), default=0)
        self.last_ms = max((self.ms(event) for event in events), default=0.0) or 0.001
        self.start_ms, self.end_ms = window_ms or (0.0, self.last_ms)
        self.lanes = {name: Lane(name) for name in _lane_names(events)}

    def finish(self) -> Timeline:
        self.draw_phases()
        self.draw_operations()
        self.draw_hits()
        self.draw_states()
        self.draw_moments()
        shown = [lane for lane in self.lanes.values() if lane.spans or lane.ticks or lane.marks]
        bottom = HEADER
        for lane in shown:
            lane.y = bottom
            ticked = PADDING if lane.ticks and lane.marks else 0.0
            lane.height = _pack(lane) * ROW + PADDING + ticked
            bottom += lane.height
        strikes = {mark.x for lane in shown for mark in lane.marks if mark.kind == "fault"}
        title = (
            f"Timeline of {len(self.events)} events in {len(shown)} lanes, "
            f"{self.start_ms:.1f} to {self.end_ms:.1f} ms after the round's start"
        )
        grid = _grid(self.start_ms, self.end_ms)
        return Timeline(
            tuple(shown),
            tuple((self.x(moment_ms), label) for moment_ms, label in grid),
            tuple(sorted(strikes)),
            bottom + PADDING,
            title,
        )

    # ------------------------------------------------------------------ what goes where

    def draw_phases(self) -> None:
        steps = [step for step in self.of(Kind.STEP) if _is_phase(step)]
        for step, following in zip_longest(steps, steps[1:]):
            until_ms = self.ms(following) if following else self.last_ms
            self.bar("phase", step, until_ms, step.name, sentence(step))

    def draw_operations(self) -> None:
        ends = {event.data.get("operation"): event for event in self.of(*_ENDS)}
        invoked = self.of(Kind.INVOKE)
        several = len({event.actor for event in invoked}) > 1
        for event in invoked:
            end = ends.get(event.data.get("operation"))
            actor = f"[{event.actor}] " if event.actor else ""
            outcome = sentence(end) if end else "never ended"
            name = _SYMBOLS.get(end.kind if end else None, "") + event.name
            self.bar(
                f"operation {end.kind if end else 'open'}",
                event,
                self.ms(end) if end else self.last_ms,
                f"{name} · {event.actor}"
                if several and event.actor not in ("", event.name)
                else name,
                f"{actor}{sentence(event)} → {outcome}",
            )

    def draw_hits(self) -> None:
        together: dict[tuple[str, bool, int], list[Event]] = defaultdict(list)
        for hit in self.of(Kind.HIT):
            if self.shows(self.ms(hit)):
                together[hit.lane, _acted(hit), int(self.x(self.ms(hit)) / TICK)].append(hit)
        for (lane, acted, _), hits in together.items():
            told = [f"{self.ms(hit):.2f} ms: {sentence(hit)}" for hit in hits[:5]]
            if len(hits) > 5:
                told.append(f"and {len(hits) - 5} more hits")
            tick = self.mark("hit acted" if acted else "hit", hits[0], "\n".join(told))
            self.lanes[lane].ticks.append(tick)

    def draw_states(self) -> None:
        """Intervals in which a service was dead, starting or frozen; each change as a notch."""
        since: dict[str, tuple[str, Event]] = {}
        for event in self.of(Kind.SERVICE):
            state, begun = since.pop(event.lane, ("", event))
            if state == "dead" and event.name in _DOWN:
                # Who killed it and who waited for it both tell: it died once, at the first.
                since[event.lane] = (state, begun)
            else:
                self.span(state, begun, event)
                if event.name in _STATES:
                    since[event.lane] = (_STATES[event.name], event)
            if self.shows(self.ms(event)):
                tip = f"{self.ms(event):.2f} ms: {event.lane} {sentence(event)}"
                self.lanes[event.lane].ticks.append(self.mark("notch", event, tip))
        for state, begun in since.values():
            self.span(state, begun, None)

    def draw_moments(self) -> None:
        notes = [step for step in self.of(Kind.STEP) if not _is_phase(step)]
        for event in [*notes, *self.of(Kind.FAULT, Kind.UNDO, Kind.VIOLATION, Kind.WORLD)]:
            if self.shows(self.ms(event)):
                mark = self.mark(event.kind, event, f"{self.ms(event):.2f} ms: {sentence(event)}")
                if event.kind is not Kind.WORLD:
                    step = event.kind is Kind.STEP
                    told = sentence(event) if step else event.data.get("text") or event.name
                    mark.label = shortened(str(told), LABEL)
                    mark.short = shortened(event.name, LABEL)
                mark.before = mark.taken[1] > WIDTH
                self.lanes[event.lane].marks.append(mark)

    # ------------------------------------------------------------------ pieces

    def of(self, *kinds: Kind) -> list[Event]:
        return [event for event in self.events if event.kind in kinds]

    def ms(self, event: Event) -> float:
        return (event.at_ns - self.zero_ns) / 1e6

    def shows(self, from_ms: float, to_ms: float | None = None) -> bool:
        return (from_ms if to_ms is None else to_ms) >= self.start_ms and from_ms <= self.end_ms

    def x(self, at_ms: float) -> float:
        part = (at_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return round(GUTTER + min(1.0, max(0.0, part)) * (WIDTH - GUTTER - MARGIN), 1)

    def mark(self, kind: str, event: Event, tip: str, until_ms: float | None = None) -> Mark:
        since_ms = self.ms(event)
        x = self.x(since_ms)
        width = 0.0 if until_ms is None else max(2.0, round(self.x(until_ms) - x, 1))
        if until_ms is not None:
            took_ms = until_ms - since_ms
            tip = f"{since_ms:.2f} to {until_ms:.2f} ms ({took_ms:.2f} ms): {tip}"
        return Mark(kind, x, shortened(tip, TIP), width)

    def bar(self, kind: str, event: Event, until_ms: float, label: str, tip: str) -> None:
        if not self.shows(self.ms(event), until_ms):
            return
        mark = self.mark(kind, event, tip, until_ms)
        mark.label = shortened(label, LABEL)
        mark.inside = len(mark.label) * LETTER + 2 * PADDING <= mark.width
        mark.before = not mark.inside and mark.taken[1] > WIDTH
        self.lanes[event.lane].marks.append(mark)

    def span(self, state: str, begun: Event, ended: Event | None) -> None:
        until_ms = self.ms(ended) if ended else self.last_ms
        if state and self.shows(self.ms(begun), until_ms):
            until = f"until {ended.name}" if ended else "to the end of the round"
            tip = f"{begun.lane} {state} {until}"
            self.lanes[begun.lane].spans.append(self.mark(f"state {state}", begun, tip, until_ms))


def _pack(lane: Lane) -> int:
    """Give every mark the first row where it overlaps nothing; returns the number of rows."""
    rows = _rows(lane.marks)
    for none in (False, True):
        if len(rows) <= MANY_ROWS:
            break
        for mark in lane.marks:
            if not mark.inside:
                mark.label = "" if none else mark.short
        rows = _rows(lane.marks)
    for number, row in enumerate(rows[:MANY_ROWS]):
        for mark in row:
            mark.y = lane.y + number * ROW
    for row in rows[MANY_ROWS:]:
        for mark in row:
            mark.y = lane.y + (MANY_ROWS - 1) * ROW
    return max(1, min(len(rows), MANY_ROWS))


def _rows(marks: Iterable[Mark]) -> list[list[Mark]]:
    rows: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda mark: mark.x):
        row = next((row for row in rows if not any(_overlap(mark, each) for each in row)), None)
        if row is None:
            rows.append([mark])
        else:
            row.append(mark)
    return rows


def _overlap(one: Mark, other: Mark) -> bool:
    return one.taken[0] < other.taken[1] and other.taken[0] < one.taken[1]


def _is_phase(step: Event) -> bool:
    """Whether a step of the plan lasts until the next; one that adds a text is a note."""
    return bool(step.data.get("text", step.name) == step.name)


def _acted(hit: Event) -> bool:
    return bool(hit.data.get("action", "record") != "record")


def _grid(start_ms: float, end_ms: float) -> list[tuple[float, str]]:
    """Round moments with their labels, about eight of them."""
    wanted = (end_ms - start_ms) / 8
    power = 1e-3
    while power * 10 <= wanted:
        power *= 10
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= wanted), power * 10)
    digits = 0 if step >= 1 else 1 if step >= 0.1 else 3
    moments = (n * step for n in range(int(start_ms / step), int(end_ms / step) + 1))
    return [(moment, f"{moment:,.{digits}f}") for moment in moments if moment >= start_ms]


def _lane_names(events: Sequence[Event]) -> list[str]:
    """Plan and client, then the services by name, then the world."""
    ends = {"plan": (0, ""), "client": (1, ""), "world": (3, "")}
    return sorted({event.lane for event in events}, key=lambda name: ends.get(name, (2, name)))
