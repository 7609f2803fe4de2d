"""What a run left behind. Looks and tells; never touches anything."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from chaos.safety import procfs
from chaos.safety.members import Members
from chaos.safety.undo import UndoLog

_LISTEN = "0A"  # state in /proc/net/tcp, include/net/tcp_states.h


def audit(
    members: Members,
    *,
    run_dir: Path,
    expected_pids: frozenset[int] = frozenset(),
    known_files: frozenset[Path] = frozenset(),
) -> tuple[str, ...]:
    """One sentence for each leftover of a run; empty when the run is clean.

    ``members`` are its processes.
    ``expected_pids`` are processes that may live on (the services of a warm target); with them goes
    their process group. ``known_files`` may stay in the machine's temporary directory.

    Raises:
        ChaosError: not on Linux.
    """
    procfs.require_linux()
    ours = members.living()
    unexpected = [pid for pid in ours if not {pid, procfs.group(pid)} & expected_pids]
    return (
        *(f"process {pid} is still alive: {procfs.command(pid)}" for pid in unexpected),
        *(
            f"process {pid} is still stopped: {procfs.command(pid)}"
            for pid in ours
            if procfs.is_stopped(pid)
        ),
        *(
            f"process {pid} still listens on port {port}"
            for pid in unexpected
            for port in _listening(pid)
        ),
        *(f"a fault was not undone: {entry}" for entry in UndoLog(run_dir).open),
        *(
            f"{path} lies outside the run directory"
            for path in sorted(Path(tempfile.gettempdir()).glob(f"chaos-{members.label}*"))
            if path.resolve() != run_dir.resolve() and path not in known_files
        ),
    )


def _listening(pid: int) -> Iterator[int]:
    """TCP ports that ``pid`` listens on, in its own network namespace (proc_pid_net(5))."""
    try:
        held = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    except OSError:
        return
    for table in tables:
        for row in table.splitlines()[1:]:
            fields = row.split()
            if fields[3] == _LISTEN and f"socket:[{fields[9]}]" in held:
                yield int(fields[1].rpartition(":")[2], 16)
