"""The footprint of a step: what it touched, whether that is known, and who waited meanwhile."""

from __future__ import annotations

import time

from chaos.engine.racers import Racers
from chaos.engine.stage import Stage
from chaos.history import Event, Kind
from chaos.point import Access
from chaos.schedule import Choice
from chaos.target import ServiceState


class Footprints:
    """What the steps of a round's races touch, one after the other."""

    def __init__(self, stage: Stage, racers: Racers) -> None:
        self._stage = stage
        self._racers = racers
        self._told = False
        """Whether the target tells all that makes a difference."""
        self._accounted = 0
        """How many accesses belong to a step already."""

    def watch(self) -> None:
        """Have the target tell what is touched, from now on."""
        self._told = self._stage.listening.watch_accesses()

    def begin_race(self) -> None:
        """Note whether a fault waits for whoever comes first: then every order counts."""
        self._told = self._told and not any(
            arm.request.requests is None
            and arm.request.action.word != "record"
            and arm.remaining != 0
            for arm in self._stage.arms
        )

    def begin(self) -> None:
        """What was touched until now belongs to no step."""
        self._accounted = len(self._stage.accesses.told)

    def step(self) -> Footprint:
        """The one of the step that begins now."""
        return Footprint(self._stage, self._racers, self)

    def touched(self, granted_ns: int, *, sure: bool) -> frozenset[Access] | None:
        """All that was touched in a step, whoever did it: None when that is not known.

        The world stood still before, so whatever happened then was brought about by the step.
        """
        stage = self._stage
        new = stage.accesses.told[self._accounted :]
        self._accounted += len(new)
        late = [accesses for _, at_ns, accesses in new if at_ns < granted_ns]
        choices = stage.choices.schedule.choices
        if late and len(choices) > 1:  # it belongs to the step before, or to this one
            choices[-2].touch(late)
        if not (sure and self._told):
            return None
        choices[-1].touched = frozenset()
        choices[-1].touch([accesses for _, _, accesses in new])
        return choices[-1].touched

    def catch_up(self) -> None:
        """Know of what was touched before the last thing that is known."""
        if self._told:
            self._stage.controller.catch_up()


class Footprint:
    """What one step touches."""

    def __init__(self, stage: Stage, racers: Racers, all_: Footprints) -> None:
        self._stage = stage
        self._racers = racers
        self._all = all_
        self._known = len(stage.history)
        self._unsure = self._is_unsure()
        self._blocked = self._told_blocked()
        self._granted_ns = 0

    def grant(self) -> None:
        """Note that somebody is let go now."""
        self._granted_ns = time.monotonic_ns()

    def end(self, choice: Choice, *, sure: bool) -> None:
        """Tell the choice what it brought about; not ``sure``: more than an access can tell."""
        blocked = self._blocked + self._told_blocked()
        choice.waited = bool(blocked)
        choice.hidden = not all(blocked)
        unsure = self._unsure or self._is_unsure() or self._was_disturbed()
        choice.touched = self._all.touched(self._granted_ns, sure=sure and not unsure)

    def _is_unsure(self) -> bool:
        """Whether somebody waits for what others do: which of their steps lets him go is hidden."""
        stage = self._stage
        looking = any(racer.looking and not racer.ended for racer in self._racers)
        return (
            looking
            or bool(self._told_blocked())
            or stage.sightings.is_let_go_before(stage.phase.value)
        )

    def _told_blocked(self) -> list[bool]:
        """For each actor who waits for another: whether the target tells for what.

        That is something which another one has touched, or a service that is not there.
        """
        blocked = [racer.label for racer in self._racers if racer.blocked]
        if not blocked:
            return []
        services = self._stage.services.values()
        down = any(service.state is not ServiceState.READY for service in services)
        return [down or self._stage.accesses.is_told(label) for label in blocked]

    def _was_disturbed(self) -> bool:
        return any(map(_disturbs, self._stage.history.since(self._known)))


def _disturbs(event: Event) -> bool:
    """Whether a fault struck, or a service came or went: no access tells of that."""
    match event.kind:
        case Kind.SERVICE | Kind.UNDO:
            return True
        case Kind.FAULT:
            return event.name != "race"
        case Kind.HIT:
            return event.data["action"] not in ("record", "pause")
    return False
