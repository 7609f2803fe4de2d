"""A process's connection to the broker: publish, call, consume."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Container, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from targets.reference.bus.frames import Frame
from targets.reference.bus.link import Link, SocketLink

LOG = logging.getLogger(__name__)

CONFIRM_S = 10.0
CALL_S = 60.0


class BusUnreachable(Exception):
    """The broker did not confirm in time; the message may have been queued or not."""


class CallTimeout(Exception):
    """Nobody answered a call in time; it may still be carried out."""


class CallLost(Exception):
    """The worker died while it carried out the call, or the broker did; nobody will answer."""


class RemoteError(Exception):
    """The method that was called raised; ``kind`` is the exception's class name there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


Handler = Callable[[Frame], Any]


@dataclass(frozen=True, slots=True)
class _Subscription:
    queue: str
    handler: Handler
    limit: int
    threads: ThreadPoolExecutor


class Bus:
    """Talks to the broker at ``address`` (``host:port``), from any number of threads.

    ``token`` is what the broker wants to see first.

    It connects at first use, and again whenever the broker comes back; then it subscribes anew and
    calls ``on_reconnect``, as messages were lost with the old broker.
    """

    def __init__(
        self, address: str, token: str, on_reconnect: Callable[[], None] = lambda: None
    ) -> None:
        self.on_reconnect = on_reconnect
        self._token = token
        self._refused = False
        self._address = address
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Frame]] = {}
        self._working: dict[int, Frame] = {}
        self._subscriptions: list[_Subscription] = []
        self._state = threading.Condition()
        self._link: Link | None = None
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()

    @property
    def _name(self) -> str:
        """The broker's address, for messages."""
        return self._address

    def _open(self) -> Link:
        """Connect once.

        Raises:
            OSError: there is no broker now.
        """
        host, _, port = self._address.rpartition(":")
        return SocketLink((host, int(port)))

    def publish(self, queue: str, body: Frame, delay_s: float = 0.0) -> None:
        """Return once the broker has the message; it is handed on after ``delay_s`` seconds.

        Raises:
            BusUnreachable: the broker did not confirm it within ten seconds.
        """
        self._confirmed({"op": "publish", "queue": queue, "body": body, "delay_s": delay_s})

    def call(self, queue: str, body: Frame, timeout_s: float = CALL_S) -> Any:
        """Publish and wait for what the handler returns.

        Raises:
            RemoteError: the handler raised.
            CallLost: the worker or the broker died.
            CallTimeout: no answer within ``timeout_s`` seconds.
            BusUnreachable: there is no broker.
        """
        deadline = time.monotonic() + timeout_s
        number, future = self._send({"op": "call", "queue": queue, "body": body}, deadline)
        try:
            reply = future.result(deadline - time.monotonic())
        except TimeoutError:
            raise CallTimeout(
                f"no answer to {queue}: {body.get('method')} within {timeout_s} s"
            ) from None
        except ConnectionError as error:
            raise CallLost(f"the broker went away during {queue}: {body.get('method')}") from error
        finally:
            self._waiting.pop(number, None)
        if "lost" in reply:
            raise CallLost(f"the worker died while it carried out {reply['lost']}")
        if "error" in reply:
            raise RemoteError(**reply["error"])
        return reply["result"]

    def consume(self, queue: str, handler: Handler, threads: int = 32) -> None:
        """Give each message's body to ``handler`` in a thread; return once the broker knows.

        At most ``threads`` messages are taken at a time; the others stay in the queue.
        """
        pool = ThreadPoolExecutor(threads, thread_name_prefix=queue)
        self._subscriptions.append(_Subscription(queue, handler, threads, pool))
        self._confirmed({"op": "consume", "queue": queue, "limit": threads})

    def drain(self, deadline_s: float, consumers: Iterable[str] = ()) -> list[str]:
        """Wait until nothing is queued or in flight; say what still is after ``deadline_s``.

        Also wait until somebody consumes each of the queues ``consumers``: after a restart of the
        broker it knows what its clients do only once they are back.
        """
        frame = {"op": "drain", "deadline_s": deadline_s, "consumers": list(consumers)}
        pending: list[str] = self._confirmed(frame, deadline_s + CONFIRM_S)["pending"]
        return pending

    def under_way(
        self, requests: Iterable[str], stopped: Iterable[str] = (), timeout_s: float = CONFIRM_S
    ) -> list[str]:
        """Say what goes on by itself for these request ids, though nobody waits for it.

        Casts that are carried out or wait to be tried again. Not what stays in a queue, nor what
        the consumers of the queues ``stopped`` have, nor the calls that somebody waits for: they
        are part of what he does.
        """
        frame = {"op": "under_way", "requests": list(requests), "stopped": list(stopped)}
        moving: list[str] = self._confirmed(frame, timeout_s)["moving"]
        return moving

    def listening(self, timeout_s: float = CONFIRM_S) -> Container[str]:
        """Name the queues that somebody consumes now.

        A process that has died does so no more as soon as its end can be known to anybody.

        Raises:
            BusUnreachable: the broker did not answer within ``timeout_s`` seconds.
        """
        return frozenset(self._confirmed({"op": "listening"}, timeout_s)["queues"])

    def purge(self) -> None:
        """Throw away every message that waits in a queue."""
        self._confirmed({"op": "purge"})

    def stats(self) -> Frame:
        """Return queue depths (``queues``), what is ``in_flight``, and how many were delivered."""
        return self._confirmed({"op": "stats"})

    def close(self) -> None:
        """Disconnect; what this process worked on is lost to the broker."""
        self._closed.set()
        with self._state:
            self._state.notify_all()
            link, reader = self._link, self._reader
        if link:
            link.close()
        if reader:
            reader.join(CONFIRM_S)
        for subscription in self._subscriptions:
            subscription.threads.shutdown(wait=False, cancel_futures=True)

    def _confirmed(self, frame: Frame, timeout_s: float = CONFIRM_S) -> Frame:
        deadline = time.monotonic() + timeout_s
        while True:
            number, future = self._send(frame, deadline)
            try:
                return future.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise BusUnreachable(f"no confirmation of {frame['op']} in {timeout_s} s") from None
            except ConnectionError:
                # The broker died before it confirmed. A second copy does no harm (every handler
                # can be run twice); a lost one would.
                continue
            finally:
                self._waiting.pop(number, None)

    def _send(self, frame: Frame, deadline: float) -> tuple[int, Future[Frame]]:
        while True:
            link = self._connected(deadline)
            number, future = next(self._numbers), Future[Frame]()
            self._waiting[number] = future
            try:
                link.send({**frame, "id": number})
            except OSError:
                self._waiting.pop(number, None)
                self._lost(link)
                continue
            if self._link is not link:  # died meanwhile: perhaps before the future was known
                self._fail(number, future)
            return number, future

    def _connected(self, deadline: float) -> Link:
        with self._state:
            if self._reader is None:
                self._reader = threading.Thread(target=self._run, name="bus", daemon=True)
                self._reader.start()
            while self._link is None:
                if self._refused:
                    raise BusUnreachable("the broker refused the token")
                if self._closed.is_set():
                    raise BusUnreachable("this connection to the broker is closed")
                if not self._state.wait(deadline - time.monotonic()):
                    raise BusUnreachable(f"no broker at {self._name}")
            return self._link

    def _run(self) -> None:
        again = False
        while not self._closed.is_set():
            link = self._connect()
            if link is None:
                return
            try:
                self._introduce(link, again)
                again = True
                self._read(link)
            except OSError:
                pass
            self._lost(link)

    def _introduce(self, link: Link, again: bool) -> None:
        recovery = next(self._numbers)
        what = "recovery after the broker's death"
        owed = (
            {recovery: {"what": what, "queue": "", "call": False, "request": ""}} if again else {}
        )
        with self._state:
            link.send({"op": "hello", "token": self._token})
            for ticket, work in (self._working | owed).items():
                link.send({"op": "busy", "ticket": ticket, **work})
            for subscription in self._subscriptions:
                limit = subscription.limit
                link.send({"op": "consume", "queue": subscription.queue, "limit": limit})
            self._working |= owed  # not before this broker has been told: it may be dead already
            self._link = link
            self._state.notify_all()
        if again:
            threading.Thread(target=self._recover, args=(recovery,), daemon=True).start()

    def _recover(self, ticket: int) -> None:
        try:
            self.on_reconnect()
        except Exception:
            LOG.exception("recovery after the broker's death failed")
        self._end(None, {}, ticket)

    def _connect(self) -> Link | None:
        pause_s = 0.01
        while not self._closed.is_set():
            try:
                return self._open()
            except OSError:
                self._closed.wait(pause_s)
                pause_s = min(2 * pause_s, 0.2)
        return None

    def _read(self, link: Link) -> None:
        for frame in link.frames():
            if frame["op"] == "refused":
                self._give_up()
                return
            self._obey(link, frame)

    def _obey(self, link: Link, frame: Frame) -> None:
        if frame["op"] == "deliver":
            self._dispatch(link, frame)
            return
        if frame["op"] == "reply":
            link.send({"op": "received", "id": frame["id"]})
        future = self._waiting.pop(frame.get("id", 0), None)
        if future:
            future.set_result(frame)

    def _give_up(self) -> None:
        """Have nothing more to do with a broker that refused us."""
        with self._state:
            self._refused = True
            self._closed.set()
            self._state.notify_all()

    def _dispatch(self, link: Link, frame: Frame) -> None:
        for subscription in self._subscriptions:
            if subscription.queue == frame["queue"]:
                ticket, sender = next(self._numbers), frame["body"].get("context", {})
                work = {"what": _title(frame), "queue": subscription.queue, "call": frame["call"]}
                with self._state:
                    self._working[ticket] = {**work, "request": sender.get("request_id", "")}
                subscription.threads.submit(self._work, link, subscription.handler, frame, ticket)
                return
        raise LookupError(f"a message came for {frame['queue']}, which nobody here consumes")

    def _take(self, link: Link, frame: Frame) -> bool:
        """Say that a message is in our hands now; False when its broker is dead."""
        try:
            link.send({"op": "taken", "delivery": frame["delivery"]})
        except OSError:
            return False
        return True

    def _work(self, link: Link, handler: Handler, frame: Frame, ticket: int) -> None:
        done: Frame = {"op": "done", "delivery": frame["delivery"]}
        if not self._take(link, frame):
            return self._end(None, done, ticket)  # whoever comes after it has the message still
        try:
            result = {"result": handler(frame["body"])}
        except Exception as error:
            if not frame["call"]:
                LOG.exception("%s failed", _title(frame))
            result = {"error": {"kind": type(error).__name__, "message": str(error)}}
        if frame["call"]:
            done["reply"] = result
        return self._end(link, done, ticket)

    def _end(self, link: Link | None, done: Frame, ticket: int) -> None:
        """Tell the broker that a work has ended; a new broker knows it by its ticket."""
        with self._state:
            del self._working[ticket]
            current = self._link
        with contextlib.suppress(OSError):  # the next broker will not be told of it at all
            if current is not None:
                current.send(done if current is link else {"op": "idle", "ticket": ticket})

    def _lost(self, link: Link) -> None:
        with self._state:
            if self._link is link:
                self._link = None
        link.close()
        for number, future in list(self._waiting.items()):
            self._fail(number, future)

    def _fail(self, number: int, future: Future[Frame]) -> None:
        if self._waiting.pop(number, None):
            future.set_exception(ConnectionError("the broker went away"))


def _title(frame: Frame) -> str:
    return f"{frame['queue']}: {frame['body'].get('method', '?')}"
