"""All routes of the compute service (Nova v2.1): the resources, each a module of its own."""

from __future__ import annotations

from targets.reference.nova.api import (
    aggregates,
    availability_zones,
    compute_services,
    flavors,
    hypervisors,
    keypairs,
    limits,
    microversion,
    migrations,
    quota_sets,
    server_groups,
    versions,
)
from targets.reference.nova.api.servers import (
    actions,
    attachments,
    consoles,
    evacuations,
    instance_actions,
    live_migrations,
    locking,
    metadata,
    moves,
    power,
    rebuild,
    shelving,
    snapshots,
    soft_delete,
    tags,
)
from targets.reference.nova.api.servers import routes as servers
from targets.reference.web import Api

RESOURCES = (
    servers,
    actions,
    attachments,
    consoles,
    instance_actions,
    metadata,
    tags,
    aggregates,
    availability_zones,
    compute_services,
    flavors,
    hypervisors,
    keypairs,
    limits,
    migrations,
    quota_sets,
    server_groups,
)
SERVER_ACTIONS = (
    consoles, evacuations, live_migrations, locking, moves, power, rebuild, shelving, snapshots,
    soft_delete,
)  # fmt: skip
"""The modules that add to the table of ``servers.actions``: it is enough to import them."""


def api() -> Api:
    """Return the routes."""
    api = Api(headers=microversion.headers)
    versions.add_to(api)
    for resource in RESOURCES:
        resource.router.add_to(api)
    return api
