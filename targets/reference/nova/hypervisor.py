"""Hypervisor: what runs on one host. It outlives the compute, as libvirtd and its guests do.

=====================================  ============================================================
``GET /guests``                        all guests, with the volumes connected to them
``GET /guests/{uuid}``                 one
``PUT /guests/{uuid}``                 define it (shut off), or define it anew
``DELETE /guests/{uuid}``              pull the plug and forget it
``POST /guests/{uuid}/start``          start it
``POST /guests/{uuid}/shutdown``       ask it by ACPI to shut down, and wait ``wait_s`` seconds
``POST /guests/{uuid}/power-off``      pull the plug
``POST /guests/{uuid}/pause``          stop its processors, 409 if it does not run
``POST /guests/{uuid}/unpause``        let them go on, 409 if they do not stand still
``POST /guests/{uuid}/migrate``        hand it over to another host's hypervisor, as it runs
``POST /guests/{uuid}/receive``        be what another host's hypervisor hands over
``POST /guests/{uuid}/snapshot``       what its root disk holds
``POST /guests/{uuid}/crash``          nobody asks for that: it dies by itself
``POST /guests/{uuid}/ignore-acpi``    nor for that: it hangs until it is started the next time
``PUT /guests/{uuid}/disks/{volume}``  connect a volume
``DELETE …/disks/{volume}``            disconnect it from the guest; the host stays connected
``DELETE /volumes/{volume}``           disconnect the host from it
=====================================  ============================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from targets.reference import config
from targets.reference.client import ServiceClient, ServiceError
from targets.reference.database import Database, matching, open_database
from targets.reference.nova import process
from targets.reference.web import Api, Handler, HttpError, Reply, Request, not_found, serve

METADATA = sa.MetaData()
GUESTS = sa.Table(
    "guests",
    METADATA,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("image", sa.String(36), nullable=False),
    sa.Column("power", sa.String(16), nullable=False),
    sa.Column("ignores_acpi", sa.Boolean, nullable=False),
)
DISKS = sa.Table(
    "disks",
    METADATA,
    sa.Column("guest", sa.ForeignKey("guests.uuid", ondelete="CASCADE"), primary_key=True),
    sa.Column("volume", sa.String(36), primary_key=True),
)
CONNECTIONS = sa.Table(
    "connections",
    METADATA,
    sa.Column("volume", sa.String(36), primary_key=True),
)
RUNNING, PAUSED, SHUTDOWN, CRASHED = "running", "paused", "shutdown", "crashed"
_ALIVE = (RUNNING, PAUSED)


class Guests:
    """The guests of this host; ``power`` is running, paused, shutdown or crashed."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._changed = threading.Condition()

    def find(self, **equal: str) -> list[dict[str, Any]]:
        """Return the guests whose columns have these values, with their disks."""
        with self._db.read() as connection:
            rows = connection.execute(*matching(GUESTS, equal)).all()
            disks = connection.execute(*matching(DISKS, {}, "volume")).all()
        return [
            {**row._mapping, "disks": [disk.volume for disk in disks if disk.guest == row.uuid]}
            for row in rows
        ]

    def get(self, uuid: str) -> dict[str, Any]:
        """Return one guest.

        Raises:
            HttpError: 404.
        """
        found = self.find(uuid=uuid)
        if not found:
            raise not_found("Guest", uuid)
        return found[0]

    def define(self, uuid: str, name: str, image: str) -> None:
        """Make a guest that is shut off, or change its definition and leave it as it is.

        Its root disk is made from ``image`` when it is defined for the first time.
        """
        new = {"uuid": uuid, "name": name, "image": image, "power": SHUTDOWN, "ignores_acpi": False}
        with self._db.transaction() as connection:
            change = GUESTS.update().filter_by(uuid=uuid).values(name=name)
            if not connection.execute(change).rowcount:
                connection.execute(GUESTS.insert(), new)

    def undefine(self, uuid: str) -> None:
        """Stop and forget a guest.

        Raises:
            HttpError: 404.
        """
        with self._db.transaction() as connection:
            if not connection.execute(GUESTS.delete().filter_by(uuid=uuid)).rowcount:
                raise not_found("Guest", uuid)

    def start(self, uuid: str) -> None:
        """Start a guest, unless it runs already; one that hung listens again.

        Raises:
            HttpError: 404.
        """
        if self.get(uuid)["power"] != RUNNING:
            self._change(uuid, power=RUNNING, ignores_acpi=False)

    def power_off(self, uuid: str) -> None:
        """Pull a guest's plug.

        Raises:
            HttpError: 404.
        """
        self._change(uuid, power=SHUTDOWN)

    def pause(self, uuid: str) -> None:
        """Stop a running guest's processors; no matter if they stand still already.

        Raises:
            HttpError: 404; 409, it does not run.
        """
        self._change(uuid, among=_ALIVE, power=PAUSED)

    def unpause(self, uuid: str) -> None:
        """Let a paused guest go on; no matter if it does already.

        Raises:
            HttpError: 404; 409, it is not paused.
        """
        self._change(uuid, among=_ALIVE, power=RUNNING)

    def migrate(self, uuid: str, to: str, power: str) -> None:
        """Hand a guest over to the hypervisor of host ``to``, where it is known already.

        It stands still while that one takes it; when that is not to be had, it goes on here. Where
        the answer is lost, it may be there, and whoever asked asks again.

        Raises:
            HttpError: 404; 409, the other one does not take it.
        """
        self._change(uuid, power=SHUTDOWN)
        try:
            taken = {"receive": {"power": power}}
            ServiceClient(f"hypervisor-{to}").post(f"/guests/{uuid}/receive", taken)
        except ServiceError as error:
            self._change(uuid, power=power)
            raise HttpError(409, f"The guest could not be handed over: {error}") from None

    def receive(self, uuid: str, power: str) -> None:
        """Have a guest go on here, as it was elsewhere; no matter if it does already.

        Raises:
            HttpError: 404.
        """
        self._change(uuid, power=power)

    def snapshot(self, uuid: str) -> str:
        """Return what a guest's root disk holds.

        Raises:
            HttpError: 404.
        """
        guest = self.get(uuid)
        return f"the root disk of {guest['name']} ({uuid}), made from {guest['image']}"

    def crash(self, uuid: str) -> None:
        """Have a guest die by itself.

        Raises:
            HttpError: 404.
        """
        self._change(uuid, power=CRASHED)

    def ignore_acpi(self, uuid: str) -> None:
        """Have a guest hang: it obeys nobody any more until it is started anew.

        Raises:
            HttpError: 404.
        """
        self._change(uuid, ignores_acpi=True)

    def shutdown(self, uuid: str, wait_s: float) -> str:
        """Ask a guest to shut down; return its power when it has, or after ``wait_s`` seconds.

        Raises:
            HttpError: 404.
        """
        guest = self.get(uuid)
        if guest["power"] == RUNNING and not guest["ignores_acpi"]:
            self._change(uuid, power=SHUTDOWN)
        with self._changed:
            self._changed.wait_for(lambda: self.get(uuid)["power"] not in _ALIVE, wait_s)
        power: str = self.get(uuid)["power"]
        return power

    def connect(self, uuid: str, volume: str) -> None:
        """Connect the host, and a guest, to a volume; no matter if they are connected already.

        Raises:
            HttpError: 404.
        """
        self.get(uuid)
        with self._db.transaction() as connection:
            connection.execute(CONNECTIONS.delete().filter_by(volume=volume))
            connection.execute(CONNECTIONS.insert(), {"volume": volume})
            connection.execute(DISKS.delete().filter_by(guest=uuid, volume=volume))
            connection.execute(DISKS.insert(), {"guest": uuid, "volume": volume})

    def disconnect(self, uuid: str, volume: str) -> None:
        """Disconnect a volume; no matter if it is not connected."""
        with self._db.transaction() as connection:
            connection.execute(DISKS.delete().filter_by(guest=uuid, volume=volume))

    def disconnect_host(self, volume: str) -> None:
        """Disconnect the host from a volume, and every guest with it; no matter if none is."""
        with self._db.transaction() as connection:
            connection.execute(DISKS.delete().filter_by(volume=volume))
            connection.execute(CONNECTIONS.delete().filter_by(volume=volume))

    def _change(self, uuid: str, *, among: tuple[str, ...] = (), **values: object) -> None:
        """Change a guest, if its power is ``among`` these."""
        statement = GUESTS.update().filter_by(uuid=uuid).values(**values)
        if among:
            statement = statement.where(GUESTS.c.power.in_(among))
        with self._db.transaction() as connection:
            changed = connection.execute(statement).rowcount
        if not changed:
            raise HttpError(409, f"The guest is {self.get(uuid)['power']}.")
        with self._changed:
            self._changed.notify_all()


def api(guests: Guests) -> Api:
    """Return the routes."""
    api = Api()

    @api.route("GET", "/guests")
    def list_all(_: Request) -> dict[str, Any]:
        return {"guests": guests.find()}

    @api.route("GET", "/guests/{uuid}")
    def show(request: Request) -> dict[str, Any]:
        return guests.get(request.path["uuid"])

    @api.route("PUT", "/guests/{uuid}")
    def define(request: Request) -> Reply:
        guest = request.body_of("guest")
        guests.define(request.path["uuid"], guest["name"], guest["image"])
        return Reply(204)

    @api.route("DELETE", "/guests/{uuid}")
    def undefine(request: Request) -> None:
        guests.undefine(request.path["uuid"])

    @api.route("POST", "/guests/{uuid}/shutdown")
    def shutdown(request: Request) -> dict[str, Any]:
        wait_s = float(request.body_of("shutdown")["wait_s"])
        return {"power": guests.shutdown(request.path["uuid"], wait_s)}

    @api.route("POST", "/guests/{uuid}/migrate")
    def migrate(request: Request) -> Reply:
        asked = request.body_of("migrate")
        guests.migrate(request.path["uuid"], asked["to"], asked["power"])
        return Reply(204)

    @api.route("POST", "/guests/{uuid}/receive")
    def receive(request: Request) -> Reply:
        guests.receive(request.path["uuid"], request.body_of("receive")["power"])
        return Reply(204)

    @api.route("DELETE", "/volumes/{volume}")
    def disconnect_host(request: Request) -> None:
        guests.disconnect_host(request.path["volume"])

    @api.route("POST", "/guests/{uuid}/snapshot")
    def snapshot(request: Request) -> dict[str, Any]:
        return {"content": guests.snapshot(request.path["uuid"])}

    for name, change in (
        ("start", Guests.start),
        ("power-off", Guests.power_off),
        ("pause", Guests.pause),
        ("unpause", Guests.unpause),
        ("crash", Guests.crash),
        ("ignore-acpi", Guests.ignore_acpi),
    ):
        api.route("POST", f"/guests/{{uuid}}/{name}")(_changing(guests, change))

    @api.route("PUT", "/guests/{uuid}/disks/{volume}")
    def connect(request: Request) -> Reply:
        guests.connect(request.path["uuid"], request.path["volume"])
        return Reply(204)

    @api.route("DELETE", "/guests/{uuid}/disks/{volume}")
    def disconnect(request: Request) -> None:
        guests.disconnect(request.path["uuid"], request.path["volume"])

    return api


def _changing(guests: Guests, change: Callable[[Guests, str], None]) -> Handler:
    return lambda request: change(guests, request.path["uuid"])


def main() -> None:
    """Run the hypervisor of ``REFERENCE_HOST``."""
    process.begin()
    here = config.current()
    serve(api(Guests(open_database(f"hypervisor_{here.host}", METADATA))), here)
