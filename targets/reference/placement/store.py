"""Placement service: what every provider has, and which consumer holds how much of it.

A change of a provider or a consumer carries the *generation* that its author saw; a 409 with the
code ``placement.concurrent_update`` tells that somebody else was faster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from targets.reference.database import Database, matching
from targets.reference.web import HttpError

METADATA = sa.MetaData()
PROVIDERS = sa.Table(
    "resource_providers",
    METADATA,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("generation", sa.Integer, nullable=False),
)
INVENTORIES = sa.Table(
    "inventories",
    METADATA,
    sa.Column("provider", sa.ForeignKey("resource_providers.uuid"), primary_key=True),
    sa.Column("resource_class", sa.String(64), primary_key=True),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("reserved", sa.Integer, nullable=False),
    sa.Column("allocation_ratio", sa.Float, nullable=False),
)
CONSUMERS = sa.Table(
    "consumers",
    METADATA,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
)
ALLOCATIONS = sa.Table(
    "allocations",
    METADATA,
    sa.Column("consumer", sa.ForeignKey("consumers.uuid"), primary_key=True),
    sa.Column("provider", sa.ForeignKey("resource_providers.uuid"), primary_key=True),
    sa.Column("resource_class", sa.String(64), primary_key=True),
    sa.Column("used", sa.Integer, nullable=False),
)
CONCURRENT_UPDATE = "placement.concurrent_update"

Resources = Mapping[str, int]
"""Amounts by resource class, e.g. ``{"VCPU": 1, "MEMORY_MB": 512}``."""


@dataclass(frozen=True, slots=True)
class Claim:
    """All that one consumer shall hold from now on: resources by provider.

    ``generation`` is the consumer's as the author saw it, None when there was no such consumer.
    """

    consumer: str
    resources: Mapping[str, Resources]
    project_id: str
    user_id: str
    generation: int | None


class Placement:
    """Providers, inventories and allocations."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def providers(self, **equal: str) -> list[dict[str, Any]]:
        """Return the providers whose columns have these values."""
        with self._db.read() as connection:
            rows = connection.execute(*matching(PROVIDERS, equal, "name"))
            return [_provider_view(row) for row in rows]

    def provider(self, provider: str) -> dict[str, Any]:
        """Return one provider.

        Raises:
            HttpError: 404.
        """
        with self._db.read() as connection:
            return _provider_view(_provider(connection, provider))

    def create_provider(self, name: str, provider: str) -> dict[str, Any]:
        """Make a provider.

        Raises:
            HttpError: 409, name or uuid is taken.
        """
        try:
            with self._db.transaction() as connection:
                connection.execute(
                    PROVIDERS.insert(), {"uuid": provider, "name": name, "generation": 0}
                )
        except sa.exc.IntegrityError:
            raise HttpError(409, f"Conflicting resource provider {name} already exists.") from None
        return self.provider(provider)

    def delete_provider(self, provider: str) -> None:
        """Remove a provider and its inventory.

        Raises:
            HttpError: 404; 409, a consumer holds some of it.
        """
        with self._db.transaction() as connection:
            _provider(connection, provider)
            if connection.execute(*matching(ALLOCATIONS, {"provider": provider})).first():
                raise HttpError(409, f"Unable to delete resource provider {provider}: in use.")
            connection.execute(INVENTORIES.delete().filter_by(provider=provider))
            connection.execute(PROVIDERS.delete().filter_by(uuid=provider))

    def inventories(self, provider: str) -> dict[str, Any]:
        """Return what a provider has, by resource class.

        Raises:
            HttpError: 404.
        """
        with self._db.read() as connection:
            generation = _provider(connection, provider).generation
            rows = connection.execute(*matching(INVENTORIES, {"provider": provider})).all()
        return {
            "resource_provider_generation": generation,
            "inventories": {row.resource_class: _inventory_view(row) for row in rows},
        }

    def set_inventories(
        self, provider: str, generation: int, inventories: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Replace what a provider has.

        Raises:
            HttpError: 404; 409, the generation is old.
        """
        with self._db.transaction() as connection:
            if _provider(connection, provider).generation != generation:
                raise HttpError(409, "resource provider generation conflict", CONCURRENT_UPDATE)
            connection.execute(INVENTORIES.delete().filter_by(provider=provider))
            if inventories:
                connection.execute(
                    INVENTORIES.insert(),
                    [
                        {
                            "provider": provider,
                            "resource_class": name,
                            "total": int(inventory["total"]),
                            "reserved": int(inventory.get("reserved", 0)),
                            "allocation_ratio": float(inventory.get("allocation_ratio", 1.0)),
                        }
                        for name, inventory in inventories.items()
                    ],
                )
            _next_generation(connection, [provider])
        return self.inventories(provider)

    def usages(self, provider: str) -> dict[str, Any]:
        """Return how much of a provider is held, by resource class.

        Raises:
            HttpError: 404.
        """
        with self._db.read() as connection:
            row = _provider(connection, provider)
            used = _used(connection)
            classes = connection.scalars(
                sa.select(INVENTORIES.c.resource_class).filter_by(provider=provider)
            ).all()
        return {
            "resource_provider_generation": row.generation,
            "usages": {name: used[provider, name] for name in classes},
        }

    def allocations(self, consumer: str) -> dict[str, Any]:
        """Return what a consumer holds, by provider; empty when there is no such consumer."""
        with self._db.read() as connection:
            owner = connection.execute(*matching(CONSUMERS, {"uuid": consumer})).first()
            rows = connection.execute(
                sa.select(ALLOCATIONS, PROVIDERS.c.generation)
                .join(PROVIDERS)
                .filter(ALLOCATIONS.c.consumer == consumer)
            ).all()
        if owner is None:
            return {"allocations": {}}
        held: dict[str, Any] = {}
        for row in rows:
            of_provider = held.setdefault(
                row.provider, {"generation": row.generation, "resources": {}}
            )
            of_provider["resources"][row.resource_class] = row.used
        return {
            "allocations": held,
            "consumer_generation": owner.generation,
            "project_id": owner.project_id,
            "user_id": owner.user_id,
        }

    def allocations_of_provider(self, provider: str) -> dict[str, Any]:
        """Return who holds how much of a provider, by consumer.

        Raises:
            HttpError: 404.
        """
        with self._db.read() as connection:
            row = _provider(connection, provider)
            rows = connection.execute(*matching(ALLOCATIONS, {"provider": provider})).all()
        held: dict[str, Any] = {}
        for allocation in rows:
            resources = held.setdefault(allocation.consumer, {"resources": {}})["resources"]
            resources[allocation.resource_class] = allocation.used
        return {"resource_provider_generation": row.generation, "allocations": held}

    def claim(self, claims: Iterable[Claim]) -> None:
        """Give each consumer exactly what its claim says: all of them, or none.

        Raises:
            HttpError: 400, no such provider or inventory; 409, a consumer's generation is old
                (``placement.concurrent_update``) or the capacity does not suffice.
        """
        claims = list(claims)
        with self._db.transaction() as connection:
            touched = {
                row.provider
                for claim in claims
                for row in connection.execute(*matching(ALLOCATIONS, {"consumer": claim.consumer}))
            } | {provider for claim in claims for provider in claim.resources}
            for claim in claims:
                _replace(connection, claim)
            for claim in claims:
                _check_capacity(connection, claim)
            _next_generation(connection, touched)

    def release(self, consumer: str) -> None:
        """Take everything from a consumer, which goes with its last allocation.

        Raises:
            HttpError: 404, it holds nothing.
        """
        with self._db.transaction() as connection:
            held = sa.select(ALLOCATIONS.c.provider).filter_by(consumer=consumer)
            touched = set(connection.scalars(held))
            if not touched:
                raise HttpError(404, f"No allocations for consumer '{consumer}'")
            connection.execute(ALLOCATIONS.delete().filter_by(consumer=consumer))
            connection.execute(CONSUMERS.delete().filter_by(uuid=consumer))
            _next_generation(connection, touched)

    def candidates(self, wanted: Resources) -> dict[str, Any]:
        """Return the providers that have all of ``wanted`` left, each as a ready claim, by name."""
        with self._db.read() as connection:
            used = _used(connection)
            inventories = connection.execute(sa.select(INVENTORIES)).all()
            names = sa.select(PROVIDERS).order_by(PROVIDERS.c.name)
            providers = connection.execute(names).all()
        capacity = {(row.provider, row.resource_class): _capacity(row) for row in inventories}
        fitting = [
            row.uuid
            for row in providers
            if all(
                used[row.uuid, name] + amount <= capacity.get((row.uuid, name), 0)
                for name, amount in wanted.items()
            )
        ]
        return {
            "allocation_requests": [
                {
                    "allocations": {provider: {"resources": dict(wanted)}},
                    "mappings": {"": [provider]},
                }
                for provider in fitting
            ],
            "provider_summaries": {
                provider: {
                    "resources": {
                        name: {"capacity": amount, "used": used[provider, name]}
                        for (of, name), amount in capacity.items()
                        if of == provider
                    },
                    "traits": [],
                    "parent_provider_uuid": None,
                    "root_provider_uuid": provider,
                }
                for provider in fitting
            },
        }


def _provider(connection: sa.Connection, provider: str) -> sa.Row[Any]:
    row = connection.execute(*matching(PROVIDERS, {"uuid": provider})).first()
    if row is None:
        raise HttpError(404, f"No resource provider with uuid {provider} found.")
    return row


def _used(connection: sa.Connection) -> Counter[tuple[str, str]]:
    used: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(sa.select(ALLOCATIONS)):
        used[row.provider, row.resource_class] += row.used
    return used


def _capacity(inventory: sa.Row[Any]) -> int:
    return int((inventory.total - inventory.reserved) * inventory.allocation_ratio)


def _next_generation(connection: sa.Connection, providers: Iterable[str]) -> None:
    connection.execute(
        PROVIDERS.update()
        .where(PROVIDERS.c.uuid.in_(list(providers)))
        .values(generation=PROVIDERS.c.generation + 1)
    )


def _replace(connection: sa.Connection, claim: Claim) -> None:
    owner = connection.execute(*matching(CONSUMERS, {"uuid": claim.consumer})).first()
    if (owner.generation if owner else None) != claim.generation:
        raise HttpError(409, "consumer generation conflict", CONCURRENT_UPDATE)
    connection.execute(ALLOCATIONS.delete().filter_by(consumer=claim.consumer))
    connection.execute(CONSUMERS.delete().filter_by(uuid=claim.consumer))
    rows = [
        {
            "consumer": claim.consumer,
            "provider": provider,
            "resource_class": name,
            "used": amount,
        }
        for provider, resources in claim.resources.items()
        for name, amount in resources.items()
    ]
    if rows:
        known = set(connection.scalars(sa.select(PROVIDERS.c.uuid)))
        for provider in claim.resources.keys() - known:
            raise HttpError(
                400, f"Allocation for resource provider '{provider}' that does not exist."
            )
        consumer = {
            "uuid": claim.consumer,
            "generation": 1 if claim.generation is None else claim.generation + 1,
            "project_id": claim.project_id,
            "user_id": claim.user_id,
        }
        connection.execute(CONSUMERS.insert(), consumer)
        connection.execute(ALLOCATIONS.insert(), rows)


def _check_capacity(connection: sa.Connection, claim: Claim) -> None:
    used = _used(connection)
    capacity = {
        (row.provider, row.resource_class): _capacity(row)
        for row in connection.execute(sa.select(INVENTORIES))
    }
    for provider, resources in claim.resources.items():
        for name in resources:
            if (provider, name) not in capacity:
                raise HttpError(400, f"No inventory of class {name} on provider {provider}.")
            if used[provider, name] > capacity[provider, name]:
                raise HttpError(
                    409,
                    f"Unable to create allocation for '{name}' on resource provider '{provider}'."
                    " The requested amount would exceed the capacity.",
                )


def _provider_view(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "uuid": row.uuid,
        "name": row.name,
        "generation": row.generation,
        "parent_provider_uuid": None,
        "root_provider_uuid": row.uuid,
        "links": [],
    }


def _inventory_view(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "total": row.total,
        "reserved": row.reserved,
        "allocation_ratio": row.allocation_ratio,
        "min_unit": 1,
        "max_unit": row.total,
        "step_size": 1,
    }
