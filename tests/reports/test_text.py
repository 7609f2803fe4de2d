from __future__ import annotations

import pytest

from reports.text import first_line, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("line\r\nline", "line\nline"),
        ("a\x00b\x7f", "a␀b␡"),
        ("a\x85b", "a�b"),
        ("\ud800", "�"),
        ("\u202egnp.exe", "�gnp.exe"),
        ("\uffff", "�"),
        ("naïve 日本 🚀", "naïve 日本 🚀"),
    ],
)
def test_printable_text_has_no_character_that_breaks_a_page(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_shortened_text_says_how_long_it_was() -> None:
    assert shortened("x" * 2000, 3) == "xxx… (2,000 characters)"


def test_first_line_skips_leading_blank_lines() -> None:
    assert first_line("\n\n  first \nsecond") == "first"
