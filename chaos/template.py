"""The files that a system of one's own starts from: ``chaos init`` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from chaos.errors import ChaosError
from chaos.language.catalogue import make, template
from chaos.language.schema import plan_schema

SYSTEM = Path("system.py")
"""The file that describes the system, in the folder that was written."""
PLANS = Path("plans")
"""The folder of its plans."""
SCHEMA = PLANS / "plan.schema.json"
"""What an editor checks those plans with."""


def write(folder: Path) -> tuple[Path, ...]:
    """Write a target that runs at once, a first plan and an editor's schema into ``folder``.

    Raises:
        ChaosError: a file is there already; nothing was written.
    """
    files = {folder / name: text for name, text in _files(template())}
    taken = [path for path in (*files, folder / SCHEMA) if path.exists()]
    if taken:
        raise ChaosError(
            f"nothing was written: there is already {', '.join(map(str, taken))}; name another "
            "folder, as in `chaos init chaos-tests`"
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    schema = plan_schema(make(str(folder / SYSTEM)))
    (folder / SCHEMA).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    return (*files, folder / SCHEMA)


def _files(template: Path) -> Iterator[tuple[Path, str]]:
    for path in (*sorted(template.glob("[!_]*.py")), *sorted(template.glob("plans/*.plan.yaml"))):
        yield path.relative_to(template), path.read_text(encoding="utf-8")
