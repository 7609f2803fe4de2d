"""What the compute service asks of the volume service."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress

from targets.reference.client import BadRequest, NotFound, ServiceClient

LOG = logging.getLogger(__name__)
_SERVICE = ServiceClient("volume")


def attachments_of(instance: str) -> dict[str, str]:
    """Return the volumes that are reserved for or attached to an instance: volume → attachment."""
    found = _SERVICE.get(f"/v3/attachments?instance_id={instance}")["attachments"]
    return {attachment["volume_id"]: attachment["id"] for attachment in found}


def create_attachment(instance: str, volume: str) -> str:
    """Reserve a volume for an instance and return the attachment's id; repeating is no error.

    Raises:
        BadRequest: somebody else has it.
        NotFound: there is no such volume.
    """
    try:
        body = {"attachment": {"volume_uuid": volume, "instance_uuid": instance}}
        made: str = _SERVICE.post("/v3/attachments", body)["attachment"]["id"]
        return made
    except BadRequest:
        mine = attachments_of(instance).get(volume)
        if mine is None:
            raise
        return mine


def connect_attachment(attachment: str, host: str, device: str) -> None:
    """Tell the volume service from where the volume will be used.

    Raises:
        NotFound: the attachment is gone.
    """
    connector = {"host": host, "mountpoint": device}
    _SERVICE.put(f"/v3/attachments/{attachment}", {"attachment": {"connector": connector}})


def complete_attachment(attachment: str) -> None:
    """Tell the volume service that the volume is in use.

    Raises:
        NotFound: the attachment is gone.
    """
    _SERVICE.post(f"/v3/attachments/{attachment}/action", {"os-complete": {}})


def delete_attachment(attachment: str) -> None:
    """Give the volume back; one that is given back already is no error (LP#1937084)."""
    with suppress(NotFound):
        _SERVICE.delete(f"/v3/attachments/{attachment}")


def delete_volume(volume: str) -> None:
    """Delete a volume at its server's end, unless it is gone or somebody else uses it by now."""
    try:
        _SERVICE.delete(f"/v3/volumes/{volume}")
    except NotFound:
        pass
    except BadRequest as error:
        LOG.warning("volume %s stays: %s", volume, error)


def all_attachments() -> dict[str, str]:
    """Return every attachment that is for an instance, and which: attachment → instance."""
    found = _SERVICE.get("/v3/attachments")["attachments"]
    return {
        attachment["id"]: attachment["instance"] for attachment in found if attachment["instance"]
    }


def is_used_on(host: str, volume: str, attachment: str) -> bool:
    """Whether a volume is connected to a host by another attachment than this one."""
    found = _SERVICE.get(f"/v3/attachments?volume_id={volume}")["attachments"]
    return any(
        other["connection_info"].get("host") == host for other in found if other["id"] != attachment
    )


def reserve_anew(instance: str, volume: str, others: Collection[str] = ()) -> str:
    """Reserve a volume once more for the instance that has it; return the new attachment.

    So that nobody else gets it when the one that connects it to a host is removed. One that is
    reserved already will do, but for those of somebody else: ``others``.
    """
    found = _SERVICE.get(f"/v3/attachments?instance_id={instance}&volume_id={volume}")
    mine = [a for a in found["attachments"] if a["id"] not in others]
    reserved = [a["id"] for a in mine if a["status"] == "reserved"]
    if reserved:
        return str(reserved[0])
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": instance}}
    made: str = _SERVICE.post("/v3/attachments", body)["attachment"]["id"]
    return made


def attachment_ids(instance: str, volume: str) -> list[str]:
    """Name the attachments of a volume to an instance."""
    found = _SERVICE.get(f"/v3/attachments?instance_id={instance}&volume_id={volume}")
    return [attachment["id"] for attachment in found["attachments"]]
