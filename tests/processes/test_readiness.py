"""How a service says that it is ready, and how long it may take."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from chaos.errors import NotReady, TargetError
from chaos.target import Limits, Service, ServiceState
from targets.topology import Asked, HttpOk, Listening, LogLine, Readiness, ServiceSpec
from tests.processes.conftest import Start
from tests.processes.programs import Programs, forked, listener, shell


def why_not_ready(start: Start, service: ServiceSpec) -> str:
    """What is said of a service that did not get ready in time, without the log."""
    with pytest.raises(NotReady) as caught:
        start(Programs(service))
    return str(caught.value).splitlines()[0]


# ---------------------------------------------------------------------- the kinds of readiness


def test_a_service_that_listens_is_ready(start: Start) -> None:
    assert start(Programs(listener("web"))).services["web"].state is ServiceState.READY


def test_a_service_whose_health_is_2xx_is_ready_and_not_before(start: Start) -> None:
    service = start(
        Programs(
            forked("web", "gets_healthy", environment={"PORT": "{port:web}"},
                   ready=HttpOk("web", "/health"))
        )
    ).services["web"]  # fmt: skip

    asked = [line for line in service.log.read_text().splitlines() if line.startswith("health")]
    assert asked == ["health: 503", "health: 302", "health: 204"]


def test_health_on_loopback_is_not_asked_through_a_proxy(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    target = start(
        Programs(
            forked("web", "gets_healthy", environment={"PORT": "{port:web}"},
                   ready=HttpOk("web", "/health"))
        )
    )  # fmt: skip

    assert target.services["web"].state is ServiceState.READY


def test_services_find_each_other_without_a_proxy(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "intranet")
    start(Programs(forked("one", "tells_its_environment")))

    told = json.loads((tmp_path / "environment.json").read_text())
    assert told["no_proxy"] == "intranet,127.0.0.1,localhost,::1"


def test_a_service_that_logs_the_line_is_ready(start: Start) -> None:
    script = "echo loading; echo listening on 8774; exec sleep 1000"
    target = start(Programs(shell("one", script, ready=LogLine(r"^listening on \d+$"))))

    assert target.services["one"].state is ServiceState.READY


def test_a_line_of_an_earlier_process_does_not_make_a_service_ready(start: Start) -> None:
    script = "test -e again && line=other || line=listening; touch again; echo $line; sleep 1000"
    service = start(Programs(shell("one", script, ready=LogLine("listening")))).services["one"]
    service.kill()

    with pytest.raises(NotReady, match="last seen: 'other'"):
        service.start(deadline_s=0.8)


def test_a_line_counts_when_it_is_whole(start: Start) -> None:
    script = "echo begun; printf 'listening'; exec sleep 1000"
    service = shell("one", script, ready=LogLine("listening"), start_s=0.8)

    assert "last seen: 'begun'" in why_not_ready(start, service)


def test_a_pattern_that_is_no_regular_expression_is_an_error() -> None:
    with pytest.raises(TargetError, match="no regular expression"):
        LogLine("(")


class Waiting(Programs):
    """Asks a question of its own of its service, which is true from the third time on."""

    times = 0

    def is_up(self, service: Service) -> bool:
        assert service.name == "one"
        self.times += 1
        if self.times == 1:
            raise LookupError("no such table")
        return self.times == 3


def test_a_service_is_ready_when_the_target_says_so(start: Start) -> None:
    target = start(Waiting(forked("one", "is_silent", ready=Asked(Waiting.is_up))))

    assert isinstance(target, Waiting)
    assert (target.services["one"].state, target.times) == (ServiceState.READY, 3)


def test_what_else_a_service_says_does_not_make_it_ready(start: Start) -> None:
    never = Asked(lambda target, service: False)

    assert "was not ready" in why_not_ready(start, forked("one", ready=never, start_s=0.2))


# ---------------------------------------------------------------------- what an error says


def is_never_up(target: Programs, service: Service) -> bool:
    raise LookupError(f"{target.name}: {service.name} has no row")


@pytest.mark.parametrize(
    ("behaviour", "limit_s", "ready", "said"),
    [
        ("is_silent", 0.2, Listening("one"), r"a listener on port `one`; last seen: .*refused"),
        ("is_silent", 0.2, HttpOk("one", "/up"), r"a 2xx to GET /up on port `one`.*refused"),
        ("gets_healthy", 3, HttpOk("one", "/no"), r"; last seen: 404 Not Found"),
        ("is_silent", 0.2, LogLine("^up$"), r"a line of its log with '\^up\$'.*: no line"),
        ("is_silent", 0.2, Asked(is_never_up), r"a yes of is_never_up.*\('programs: one has"),
    ],
)
def test_what_was_waited_for_and_seen_last_is_said(
    start: Start, behaviour: str, limit_s: float, ready: Readiness, said: str
) -> None:
    environment = {"PORT": "{port:one}"}
    service = forked("one", behaviour, ready=ready, start_s=limit_s, environment=environment)
    told = rf"one was not ready after {limit_s} s\. Waited for .*{said}"

    with pytest.raises(NotReady, match=told):
        start(Programs(service))


@pytest.mark.parametrize(
    ("behaviour", "seen"), [("is_silent", "nothing"), ("says_that_it_loads", "STATUS=loading")]
)
def test_what_was_last_notified_is_said(start: Start, behaviour: str, seen: str) -> None:
    said = why_not_ready(start, forked("one", behaviour, start_s=0.8))

    assert f"Waited for READY=1 on $NOTIFY_SOCKET; last seen: {seen}." in said


def test_what_a_service_that_died_was_waited_for_is_said(start: Start) -> None:
    said = why_not_ready(start, forked("one", "breaks", ready=Listening("one")))

    assert said.startswith("one ended with exit code 3. Waited for a listener on port `one`")


# ---------------------------------------------------------------------- limits


SLOW = "sleep 0.5; echo up; exec sleep 1000"


def test_a_service_has_as_long_to_start_as_its_target_says(start: Start) -> None:
    slow, other = shell("slow", SLOW, ready=LogLine("up")), forked("other", start_s=30.0)

    with pytest.raises(NotReady, match=r"slow was not ready after 0.2 s"):
        start(Programs(slow, other, limits=Limits(start_s=0.2)))


def test_a_service_may_take_longer_than_its_target_says(start: Start) -> None:
    slow = shell("slow", SLOW, ready=LogLine("up"), start_s=30.0)
    service = start(Programs(slow, limits=Limits(start_s=0.2))).services["slow"]
    service.kill()

    service.start()

    assert service.state is ServiceState.READY


def test_whoever_starts_a_service_may_give_it_another_limit(start: Start) -> None:
    target = start(Programs(shell("slow", SLOW, ready=LogLine("up"), start_s=30.0)))
    service = target.services["slow"]
    service.kill()

    with pytest.raises(NotReady, match=r"after 0.2 s"):
        service.start(deadline_s=0.2)
    service.start(deadline_s=60.0)

    assert service.state is ServiceState.READY


def test_readiness_is_looked_at_as_often_as_the_target_says(start: Start) -> None:
    asked: list[Service] = []
    ready = Asked(lambda target, service: asked.append(service) or False)  # type: ignore[func-returns-value]

    with pytest.raises(NotReady):
        start(Programs(forked("one", ready=ready, start_s=0.3), limits=Limits(poll_s=60.0)))

    assert len(asked) == 1


def test_a_kill_has_as_long_as_the_service_says(start: Start) -> None:
    target = start(Programs(forked("one", stop_s=0.1), limits=Limits(stop_s=60.0)))
    service = target.services["one"]
    (warm_parent,) = target.pids - {service.pid}
    os.kill(warm_parent, signal.SIGSTOP)  # it passes on no signal now

    with pytest.raises(TargetError, match=r"one \(process \d+\) was not gone 0.1 s after SIGKILL"):
        service.kill()

    os.kill(warm_parent, signal.SIGCONT)
    assert service.wait_dead(5.0)


def test_imports_have_as_long_as_a_start(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text("import signal; signal.pause()")
    monkeypatch.syspath_prepend(tmp_path)
    began = time.monotonic()

    with pytest.raises(TargetError, match=r"had 0.3 s to import endless"):
        start(Programs(forked("one"), preload=("endless",), limits=Limits(start_s=0.3)))

    assert time.monotonic() - began < 5
