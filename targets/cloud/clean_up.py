"""What a user of the cloud does to be rid of everything that is his."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chaos.operation import Scope
from targets.cloud import records, servers, volumes
from targets.cloud.client import acting_as


def clean_up(scope: Scope, settle: Callable[[float], None]) -> None:
    """Delete the user's servers, his volumes and images, and the ports that steps of the plan made.

    Servers, volumes and images are made by users only, so all that the user can see are his, also
    those whose creation was never answered. Ports are made for servers as well, and so are images
    that say that they are temporary: one that is left over is a leak, and stays to be found.
    ``settle`` waits until the cloud is at rest.

    Raises:
        ChaosError: something was refused, was not answered, or did not go by the deadline.
    """
    client = scope.client
    with acting_as(scope.request_id, scope.deadline_s):
        his_servers = [found["id"] for found in records.listed(client.compute, "servers")]
        his_volumes = [found["id"] for found in records.listed(client.block_storage, "volumes")]
    # A server that was deleted softly is in no list.
    asked = {*his_servers} | {
        key for name, key in scope.made.items() if name.startswith("servers/")
    }
    by_id = replace(
        scope,
        made={records.made("servers", key): key for key in asked}
        | {records.made("volumes", key): key for key in his_volumes},
    )
    for server in his_servers:
        servers.delete_server(by_id, server)
    settle(scope.deadline_s)
    for server in sorted(asked):
        status = records.server_status(by_id, server)
        if status == "SOFT_DELETED":
            servers.force_delete_server(by_id, server)
        if status is not None and server in his_servers:
            servers.wait_server_gone(by_id, server)
    for volume in his_volumes:
        volumes.delete_volume(by_id, volume)
    for volume in his_volumes:
        volumes.wait_volume_gone(by_id, volume)
    with acting_as(scope.request_id, scope.deadline_s):
        if made_otherwise := _not_of(scope, "servers", "volumes", "images"):
            ports = [found["id"] for found in records.listed(client.network, "ports")]
            for port in made_otherwise.intersection(ports):
                client.network.delete_port(port)
        for image in records.listed(client.image, "images"):
            if image["visibility"] != "public" and not image.get("temporary"):
                client.image.delete_image(image["id"])


def _not_of(scope: Scope, *collections: str) -> set[str]:
    """The ids of what the plan made that is in none of these."""
    names = tuple(records.made(collection, "") for collection in collections)
    return {key for name, key in scope.made.items() if not name.startswith(names)}
