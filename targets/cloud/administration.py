"""Operations of the cloud's administrator, on hosts; they add to the catalogue."""

from __future__ import annotations

from typing import Any

from chaos.operation import OperationFailed, Scope
from targets.cloud.catalogue import operation


@operation("compute.disable")
def disable_compute(scope: Scope, host: str) -> dict[str, Any]:
    """Have no server come to a host any more; those that are there stay."""
    return _change(scope, host, {"status": "disabled"})


@operation("compute.enable")
def enable_compute(scope: Scope, host: str) -> dict[str, Any]:
    """Have servers come to a host again."""
    return _change(scope, host, {"status": "enabled"})


@operation("compute.force_down")
def force_compute_down(scope: Scope, host: str, down: bool = True) -> dict[str, Any]:
    """Say that a host's compute is down, whatever it does; or, with ``down: false``, no more so."""
    return _change(scope, host, {"forced_down": down})


def _change(scope: Scope, host: str, wanted: dict[str, Any]) -> dict[str, Any]:
    compute = scope.client.administrator().compute
    version = {"microversion": "2.53"}
    found = compute.get("/os-services?binary=nova-compute", **version).json()["services"]
    ids = [service["id"] for service in found if service["host"] == host]
    if not ids:
        raise OperationFailed(f"no compute is called {host}", 404)
    answer = compute.put(f"/os-services/{ids[0]}", json=wanted, **version)
    if not answer.ok:
        raise OperationFailed(f"{host}: {answer.text}", answer.status_code)
    return {"host": host}
