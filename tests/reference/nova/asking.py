"""Ask the compute API as one of the reference's users, without a client's opinion in between."""

from __future__ import annotations

from typing import Any

from targets.cloud.client import connect
from targets.embedded.clouds import CLOUD
from targets.embedded.target import Embedded


class Asking:
    """One user's requests: each returns the answer, whatever it is."""

    def __init__(self, target: Embedded, user: str = "") -> None:
        self.cloud = connect(target.clouds_yaml, f"{CLOUD}-{user}" if user else CLOUD)

    def __call__(
        self, method: str, path: str, body: Any = None, *, version: str = "2.96", **options: Any
    ) -> Any:
        """Ask ``path`` of the compute service in a microversion."""
        headers = {"OpenStack-API-Version": f"compute {version}", **options.pop("headers", {})}
        return self.cloud.compute.request(
            path, method, json=body, raise_exc=False, headers=headers, **options
        )

    def close(self) -> None:
        """Close its connections."""
        self.cloud.close()
