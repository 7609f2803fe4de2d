"""The journal when something goes wrong with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.errors import ChaosError
from chaos.journal import Journal


def test_the_part_of_a_worker_that_died_at_once_adds_nothing(tmp_path: Path) -> None:
    begun = tmp_path / "begun.sqlite"
    begun.touch()
    whole = tmp_path / "whole.sqlite"
    with Journal(whole) as part:
        part.residue("a file")
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.absorb(begun)
        journal.absorb(whole)
        assert journal.residues() == ("a file",)


def test_a_journal_that_cannot_be_written_says_which_and_why(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path):
        pass
    with (
        Journal(path, readonly=True) as journal,
        pytest.raises(ChaosError, match=f"{path} cannot be written: .*readonly"),
    ):
        journal.residue("a file")
