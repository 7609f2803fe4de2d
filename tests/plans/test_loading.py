"""Loading plans: every mistake is one line with file, line, the wrong word and the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import PlanError
from chaos.language.catalogue import CatalogueError, Vocabulary, vocabulary
from chaos.language.loader import find, load
from tests.conftest import LEDGER

GOOD = """\
plan: good
given:
  - account.open: {name: alice, amount: 100}
during:
  - transfer: {source: alice, target: bob, amount: 30}
    as: first
  - reach: before transfer.credit
inject:
  - at: {before: transfer.credit, service: teller, actor: first}
    do: {delay: {seconds: 0.1}}
recover:
  - start: teller
invariants: [money-is-kept, recoverable]
bugs:
  lost-credit: [money-is-kept]
"""


@pytest.fixture
def words() -> Vocabulary:
    return vocabulary(LEDGER)


def message(tmp_path: Path, text: str, words: Vocabulary) -> str:
    path = tmp_path / "x.plan.yaml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        load(path)[0].bind(words)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_a_good_plan_is_bound_to_its_invariants(tmp_path: Path, words: Vocabulary) -> None:
    path = tmp_path / "good.plan.yaml"
    path.write_text(GOOD)
    bound = load(path)[0].bind(words)
    assert [item.name for item in bound.invariants] == ["money-is-kept"]


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("during:", "durng:", "x.plan.yaml:4: there is no field `durng`; did you mean `during`?"),
        ("given:", "givn:", "x.plan.yaml:2: there is no field `givn`; did you mean `given`?"),
        ("account.open:", "account.opn:",
         "x.plan.yaml:3: target `ledger` has no operation `account.opn`; did you mean `account.o"),
        ("amount: 30", "amuont: 30",
         "x.plan.yaml:5: `transfer` has no argument `amuont`; did you mean `amount`?"),
        (", amount: 30", "", "x.plan.yaml:5: `transfer` needs the argument `amount`"),
        ("before: transfer.credit", "before: transfer.crdit",
         "x.plan.yaml:9: target `ledger` has no point `transfer.crdit`; did you mean `transfer"),
        ("service: teller", "service: telller",
         "x.plan.yaml:9: target `ledger` has no service `telller`; did you mean `teller`?"),
        ("actor: first", "actor: frist",
         "x.plan.yaml:9: no step in `during` is called `frist`; did you mean `first`?"),
        ("{delay:", "{dely:", "x.plan.yaml:10: there is no fault `dely`; did you mean `delay`?"),
        ("seconds:", "secnds:",
         "x.plan.yaml:10: there is no field `secnds`; did you mean `seconds`?"),
        ("{seconds: 0.1}", "{}", "x.plan.yaml:10: the field `seconds` is missing"),
        ("start: teller", "start: valt",
         "x.plan.yaml:12: target `ledger` has no service `valt`; did you mean `vault`?"),
        ("start: teller", "strat: teller",
         "x.plan.yaml:12: there is no field `strat`; did you mean `start` or `restart`?"),
        ("[money-is-kept, recov", "[money-is-ket, recov",
         "x.plan.yaml:13: there is no invariant `money-is-ket`; did you mean `money-is-kept`?"),
        ("  lost-credit:", "  lost-crdit:",
         "x.plan.yaml:15: target `ledger` has no bug switch `lost-crdit`; did you mean `lost-c"),
        ("reach: before transfer.credit", "reach: before transfer.debit",
         "x.plan.yaml:7: nothing is injected at `before transfer.debit`; "
         "did you mean `before transfer.credit`?"),
        ("account.open: {name: alice, amount: 100}", "reach: before transfer.credit",
         "x.plan.yaml:3: `reach` cannot stand in `given`"),
        ("account.open: {name: alice, amount: 100}", "together: []",
         "x.plan.yaml:3: `together` cannot stand in `given`"),
        ("reach: before transfer.credit", "together: [{reach: before transfer.credit}]",
         "x.plan.yaml:7: `reach` cannot stand inside `together`"),
        ("{seconds: 0.1}}", "{seconds: 0.1}}\n  - do: {race: {actors: [first, first], "
         "points: [{before: vault.post, service: tellr}]}}",
         "x.plan.yaml:11: target `ledger` has no service `tellr`; did you mean `teller`?"),
        ("reach: before transfer.credit", "reach: [", "x.plan.yaml:9: not valid YAML"),
        ("{source: alice, target: bob, amount: 30}", "alice",
         "x.plan.yaml:5: `arguments`: must be a mapping, such as `{name: value}`"),
        ("[money-is-kept, recoverable]", "money-is-kept",
         "x.plan.yaml:13: `invariants`: must be a list, such as"),
        ("seconds: 0.1", "seconds: soon", "x.plan.yaml:10: `seconds`: must be a valid number"),
        ("plan: good", "plan: Not Good", "x.plan.yaml:1: `plan`: may have only a-z, 0-9"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_and_the_nearest_word(
    tmp_path: Path, words: Vocabulary, right: str, wrong: str, expected: str
) -> None:
    assert right in GOOD
    assert expected in message(tmp_path, GOOD.replace(right, wrong, 1), words)


def test_every_mistake_of_a_plan_is_told_at_once(tmp_path: Path, words: Vocabulary) -> None:
    text = GOOD.replace("money-is-kept, ", "nothing-here, ").replace("delay:", "dely:")
    assert [line.split(":")[1] for line in message(tmp_path, text, words).splitlines()] == [
        "10",
        "13",
    ]


def test_a_yaml_tag_makes_no_object(tmp_path: Path, words: Vocabulary) -> None:
    marker = tmp_path / "executed"
    text = GOOD.replace(
        "{name: alice, amount: 100}", f"!!python/object/apply:os.system ['touch {marker}']"
    )
    path = tmp_path / "x.plan.yaml"
    path.write_text(text)
    with pytest.raises(PlanError):
        load(path)[0].bind(words)
    assert not marker.exists()


def test_a_file_may_hold_several_plans(tmp_path: Path) -> None:
    path = tmp_path / "two.plan.yaml"
    path.write_text(GOOD + "---\n" + GOOD.replace("plan: good", "plan: better"))
    assert [(source.plan.name, source.line) for source in load(path)] == [
        ("good", 1),
        ("better", 17),
    ]


def test_a_folder_without_plans_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no \*\.plan\.yaml"):
        find([tmp_path])


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(CatalogueError, match="did you mean `reference`"):
        vocabulary("refrence")
