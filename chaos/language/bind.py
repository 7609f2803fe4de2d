"""Binding a plan to a target's vocabulary: every word in it is looked up before anything starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from pydantic import BaseModel

from chaos.errors import PlanError, nearest
from chaos.fault import Fault
from chaos.invariant import BUILT_IN, Invariant
from chaos.language import arguments
from chaos.language.arguments import Mention, mentions
from chaos.language.catalogue import Vocabulary, capabilities
from chaos.language.problem import Path, Problem
from chaos.link import leads
from chaos.plan import GIVEN, REACH, STEPS, TOGETHER, Injection, Location, Phase, Plan, Step
from chaos.point import means
from chaos.target import CAPABILITIES
from chaos.words import Named

SECTIONS = (GIVEN, *Phase)


class UnboundPlan(PlanError):
    """A plan uses words that its target does not have; ``problems`` has each with its place."""

    def __init__(self, plan: str, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(f"plan `{plan}`, {_dotted(p.path)}: {p.message}" for p in problems)
        )
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class BoundPlan:
    """A plan whose every word is known."""

    plan: Plan
    faults: tuple[tuple[Injection, Fault], ...]
    invariants: tuple[Invariant, ...]
    missing: tuple[str, ...] = ()
    """Why this target cannot run it, though it knows its words; empty: it can."""


def bind(plan: Plan, words: Vocabulary) -> BoundPlan:
    """Look up every name in ``plan``, and check the type of every argument.

    Raises:
        UnboundPlan: names every unknown point, service, fault, invariant, operation, argument,
            actor, step, capability and thing that no step makes, with the nearest that exists; and
            every argument of the wrong type.
    """
    binding = _Binding(plan, words)
    read = binding.steps()
    binding.check_names(read)
    faults = binding.faults()
    invariants = binding.invariants()
    binding.check_bugs()
    binding.check_needs()
    if binding.problems:
        raise UnboundPlan(plan.title_of_case, binding.problems)
    return BoundPlan(plan, faults, invariants, tuple(_missing(plan, faults, words)))


@dataclass(frozen=True, slots=True)
class _Read:
    """A step that was read: what it uses and makes, by the target's own kinds of word."""

    path: Path
    uses: tuple[Mention, ...]
    makes: tuple[Mention, ...]


_Actors = list[list[_Read]]
"""Those who act at the same time, each one step after the other."""

_Thing = tuple[str, str]
"""Something that a step makes: its kind, and its name."""


@dataclass(slots=True)
class _Binding:
    """One plan, the words it may use, and what was found wrong so far."""

    plan: Plan
    words: Vocabulary
    problems: list[Problem] = field(default_factory=list)
    _made: dict[str, set[_Thing]] = field(default_factory=dict)
    """Section → what is made up to its end."""
    _unknown: set[str] = field(default_factory=set)
    """Kinds of which something may be made by a step that could not be read; ``*``: any kind."""

    # ------------------------------------------------------------------ steps

    def steps(self) -> dict[str, list[_Actors]]:
        """Read every step of every section."""
        return {
            section: [
                list(self._actors(step, (section, index)))
                for index, step in enumerate(getattr(self.plan, section) or ())
            ]
            for section in SECTIONS
        }

    def _actors(self, step: Step, path: Path) -> Iterator[list[_Read]]:
        """Those who act in one step: one, or all of a ``together``."""
        if step.operation != TOGETHER or path[0] == GIVEN:
            yield list(self._step(step, path))
            return
        self._check_plain(step, path)
        if len(step.steps) < 2:
            self._wrong((*path, TOGETHER), f"`{TOGETHER}` needs at least two actors")
        for index, actor in enumerate(step.steps):
            inner = (*path, TOGETHER, index)
            if actor.operation != STEPS:
                yield list(self._step(actor, inner))
                continue
            self._check_plain(actor, inner, may_be_called=True)
            if not actor.steps:
                self._wrong((*inner, STEPS), f"`{STEPS}` must not be empty")
            yield [
                read
                for place, single in enumerate(actor.steps)
                for read in self._step(single, (*inner, STEPS, place))
            ]

    def _check_plain(self, step: Step, path: Path, *, may_be_called: bool = False) -> None:
        """Only an operation of the client gets an answer that can be allowed."""
        if step.allow:
            self._wrong((*path, "allow"), f"`{step.operation}` takes no `allow`")
        if step.label and not may_be_called:
            self._wrong((*path, "as"), f"`{step.operation}` takes no `as`: name its actors")

    def _step(self, step: Step, path: Path) -> Iterator[_Read]:
        """Read one single step; nothing when it cannot be read."""
        where = (*path, step.operation)
        model = self._model(step, path)
        if model is None:
            return
        read = arguments.read(model, step.arguments, step.operation)
        if isinstance(read, tuple):
            self._wrong_inside(where, read)
            self._unknown |= arguments.kinds_made(model)
            return
        found = [Mention(m.word, m.name, (*where, *m.path)) for m in mentions(read)]
        phase = _phase(path)
        for mention in found:
            if mention.word.kind in {*Named}:
                self._look_up(mention, phase)
        own = [mention for mention in found if mention.word.kind not in {*Named}]
        yield _Read(
            where,
            tuple(mention for mention in own if not mention.word.makes),
            tuple(mention for mention in own if mention.word.makes),
        )

    def _model(self, step: Step, path: Path) -> type[BaseModel] | None:
        """The arguments of a step's operation; None when it cannot stand there."""
        word, where = step.operation, (*path, step.operation)
        target = self.words.target
        if word in (TOGETHER, STEPS, *arguments.BUILT_IN):
            if path[0] == GIVEN or word not in arguments.BUILT_IN:
                inside = next((part for part in (STEPS, TOGETHER) if part in path), "")
                place = f"inside `{inside}`" if inside else f"in `{path[0]}`"
                self._wrong(where, f"`{word}` cannot stand {place}")
                return None
            self._check_plain(step, path, may_be_called=True)
            if word == REACH:
                self._check_reach(step, where, _phase(path))
            return arguments.BUILT_IN[word]
        if word in target.operations:
            return arguments.model_of(target.operations[word])
        self._unknown.add("*")
        known = [*target.operations]
        known += [] if path[0] == GIVEN else [TOGETHER, *arguments.BUILT_IN]
        self._wrong(
            where, f"target `{target.name}` has no operation `{word}`; {nearest(word, known)}"
        )
        return None

    def _check_reach(self, step: Step, where: Path, phase: Phase) -> None:
        place = step.arguments.get("point")
        places = {i.at.place for i in self.plan.inject if i.at and i.phase is phase}
        if isinstance(place, str) and place not in places:
            hint = nearest(place, places) if places else "no injection waits there"
            self._wrong(where, f"nothing is injected at `{place}` in `{phase}`; {hint}")

    # ------------------------------------------------------------------ what steps make

    def check_names(self, read: Mapping[str, list[_Actors]]) -> None:
        """What a step uses was made before; what one makes has a name of its own."""
        whole: set[_Thing] = set()
        for step in chain(*chain(*chain(*read.values()))):
            for made in step.makes:
                if _thing(made) in whole:
                    self._wrong(made.path, f"two steps make {_a(made.word.kind)} `{made.name}`")
                whole.add(_thing(made))
        before: set[_Thing] = set()
        for section, steps in read.items():
            for actors in steps:
                self._check_actors(actors, before, whole)
                before |= {_thing(made) for step in chain(*actors) for made in step.makes}
            self._made[section] = set(before)

    def _check_actors(self, actors: _Actors, before: set[_Thing], whole: set[_Thing]) -> None:
        """Actors may use what another one makes at the same time, and what they made themselves."""
        makes = [{_thing(made) for step in actor for made in step.makes} for actor in actors]
        every = set[_Thing]().union(*makes)
        for own, actor in zip(makes, actors, strict=True):
            known = every - own
            for step in actor:
                for use in step.uses:
                    if _thing(use) not in before:
                        self._check_use(use, known, whole)
                known |= {_thing(made) for made in step.makes}

    def _check_use(self, use: Mention, known: set[_Thing], whole: set[_Thing]) -> None:
        kind, name = use.word.kind, use.name
        if _thing(use) in known or self._unknown & {kind, "*"}:
            return
        if _thing(use) in whole:
            self._wrong(use.path, f"{_a(kind)} `{name}` is made by a later step only")
            return
        others = sorted(other for other, made in whole if made == name)
        alike = [made for other, made in whole if other == kind]
        if others:
            hint = f"it is {_a(others[0])}"
        else:
            hint = nearest(name, alike) if alike else f"none makes any {kind}"
        self._wrong(use.path, f"no step makes {_a(kind)} `{name}`; {hint}")

    # ------------------------------------------------------------------ faults

    def faults(self) -> tuple[tuple[Injection, Fault], ...]:
        """Every fault of the plan, where it is one."""
        found = []
        for index, injection in enumerate(self.plan.inject):
            path: Path = ("inject", index)
            if injection.at is not None:
                self._look_up_all(injection.at, (*path, "at"), injection.phase)
                self._check_reachable(injection.at, (*path, "at", "service"))
            steps = getattr(self.plan, injection.phase)
            if steps is not None and not steps:  # without `recover`, all that is down is started
                self._wrong((*path, "in"), f"nothing happens in `{injection.phase}`: give it steps")
            fault = self._fault(injection, path)
            if fault is not None:
                where = (*path, "do", injection.do)
                self._look_up_all(fault, where, injection.phase)
                for place, at in _locations(fault):
                    self._check_reachable(at, (*where, *place, "service"))
                self._check_racing(fault, where, injection.phase)
                found.append((injection, fault))
        return tuple(found)

    def _check_reachable(self, at: Location, path: Path) -> None:
        """A point lies in some services only: in another one it is never reached."""
        point = self.words.target.points.get(at.point)
        if point is None or not at.service:
            return
        services = self.words.target.services
        named = [name for name in services if means(at.service, name)]
        homes = [name for name in services if means(point.services, name)]
        if named and not {*named} & {*homes}:
            told = ", ".join(f"`{name}`" for name in homes) or "no service"
            self._wrong(path, f"`{at.point}` is never reached in `{at.service}`: it lies in {told}")

    def _fault(self, injection: Injection, path: Path) -> Fault | None:
        where = (*path, "do", injection.do)
        model = self.words.faults.get(injection.do)
        if model is None:
            hint = nearest(injection.do, self.words.faults)
            self._wrong(where, f"there is no fault `{injection.do}`; {hint}")
            return None
        if model.located is not None and model.located != (injection.at is not None):
            need = "takes no `at`"
            if model.located:
                need = "needs an `at`: say before or after which point"
            self._wrong((*path, "do"), f"the fault `{injection.do}` {need}")
            return None
        read = arguments.read(model, injection.arguments, injection.do)
        if isinstance(read, tuple):
            self._wrong_inside(where, read)
            return None
        return read

    def _check_racing(self, fault: Fault, path: Path, phase: Phase) -> None:
        """Actors that a fault lists are those of one ``together``: others never meet."""
        lists: dict[Path, list[str]] = defaultdict(list)
        for mention in mentions(fault):
            if mention.word.kind == Named.ACTOR and isinstance(mention.path[-1], int):
                lists[mention.path[:-1]].append(mention.name)
        together = [
            {actor.label for actor in step.steps}
            for step in getattr(self.plan, phase) or ()
            if step.operation == TOGETHER
        ]
        known = self._labels(phase)
        for where, names in lists.items():
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                self._wrong((*path, *where), f"`{twice[0]}` is listed twice")
            elif {*names} <= known and not any({*names} <= labels for labels in together):
                told = " and ".join(f"`{name}`" for name in names)
                self._wrong(
                    (*path, *where), f"{told} never act at the same time: put them into one "
                    f"`{TOGETHER}` of `{phase}`",
                )  # fmt: skip

    # ------------------------------------------------------------------ words

    def _look_up_all(self, model: BaseModel, path: Path, phase: Phase) -> None:
        for mention in mentions(model):
            self._look_up(Mention(mention.word, mention.name, (*path, *mention.path)), phase)

    def _look_up(self, mention: Mention, phase: Phase) -> None:
        """Look up a word that stands in a phase."""
        name, target = mention.name, self.words.target
        match mention.word.kind:
            case Named.POINT:
                if name not in target.points:
                    self._wrong(
                        mention.path,
                        f"target `{target.name}` has no point `{name}`; "
                        f"{nearest(name, target.points)} (`chaos points` lists them)",
                    )
            case Named.SERVICE:
                if not any(means(name, service) for service in target.services):
                    self._wrong(
                        mention.path,
                        f"target `{target.name}` has no service `{name}`; "
                        f"{nearest(name, target.services)}",
                    )
            case Named.LINK:
                # A target without links is told by the capability that it lacks.
                if target.links and not any(leads(name, link) for link in target.links):
                    self._wrong(
                        mention.path,
                        f"target `{target.name}` has no link `{name}`; "
                        f"{nearest(name, target.links)}",
                    )
            case Named.ACTOR:
                labels = self._labels(phase)
                if name not in labels:
                    hint = nearest(name, labels) if labels else "give one an `as: LABEL`"
                    until = "in `during`" if phase is Phase.DURING else f"up to `{phase}`"
                    self._wrong(mention.path, f"no step {until} is called `{name}`; {hint}")
            case Named.STEP:
                steps = {
                    word for s in self.plan.operations(phase) for word in (s.operation, s.label)
                }
                steps |= {actor.label for actor in self.plan.actors(phase)} | {phase.value}
                steps.discard("")
                if name not in steps:
                    self._wrong(
                        mention.path, f"`{phase}` has no step `{name}`; {nearest(name, steps)}"
                    )
            case _:
                self._check_use(mention, self._made[phase], self._made[Phase.THEN])

    def _labels(self, phase: Phase) -> set[str]:
        """The actors whose requests may be served in a phase: its own, and earlier ones'."""
        phases = [*Phase][: [*Phase].index(phase) + 1]
        return {actor.label for p in phases for actor in self.plan.actors(p) if actor.label}

    # ------------------------------------------------------------------ invariants

    def invariants(self) -> tuple[Invariant, ...]:
        """The invariants of the target that the plan wants judged."""
        if self.plan.invariants is None:
            return tuple(self.words.invariants.values())
        for index, name in enumerate(self.plan.invariants):
            self._check_invariant(name, ("invariants", index))
        chosen = dict.fromkeys(self.plan.invariants)
        return tuple(
            self.words.invariants[name] for name in chosen if name in self.words.invariants
        )

    def check_bugs(self) -> None:
        """Each bug names the invariants that see it; the target may lack the switch."""
        for index, bug in enumerate(self.plan.withstands):
            if bug in self.plan.bugs:
                where = ("withstands", index)
                self._wrong(where, f"`{bug}` must be seen, as `bugs` says, or withstood: not both")
        for bug, violated in self.plan.bugs.items():
            if not violated:
                self._wrong(("bugs", bug), "name the invariants that must see this bug")
            for index, name in enumerate(violated):
                self._check_invariant(name, ("bugs", bug, index))

    def check_needs(self) -> None:
        """Each capability is one that some target may have; this one may lack it."""
        faults = self.words.faults.values()
        known = CAPABILITIES | self.words.target.capabilities | {fault.needs for fault in faults}
        if not known.issuperset(self.plan.needs):  # others are loaded only then
            known |= capabilities(self.plan.target)
        for index, need in enumerate(self.plan.needs):
            if need not in known:
                hint = nearest(need, known - {""})
                self._wrong(("needs", index), f"no target has a capability `{need}`; {hint}")

    def _check_invariant(self, name: str, path: Path) -> None:
        known = [*self.words.invariants, *BUILT_IN]
        if name not in known:
            self._wrong(path, f"there is no invariant `{name}`; {nearest(name, known)}")

    # ------------------------------------------------------------------ what was found

    def _wrong(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _wrong_inside(self, path: Path, problems: Sequence[Problem]) -> None:
        self.problems += [Problem((*path, *p.path), p.message) for p in problems]


def _locations(fault: Fault) -> Iterator[tuple[Path, Location]]:
    """The places that a fault lists by itself."""
    for name, value in fault:
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, Location):
                yield (name, index), item


def _missing(
    plan: Plan, faults: Sequence[tuple[Injection, Fault]], words: Vocabulary
) -> Iterator[str]:
    target = words.target
    for need in plan.needs:
        if need not in target.capabilities:
            hint = nearest(need, target.capabilities)
            yield f"target `{target.name}` has no capability `{need}`; {hint}"
    needed = {(i.do, f.needs) for i, f in faults if f.needs}
    for word, need in sorted(needed):
        if need not in target.capabilities and need not in plan.needs:
            yield f"the fault `{word}` needs `{need}`, which target `{target.name}` has not"


def _phase(path: Path) -> Phase:
    """The phase of a step; what is given is there while anything happens."""
    return Phase.DURING if path[0] == GIVEN else Phase(str(path[0]))


def _thing(mention: Mention) -> _Thing:
    return mention.word.kind, mention.name


def _a(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "top level"
