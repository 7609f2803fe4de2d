"""The services that take messages, as their operator sees them: enabled, forced down, up.

A service writes one record when it starts (the computes into their cell, the others into cell0),
and nothing while it lives. Whether it is *up* follows from evidence instead of a heartbeat's age:
the broker knows who listens to the service's own queue, and knows of a process's death as soon as
the kernel has closed its connection. So an idle service stays idle, and a killed one is down at
once, where Nova's counts as up until ``service_down_time`` is over. An operator's *forced down*
says that it is down whatever it does.

=================================  ================================================================
``report(binary, cell, host)``     a service has started
``find(**equal)``                  all records with such values, of all cells
``compute_on(cell, host)``         the record of a host's compute
``listening()``                    the queues that somebody listens to: ask once, then judge many
``Service.is_up(listening)``       whether it is
``is_host_up(cell, host)``         the same for one compute, also when nobody can be asked
``is_listening(host)``             whether a compute takes messages, forced down or not
``Service.save(disabled=…)``       what an operator changes: ``disabled``, ``disabled_reason``,
                                   ``forced_down``
``Service.destroy()``              forget it; one that lives is back when it starts again
=================================  ================================================================
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.bus import BusUnreachable
from targets.reference.bus.rpc import queue_name
from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.rpc import bus
from targets.reference.nova.tables import SERVICES

LOG = logging.getLogger(__name__)
COMPUTE = "nova-compute"
CONDUCTOR = "nova-conductor"
SCHEDULER = "nova-scheduler"
_TOPICS = {COMPUTE: "compute", CONDUCTOR: "conductor", SCHEDULER: "scheduler"}


@dataclass(frozen=True, slots=True)
class Service:
    """One version of the record; ``last_seen_up`` is when the service started last."""

    cell: str
    id: int
    uuid: str
    binary: str
    host: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    created_at: str
    updated_at: str
    last_seen_up: str

    @property
    def topic(self) -> str:
        """What kind of messages it takes."""
        return _TOPICS[self.binary]

    def is_up(self, listening: Container[str]) -> bool:
        """Whether it is up, given the queues that somebody listens to."""
        return not self.forced_down and queue_name(self.topic, self.host) in listening

    def save(self, **changes: Any) -> Service | None:
        """Change columns and return the new version of the record; None when it is gone."""
        values = {"updated_at": utc_now(), **changes}
        change = SERVICES.update().filter_by(uuid=self.uuid).values(**values)
        with databases.cell(self.cell).transaction() as connection:
            row = connection.execute(change.returning(SERVICES)).first()
        return Service(self.cell, **row._mapping) if row else None

    def destroy(self) -> bool:
        """Remove the record. True for the one caller who did."""
        with databases.cell(self.cell).transaction() as connection:
            gone = connection.execute(SERVICES.delete().filter_by(uuid=self.uuid))
        return gone.rowcount == 1


def report(binary: str, cell: str, host: str) -> None:
    """Write down that a service has started; what its operator said of it stays."""
    now = utc_now()
    seen = SERVICES.update().filter_by(binary=binary, host=host).values(last_seen_up=now)
    new = SERVICES.insert().values(
        uuid=str(uuid.uuid4()),
        binary=binary,
        host=host,
        disabled=False,
        forced_down=False,
        created_at=now,
        updated_at=now,
        last_seen_up=now,
    )
    try:
        with databases.cell(cell).transaction() as connection:
            if not connection.execute(seen).rowcount:
                connection.execute(new)
    except IntegrityError:
        LOG.info("%s at %s was written down by somebody else meanwhile", binary, host)


def find(**equal: object) -> list[Service]:
    """Return the records whose columns have these values, of all cells."""
    return [found for cell in databases.cells() for found in find_in(cell, **equal)]


def find_in(cell: str, **equal: object) -> list[Service]:
    """Return the records of one cell whose columns have these values."""
    query = sa.select(SERVICES).filter_by(**equal).order_by(SERVICES.c.id)
    with databases.cell(cell).read() as connection:
        return [Service(cell, **row._mapping) for row in connection.execute(query)]


def compute_on(cell: str, host: str) -> Service | None:
    """Return the record of a host's compute, None when it never started."""
    found = find_in(cell, binary=COMPUTE, host=host)
    return found[0] if found else None


def listening() -> Container[str]:
    """Name the queues that somebody listens to.

    Raises:
        BusUnreachable: there is no broker to tell.
    """
    return bus().listening()


def is_host_up(cell: str, host: str) -> bool:
    """Whether a host's compute is up; when nobody can tell it is: what is sent to it waits."""
    compute = compute_on(cell, host)
    if compute is None or compute.forced_down:
        return False
    try:
        return compute.is_up(listening())
    except BusUnreachable as error:
        LOG.warning("whether %s is up is not known: %s", host, error)
        return True


def is_listening(host: str) -> bool:
    """Whether a host's compute takes messages, whatever its operator says of it."""
    return queue_name(_TOPICS[COMPUTE], host) in listening()
