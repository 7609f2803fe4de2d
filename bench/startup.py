"""What the plugin adds to a pytest run that has no chaos test.

python bench/startup.py [--runs N]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


def seconds(folder: Path, *options: str) -> float:
    """How long one pytest run of one empty test takes."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@click.command()
@click.option("--runs", default=15, show_default=True)
def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_empty.py").write_text("def test_nothing(): pass\n")
        seconds(folder)
        # In turn, so that a machine that gets slower meanwhile slows both.
        pairs = [(seconds(folder), seconds(folder, "-p", "no:chaos")) for _ in range(runs)]
    with_it, without = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    added = statistics.median((a - b) * 1000 for a, b in pairs)
    click.echo(f"with {with_it:.0f} ms, without {without:.0f} ms: the plugin adds {added:.0f} ms")


if __name__ == "__main__":
    main()
