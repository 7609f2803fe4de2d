"""An event in words, for tooltips and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from chaos.history import Event, Kind


def sentence(event: Event) -> str:
    """What happened, as one sentence; the time and the lane stand beside it."""
    return _SENTENCES[event.kind](event)


def sentences(event: Event, key: str) -> tuple[str, ...]:
    """The list of sentences that an event carries under ``key`` (``changes``, ``evidence``)."""
    found = event.data.get(key) or ()
    return (found,) if isinstance(found, str) else tuple(_value(each) for each in found)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _facts(data: Mapping[str, Any], *told: str) -> str:
    facts = (
        f"{key} {_value(value)}"
        for key, value in data.items()
        if key not in told and value is not None
    )
    return ", ".join(facts)


def _told(event: Event) -> str:
    """The event's own text, then its other facts."""
    text = _value(event.data.get("text") or event.name)
    if event.kind is Kind.STEP and text != event.name:
        text = f"{event.name}: {text}"
    facts = _facts(event.data, "text")
    return f"{text} ({facts})" if facts else text


def _invoke(event: Event) -> str:
    arguments = event.data.get("arguments") or {}
    given = ", ".join(f"{key}={_value(value)}" for key, value in arguments.items())
    return f"{event.name}({given})"


def _ok(event: Event) -> str:
    answer = event.data.get("answer")
    return f"{event.name} ok" + ("" if answer is None else f": {_value(answer)}")


def _fail(event: Event) -> str:
    status = event.data.get("status")
    return f"{event.name} failed{f' with {status}' if status else ''}: {event.data.get('error')}"


def _indeterminate(event: Event) -> str:
    return f"{event.name} may or may not have happened: {event.data.get('error')}"


def _hit(event: Event) -> str:
    what = " ".join(_value(event.data[key]) for key in ("action", "when") if event.data.get(key))
    facts = _facts(event.data, "action", "when")
    return f"{what} {event.name}".strip() + (f" ({facts})" if facts else "")


def _service(event: Event) -> str:
    facts = _facts(event.data)
    return event.name + (f" ({facts})" if facts else "")


def _world(event: Event) -> str:
    return f"{event.name}: {'; '.join(sentences(event, 'changes')) or 'nothing changed'}"


def _violation(event: Event) -> str:
    moment = event.data.get("moment")
    where = f" ({moment})" if moment else ""
    return f"{event.name} violated{where}: {'; '.join(sentences(event, 'evidence'))}"


_SENTENCES: Mapping[Kind, Callable[[Event], str]] = {
    Kind.STEP: _told,
    Kind.INVOKE: _invoke,
    Kind.OK: _ok,
    Kind.FAIL: _fail,
    Kind.INDETERMINATE: _indeterminate,
    Kind.HIT: _hit,
    Kind.FAULT: _told,
    Kind.UNDO: _told,
    Kind.SERVICE: _service,
    Kind.WORLD: _world,
    Kind.VIOLATION: _violation,
}
