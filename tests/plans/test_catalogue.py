"""What a target brings: its invariants, what it lacks, its defects; and which one is meant."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from chaos.language import catalogue
from chaos.language.bind import UnboundPlan, bind
from chaos.language.catalogue import CatalogueError, default_target, make, vocabulary
from chaos.language.expectation import expectation, skip_reason
from chaos.plan import Plan, inject, step
from chaos.verdict import Expectation, Verdict
from tests.plans import system

PLAN = Plan(
    name="x",
    during=(step("tick"),),
    inject=(inject("crash", at="before build.start"),),
    bugs={"lp1": ("nothing-lost",), "lp2": ("nothing-twice", "nothing-lost"), "lp3": ("settles",)},
)


class Defective(system.Small):
    defects = frozenset({"lp1", "lp2", "lp9"})


def test_a_plan_passes_with_all_switches_off() -> None:
    assert expectation(PLAN, "", system.Small()) == Expectation()


def test_a_plan_fails_with_a_switch_on_and_names_the_defect() -> None:
    expected = Expectation(Verdict.FAIL, ("nothing-twice", "nothing-lost"))
    assert expectation(PLAN, "lp2", system.Small()) == expected


def test_a_plan_fails_on_a_target_that_really_has_its_defects_and_names_all() -> None:
    expected = Expectation(Verdict.FAIL, ("nothing-lost", "nothing-twice"))
    assert expectation(PLAN, "", Defective()) == expected


def test_a_defect_of_the_target_is_named_beside_that_of_the_switch() -> None:
    expected = Expectation(Verdict.FAIL, ("nothing-lost", "nothing-twice", "settles"))
    assert expectation(PLAN, "lp3", Defective()) == expected


def test_a_switch_that_the_plan_does_not_name_is_expected_to_fail_somehow() -> None:
    assert expectation(PLAN, "lp7", system.Small()) == Expectation(Verdict.FAIL)


def test_a_switch_that_the_target_lacks_is_no_error_of_the_plan_but_a_reason_to_skip() -> None:
    words = system.words()
    bind(PLAN, words)
    assert skip_reason("lp3", words) == (
        "target `small` has no bug switch `lp3`; did you mean `lp2` or `lp1`?"
    )
    assert skip_reason("lp1", words) == skip_reason("", words) == ""


def test_what_a_plan_needs_and_the_target_lacks_is_missing() -> None:
    bound = bind(PLAN.model_copy(update={"needs": ("clock", "links")}), system.words())
    assert bound.missing == (
        "target `small` has no capability `links`; choose one of `clock`",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("need", "hint"), [("lnks", "did you mean `links`?"), ("tock", "did you mean `clock`?")]
)
def test_a_capability_that_no_target_has_is_an_error(need: str, hint: str) -> None:
    with pytest.raises(UnboundPlan) as raised:
        bind(PLAN.model_copy(update={"needs": ("clock", need)}), system.words())
    (problem,) = raised.value.problems
    assert problem.path == ("needs", 1)
    assert problem.message == f"no target has a capability `{need}`; {hint}"


def test_a_capability_of_another_installed_target_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = system.words()
    monkeypatch.setattr(words.target, "capabilities", frozenset({"gpu"}))
    monkeypatch.setattr(catalogue, "_entries", lambda group: {"big": None})
    monkeypatch.setattr(catalogue, "vocabulary", lambda name: words)
    bound = bind(PLAN.model_copy(update={"needs": ("gpu",)}), system.words())
    assert bound.missing == (
        "target `small` has no capability `gpu`; choose one of `clock`",
    )  # fmt: skip


def test_what_a_fault_needs_and_the_target_lacks_is_missing() -> None:
    cut = PLAN.model_copy(update={"inject": (inject("cut"), inject("cut", at="after build.claim"))})
    assert bind(cut, system.words()).missing == (
        "the fault `cut` needs `links`, which target `small` has not",
    )  # fmt: skip


def test_what_the_target_has_is_not_missing() -> None:
    words = system.words()
    words.target.capabilities = frozenset({"links"})
    cut = PLAN.model_copy(update={"inject": (inject("cut"),), "needs": ("links",)})
    assert bind(cut, words).missing == ()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, EntryPoint]]:
    """The entry points that are installed, by group: none."""
    groups: dict[str, dict[str, EntryPoint]] = {}
    monkeypatch.setattr(catalogue, "_entries", lambda group: groups.get(group, {}))
    monkeypatch.setattr(catalogue, "faults", dict)
    return groups


def targets(*names: str) -> dict[str, EntryPoint]:
    value = "tests.plans.system:target"
    return {name: EntryPoint(name, value, catalogue.TARGETS) for name in names}


Installed = dict[str, dict[str, EntryPoint]]


def test_the_default_target_is_the_one_that_is_installed(installed: Installed) -> None:
    installed[catalogue.TARGETS] = targets("only")
    assert default_target() == "only"


def test_another_way_to_run_it_is_used_where_it_is_named(installed: Installed) -> None:
    installed[catalogue.TARGETS] = targets("only")
    installed[catalogue.VARIANTS] = targets("other")
    assert default_target() == "only"
    assert make("other").target.name == "small"


@pytest.mark.parametrize(
    ("names", "told"), [((), "none is installed"), (("a", "b"), "2 are installed: a, b")]
)
def test_without_just_one_installed_target_somebody_must_say_which(
    installed: Installed, names: tuple[str, ...], told: str
) -> None:
    installed[catalogue.TARGETS] = targets(*names)
    with pytest.raises(CatalogueError, match=f"which target\\? {told}; say it with `--target`"):
        default_target()


def test_the_words_of_a_target_have_its_own_invariants_and_those_of_its_library(
    installed: Installed,
) -> None:
    library = EntryPoint("small", "tests.plans.library", catalogue.INVARIANTS)
    installed[catalogue.TARGETS] = targets("small", "bare")
    installed[catalogue.INVARIANTS] = {"small": library}
    assert set(make("bare").invariants) == {"nothing-lost"}
    both = make("small").invariants
    assert set(both) == {"nothing-lost", "nothing-new"}
    assert both["nothing-lost"] is system.nothing_lost, "the target's own wins"


def test_a_target_of_ones_own_brings_the_invariants_of_its_file_and_its_own(
    installed: Installed,
) -> None:
    assert set(make("tests.plans.library:target").invariants) == {"nothing-lost", "nothing-new"}


def test_an_unknown_target_names_the_nearest(installed: Installed) -> None:
    installed[catalogue.TARGETS] = targets("small")
    with pytest.raises(CatalogueError, match="did you mean `small`"):
        vocabulary("smal")


def test_the_framework_names_no_target_of_the_project() -> None:
    chaos = Path(catalogue.__file__).parents[1]
    said = [p.name for p in chaos.rglob("*.py") if re.search(r"\breference\b", p.read_text())]
    assert said == []
