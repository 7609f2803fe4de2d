"""What happens to a cloud beside its interface: by its operator's hand, or by itself."""

from __future__ import annotations

from typing import Literal, Protocol

GuestFate = Literal["crash", "power-off", "ignore-acpi"]


class Operator(Protocol):
    """A target's own way to do it; ``client.operator`` of the connection that actors share.

    What it does is done on behalf of the request ``request_id``, in at most ``deadline_s`` seconds.

    Raises:
        OperationFailed: it was refused.
        OperationIndeterminate: nobody answered.
    """

    def run_periodic_task(self, host: str, task: str, request_id: str, deadline_s: float) -> None:
        """Have the compute of a host run one of its periodic tasks, and wait until it is done."""

    def configure(self, setting: str, value: int, request_id: str, deadline_s: float) -> None:
        """Change one of the cloud's settings."""

    def strike_guest(
        self, server: str, fate: GuestFate, request_id: str, deadline_s: float
    ) -> None:
        """Let a server's guest die, or shut down, by itself; or hang, deaf to ACPI."""

    def resume_builds(self, request_id: str) -> None:
        """Have a conductor take up every build, as one that starts does; others may be at them."""
