"""The flavors, built in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of server: ``ram`` in MiB, ``disk`` in GiB."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int


FLAVORS = (
    Flavor("1", "m1.tiny", 1, 512, 1),
    Flavor("2", "m1.small", 1, 2048, 20),
    Flavor("3", "m1.medium", 2, 4096, 40),
    Flavor("4", "m1.large", 4, 8192, 80),
    Flavor("5", "m1.xlarge", 8, 16384, 160),
)


def find(reference: str) -> Flavor | None:
    """Return a flavor by its id, its name, or a URL that ends in either."""
    wanted = reference.rstrip("/").rpartition("/")[2]
    return next((flavor for flavor in FLAVORS if wanted in (flavor.id, flavor.name)), None)
