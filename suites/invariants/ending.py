"""Which volumes end with their server, by what the plan's user asked."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.history import Done, Kind
from chaos.invariant import Evidence
from suites.invariants.asked import asked, called, servers, volumes


def may_end_with_server(evidence: Evidence) -> frozenset[str]:
    """The volumes that were to end with a server whose delete was asked for.

    Not those whose detach, or whose keeping, was accepted before that.
    """
    saving = [done for done in _saved(evidence) if done.outcome is Kind.OK]
    return frozenset(
        volume
        for attach, on, attached in _attached_to_end_with_server(evidence)
        for delete in asked(evidence, "server.delete")
        if on & servers(evidence, delete) and not _is_over(attach, delete)
        for volume in attached
        if not any(
            on & servers(evidence, save)
            and volume in volumes(evidence, save)
            and attach.invoked_ns <= save.invoked_ns
            and _is_over(delete, save)
            for save in saving
        )
    )


def must_end_with_server(evidence: Evidence, delete: Done) -> frozenset[str]:
    """The volumes that a delete of their server has to end: nothing that was asked leaves a choice.

    Asked for in time, and not that it be detached or kept, nor attached to another server as well.
    """
    ends: set[str] = set()
    for attach, on, attached in _attached_to_end_with_server(evidence):
        is_of_it = on == servers(evidence, delete) and len(on) == len(attached) == 1
        if is_of_it and _is_over(delete, attach):
            ends |= attached
    for save in _saved(evidence):
        ends -= volumes(evidence, save)
    for done, on, attached in _attached(evidence):
        if on != servers(evidence, delete) or not _ends_with_server(done):
            ends -= attached
    return frozenset(ends)


def _saved(evidence: Evidence) -> Iterator[Done]:
    yield from asked(evidence, "volume.detach")
    for done in asked(evidence, "volume.keep"):
        if not _ends_with_server(done):
            yield done


def _attached_to_end_with_server(
    evidence: Evidence,
) -> Iterator[tuple[Done, frozenset[str], frozenset[str]]]:
    for done, on, attached in _attached(evidence):
        if _ends_with_server(done):
            yield done, on, attached


def _attached(evidence: Evidence) -> Iterator[tuple[Done, frozenset[str], frozenset[str]]]:
    """Each operation that says how volumes are attached; the server it is about, the volumes."""
    for operation in ("volume.attach", "volume.keep"):
        for done in asked(evidence, operation):
            yield done, servers(evidence, done), volumes(evidence, done)
    for done in asked(evidence, "server.create"):
        for name in done.arguments.get("volumes", ()):
            server = called(evidence, "server", done.arguments["name"])
            yield done, server, called(evidence, "volume", name)


def _ends_with_server(done: Done) -> bool:
    return bool(done.arguments.get("delete_on_termination"))


def _is_over(later: Done, earlier: Done) -> bool:
    """Whether ``earlier`` was answered, with success, before ``later`` was asked for."""
    return (
        earlier.outcome is Kind.OK
        and earlier.ended_ns is not None
        and earlier.ended_ns <= later.invoked_ns
    )
