"""What an operator may change while the control plane runs; it stands in the API database.

=============================  ====================================================================
``reclaim_instance_interval``  0: a delete is for good. Otherwise it shuts the server off, which may
                               be restored until the periodic task ``reclaim_queued_deletes``
``cross_cell_resize``          0: servers are moved within their cell; 1: to another one as well,
                               where theirs has no other host that will do. Nova asks a policy for
                               that, which nobody fulfils by default
=============================  ====================================================================
"""

from __future__ import annotations

import sqlalchemy as sa

from targets.reference.nova import databases
from targets.reference.nova.tables import SETTINGS

DEFAULTS = {"reclaim_instance_interval": 0, "cross_cell_resize": 0}


def get(name: str) -> int:
    """Return what a setting is now."""
    with databases.api().read() as connection:
        found = connection.scalar(sa.select(SETTINGS.c.value).filter_by(name=name))
    return DEFAULTS[name] if found is None else int(found)


def change(name: str, value: int) -> None:
    """Change a setting.

    Raises:
        LookupError: there is none of that name.
    """
    if name not in DEFAULTS:
        raise LookupError(f"no setting `{name}`; there are {', '.join(sorted(DEFAULTS))}")
    with databases.api().transaction() as connection:
        connection.execute(SETTINGS.delete().filter_by(name=name))
        connection.execute(SETTINGS.insert(), {"name": name, "value": value})


class Configurator:
    """What is called over the bus."""

    def configure(self, name: str, value: int) -> None:
        """Change a setting, for every service."""
        change(name, value)
