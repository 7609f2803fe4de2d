"""A confirmed resize whose clean-up fails at the source is never taken up again.

Launchpad bug 1821594. When the source's hypervisor refuses to forget the guest, the migration stays
*confirming* and the source's allocations are never given back. Seen by *migrations end* (12) and
*settled states* (1).
"""

from __future__ import annotations

import logging

from targets.reference.nova.compute import resizing
from targets.reference.nova.compute.host import Host
from targets.reference.nova.compute.moving import Turn
from targets.reference.nova.instance import Instance
from targets.reference.nova.migration import Migration

LOG = logging.getLogger(__name__)
_confirm = resizing.STEPS[Turn.CONFIRM]


def _confirm_once(host: Host, migration: Migration, instance: Instance) -> None:
    try:
        _confirm(host, migration, instance)
    except Exception:
        LOG.exception("the confirmation of %s failed", migration.uuid)


def apply() -> None:
    """Try once."""
    resizing.STEPS[Turn.CONFIRM] = _confirm_once
