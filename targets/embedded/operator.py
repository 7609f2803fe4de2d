"""The operator of the embedded control plane: asks computes by the bus, hypervisors by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from chaos.operation import OperationFailed, OperationIndeterminate, Scope
from targets.cloud.operator import GuestFate
from targets.http_client import HttpClient
from targets.reference.bus import Bus, BusUnreachable, CallLost, CallTimeout, RemoteError
from targets.reference.bus.rpc import queue_name
from targets.reference.context import RequestContext


class EmbeddedOperator:
    """``hypervisors`` is where the hypervisors listen; ``token`` makes what they want to see."""

    def __init__(
        self, bus: Callable[[], Bus], hypervisors: Mapping[str, str], token: Callable[[], str]
    ) -> None:
        self._bus = bus
        self._hypervisors = hypervisors
        self._token = token

    def run_periodic_task(self, host: str, task: str, request_id: str, deadline_s: float) -> None:
        """Call the compute of a host over the bus."""
        queue = queue_name("compute", host)
        self._call(queue, "run_periodic_task", {"name": task}, request_id, deadline_s)

    def configure(self, setting: str, value: int, request_id: str, deadline_s: float) -> None:
        """Call a conductor over the bus."""
        arguments = {"name": setting, "value": value}
        self._call("conductor", "configure", arguments, request_id, deadline_s)

    def resume_builds(self, request_id: str) -> None:
        """Tell whichever conductor takes it from their queue."""
        try:
            self._bus().publish("conductor", _message("recover", request_id))
        except BusUnreachable as error:
            raise OperationIndeterminate(f"recovery of builds: {error}") from error

    def strike_guest(
        self, server: str, fate: GuestFate, request_id: str, deadline_s: float
    ) -> None:
        """Ask each hypervisor: one of them has the guest."""
        scope = Scope(None, request_id=request_id, deadline_s=deadline_s)
        for address in self._hypervisors.values():
            host, _, port = address.rpartition(":")
            client = HttpClient(int(port), headers={"X-Auth-Token": self._token()}, host=host)
            try:
                client.post(scope, f"/guests/{server}/{fate}")
            except OperationFailed as refused:
                if refused.status != HTTPStatus.NOT_FOUND:
                    raise
            else:
                return
        raise OperationFailed(f"no hypervisor has a guest {server}", HTTPStatus.NOT_FOUND)

    def _call(
        self, queue: str, method: str, arguments: dict[str, Any], request_id: str, deadline_s: float
    ) -> None:
        message = _message(method, request_id, **arguments)
        try:
            self._bus().call(queue, message, deadline_s)
        except RemoteError as error:
            raise OperationFailed(f"{method} of {queue}: {error}") from error
        except (CallLost, CallTimeout, BusUnreachable) as error:
            raise OperationIndeterminate(f"{method} of {queue}: {error}") from error


def _message(method: str, request_id: str, **arguments: object) -> dict[str, object]:
    return {
        "method": method,
        "arguments": arguments,
        "context": RequestContext(request_id).to_message(),
    }
