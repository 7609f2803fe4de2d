"""Names: what a step uses was made by an earlier one."""

from __future__ import annotations

import pytest

from tests.plans.conftest import Loaded, Told

PLAN = """\
plan: x
given:
  - server.create: {name: vm}
  - volume.create: {name: disk}
during:
  - %s
  - tick
inject:
  - {at: before build.start, do: crash}
recover:
  - start: api
then:
  - server.create: {name: last}
"""


@pytest.mark.parametrize(
    "step",
    [
        "server.delete: {server: vm}",
        "server.create: {name: other, volumes: [disk]}",
        "volume.create: {name: vm}",  # another kind of thing
        "volume.create: {name: two, copy: null}",
        "server.group: {apart: all}",
        "server.group: {apart: [[vm]], note: mv}",  # a note names nothing
        "together: [server.create: {name: a}, server.delete: {server: a}]",
        "together: [server.delete: {server: a}, server.create: {name: a}]",
        "together: [tick, steps: [server.create: {name: a}, server.delete: {server: a}]]",
    ],
)
def test_a_name_that_was_made_is_known(loaded: Loaded, step: str) -> None:
    loaded(PLAN % step)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("server.delete: {server: mv}", "no step makes a server `mv`; did you mean `vm`?"),
        ("server.delete: {server: disk}", "no step makes a server `disk`; it is a volume"),
        ("server.delete: {server: last}", "a server `last` is made by a later step only"),
        ("server.delete: {server: ''}", "no step makes a server ``"),
        ("server.create: {name: b, volumes: [disk, dsk]}",
         "no step makes a volume `dsk`; did you mean `disk`?"),
        ("server.create: {name: vm}", "two steps make a server `vm`"),
        ("volume.create: {name: new, copy: new}", "a volume `new` is made by a later step only"),
        ("volume.create: {name: new, copy: vm}", "no step makes a volume `vm`; it is a server"),
        ("server.group: {apart: [[vm], [vm, mv]]}", "no step makes a server `mv`; did you mean"),
        ("together: [tick, steps: [server.delete: {server: a}, server.create: {name: a}]]",
         "a server `a` is made by a later step only"),
    ],
)  # fmt: skip
def test_a_name_that_nobody_made_before_is_refused(told: Told, step: str, expected: str) -> None:
    assert f"x.plan.yaml:6: {expected}" in told(PLAN % step)


def test_a_thing_of_which_no_step_makes_any_is_told_as_such(told: Told) -> None:
    text = PLAN.replace("  - volume.create: {name: disk}\n", "")
    step = "server.create: {name: b, volumes: [disk]}"
    assert "5: no step makes a volume `disk`; none makes any volume" in told(text % step)


def test_a_name_that_is_given_by_default_is_made_too(told: Told, loaded: Loaded) -> None:
    use = "volume.create: {name: new, copy: data}"
    assert "no step makes a volume `data`" in told(PLAN % use)
    loaded((PLAN % use).replace("volume.create: {name: disk}", "volume.create"))


def test_a_fault_names_what_its_phase_has_made(told: Told, loaded: Loaded) -> None:
    text = PLAN % "server.create: {name: other}"
    lose = text.replace("do: crash", "do: {lose: {server: %s}}")
    loaded(lose % "other")
    assert "9: no step makes a server `othr`; did you mean `other`?" in told(lose % "othr")
    assert "9: a server `last` is made by a later step only" in told(lose % "last")


@pytest.mark.parametrize("wrong", ["server.crate: {name: vm}", "server.create: {nam: vm}"])
def test_what_a_misspelt_step_would_have_made_is_not_missed(told: Told, wrong: str) -> None:
    text = (PLAN % "server.delete: {server: vm}").replace("server.create: {name: vm}", wrong)
    assert len(told(text).splitlines()) == 1
