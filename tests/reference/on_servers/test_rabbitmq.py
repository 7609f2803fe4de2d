"""What services rely on in their bus holds on RabbitMQ, and it can be told what is in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from targets.embedded.on_servers import OnServers
from targets.embedded.servers import BUS
from targets.reference.bus import CallLost, CallTimeout, RemoteError
from targets.reference.bus.rabbit_bus import RabbitBus
from tests.reference.nova.test_bus import DEADLINE_S, Held, eventually, sent_by

LIMIT_S = 60.0
OWN, SHARED = ("test.one", "test.two"), ("test",)


Connect = Callable[[], RabbitBus]


@pytest.fixture
def connect(target: OnServers) -> Iterator[Connect]:
    made: list[RabbitBus] = []

    def connect() -> RabbitBus:
        made.append(RabbitBus(target.bus_url, OWN, SHARED))
        return made[-1]

    yield connect
    for bus in made:
        bus.close()
    sweeper = RabbitBus(target.bus_url, OWN, SHARED)
    assert eventually(lambda: not any(queue in sweeper.listening() for queue in (*OWN, *SHARED)))
    sweeper.purge()
    sweeper.close()


def test_a_message_waits_for_a_consumer_that_comes_later(connect: Connect) -> None:
    connect().publish("test.one", {"method": "hello"})
    got: list[object] = []
    connect().consume("test.one", got.append)
    assert connect().drain(LIMIT_S) == []
    assert got == [{"method": "hello"}]


def test_what_a_dead_consumer_had_not_taken_goes_to_the_next_one(connect: Connect) -> None:
    held, dying, producer, got = Held(), connect(), connect(), list[str]()
    dying.consume("test.one", held, threads=1)
    for number in ("taken", "handed over", "waiting"):
        producer.publish("test.one", {"method": number})
    assert held.begun.wait(DEADLINE_S)
    dying.close()
    connect().consume("test.one", lambda body: got.append(body["method"]))
    held.go.set()
    assert producer.drain(LIMIT_S) == []
    assert sorted(got) == ["handed over", "waiting"]


def test_a_call_returns_what_the_handler_returns_or_raises(connect: Connect) -> None:
    def answer(body: dict[str, int]) -> int:
        return 10 // body["by"]

    connect().consume("test.one", answer)
    caller = connect()
    assert caller.call("test.one", {"by": 2}) == 5
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        caller.call("test.one", {"by": 0})


def test_a_call_that_nobody_serves_times_out(connect: Connect) -> None:
    caller = connect()
    caller.publish("test.two", {})  # it is connected
    with pytest.raises(CallTimeout):
        caller.call("test.one", {"method": "select"}, timeout_s=0.1)


def test_the_next_worker_tells_the_caller_that_the_one_before_died(connect: Connect) -> None:
    held, worker, caller = Held(), connect(), connect()
    worker.consume("test.one", held)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(caller.call, "test.one", {"method": "select"}, LIMIT_S)
        assert held.begun.wait(DEADLINE_S)
        worker.close()
        connect().consume("test.one", lambda _: "never asked")
        with pytest.raises(CallLost, match=r"test\.one: select"):
            call.result(LIMIT_S)
    held.go.set()


def test_nothing_is_in_flight_only_when_a_chain_of_casts_has_ended(connect: Connect) -> None:
    first, second, observer, ended = connect(), connect(), connect(), list[int]()

    def pass_on(body: dict[str, int]) -> None:
        if body["left"]:
            bus, queue = (first, "test.two") if body["left"] % 2 else (second, "test.one")
            bus.publish(queue, {"left": body["left"] - 1})
        else:
            ended.append(1)

    first.consume("test.one", pass_on)
    second.consume("test.two", pass_on)
    for number in range(10):
        observer.publish("test.one", {"left": 10})
        assert observer.drain(LIMIT_S) == []
        assert len(ended) == number + 1


def test_it_says_what_is_queued_and_what_is_in_flight(connect: Connect) -> None:
    held, observer = Held(), connect()
    connect().consume("test.one", held)
    observer.publish("test.one", {"method": "reboot"})
    assert held.begun.wait(DEADLINE_S)
    observer.publish("test.two", {"method": "terminate"})
    pending = observer.drain(0.0, ["test.one", "test.two"])
    held.go.set()
    assert pending == [
        "nobody listens to test.two",
        "test.two: 1 queued, nobody listens",
        "test.one: reboot in flight",
    ]


def test_a_message_that_is_put_off_comes_and_is_pending_until_then(connect: Connect) -> None:
    got, worker, observer = list[object](), connect(), connect()
    worker.consume("test.one", got.append)
    worker.publish("test.one", sent_by("req-1"), delay_s=2)
    assert observer.under_way(["req-1"]) == ["test.one: build waits to be tried again"]
    assert observer.under_way(["req-2"]) == []
    assert observer.drain(LIMIT_S) == []
    assert got == [sent_by("req-1")]


def test_nobody_can_put_a_message_off_for_longer_than_it_would_wait(connect: Connect) -> None:
    with pytest.raises(ValueError, match="3 s"):
        connect().publish("test.one", {}, delay_s=3)


def test_a_cast_is_under_way_until_it_is_carried_out(connect: Connect) -> None:
    held, observer = Held(), connect()
    connect().consume("test.one", held)
    observer.publish("test.one", sent_by("req-1"))
    assert held.begun.wait(DEADLINE_S)
    assert observer.under_way(["req-1", "req-2"]) == ["test.one: build in flight"]
    assert observer.under_way(["req-2"]) == []
    assert observer.under_way(["req-1"], stopped=["test.one"]) == []
    held.go.set()
    assert observer.drain(LIMIT_S) == []
    assert observer.under_way(["req-1"]) == []


def test_a_message_that_is_on_its_way_to_a_shared_queue_is_under_way(connect: Connect) -> None:
    held, worker, observer = Held(), connect(), connect()
    worker.consume("test", held)
    worker.consume("test.one", held)
    for number in range(20):
        held.go.clear()
        request = f"req-{number}"
        observer.publish("test", sent_by(request))
        assert observer.under_way([request]) == ["test: build in flight"]
        held.go.set()
        assert observer.drain(LIMIT_S) == []


def test_a_handler_whose_own_call_waits_is_not_under_way(connect: Connect) -> None:
    observer, conductor, calling = connect(), connect(), threading.Event()

    def build(body: dict[str, object]) -> None:
        calling.set()
        conductor.call("test.two", body)

    conductor.consume("test.one", build)
    observer.publish("test.one", sent_by("req-1"))
    assert calling.wait(DEADLINE_S)
    assert eventually(lambda: observer.under_way(["req-1"]) == [])
    connect().consume("test.two", lambda _: None)
    assert observer.drain(LIMIT_S) == []


def test_purge_empties_the_queues_and_what_is_put_off(connect: Connect) -> None:
    observer, got = connect(), list[object]()
    observer.publish("test.one", {})
    observer.publish("test.one", {}, delay_s=2)
    observer.purge()
    connect().consume("test.one", got.append)
    assert observer.drain(LIMIT_S) == []
    assert got == []


def test_who_listens_is_known(connect: Connect) -> None:
    consumer, observer = connect(), connect()
    consumer.consume("test.one", print)
    assert ["test.one" in observer.listening(), "test.two" in observer.listening()] == [True, False]
    consumer.close()
    assert eventually(lambda: "test.one" not in observer.listening())


def test_what_was_published_outlives_the_death_of_rabbitmq(
    target: OnServers, connect: Connect
) -> None:
    producer, observer, consumer, got = connect(), connect(), connect(), list[int]()
    recovered = threading.Event()
    consumer.on_reconnect = recovered.set
    consumer.consume("test.two", lambda body: got.append(body["number"]))
    for number in range(20):
        producer.publish("test.one", {"number": number})
    target.services[BUS].kill()
    target.services[BUS].start()

    late = connect()
    late.consume("test.one", lambda body: got.append(body["number"]))
    producer.publish("test.two", {"number": 20})

    assert observer.drain(LIMIT_S, ["test.one", "test.two"]) == []
    assert sorted(set(got)) == [*range(21)]
    assert recovered.is_set()
