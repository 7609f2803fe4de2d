"""The broker: named queues over TCP, and the count of what is not done yet.

A message leaves its queue when it is handed to a consumer, and is the consumer's once he has said
that he has *taken* it, as he begins to work on it. One whose consumer dies before that goes to the
next one; what a worker was doing when it died is lost, as with oslo.messaging, which acknowledges
before it dispatches. Where the broker hears of it too late a message is delivered twice. Messages
that nobody has taken live through the broker's own death (:mod:`.journal`); calls do not, and their
callers are told.

The consumer tells when its handler has ended; until then the message is *in flight*. A handler
sends everything over one connection, in order, so the messages that it published are counted before
it is counted as ended, and :meth:`Broker.drain` has no gap in which a chain of casts looks done.

The reply to a call is in flight until its caller has it; the caller of a call whose worker died is
told so. A reply to a dead caller is dropped.

========= ================================= ====================================================
op        fields                            answer
========= ================================= ====================================================
publish   id, queue, body, delay_s          ok
call      id, queue, body                   reply, with result, error or lost
consume   id, queue, limit                  ok, then deliver frames (delivery, body)
taken     delivery                          it is lost if the consumer dies from now on
done      delivery, and reply for a call
received  id of the reply
busy      ticket, what, queue, request      work that began before this broker did
idle      ticket                            that work has ended
drain     id, deadline_s, consumers         ok; pending is empty, or says what there still is
under_way id, requests, stopped             ok; moving says what goes on for these request ids
listening id                                ok; queues names those that somebody consumes
purge     id                                ok
stats     id                                ok with queues, in_flight, delivered
hello     token
========= ================================= ====================================================

A peer says ``hello`` first, with the token; whoever does not is told ``refused`` and cut off.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import socket
from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from hmac import compare_digest

from targets.reference import config
from targets.reference.bus.frames import MOST_BYTES, BadFrame, Decoder, Frame, encode
from targets.reference.bus.journal import Journal
from targets.reference.context import log_to_stderr
from targets.reference.web import notify_ready

LOG = logging.getLogger(__name__)
MOST_OF_A_STRANGER = 1 << 10
"""Longest frame, in bytes, that a peer may send before it has shown the token."""
_TURNS = 4
"""In so many turns of the event loop the last words of the dead are read, and then their end."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who waits for an answer, and under which id of his."""

    caller: Peer
    id: int

    def answer(self, frame: Frame) -> None:
        """Send the answer, if the caller still lives."""
        if not self.caller.closed:
            self.caller.unreceived.add(self.id)
            self.caller.send({"op": "reply", "id": self.id, **frame})


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message and, for a call, who waits for its answer."""

    queue: str
    body: Frame
    call: Call | None = None
    number: int = 0
    """Under which the journal keeps it; 0: not at all."""

    @property
    def request(self) -> str:
        """The id of the request on whose behalf it was sent; '' when it does not say."""
        return str(self.body.get("context", {}).get("request_id", ""))

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for it to be carried out."""
        return self.call is not None and not self.call.caller.closed

    def __str__(self) -> str:
        return f"{self.queue}: {self.body.get('method', '?')}"


@dataclass(slots=True)
class Queue:
    """Messages that wait, and who takes them."""

    messages: deque[Message] = field(default_factory=deque)
    consumers: deque[Consumer] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Consumer:
    """One subscription; ``free`` is how many more messages it can work on now."""

    connection: Peer
    queue: str
    free: int


@dataclass(slots=True)
class Delivery:
    """A message that was handed to a consumer, and whether he has ``taken`` it."""

    message: Message
    consumer: Consumer
    taken: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Drain:
    """Somebody waits until nothing is pending, and these queues have a consumer."""

    connection: Peer
    id: int
    consumers: tuple[str, ...]


class Broker:
    """All queues and everything in flight. Runs in one event loop, so each step is atomic."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.queues: dict[str, Queue] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.delayed: dict[Message, asyncio.TimerHandle] = {}
        self.connections: set[Peer] = set()
        self.delivered = 0
        self._drains: dict[Drain, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        for number, queue, body in journal.kept:
            self._enqueue(Message(queue, body, number=number))

    def cast(self, queue: str, body: Frame, delay_s: float) -> None:
        """Publish a message that nobody waits for: it is kept, also over the broker's death."""
        self.publish(Message(queue, body, number=self._journal.add(queue, body)), delay_s)

    def publish(self, message: Message, delay_s: float = 0.0) -> None:
        """Put a message into its queue, now or after a delay; it counts as pending at once."""
        if delay_s > 0:
            loop = asyncio.get_running_loop()
            self.delayed[message] = loop.call_later(delay_s, self._mature, message)
            return
        self._enqueue(message)

    def _enqueue(self, message: Message) -> None:
        queue = self.queues.setdefault(message.queue, Queue())
        queue.messages.append(message)
        self._dispatch(queue)

    def consume(self, connection: Peer, name: str, limit: int) -> None:
        """Hand this connection the messages of a queue, at most ``limit`` at a time."""
        queue = self.queues.setdefault(name, Queue())
        if any(consumer.connection is connection for consumer in queue.consumers):
            return
        queue.consumers.append(Consumer(connection, name, limit))
        self._dispatch(queue)
        self.settle()

    def taken(self, number: int) -> None:
        """Leave a message to the consumer that begins to work on it."""
        delivery = self.deliveries[number]
        delivery.taken = True
        self._journal.remove(delivery.message.number)

    def done(self, number: int, reply: Frame | None) -> None:
        """Take a message off a worker's hands, and pass on its reply."""
        delivery = self.deliveries.pop(number)
        if delivery.message.call and reply is not None:
            delivery.message.call.answer(reply)
        delivery.consumer.free += 1
        self._dispatch(self.queues[delivery.consumer.queue])
        self.settle()

    def disconnect(self, connection: Peer) -> None:
        """Forget a dead peer: what it had taken is lost, what it had not is delivered again."""
        self.connections.discard(connection)
        for drain in [drain for drain in self._drains if drain.connection is connection]:
            self._drains.pop(drain).cancel()
        for queue in self.queues.values():
            queue.consumers = deque(c for c in queue.consumers if c.connection is not connection)
        lost = [n for n, d in self.deliveries.items() if d.consumer.connection is connection]
        again = []
        for number in lost:
            delivery = self.deliveries.pop(number)
            message = delivery.message
            if not delivery.taken:
                again.append(message)
                continue
            LOG.warning("lost with its worker: %s", message)
            if message.call:
                message.call.answer({"lost": str(message)})
        for message in reversed(again):
            self.queues[message.queue].messages.appendleft(message)
        for name in {message.queue for message in again}:
            self._dispatch(self.queues[name])
        self.settle()

    def purge(self) -> None:
        """Throw away every message that waits."""
        waiting = [*self.delayed, *(m for queue in self.queues.values() for m in queue.messages)]
        for timer in self.delayed.values():
            timer.cancel()
        self.delayed.clear()
        for queue in self.queues.values():
            queue.messages.clear()
        self._journal.clear()
        for message in waiting:
            if message.call:
                message.call.answer({"lost": str(message)})
        self.settle()

    def drain(self, drain: Drain, deadline_s: float) -> None:
        """Answer as soon as nothing is pending, at the latest after ``deadline_s`` seconds."""
        loop = asyncio.get_running_loop()
        self._drains[drain] = loop.call_later(deadline_s, self._drained, drain)
        self.settle()

    def pending(self, consumers: tuple[str, ...]) -> Iterator[str]:
        """Say, one by one, what is queued, delayed or in flight, and who has not come back."""
        for name in consumers:
            if name not in self.queues or not self.queues[name].consumers:
                yield f"nobody listens to {name}"
        for name, queue in self.queues.items():
            if queue.messages:
                methods = ", ".join(str(m.body.get("method", "?")) for m in queue.messages)
                listens = "" if queue.consumers else ", nobody listens"
                yield f"{name}: {len(queue.messages)} queued ({methods}){listens}"
        yield from (f"{message} waits to be tried again" for message in self.delayed)
        yield from (f"{delivery.message} in flight" for delivery in self.deliveries.values())
        for connection in self.connections:
            yield from (f"reply {number} not received" for number in connection.unreceived)
            yield from (f"{work['what']} in flight" for work in connection.busy.values())

    def under_way(self, requests: Container[str], stopped: Iterable[str]) -> Iterator[str]:
        """Say, one by one, what goes on by itself for these requests, though nobody waits for it.

        What waits in a queue needs a consumer, and is none of it; nor is what the consumers of the
        queues ``stopped`` work on, for they stand still, nor a handler whose own call waits so.
        """
        for message in self.delayed:
            if message.request in requests:
                yield f"{message} waits to be tried again"
        still = {
            c.connection for q in stopped if q in self.queues for c in self.queues[q].consumers
        }
        calls = [m for queue in self.queues.values() for m in queue.messages]
        calls += [d.message for d in self.deliveries.values() if d.consumer.connection in still]
        held_up = {(m.call.caller, m.request) for m in calls if m.call}
        for delivery in self.deliveries.values():
            message, worker = delivery.message, delivery.consumer.connection
            if (
                message.request in requests
                and not message.awaited
                and worker not in still
                and (worker, message.request) not in held_up
            ):
                yield f"{message} in flight"
        for connection in self.connections - still:
            for work in connection.busy.values():
                if work["request"] in requests:
                    yield f"{work['what']} in flight"

    def _mature(self, message: Message) -> None:
        del self.delayed[message]
        self.publish(message)

    def _dispatch(self, queue: Queue) -> None:
        while queue.messages:
            for _ in queue.consumers:
                consumer = queue.consumers[0]
                queue.consumers.rotate(-1)
                if consumer.free:
                    break
            else:
                return
            message = queue.messages.popleft()
            number = next(self._numbers)
            consumer.free -= 1
            self.delivered += 1
            self.deliveries[number] = Delivery(message, consumer)
            frame = {"op": "deliver", "delivery": number, "queue": message.queue}
            consumer.connection.send(
                {**frame, "call": message.call is not None, "body": message.body}
            )

    def settle(self) -> None:
        """Answer whoever waits for what is the case now."""
        for drain in list(self._drains):
            if next(self.pending(drain.consumers), None) is None:
                self._drained(drain)

    def _drained(self, drain: Drain) -> None:
        self._drains.pop(drain).cancel()
        pending = list(self.pending(drain.consumers))
        drain.connection.send({"op": "ok", "id": drain.id, "pending": pending})


class Peer(asyncio.Protocol):
    """One peer, of whom nothing is believed before it has shown the ``token``."""

    def __init__(self, broker: Broker, token: str) -> None:
        self.broker = broker
        self._token = token
        self._welcome = False
        self.unreceived: set[int] = set()
        self.busy: dict[int, Frame] = {}
        self.closed = False
        self._decoder = Decoder(limit=MOST_OF_A_STRANGER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what a new peer has to show."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def eof_received(self) -> None:
        """Forget the peer, before anything is done that another one has sent after its end."""
        self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the peer."""
        self._forget()

    def _forget(self) -> None:
        if not self.closed:
            self.closed = True
            self.broker.disconnect(self)

    def data_received(self, data: bytes) -> None:
        """Obey what the peer sent."""
        try:
            for frame in self._decoder.feed(data):
                if self._welcome:
                    self._obey(frame)
                elif not self._greet(frame):
                    return
        except BadFrame as error:
            LOG.error("a peer is cut off: it sent %s", error)
            self._transport.close()

    def _greet(self, frame: Frame) -> bool:
        """Whether a peer has shown the token."""
        shown = str(frame.get("token", "")).encode(errors="replace")
        if frame.get("op") == "hello" and compare_digest(shown, self._token.encode()):
            self._welcome = True
            self._decoder.limit = MOST_BYTES
            self.broker.connections.add(self)
            return True
        self.send({"op": "refused"})
        self._transport.close()
        return False

    def send(self, frame: Frame) -> None:
        """Send one frame."""
        self._transport.write(encode(frame))

    def _obey(self, frame: Frame) -> None:
        broker, number = self.broker, frame.get("id", 0)
        answer: Frame = {"op": "ok", "id": number}
        match frame["op"]:
            case "publish":
                broker.cast(frame["queue"], frame["body"], frame.get("delay_s", 0.0))
            case "call":
                return broker.publish(Message(frame["queue"], frame["body"], Call(self, number)))
            case "consume":
                broker.consume(self, frame["queue"], frame["limit"])
            case "taken":
                return broker.taken(frame["delivery"])
            case "done":
                return broker.done(frame["delivery"], frame.get("reply"))
            case "received":
                self.unreceived.discard(number)
                return broker.settle()
            case "busy":
                self.busy[frame["ticket"]] = frame
                return None
            case "idle":
                self.busy.pop(frame["ticket"], None)
                return broker.settle()
            case "drain":
                drain = Drain(self, number, tuple(frame["consumers"]))
                return broker.drain(drain, frame["deadline_s"])
            case "under_way":
                answer["moving"] = list(broker.under_way(frame["requests"], frame["stopped"]))
            case "listening":
                return self._tell_who_listens(number, _TURNS)
            case "purge":
                broker.purge()
            case "stats":
                answer["queues"] = {name: len(q.messages) for name, q in broker.queues.items()}
                answer["in_flight"] = [str(d.message) for d in broker.deliveries.values()]
                answer["delivered"] = broker.delivered
            case other:
                LOG.error("a peer asked for `%s`, which this broker does not know", other)
                return self._transport.close()
        return self.send(answer)

    def _tell_who_listens(self, number: int, turns: int) -> None:
        """Answer when whoever had died before the question is known to be dead."""
        if turns:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._tell_who_listens, number, turns - 1)
            return
        names = [name for name, queue in self.broker.queues.items() if queue.consumers]
        self.send({"op": "ok", "id": number, "queues": names})


async def serve(listener: socket.socket, token: str, journal: Journal) -> None:
    """Serve peers that show the token on a listening socket, until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = Broker(journal)
    await loop.create_server(lambda: Peer(broker, token), sock=listener)
    notify_ready()
    await stop.wait()


def main() -> None:
    """Run the broker at the address in ``REFERENCE_BUS``."""
    log_to_stderr()
    address, _, port = config.current().bus.rpartition(":")
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, int(port)))
        listener.listen(128)
        journal = Journal(config.current().run_dir / config.BUS_JOURNAL)
        asyncio.run(serve(listener, config.current().bus_token, journal))
