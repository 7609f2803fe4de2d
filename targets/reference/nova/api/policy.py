"""Who may do what with the compute service."""

from __future__ import annotations

from targets.reference.policy import Policy, admin, member, reader

POLICY = Policy(
    "Policy doesn't allow os_compute_api:{} to be performed.",
    {
        "flavors:extra-specs": reader,
        "flavors:index": reader,
        "limits": reader,
        "os-availability-zone:detail": admin,
        "os-availability-zone:list": reader,
        "os-instance-actions:list": reader,
        "os-volumes-attachments:create": member,
        "os-volumes-attachments:delete": member,
        "os-volumes-attachments:index": reader,
        "os-volumes-attachments:update": member,
        "servers:act": member,
        "servers:admin": admin,
        "servers:create": member,
        "servers:delete": member,
        "servers:index": reader,
    },
)
"""What Nova calls ``os_compute_api:`` and this."""
