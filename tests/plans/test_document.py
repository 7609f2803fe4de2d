"""Files that are no plans: one clear line, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import PlanError
from chaos.language.document import documents
from chaos.language.loader import load
from tests.plans.conftest import Told

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)
PLAN = "plan: x\nduring: [%s]\ninject: [{at: before build.start, do: crash}]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "1: not valid YAML: aliases repeat more than 1000 values"),
        ("plan: x\na: &a [*a]", "2: not valid YAML: this anchor contains itself"),
        ("plan: x\na: &a {b: {c: *a}}", "2: not valid YAML: this anchor contains itself"),
        ("plan: x\na: &a {<<: *a}", "2: not valid YAML: this anchor contains itself"),
        ("plan: x\na: " + "[" * 51 + "]" * 51, "2: not valid YAML: deeper than 50 levels"),
        ("plan: x\na:\n  " + "- " * 100_000, "3: not valid YAML: deeper than 50 levels"),
        ("plan: x\na: " + "[" * 100_000, "2: not valid YAML: deeper than 50 levels"),
        ("plan: x\na: [" + "b," * 50_000 + "]", "2: not valid YAML: more than 50000 values"),
        ("plan: x\na: " + "9" * 51, "2: not valid YAML: a number of more than 50 digits"),
        ("plan: x\na: 0x" + "f" * 5_000, "2: not valid YAML: a number of more than 50 digits"),
        ("plan: x\na: 0." + "9" * 5_000, "2: not valid YAML: a number of more than 50 digits"),
        ("plan: x\na: !!int '" + "9" * 5_000 + "'", "2: not valid YAML: a number of more than 50"),
        ("plan: x\na: .inf", "2: not valid YAML: `.inf` is no finite number"),
        ("plan: x\na: 1e999", "2: not valid YAML: `1e999` is no finite number"),
        ("plan: x\na: !!int 5x", "2: not valid YAML: `5x` is no int"),
        ('plan: x\na: "\\ud800"', "2: not valid YAML: the character U+D800"),
        ('plan: x\n"\\ud800": a', "2: not valid YAML: the character U+D800"),
        ('plan: x\na: "b\\0c"', "2: not valid YAML: the character U+0000"),
        ("plan: x\na: b\0c", "2: not valid YAML: the character U+0000"),
        ("plan: x\na: \x1b[31m", "2: not valid YAML: the character U+001B"),
        (
            "plan: x\na: !!python/object/apply:os.system ['x']",
            "2: not valid YAML: a plan has plain",
        ),
        (
            "plan: x\na: !own 5",
            "2: not valid YAML: a plan has plain values only, and no tag `!own`",
        ),
        ("plan: x\nplan: y", "2: not valid YAML: the key `plan` stands here twice"),
        ("plan: x\n? [a]\n: b", "2: not valid YAML: a key must be a word"),
        ("plan: x\n<<: 5", "2: not valid YAML: `<<` takes a mapping"),
        ("plan: x\na: *b", "2: not valid YAML: found undefined alias"),
        ("plan: x\na: [", "2: not valid YAML"),
        ("%YAML 1.1\n---\nplan: x", "1: not valid YAML: it cannot be read here"),
        ("- plan: x", "1: a plan is a mapping that starts with `plan: NAME`"),
        ("just text", "1: a plan is a mapping that starts with `plan: NAME`"),
        ("", "1: empty; a plan needs at least"),
        ("# nothing\n---\n~\n", "1: empty; a plan needs at least"),
        ("a" * 1_000_001, "1: larger than 1000000 bytes"),
        (PLAN % ("tick, " * 2_001), "2: 2001 steps; at most 2000 are allowed"),
        (PLAN % f"together: [{'steps: [tick, tick], ' * 1_001}]", "2: 2002 steps; at most 2000"),
    ],
    ids=lambda value: value[:40] if len(value) < 90 else value[:20],
)
def test_what_is_no_plan_is_refused_in_one_line_at_once(
    told: Told, text: str, expected: str
) -> None:
    message = told(text)
    assert message.startswith(f"x.plan.yaml:{expected}")
    assert "\n" not in message


def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.plan.yaml"
    path.write_bytes(b"plan: x\ntitle: caf\xe9\n")
    with pytest.raises(PlanError, match=r"x\.plan\.yaml:2: not valid UTF-8"):
        load(path)


def test_a_yaml_tag_makes_no_object(told: Told, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    told(f"plan: x\nduring: !!python/object/apply:os.system ['touch {marker}']")
    assert not marker.exists()


def test_anchors_and_merges_of_a_usual_size_are_read() -> None:
    text = "a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: {<<: [*a, {z: 4}]}\nd: *a\n"
    (document,) = documents(text, Path("x"))
    assert document.value == {
        "a": {"x": 1, "y": [2]}, "b": {"x": 3, "y": [2]}, "c": {"x": 1, "y": [2], "z": 4},
        "d": {"x": 1, "y": [2]},
    }  # fmt: skip


def test_scalars_are_what_yaml_1_2_says_and_a_date_is_a_word() -> None:
    text = "[1, 0x1f, 1.5, true, null, ~, no, '1', 2026-01-02, 2026-13-45, !!str 5]"
    (document,) = documents(text, Path("x"))
    assert document.value == [
        1, 31, 1.5, True, None, None, "no", "1", "2026-01-02", "2026-13-45", "5",
    ]  # fmt: skip


def test_every_value_knows_its_line() -> None:
    text = "a:\n  b:\n    - c\n    - d:\n        e\nf: g\n"
    (document,) = documents(text, Path("x"))
    assert [document.line(p) for p in ((), ("a", "b", 1), ("a", "b", 1, "d", "no"), ("f",))] == [
        1, 4, 4, 6,
    ]  # fmt: skip
