"""How long a target of local processes takes to boot, to restart one service, and to reset.

python bench/processes.py [--target module:function] [--rounds 20]
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.safety.reaper import Reaper
from chaos.safety.residue import audit
from chaos.target import Instrumentation, Target

LABEL = f"bench-{time.time_ns():x}"


@contextmanager
def guarded() -> Iterator[Reaper]:
    with (
        tempfile.TemporaryDirectory(prefix=f"chaos-{LABEL}-") as name,
        Reaper(LABEL, Path(name), remove_run_dir=True) as reaper,
    ):
        yield reaper


def took_ms(what: Callable[[], object]) -> float:
    begin = time.perf_counter()
    what()
    return (time.perf_counter() - begin) * 1000


@click.command()
@click.option("--target", "where", default="tests.ledger.ledger:target", show_default=True)
@click.option("--rounds", default=20, show_default=True)
def main(where: str, rounds: int) -> None:
    module, _, function = where.partition(":")
    target: Target = getattr(importlib.import_module(module), function)()
    table = Table("what", "median ms", "worst ms", title=f"{where}, {rounds} rounds")

    def row(what: str, figures: list[float]) -> None:
        table.add_row(what, f"{statistics.median(figures):.1f}", f"{max(figures):.1f}")

    with guarded() as reaper:
        run_dir = reaper.run_dir

        def boot() -> None:
            events.clear()
            target.start(
                Instrumentation(LABEL, run_dir, lambda _: {}, tell, reaper.launch), frozenset()
            )

        def tell(service: str, event: str, _: object) -> None:
            events.append((time.perf_counter(), service, event))

        def restart() -> None:
            service.kill()
            service.start()

        events: list[tuple[float, str, str]] = []
        boots, warm = [], []
        for _ in range(min(rounds, 5)):
            target.stop()
            boots.append(took_ms(boot))
            warm.append((events[-1][0] - events[0][0]) * 1000)
        row("boot, imports included", boots)
        row(f"first start to last ready of {len(target.services)} services", warm)
        for service in target.services.values():
            row(
                f"kill + restart + ready of {service.name}",
                [took_ms(restart) for _ in range(rounds)],
            )
        row("reset", [took_ms(lambda: target.reset(frozenset())) for _ in range(rounds)])
        row("observe", [took_ms(target.observe) for _ in range(rounds)])
        target.stop()
        left = audit(reaper.members, run_dir=run_dir)
    Console().print(table)
    sys.exit("\n".join(left) or 0)


if __name__ == "__main__":
    main()
