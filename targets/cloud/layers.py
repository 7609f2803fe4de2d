"""The layers of ``openstacksdk`` by which a client may detach volumes and delete what had them.

==========  ======================================  ================================================
layer       what it is                              how it deletes a server
==========  ======================================  ================================================
``cloud``   operations over all services            ``connection.delete_server(id)``
``proxy``   one service's operations                ``connection.compute.delete_server(id)``
``resource``  a thing of a service, as an object    ``Server.existing(id=id).delete(compute)``
``http``    requests with the session's token       ``connection.compute.delete("/servers/" + id)``
==========  ======================================  ================================================

Each does it in its own words, and fails with the SDK's own exceptions.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from chaos.operation import Scope

Layer = Literal["", "cloud", "proxy", "resource", "http"]
"""Through which layer an operation asks; "" is whichever is fastest."""
Found = Literal["clouds.yaml", "environment"]
"""By what the SDK finds the cloud: a file that variables name, or variables alone."""


class Client(Protocol):
    """What a client does about volumes and their servers."""

    def detach(self, server: str, volume: str) -> None:
        """Ask for a volume to be detached."""

    def status(self, volume: str) -> str | None:
        """Return a volume's status, None when there is none of that id."""

    def attached(self, server: str) -> list[str]:
        """Return the ids of a server's volumes."""

    def delete(self, kind: Literal["server", "volume"], key: str) -> None:
        """Ask for a deletion."""


def client(scope: Scope, layer: Layer, found: Found) -> Client:
    """Return the client of a layer, whose connection was found so."""
    connection = scope.client.found_through(found)
    if layer == "cloud":
        return _Cloud(connection)
    if layer == "proxy":
        return _Proxy(connection)
    return _Resource(connection) if layer == "resource" else _Http(connection)


class _Cloud:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def detach(self, server: str, volume: str) -> None:
        kept = self._connection.get_volume_by_id(volume)
        self._connection.detach_volume(self._connection.get_server_by_id(server), kept, wait=False)

    def status(self, volume: str) -> str | None:
        found = self._connection.get_volume(volume)
        return str(found["status"]) if found else None

    def attached(self, server: str) -> list[str]:
        return [one["id"] for one in self._connection.get_server_by_id(server).attached_volumes]

    def delete(self, kind: Literal["server", "volume"], key: str) -> None:
        if kind == "server":
            self._connection.delete_server(key, wait=False)
        else:
            self._connection.delete_volume(key, wait=False)


class _Proxy:
    def __init__(self, connection: Any) -> None:
        self._compute, self._volumes = connection.compute, connection.block_storage

    def detach(self, server: str, volume: str) -> None:
        self._compute.delete_volume_attachment(server, volume, ignore_missing=False)

    def status(self, volume: str) -> str | None:
        found = self._volumes.find_volume(volume)
        return str(found.status) if found else None

    def attached(self, server: str) -> list[str]:
        return [one.volume_id for one in self._compute.volume_attachments(server)]

    def delete(self, kind: Literal["server", "volume"], key: str) -> None:
        if kind == "server":
            self._compute.delete_server(key, ignore_missing=False)
        else:
            self._volumes.delete_volume(key, ignore_missing=False)


class _Resource:
    def __init__(self, connection: Any) -> None:
        self._compute, self._volumes = connection.compute, connection.block_storage

    def detach(self, server: str, volume: str) -> None:
        from openstack.compute.v2.volume_attachment import VolumeAttachment

        VolumeAttachment.existing(id=volume, server_id=server).delete(self._compute)

    def status(self, volume: str) -> str | None:
        from openstack.block_storage.v3.volume import Volume
        from openstack.exceptions import NotFoundException

        try:
            return str(Volume.existing(id=volume).fetch(self._volumes).status)
        except NotFoundException:
            return None

    def attached(self, server: str) -> list[str]:
        from openstack.compute.v2.volume_attachment import VolumeAttachment

        return [one.volume_id for one in VolumeAttachment.list(self._compute, server_id=server)]

    def delete(self, kind: Literal["server", "volume"], key: str) -> None:
        from openstack.block_storage.v3.volume import Volume
        from openstack.compute.v2.server import Server

        if kind == "server":
            Server.existing(id=key).delete(self._compute)
        else:
            Volume.existing(id=key).delete(self._volumes)


class _Http:
    def __init__(self, connection: Any) -> None:
        self._compute, self._volumes = connection.compute, connection.block_storage

    def detach(self, server: str, volume: str) -> None:
        _checked(self._compute.delete(f"/servers/{server}/os-volume_attachments/{volume}"))

    def status(self, volume: str) -> str | None:
        answer = self._volumes.get(f"/volumes/{volume}")
        return None if answer.status_code == 404 else _checked(answer).json()["volume"]["status"]

    def attached(self, server: str) -> list[str]:
        answer = _checked(self._compute.get(f"/servers/{server}/os-volume_attachments"))
        return [one["volumeId"] for one in answer.json()["volumeAttachments"]]

    def delete(self, kind: Literal["server", "volume"], key: str) -> None:
        proxy = self._compute if kind == "server" else self._volumes
        _checked(proxy.delete(f"/{kind}s/{key}"))


def _checked(answer: Any) -> Any:
    from openstack.exceptions import raise_from_response

    raise_from_response(answer)
    return answer
