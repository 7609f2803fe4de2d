"""Remote procedure calls over the bus: public methods of an endpoint, called by name.

A queue is a topic (``conductor``) or a topic and a host (``compute.host1``). The request context
travels along and is current while the method runs.
"""

from __future__ import annotations

import logging
from typing import Any

from targets.reference import context
from targets.reference.bus.client import CALL_S, Bus
from targets.reference.bus.frames import Frame
from targets.reference.context import RequestContext

LOG = logging.getLogger(__name__)


def queue_name(topic: str, host: str = "") -> str:
    """Name the queue of a topic, or of a topic at one host."""
    return f"{topic}.{host}" if host else topic


class RpcClient:
    """Calls methods of whoever serves ``topic``."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self._bus = bus
        self._topic = topic

    def cast(self, host: str, method: str, *, delay_s: float = 0.0, **arguments: Any) -> None:
        """Have ``method`` called at some time; returns once the broker has the message.

        Raises:
            BusUnreachable: the broker did not confirm.
        """
        self._bus.publish(queue_name(self._topic, host), _message(method, arguments), delay_s)

    def call(self, host: str, method: str, *, timeout_s: float = CALL_S, **arguments: Any) -> Any:
        """Call ``method`` and return what it returns; errors as of :meth:`.client.Bus.call`."""
        queue = queue_name(self._topic, host)
        return self._bus.call(queue, _message(method, arguments), timeout_s)


class RpcServer:
    """Serves the public methods of ``endpoints`` under ``topic`` at ``host``.

    When it is ``shared``, it is also one of those that take what is sent to the topic as such.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        host: str,
        *endpoints: object,
        shared: bool = False,
        threads: int = 64,
    ) -> None:
        self._bus = bus
        self._queue = queue_name(topic, host)
        self._topic = topic if shared else ""
        self._endpoints = endpoints
        self._threads = threads

    def start(self) -> None:
        """Begin to take messages, each in one of ``threads`` threads.

        Its own queue comes last: who listens there serves all that it is to serve.
        """
        if self._topic:
            self._bus.consume(self._topic, self._serve, self._threads)
        self._bus.consume(self._queue, self._serve, self._threads)

    def _serve(self, message: Frame) -> Any:
        name = message["method"]
        method = self._method(name)
        with context.use(RequestContext.from_message(message["context"])):
            LOG.info("%s %s", name, message["arguments"])
            return method(**message["arguments"])

    def _method(self, name: str) -> Any:
        if not name.startswith("_"):
            for endpoint in self._endpoints:
                if method := getattr(endpoint, name, None):
                    return method
        raise AttributeError(f"{self._queue} has no public method {name}")


def _message(method: str, arguments: dict[str, Any]) -> Frame:
    return {
        "method": method,
        "arguments": arguments,
        "context": context.current().to_message(),
    }
