"""A detach whose attachment is gone already fails for ever, and the block device stays.

Launchpad bug 1937084. The compute that detaches a volume removes the volume service's attachment
and then the block device mapping. When it dies in between, or somebody else removes the attachment,
the next attempt is told that there is none, and took that for a failure. Seen by *attachments match
block devices* (5).
"""

from __future__ import annotations

from targets.reference.nova import volumes


def _delete_attachment(attachment: str) -> None:
    volumes._SERVICE.delete(f"/v3/attachments/{attachment}")


def apply() -> None:
    """Take for a failure that an attachment is gone."""
    volumes.delete_attachment = _delete_attachment
