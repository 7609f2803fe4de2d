"""Which hosts will do for a server: filters, each a pure function from hosts to fewer of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from targets.reference.nova import aggregates, databases, services
from targets.reference.nova.aggregates import DEFAULT_ZONE, Aggregate
from targets.reference.nova.instance import Instance
from targets.reference.nova.request_spec import RequestSpec
from targets.reference.nova.server_groups import ServerGroup

SCOPE = "aggregate_instance_extra_specs"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the filters look at: read once for all hosts, and only where it is asked for."""

    cells: Mapping[str, str]
    """The cell of each host that is up and enabled."""
    aggregates: tuple[Aggregate, ...] = ()
    policy: str = ""
    neighbours: Mapping[str, int] | None = None
    """How many servers of the same group are on each host."""
    most: int = 1
    """How many of them may be on one, where they shall be apart."""


Filter = Callable[[str, RequestSpec, Surroundings], bool]


def passing(hosts: Iterable[str], spec: RequestSpec, around: Surroundings) -> list[str]:
    """Return the hosts that pass all filters."""
    return [host for host in hosts if all(passes(host, spec, around) for passes in FILTERS)]


def look_around(spec: RequestSpec) -> Surroundings:
    """Read what the filters need for ``spec``."""
    listening = services.listening()
    up = {
        found.host: found.cell
        for found in services.find(binary=services.COMPUTE)
        if not found.disabled and found.is_up(listening)
    }
    known = tuple(aggregates.find()) if spec.zone or spec.extra_specs else ()
    group = ServerGroup.get(spec.group) if spec.group else None
    if group is None:
        return Surroundings(up, known)
    others = {*group.members} - {spec.instance}
    on = Counter(host for cell in databases.cells()[1:] for host in _hosts_of(cell, others))
    return Surroundings(up, known, group.policy, on, group.max_server_per_host or 1)


def _hosts_of(cell: str, members: set[str]) -> list[str]:
    """Name where servers are, or shall be as soon as they are built."""
    placed = [found for member in members if (found := Instance.get(cell, member))]
    return [place for found in placed if (place := found.host or found.node)]


def _is_up(host: str, _: RequestSpec, around: Surroundings) -> bool:
    return host in around.cells


def _is_in_cell(host: str, spec: RequestSpec, around: Surroundings) -> bool:
    return spec.cell in (None, around.cells.get(host))


def _is_wanted(host: str, spec: RequestSpec, _: Surroundings) -> bool:
    return spec.host in (None, host)


def _is_in_zone(host: str, spec: RequestSpec, around: Surroundings) -> bool:
    zones = {found.zone for found in around.aggregates if host in found.hosts and found.zone}
    return spec.zone is None or spec.zone in (zones or {DEFAULT_ZONE})


def _has_extra_specs(host: str, spec: RequestSpec, around: Surroundings) -> bool:
    """Whether the host's aggregates say all that the flavor's extra specs ask of aggregates."""
    for key, value in spec.extra_specs.items():
        scope, _, name = key.rpartition(":")
        if scope not in ("", SCOPE):
            continue
        said = {
            word.strip()
            for found in around.aggregates
            if host in found.hosts
            for word in found.metadata.get(name, "").split(",")
        }
        if value not in said:
            return False
    return True


def _has_room_in_group(host: str, _: RequestSpec, around: Surroundings) -> bool:
    on = around.neighbours or {}
    if around.policy == "affinity":
        return not on or host in on
    if around.policy == "anti-affinity":
        return on.get(host, 0) < around.most
    return True


FILTERS: tuple[Filter, ...] = (
    _is_up,
    _is_in_cell,
    _is_wanted,
    _is_in_zone,
    _has_extra_specs,
    _has_room_in_group,
)
