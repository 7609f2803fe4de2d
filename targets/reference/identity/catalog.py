"""Where the services are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from targets.reference import config

REGION = "RegionOne"
SERVICES: Mapping[str, tuple[str, str, str]] = {
    "identity": ("identity", "keystone", "/v3"),
    "api": ("compute", "nova", "/v2.1"),
    "image": ("image", "glance", ""),
    "network": ("network", "neutron", ""),
    "volume": ("block-storage", "cinder", "/v3"),
    "placement": ("placement", "placement", ""),
}
"""Service of ours: its type and name in the catalogue, and the path of its endpoint."""


def catalog() -> list[dict[str, Any]]:
    """Return the catalogue of the services that the configuration names."""
    endpoints = config.current().endpoints
    return [
        {
            "id": service,
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": f"{service}-{interface}",
                    "interface": interface,
                    "region": REGION,
                    "region_id": REGION,
                    "url": endpoints[service] + path,
                }
                for interface in ("public", "internal", "admin")
            ],
        }
        for service, (kind, name, path) in SERVICES.items()
        if service in endpoints
    ]
