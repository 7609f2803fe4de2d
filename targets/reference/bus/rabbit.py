"""Frames over RabbitMQ, through kombu: what our own broker does with them is done with AMQP.

Queues are durable and messages persistent; a publication is answered when RabbitMQ has *confirmed*
it, so that nothing is lost with it. A cast is acknowledged when a worker has *taken* it, as he
begins (as with oslo.messaging, which acknowledges before it dispatches); what a consumer had not
taken when it died is delivered again, perhaps twice, which does no harm. A call is acknowledged
when it is answered: when its worker dies it comes to the next one, who tells the caller that it is
lost, for whether it was carried out nobody knows.

A delayed message waits in a queue of those with the same delay, which RabbitMQ hands on (a *dead
letter*) when its time is over: it outlives whoever sent it.

One thread, that of :meth:`RabbitLink.frames`, does all that has to do with the connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from kombu.connection import Connection

from targets.reference.bus.frames import Frame

HEARTBEAT_S = 60
CONNECT_S = 5.0
DELAYS_MS = (50, 100, 200, 400, 800, 2000)
"""Delays that there are; one between two of them becomes the longer one, and none is longer."""
DELAY_QUEUES = tuple(f"delay.{ms}" for ms in DELAYS_MS)
_PERSISTENT, _TRANSIENT = 2, 1
_SLACK_S = 0.1
"""A message is under way for so long beyond its delay: until its queue has it."""
QUESTION_S = 1.0
"""So long a question waits for somebody to answer it, and whoever asked for the answer."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """A message that this process has put off until ``due`` (monotonic seconds)."""

    due: float
    what: str
    request: str


class RabbitLink:
    """One connection to RabbitMQ at a URL, ``amqp://user:password@host:port/vhost``.

    Raises:
        OSError: nobody is there, or we are refused.
    """

    def __init__(self, url: str) -> None:
        make: Callable[..., Any] = Connection  # some of it has types
        self._kombu = make(url, heartbeat=HEARTBEAT_S, connect_timeout=CONNECT_S)
        self._errors = (*self._kombu.connection_errors, *self._kombu.channel_errors)
        self._arrived: deque[Frame] = deque()
        self._commands: deque[tuple[Frame, Future[None]]] = deque()
        self._lock = threading.Lock()
        self._ended = False
        self._declared: set[str] = set()
        self._consumed: list[str] = []
        self._published = 0
        self._questions: list[Frame] = []
        self._answers: dict[int, tuple[str, str]] = {}
        """Who waits for an answer to a delivery, and under which id of his."""
        self.unconfirmed: dict[int, int] = {}
        """What was published and is not known to be kept: delivery tag → id of the frame."""
        self.calls: dict[int, str] = {}
        """Calls without an answer yet: id → request."""
        self.delayed: list[Delayed] = []
        """What is put off, or was until lately."""
        with self._as_os_errors():
            self._connection = self._kombu.connection
            self._channel = self._kombu.default_channel
            self._channel.confirm_select()
            self._channel.events["basic_ack"].add(self._confirm)
            self._inbox = str(self._channel.queue_declare("", exclusive=True).queue)
            self._channel.basic_consume(self._inbox, no_ack=True, callback=self._receive)
            self._unkept = self._connection.channel()  # what is sent here is not confirmed
            self._socket: socket.socket = self._connection.sock
        self._wake_r, self._wake_w = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)

    @property
    def inbox(self) -> str:
        """The queue of answers to this process."""
        return self._inbox

    def send(self, frame: Frame) -> None:
        """Have a frame sent; what is *taken* has been told when this returns."""
        if frame["op"] not in _COMMANDS:
            return
        if frame.get("delay_s", 0.0) * 1000 > DELAYS_MS[-1]:
            raise ValueError(f"no message can be put off for {frame['delay_s']} s")
        done: Future[None] = Future()
        with self._lock:
            if self._ended:
                raise ConnectionError("the connection has ended")
            self._commands.append((frame, done))
            os.write(self._wake_w, b"!")
        if frame["op"] == "taken":
            done.result(CONNECT_S)

    def frames(self) -> Iterator[Frame]:
        """Yield what comes, and do what was sent."""
        try:
            with self._as_os_errors():
                while not self._ended:
                    self._obey_all()
                    self._flush()
                    while self._arrived:
                        yield self._arrived.popleft()
                    if not self._commands and not self._arrived:
                        self._wait()
        finally:
            self._end()

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            os.write(self._wake_w, b"!")
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------------ the thread's own

    @contextlib.contextmanager
    def _as_os_errors(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise ConnectionError(str(error)) from error

    def _wait(self) -> None:
        ready = self._selector.select(HEARTBEAT_S / 2)
        self._connection.heartbeat_tick()
        for key, _ in ready:
            if key.fd == self._wake_r:
                os.read(self._wake_r, 1 << 16)
            else:
                self._connection.blocking_read()  # one frame; py-amqp reads none ahead

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            left, self._commands = self._commands, deque()
            self._selector.close()
            for end in (self._wake_r, self._wake_w):
                os.close(end)
        for _, done in left:
            done.set_exception(ConnectionError("the connection has ended"))
        self._connection.collect()

    def _obey_all(self) -> None:
        while self._commands:
            frame, done = self._commands.popleft()
            try:
                getattr(self, _COMMANDS[frame["op"]])(frame)
            except BaseException as error:
                done.set_exception(ConnectionError(str(error)))
                raise
            done.set_result(None)

    def _flush(self) -> None:
        """Pass on questions, behind all that was on its way here when they came.

        In its own queue a question stands behind it. As for the others, our channel hears of a
        delivery before it answers the second of two requests, when the queue had made that delivery
        before it answered the first.
        """
        if self._questions:
            through = {question["queue"] for question in self._questions}
            for _ in range(2):
                for queue in self._consumed:
                    if queue not in through:
                        self._count(queue)
            self._arrived.extend(self._questions)
            self._questions.clear()

    def _count(self, queue: str) -> tuple[int, int]:
        """How many messages wait in a queue, which is made if need be, and who consumes it."""
        found = self._channel.queue_declare(queue, durable=True, auto_delete=False)
        return found.message_count, found.consumer_count

    def _declare(self, queue: str) -> None:
        if queue not in self._declared:
            self._count(queue)
            self._declared.add(queue)

    def _delay_queue(self, delay_s: float) -> str:
        ms = next(ms for ms in DELAYS_MS if ms >= delay_s * 1000)
        name = f"delay.{ms}"
        if name not in self._declared:
            # A message keeps its routing key on its way through, which is the queue it is for.
            self._channel.exchange_declare(name, "fanout", durable=True, auto_delete=False)
            self._declare_delay(name, ms)
            self._channel.queue_bind(name, name)
            self._declared.add(name)
        return name

    def _declare_delay(self, name: str, ms: int) -> int:
        arguments = {"x-message-ttl": ms, "x-dead-letter-exchange": ""}
        found = self._channel.queue_declare(
            name, durable=True, auto_delete=False, arguments=arguments
        )
        return int(found.message_count)

    def _send(
        self, body: Frame, to: str, exchange: str = "", mode: int = _TRANSIENT, **properties: str
    ) -> None:
        message = self._channel.prepare_message(
            json.dumps(body).encode(),
            content_type="application/json",
            properties={"delivery_mode": mode, **properties},
        )
        if mode == _PERSISTENT:
            self._published += 1
            self._channel.basic_publish(message, exchange, to)
        else:
            self._unkept.basic_publish(message, exchange, to)

    # ------------------------------------------------------------------ what is sent

    def _publish(self, frame: Frame) -> None:
        queue, delay_s = frame["queue"], frame.get("delay_s", 0.0)
        self._declare(queue)
        exchange = self._delay_queue(delay_s) if delay_s > 0 else ""
        self._send(frame["body"], queue, exchange, _PERSISTENT)
        self.unconfirmed[self._published] = frame["id"]
        if exchange:
            what = f"{queue}: {frame['body'].get('method', '?')}"
            now = time.monotonic()
            self.delayed = [one for one in self.delayed if one.due > now]
            due = now + int(exchange.partition(".")[2]) / 1000 + _SLACK_S
            self.delayed.append(Delayed(due, what, _request(frame["body"])))

    def _call(self, frame: Frame) -> None:
        self._declare(frame["queue"])
        self.calls[frame["id"]] = _request(frame["body"])
        self._send(
            frame["body"], frame["queue"], reply_to=self._inbox, correlation_id=str(frame["id"])
        )

    def _ask(self, frame: Frame) -> None:
        self._send(
            {}, frame["queue"], reply_to=self._inbox, correlation_id=str(frame["id"]),
            type="question", expiration=str(int(QUESTION_S * 1000)),
        )  # fmt: skip

    def _tell(self, frame: Frame) -> None:
        to, correlation = frame["answers"]
        self._send(frame["body"], to, correlation_id=correlation)

    def _consume(self, frame: Frame) -> None:
        queue = frame["queue"]
        self._declare(queue)
        self._channel.basic_qos(0, frame["limit"], False)

        def deliver(message: Any) -> None:
            self._deliver(queue, message)

        self._channel.basic_consume(queue, callback=deliver)
        self._consumed.append(queue)
        self._ok(frame)

    def _taken(self, frame: Frame) -> None:
        if frame["delivery"] not in self._answers:
            self._channel.basic_ack(frame["delivery"])

    def _done(self, frame: Frame) -> None:
        if answer := self._answers.pop(frame["delivery"], None):
            to, correlation = answer
            self._send(frame["reply"], to, correlation_id=correlation)
            self._channel.basic_ack(frame["delivery"])

    def _look(self, frame: Frame) -> None:
        found = {queue: self._count(queue) for queue in frame["queues"]}
        put_off = sum(map(self._declare_delay, DELAY_QUEUES, DELAYS_MS)) if frame["all"] else 0
        self._ok(frame, found=found, put_off=put_off)

    def _purge(self, frame: Frame) -> None:
        self._look({**frame, "all": True})  # so that all of them are there
        for queue in (*frame["queues"], *DELAY_QUEUES):
            self._channel.queue_purge(queue)
        self.delayed.clear()

    def _ok(self, frame: Frame, **more: Any) -> None:
        if "id" in frame:
            self._arrived.append({"op": "ok", "id": frame["id"], **more})

    # ------------------------------------------------------------------ what comes

    def _confirm(self, tag: int, multiple: bool) -> None:
        upto = [t for t in self.unconfirmed if t <= tag] if multiple else [tag]
        for each in upto:
            if (number := self.unconfirmed.pop(each, None)) is not None:
                self._arrived.append({"op": "ok", "id": number})

    def _receive(self, message: Any) -> None:
        number = int(message.properties["correlation_id"])
        self.calls.pop(number, None)
        self._arrived.append({"op": "reply", "id": number, **json.loads(message.body)})

    def _deliver(self, queue: str, message: Any) -> None:
        tag, properties = message.delivery_info["delivery_tag"], message.properties
        answers = (properties.get("reply_to", ""), properties.get("correlation_id", ""))
        if properties.get("type") == "question":
            self._channel.basic_ack(tag)
            self._questions.append({"op": "question", "queue": queue, "answers": answers})
            return
        body = json.loads(message.body)
        if answers[0] and message.delivery_info["redelivered"]:
            self._send({"lost": f"{queue}: {body.get('method', '?')}"}, answers[0],
                       correlation_id=answers[1])  # fmt: skip
            self._channel.basic_ack(tag)
            return
        if answers[0]:
            self._answers[tag] = answers
        call = "/".join(answers) if answers[0] else ""
        self._arrived.append(
            {"op": "deliver", "delivery": tag, "queue": queue, "call": call, "body": body}
        )


_COMMANDS = {
    "publish": "_publish",
    "call": "_call",
    "ask": "_ask",
    "tell": "_tell",
    "consume": "_consume",
    "taken": "_taken",
    "done": "_done",
    "look": "_look",
    "purge": "_purge",
}
"""What to do with a frame; the others mean nothing here."""


def _request(body: Frame) -> str:
    return str(body.get("context", {}).get("request_id", ""))
