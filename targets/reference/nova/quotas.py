"""How much a project may have, and how much it has: counted, never kept."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from targets.reference.nova import databases
from targets.reference.nova.build_request import BuildRequest
from targets.reference.nova.tables import INSTANCE_MAPPINGS, INSTANCES, QUOTAS, SERVER_GROUPS

DEFAULTS: Mapping[str, int] = {
    "instances": 100,
    "cores": -1,
    "ram": -1,
    "metadata_items": 128,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
}
"""Resource: the limit of a project for which nobody has said another; -1 is none."""


class OverQuota(Exception):
    """The project has, or would have, more than it may."""


def limits(project_id: str) -> dict[str, int]:
    """Return the limits of a project."""
    query = sa.select(QUOTAS.c.resource, QUOTAS.c.hard_limit).filter_by(project_id=project_id)
    with databases.api().read() as connection:
        return {**DEFAULTS, **{row.resource: row.hard_limit for row in connection.execute(query)}}


def set_limits(project_id: str, wanted: Mapping[str, int]) -> None:
    """Give a project other limits; those that are not named stay."""
    rows = [{"project_id": project_id, "resource": r, "hard_limit": n} for r, n in wanted.items()]
    with databases.api().transaction() as connection:
        replaced = QUOTAS.c.resource.in_(wanted)
        connection.execute(QUOTAS.delete().filter_by(project_id=project_id).where(replaced))
        if rows:
            connection.execute(QUOTAS.insert(), rows)


def forget(project_id: str) -> None:
    """Give a project the default limits again."""
    with databases.api().transaction() as connection:
        connection.execute(QUOTAS.delete().filter_by(project_id=project_id))


def check_instances(project_id: str, more: int, vcpus: int, ram: int) -> None:
    """See whether a project may have ``more`` servers of this size.

    Each server counts from when it has a mapping until its delete was accepted. Two creates at one
    time may both pass: the conductor asks again, with ``more`` 0, when both are written down.

    Raises:
        OverQuota: it may not; says of what it would have too much.
    """
    allowed = limits(project_id)
    most = allowed["instances"]
    if 0 <= most < count_instances(project_id) + more:
        raise OverQuota("Quota exceeded for instances: "
                        f"Requested {more}, but already used {count_instances(project_id)}"
                        f" of {most} instances")  # fmt: skip
    if allowed["cores"] < 0 and allowed["ram"] < 0:
        return
    cores_used, ram_used = count_size(project_id)
    for name, used, wanted in (("cores", cores_used, vcpus), ("ram", ram_used, ram)):
        if 0 <= allowed[name] < used + more * wanted:
            raise OverQuota(
                f"Quota exceeded for {name}: Requested {more * wanted}, but already used {used} of"
                f" {allowed[name]} {name}"
            )


def count_instances(project_id: str) -> int:
    """Count a project's servers, wherever they are."""
    query = sa.select(sa.func.count()).select_from(INSTANCE_MAPPINGS)
    with databases.api().read() as connection:
        mapped = query.filter_by(project_id=project_id, queued_for_delete=False)
        return int(connection.scalar(mapped) or 0)


def count_size(project_id: str) -> tuple[int, int]:
    """Add up the cores and the RAM (MiB) of a project's servers, wherever they are."""
    waiting = {
        r.instance: (r.vcpus, r.ram) for r in BuildRequest.find() if r.project_id == project_id
    }
    query = sa.select(INSTANCES.c.uuid, INSTANCES.c.vcpus, INSTANCES.c.ram)
    query = query.filter_by(project_id=project_id, deleted_at=None, hidden=False)
    for cell in databases.cells():
        with databases.cell(cell).read() as connection:
            for row in connection.execute(query):
                waiting[row.uuid] = row.vcpus, row.ram
    return sum(cores for cores, _ in waiting.values()), sum(ram for _, ram in waiting.values())


def count_server_groups(project_id: str) -> int:
    """Count a project's server groups."""
    query = sa.select(sa.func.count()).select_from(SERVER_GROUPS)
    with databases.api().read() as connection:
        return int(connection.scalar(query.filter_by(project_id=project_id)) or 0)
