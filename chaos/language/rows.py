"""The list of what plans are to show: rows, each an id and a line, in a file of its own.

Beside the plans, or in the folder above, a file ``rows.yaml`` may map ids to titles. The
``scenario`` of a plan then names rows of it; without such a file it is any text. A row belongs to
the *family* that its id begins with: ``S3.2`` is of ``s3``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from chaos.errors import PlanError
from chaos.language.document import documents, read

FILE = "rows.yaml"


def file_for(plan: Path) -> Path | None:
    """The file with the rows of a plan's file; None when there is none."""
    folder = plan.absolute().parent
    return next((one for one in (folder / FILE, folder.parent / FILE) if one.is_file()), None)


def rows_in(file: Path) -> Mapping[str, str]:
    """Every row of a file, id → title, in the order of the file.

    Raises:
        PlanError: it cannot be read, or is not a mapping from ids to titles; says where.
    """
    return _rows(file, file.stat().st_mtime_ns)


@cache  # many plans have one list
def _rows(file: Path, changed_ns: int) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for document in documents(read(file), file):
        if not isinstance(document.value, dict):
            raise PlanError(f"{file}:{document.line()}: rows are a mapping, `S1.1: its title`")
        for row, title in document.value.items():
            if not isinstance(row, str) or not isinstance(title, str):
                line = document.line((row,))
                raise PlanError(f"{file}:{line}: a row is an id and its title, such as `S1.1: …`")
            found[row] = title
    return found


def family(row: str) -> str:
    """``s3`` of ``S3.2``: what a family is called where one of them is chosen."""
    return row.partition(".")[0].lower()
