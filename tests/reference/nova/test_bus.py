"""The bus over real sockets: the broker is a process of its own and is really killed."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.reference import context
from targets.reference.bus import (
    Bus,
    BusUnreachable,
    CallLost,
    CallTimeout,
    RemoteError,
    RpcClient,
    RpcServer,
)
from targets.reference.bus.frames import Decoder, encode
from targets.reference.bus.journal import MOST_BYTES, Journal
from targets.reference.config import bus_token
from targets.reference.context import RequestContext

DEADLINE_S = 10.0
SECRET = "-"
TOKEN = bus_token(SECRET)


class Broker:
    def __init__(self, run_dir: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._run_dir = run_dir
        self.start()

    def start(self) -> None:
        notify = self._run_dir / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            ready.settimeout(DEADLINE_S)
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from targets.reference.bus.server import main; main()"],
                env={
                    **os.environ,
                    "REFERENCE_SERVICE": "bus",
                    "REFERENCE_RUN_DIR": str(self._run_dir),
                    "REFERENCE_TOKEN_SECRET": SECRET,
                    "REFERENCE_BUS": self.address,
                    "NOTIFY_SOCKET": str(notify),
                },
                stderr=subprocess.DEVNULL,
            )
            assert ready.recv(64) == b"READY=1"

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stranger(self) -> socket.socket:
        """A connection by hand, which has shown the token."""
        host, port = self.address.split(":")
        connection = socket.create_connection((host, int(port)), DEADLINE_S)
        connection.sendall(encode({"op": "hello", "token": TOKEN}))
        return connection


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    running = Broker(tmp_path_factory.mktemp("bus"))
    yield running
    running.kill()


@pytest.fixture
def connect(broker: Broker) -> Iterator[Callable[[], Bus]]:
    made: list[Bus] = []

    def connect() -> Bus:
        made.append(Bus(broker.address, TOKEN))
        return made[-1]

    yield connect
    for bus in made:
        bus.close()
    sweeper = Bus(broker.address, TOKEN)
    sweeper.purge()
    sweeper.close()


Connect = Callable[[], Bus]


class Held:
    """A handler that tells when it has begun and waits to be let go."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.begun, self.go, self._then = threading.Event(), threading.Event(), then

    def __call__(self, _: object) -> object:
        self.begun.set()
        assert self.go.wait(DEADLINE_S)
        return self._then()


def eventually(happened: Callable[[], bool]) -> bool:
    """Ask again and again, each time over the wire, until it is so."""
    end = time.monotonic() + DEADLINE_S
    while not happened():
        if time.monotonic() > end:
            return False
    return True


def test_a_message_waits_for_a_consumer_that_comes_later(connect: Connect) -> None:
    connect().publish("later", {"method": "hello"})
    got = threading.Event()
    connect().consume("later", lambda _: got.set())
    assert got.wait(DEADLINE_S)


def test_messages_that_a_dead_consumer_had_not_taken_go_to_the_next_one(connect: Connect) -> None:
    held = Held()
    dying = connect()
    dying.consume("work", held, threads=1)
    producer = connect()
    for number in (1, 2):
        producer.publish("work", {"method": str(number)})
    assert held.begun.wait(DEADLINE_S)
    dying.close()
    held.go.set()
    got: list[str] = []
    connect().consume("work", lambda body: got.append(body["method"]))
    assert producer.drain(DEADLINE_S) == []
    assert got == ["2"]


class Idler:
    """A consumer that was handed a message and has not begun to work on it."""

    def __init__(self, broker: Broker, queue: str) -> None:
        host, _, port = broker.address.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        hello = {"op": "hello", "token": TOKEN}
        consume = {"op": "consume", "id": 1, "queue": queue, "limit": 9}
        self._socket.sendall(encode(hello) + encode(consume))
        self._frames = self._received()

    def _received(self) -> Iterator[dict[str, Any]]:
        decoder = Decoder()
        while data := self._socket.recv(1 << 16):
            yield from decoder.feed(data)

    def handed(self) -> dict[str, Any]:
        """Wait for the next message."""
        return next(frame for frame in self._frames if frame["op"] == "deliver")

    def take(self, delivery: int) -> None:
        """Say that a message is taken; return when the broker knows."""
        taken = encode({"op": "taken", "delivery": delivery})
        self._socket.sendall(taken + encode({"op": "stats", "id": 2}))
        assert next(frame for frame in self._frames if frame.get("id") == 2)

    def die(self) -> None:
        self._socket.close()


def test_a_message_that_was_handed_to_a_consumer_who_dies_goes_to_the_next_one(
    broker: Broker, connect: Connect
) -> None:
    idler, producer, got = Idler(broker, "work"), connect(), list[str]()
    producer.publish("work", {"method": "1"})
    idler.handed()
    producer.publish("work", {"method": "2"})
    connect().consume("work", lambda body: got.append(body["method"]), threads=1)
    idler.die()
    assert eventually(lambda: producer.drain(DEADLINE_S) == [] and sorted(got) == ["1", "2"])


def test_a_call_that_was_handed_to_a_consumer_who_dies_is_answered_by_the_next_one(
    broker: Broker, connect: Connect
) -> None:
    idler, caller, answers = Idler(broker, "work"), connect(), []
    calling = threading.Thread(target=lambda: answers.append(caller.call("work", {})))
    calling.start()
    idler.handed()
    connect().consume("work", lambda _: "done")
    idler.die()
    calling.join()
    assert answers == ["done"]


def test_a_message_that_was_taken_dies_with_its_consumer(broker: Broker, connect: Connect) -> None:
    idler, producer, got = Idler(broker, "work"), connect(), list[object]()
    producer.publish("work", {"method": "1"})
    idler.take(idler.handed()["delivery"])
    idler.die()
    connect().consume("work", got.append)
    assert producer.drain(DEADLINE_S) == []
    assert got == []


def test_messages_that_nobody_has_taken_live_through_the_brokers_death(tmp_path: Path) -> None:
    broker, got = Broker(tmp_path), list[str]()
    idler, producer = Idler(broker, "work"), Bus(broker.address, TOKEN)
    for number in "123":
        producer.publish("work", {"method": number})
    producer.publish("work", {"method": "later"}, delay_s=60)
    idler.take(idler.handed()["delivery"])
    broker.kill()
    idler.die()
    broker.start()
    consumer = Bus(broker.address, TOKEN)
    consumer.consume("work", lambda body: got.append(body["method"]), threads=1)
    pending = producer.drain(DEADLINE_S, ["work"])
    for bus in (consumer, producer):
        bus.close()
    broker.kill()
    assert (pending, got) == ([], ["2", "3", "later"])


def test_what_was_purged_is_not_there_after_the_brokers_death_either(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    producer = Bus(broker.address, TOKEN)
    producer.publish("work", {"method": "1"})
    producer.purge()
    broker.kill()
    broker.start()
    queues = producer.stats()["queues"]
    producer.close()
    broker.kill()
    assert queues == {}


def test_a_journal_whose_last_line_is_cut_keeps_the_others(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    first = journal.add("work", {"method": "1"})
    journal.add("work", {"method": "2"})
    journal.remove(first)
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'[3, "wo')
    assert [message[1:] for message in Journal(tmp_path / "journal").kept] == [
        ("work", {"method": "2"})
    ]


def test_the_journal_is_cut_short_when_nothing_waits(tmp_path: Path) -> None:
    journal, file = Journal(tmp_path / "journal"), tmp_path / "journal"
    kept = journal.add("work", {"method": "first"})
    for _ in range(4000):
        journal.remove(journal.add("work", {"method": "x"}))
    grown = file.stat().st_size
    journal.remove(kept)
    assert (grown > MOST_BYTES, file.stat().st_size) == (True, 0)


def test_a_message_in_a_dead_workers_hands_is_lost_and_no_longer_in_flight(
    connect: Connect,
) -> None:
    held = Held()
    worker = connect()
    worker.consume("lost", held)
    producer = connect()
    producer.publish("lost", {"method": "build"})
    assert held.begun.wait(DEADLINE_S)
    worker.close()
    held.go.set()
    assert producer.drain(DEADLINE_S) == []


def test_a_call_returns_what_the_handler_returns(connect: Connect) -> None:
    connect().consume("sum", lambda body: sum(body["numbers"]))
    assert connect().call("sum", {"method": "add", "numbers": [1, 2, 3]}) == 6


def test_a_call_that_raises_there_raises_here(connect: Connect) -> None:
    def refuse(_: object) -> None:
        raise ValueError("no such host")

    connect().consume("refuse", refuse)
    with pytest.raises(RemoteError, match="ValueError: no such host"):
        connect().call("refuse", {"method": "select"})


def test_a_call_that_nobody_serves_times_out(connect: Connect) -> None:
    with pytest.raises(CallTimeout, match="nobody: select"):
        connect().call("nobody", {"method": "select"}, timeout_s=0.05)


def test_the_caller_learns_at_once_that_the_worker_died(connect: Connect) -> None:
    held = Held()
    worker = connect()
    worker.consume("mortal", held)

    def die() -> None:
        assert held.begun.wait(DEADLINE_S)
        worker.close()

    killer = threading.Thread(target=die)
    killer.start()
    with pytest.raises(CallLost, match="mortal: select"):
        connect().call("mortal", {"method": "select"}, timeout_s=DEADLINE_S)
    held.go.set()
    killer.join()


def test_the_reply_to_a_dead_caller_is_dropped(connect: Connect) -> None:
    held = Held()
    connect().consume("slow", held)
    caller = connect()

    def ask() -> None:
        with pytest.raises(CallLost):
            caller.call("slow", {"method": "select"})

    thread = threading.Thread(target=ask)
    thread.start()
    assert held.begun.wait(DEADLINE_S)
    caller.close()
    thread.join()
    held.go.set()
    assert connect().drain(DEADLINE_S) == []


def test_drain_has_no_gap_in_a_chain_of_casts(connect: Connect) -> None:
    first, second = connect(), connect()
    ended: list[int] = []

    def pass_on(body: dict[str, int]) -> None:
        if body["left"]:
            target = "chain.b" if body["left"] % 2 else "chain.a"
            (first if target == "chain.b" else second).publish(target, {"left": body["left"] - 1})
        else:
            ended.append(1)

    first.consume("chain.a", pass_on)
    second.consume("chain.b", pass_on)
    observer = connect()
    for _ in range(20):
        before = len(ended)
        observer.publish("chain.a", {"left": 20})
        assert observer.drain(DEADLINE_S) == []
        assert len(ended) == before + 1


def test_drain_waits_for_a_handler_that_still_works(connect: Connect) -> None:
    order: list[str] = []
    held = Held(lambda: order.append("handler ended"))
    connect().consume("busy", held)
    observer = connect()
    observer.publish("busy", {"method": "build"})
    assert held.begun.wait(DEADLINE_S)

    def drain() -> None:
        assert observer.drain(DEADLINE_S) == []
        order.append("drained")

    draining = threading.Thread(target=drain)
    draining.start()
    connect().stats()  # the broker has answered something that was asked after the drain
    held.go.set()
    draining.join()
    assert order == ["handler ended", "drained"]


def test_drain_says_at_its_deadline_what_is_queued_and_in_flight(connect: Connect) -> None:
    held = Held()
    connect().consume("compute.host1", held)
    observer = connect()
    observer.publish("compute.host1", {"method": "reboot"})
    assert held.begun.wait(DEADLINE_S)
    observer.publish("compute.host2", {"method": "terminate"})
    pending = observer.drain(0.01)
    held.go.set()
    assert pending == [
        "compute.host2: 1 queued (terminate), nobody listens",
        "compute.host1: reboot in flight",
    ]


def test_a_delayed_message_counts_as_pending(connect: Connect) -> None:
    got: list[object] = []
    connect().consume("again", got.append)
    observer = connect()
    observer.publish("again", {"method": "recover"}, delay_s=0.05)
    assert observer.drain(DEADLINE_S) == []
    assert got == [{"method": "recover"}]


def sent_by(request: str, method: str = "build") -> dict[str, object]:
    return {"method": method, "context": {"request_id": request}}


def test_a_cast_is_under_way_until_it_is_carried_out(connect: Connect) -> None:
    held, observer = Held(), connect()
    connect().consume("compute.host1", held)
    observer.publish("compute.host1", sent_by("req-1"))
    assert held.begun.wait(DEADLINE_S)
    assert observer.under_way(["req-1", "req-2"]) == ["compute.host1: build in flight"]
    assert observer.under_way(["req-2"]) == []
    held.go.set()
    assert observer.drain(DEADLINE_S) == []
    assert observer.under_way(["req-1"]) == []


def test_a_message_that_waits_to_be_tried_again_is_under_way(connect: Connect) -> None:
    observer = connect()
    observer.publish("conductor", sent_by("req-1"), delay_s=60)
    assert observer.under_way(["req-1"]) == ["conductor: build waits to be tried again"]
    assert observer.under_way(["req-2"]) == []
    observer.purge()


def test_a_message_that_waits_for_a_consumer_is_not_under_way(connect: Connect) -> None:
    held, observer = Held(), connect()
    observer.publish("nobody", sent_by("req-1"))
    connect().consume("busy", held, threads=1)
    observer.publish("busy", sent_by("req-2"))
    assert held.begun.wait(DEADLINE_S)
    observer.publish("busy", sent_by("req-1"))
    assert observer.under_way(["req-1"]) == []
    held.go.set()


def test_a_call_is_part_of_what_its_caller_does(connect: Connect) -> None:
    held, observer, caller = Held(), connect(), connect()
    connect().consume("scheduler", held)
    calling = threading.Thread(target=lambda: caller.call("scheduler", sent_by("req-1")))
    calling.start()
    assert held.begun.wait(DEADLINE_S)
    assert observer.under_way(["req-1"]) == []
    held.go.set()
    calling.join()


def test_a_call_whose_caller_has_died_goes_on_by_itself(connect: Connect) -> None:
    held, observer, caller = Held(), connect(), connect()
    connect().consume("scheduler", held)

    def call() -> None:
        with pytest.raises(CallLost):
            caller.call("scheduler", sent_by("req-1"))

    calling = threading.Thread(target=call)
    calling.start()
    assert held.begun.wait(DEADLINE_S)
    caller.close()
    calling.join()
    assert eventually(lambda: observer.under_way(["req-1"]) == ["scheduler: build in flight"])
    held.go.set()


@pytest.mark.parametrize("scheduler", ["dead", "stopped"])
def test_a_handler_whose_own_call_waits_is_not_under_way(connect: Connect, scheduler: str) -> None:
    observer, conductor, held = connect(), connect(), Held()
    calling = threading.Event()

    def build(body: dict[str, object]) -> None:
        calling.set()
        conductor.call("scheduler", body)

    conductor.consume("conductor", build)
    if scheduler == "stopped":
        connect().consume("scheduler", held)
    observer.publish("conductor", sent_by("req-1"))
    assert calling.wait(DEADLINE_S)
    stopped = ["scheduler"] if scheduler == "stopped" else []
    if scheduler == "stopped":
        assert held.begun.wait(DEADLINE_S)
        assert observer.under_way(["req-1"]) == ["conductor: build in flight"]
    assert eventually(lambda: observer.under_way(["req-1"], stopped) == [])
    held.go.set()
    if scheduler == "dead":
        connect().consume("scheduler", held)
    assert observer.drain(DEADLINE_S) == []


def test_what_a_stopped_consumer_works_on_is_not_under_way(connect: Connect) -> None:
    held, observer = Held(), connect()
    connect().consume("compute.host1", held)
    observer.publish("compute.host1", sent_by("req-1"))
    assert held.begun.wait(DEADLINE_S)
    assert observer.under_way(["req-1"], stopped=["compute.host1"]) == []
    held.go.set()


def test_a_new_broker_knows_whose_work_goes_on(tmp_path: Path) -> None:
    broker, held = Broker(tmp_path), Held()
    consumer, observer = Bus(broker.address, TOKEN), Bus(broker.address, TOKEN)
    consumer.consume("compute.host1", held)
    observer.publish("compute.host1", sent_by("req-1"))
    assert held.begun.wait(DEADLINE_S)
    consumer.stats()  # by now the broker knows that the message is taken
    broker.kill()
    broker.start()
    known = ["compute.host1: build in flight"]
    assert eventually(lambda: observer.under_way(["req-1"]) == known)
    assert observer.under_way(["req-1"], stopped=["compute.host1"]) == []
    held.go.set()
    assert observer.drain(DEADLINE_S) == []
    for bus in (consumer, observer):
        bus.close()
    broker.kill()


def test_purge_empties_the_queues(connect: Connect) -> None:
    bus = connect()
    bus.publish("stale", {"method": "build"})
    bus.purge()
    assert bus.drain(DEADLINE_S) == []


def test_the_request_context_travels_with_a_call(connect: Connect) -> None:
    class Endpoint:
        def who(self) -> list[str]:
            here = context.current()
            return [here.request_id, here.project_id, here.token]

    RpcServer(connect(), "topic", "host1", Endpoint()).start()
    with context.use(RequestContext("req-1", "demo", "user", "token")):
        assert RpcClient(connect(), "topic").call("host1", "who") == ["req-1", "demo", "token"]


def test_a_private_method_cannot_be_called(connect: Connect) -> None:
    class Endpoint:
        def _secret(self) -> str:
            return "secret"

    RpcServer(connect(), "private", "", Endpoint()).start()
    with context.use(RequestContext("req-1")), pytest.raises(RemoteError, match="no public method"):
        RpcClient(connect(), "private").call("", "_secret")


def test_publishing_without_a_broker_is_refused(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        bus = Bus(f"127.0.0.1:{reserved.getsockname()[1]}", TOKEN)
        with pytest.raises(BusUnreachable, match="no broker at"):
            bus.call("queue", {"method": "hello"}, timeout_s=0.05)
        bus.close()


def test_consumers_and_producers_come_back_with_the_broker(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    reconnected = threading.Event()
    consumer = Bus(broker.address, TOKEN, on_reconnect=reconnected.set)
    producer = Bus(broker.address, TOKEN)
    consumer.consume("echo", lambda body: body["word"])
    assert producer.call("echo", {"word": "before"}) == "before"
    broker.kill()
    broker.start()
    assert reconnected.wait(DEADLINE_S)
    try:
        assert producer.call("echo", {"word": "after"}) == "after"
    finally:
        consumer.close()
        producer.close()
        broker.kill()


def test_a_broker_that_dies_again_and_again_leaves_no_ghost_of_work(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    consumer, producer = Bus(broker.address, TOKEN), Bus(broker.address, TOKEN)
    consumer.consume("echo", lambda body: body["word"])
    for _ in range(3):
        producer.publish("echo", {"word": "lost?"})
        broker.kill()
        broker.start()
    pending = producer.drain(DEADLINE_S, ["echo"])
    consumer.close()
    producer.close()
    broker.kill()
    assert pending == []


def test_work_that_outlives_the_broker_is_pending_at_the_next_one(tmp_path: Path) -> None:
    broker, held = Broker(tmp_path), Held()
    consumer, producer = Bus(broker.address, TOKEN), Bus(broker.address, TOKEN)
    consumer.consume("compute.host1", held)
    producer.publish("compute.host1", {"method": "build"})
    assert held.begun.wait(DEADLINE_S)
    consumer.stats()  # by now the broker knows that the message is taken
    broker.kill()
    broker.start()
    pending = producer.drain(0.3, ["compute.host1"])
    held.go.set()
    settled = producer.drain(DEADLINE_S)
    consumer.close()
    producer.close()
    broker.kill()
    assert (pending, settled) == (["compute.host1: build in flight"], [])


@pytest.mark.parametrize("words", [b"", encode({"op": "idle", "ticket": 1})])
@pytest.mark.parametrize("is_cut", [False, True])
def test_who_died_before_the_question_listens_no_more(
    broker: Broker, words: bytes, is_cut: bool
) -> None:
    """However much the broker finds at once: it is stopped while all of it is sent."""
    with broker.stranger() as asking:
        with broker.stranger() as dying:
            dying.sendall(encode({"op": "consume", "id": 1, "queue": "dying", "limit": 1}))
            assert dying.recv(1 << 10)
            broker.stop()
            dying.sendall(words)
            if is_cut:  # as the kernel does with what has something unread
                dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asking.sendall(encode({"op": "listening", "id": 2}))
        broker.go_on()
        (answer,) = [frame for frame in Decoder().feed(asking.recv(1 << 10)) if frame["id"] == 2]
    assert answer["queues"] == []


def test_drain_waits_for_a_consumer_that_is_to_come(connect: Connect) -> None:
    assert connect().drain(0.01, ["compute.host9"]) == ["nobody listens to compute.host9"]


@pytest.mark.parametrize("cut", range(1, 12))
def test_frames_survive_being_cut_anywhere(cut: int) -> None:
    data = encode({"op": "ok"}) + encode({"id": 7})
    decoder = Decoder()
    frames = [*decoder.feed(data[:cut]), *decoder.feed(data[cut:])]
    assert frames == [{"op": "ok"}, {"id": 7}]
