"""Bears services as containers, for a runner that otherwise forks them (:class:`Nursery`).

What happens to a container is told by the engine's own events, in one thread; that a service is
ready, by its message on a socket of its own in the directory that all containers share.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool, LogConfig
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from chaos.errors import TargetError
from chaos.safety import procfs
from chaos.safety.program import Launch
from chaos.safety.undo import UndoLog
from targets.containers import images
from targets.containers.engine import LABEL, EngineError, RemoveRun, connect, left, remove, told
from targets.processes.nursery import Child, Nursery
from targets.reference.quiet import short

AGENT = "/opt/chaos/agent"
"""Where containers find the failpoint agent."""
_NOTIFY = "notify"
"""The directory of the sockets on which services say that they are ready."""
UID = GID = 10001
"""Whom services run as; the user of the image."""
_AGENT = Path(__file__).parents[2] / "chaos" / "agent"
_SUBNETS = [f"10.{second}.{third}.0/24" for second in range(213, 223) for third in range(0, 256)]


class Containers(Nursery):
    """The containers of one run, on a network of their own.

    ``names`` are the services, each of which has an address of its own for as long as this is open.
    """

    def __init__(
        self, tell: Callable[[str, str, Mapping[str, Any]], None], names: Iterable[str]
    ) -> None:
        super().__init__(tell)
        self._names = tuple(names)
        self.addresses: dict[str, str] = {}
        self.gateway = ""
        self._client: Any = None
        self._network: Any = None
        self._undo: UndoLog | None = None
        self._events: Any = None
        self._paused: set[str] = set()
        self._notified: dict[str, socket.socket] = {}
        self._current: dict[str, str] = {}
        """The container of each service that was made last."""
        self._dead: set[str] = set()
        """Containers that have ended."""
        self._following: list[threading.Thread] = []

    # ------------------------------------------------------------------ life

    def prepare(self, run_dir: Path, label: str) -> None:
        """Make the image and the network; what is undone then stands in a log of its own.

        Raises:
            EngineError: there is no engine, or it refuses.
        """
        self._label = label
        self._client = connect()
        self._image = images.services(self._client)
        beside = run_dir / "containers"
        beside.mkdir(exist_ok=True)
        self._undo = UndoLog(beside)
        self._token = self._undo.push(RemoveRun(label))
        self._lay_network()

    def _lay_network(self) -> None:
        # A run begins to look at a place of its own: two that start together seldom meet.
        begin = os.getpid() % len(_SUBNETS)
        for subnet in (*_SUBNETS[begin:], *_SUBNETS[:begin]):
            try:
                self._network = self._client.networks.create(
                    f"chaos-{self._label}",
                    driver="bridge",
                    labels={LABEL: self._label},
                    ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]),
                    options={"com.docker.network.bridge.enable_icc": "true"},
                )
                break
            except APIError as error:
                if "overlap" not in str(error.explanation):
                    raise EngineError(
                        f"cannot make the network of the run: {error.explanation}"
                    ) from error
        else:
            raise EngineError("cannot make the network of the run: no subnet is free")
        base = subnet.rpartition(".")[0]
        self.gateway = f"{base}.1"
        self.addresses = {name: f"{base}.{10 + n}" for n, name in enumerate(self._names)}

    def open(
        self,
        run_dir: Path,
        environment: Mapping[str, str],
        preload: Iterable[str],
        limit_s: float,
        launch: Launch,
    ) -> None:
        """Listen to the engine and to the services; nothing is imported in advance."""
        self.run_dir = run_dir
        self.logs.mkdir(parents=True, exist_ok=True)
        self.pid = os.getpid()
        self._events = self._client.events(
            decode=True, filters={"label": f"{LABEL}={self._label}", "type": "container"}
        )
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        for work in (self._hear_engine, self._listen):
            thread = threading.Thread(target=work, name="chaos-containers", daemon=True)
            thread.start()
            self._following.append(thread)

    def close(self, limit_s: float) -> None:
        """Remove all that belongs to the run; safe to call twice.

        Raises:
            EngineError: the engine does not do so, or something is left.
        """
        client, self._client = self._client, None
        if client is None:
            return
        try:
            remove(client, self._label)
            found = left(client, self._label)
            if found:
                raise EngineError(f"still there: {', '.join(found)}")
            if self._undo is not None:
                self._undo.done(self._token)
        finally:
            self.pid = None
            if self._events is not None:
                with suppress(Exception):
                    self._events.close()
                with suppress(Exception):
                    self._events._response.close()
                self._waker.send(b".")
                for thread in self._following:
                    thread.join(limit_s)
                self._selector.close()
                self._woken.close()
                self._waker.close()
                for notify in self._notified.values():
                    notify.close()
                self._events = None
            self._following.clear()
            self._notified.clear()
            client.close()

    # ------------------------------------------------------------------ what is asked

    def spawn(self, child: Child, program: Mapping[str, Any]) -> socket.socket:
        """Make and start a container; what becomes of it will be told to ``child``."""
        path = self.run_dir / _NOTIFY / child.name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with short(path) as address:
            notify.bind(address)
        path.chmod(0o622)
        self._children[child.name] = child
        self._notified[child.name] = notify
        self._selector.register(notify, selectors.EVENT_READ, child)
        self._waker.send(b"+")
        threading.Thread(target=self._start, args=(child, dict(program)), daemon=True).start()
        return notify

    def say(self, **message: Any) -> None:
        """Signal a container: kill it, pause it, let it go on.

        Raises:
            TargetError: there is no run any more.
        """
        if self._client is None:
            raise TargetError("the containers are gone")
        container = self._container(message["name"])
        match message["signal"]:
            case signal.SIGKILL:
                with suppress(APIError):  # it has just died
                    container.kill()
            case signal.SIGSTOP:
                with told(f"pause {message['name']}"):
                    container.pause()
            case signal.SIGCONT:
                with told(f"let {message['name']} go on"):
                    container.unpause()

    def is_paused(self, name: str) -> bool:
        """Whether the engine has said so."""
        return name in self._paused

    def _container(self, name: str) -> Any:
        with told(f"find the container of {name}"):
            return self._client.containers.get(self.name_of(name))

    def name_of(self, service: str) -> str:
        """The name of its container."""
        return f"chaos-{self._label}-{service}"

    # ------------------------------------------------------------------ steps

    def _start(self, child: Child, program: Mapping[str, Any]) -> None:
        """In a thread of its own, as an engine takes its time."""
        client = self._client
        name = self.name_of(child.name)
        try:
            with told(f"start {child.name}"):
                with suppress(NotFound):
                    client.api.remove_container(name, force=True)
                made = self._create(child.name, program)
                with self.changed:
                    self._current[child.name] = made
                client.api.start(made)
                self._follow_log(child, made)
                pid = self._pid(made)
        except Exception as error:
            with child.log.open("a") as log:
                print(f"chaos: {error}", file=log)
            with self.changed:
                self._bury(child, pid=None, code=125)
                self.changed.notify_all()
            return
        with self.changed:
            if pid is not None and made not in self._dead:
                child.started(pid)
                self.changed.notify_all()

    def _create(self, name: str, program: Mapping[str, Any]) -> str:
        api = self._client.api
        ours = {"init": True, "log_config": LogConfig(type="json-file")}
        if "image" in program:
            image, command, user = program["image"], list(program["arguments"]), None
            volume = self._client.volumes.create(
                self.name_of(name), labels={LABEL: self._label}
            ).name
            host = api.create_host_config(binds=[f"{volume}:{program['data']}"], **ours)
            environment, directory = dict(program["environment"]), None
        else:
            module, _, function = program["function"].partition(":")
            image = self._image
            command = ["python3", "-c", f"from {module} import {function}; {function}()"]
            user = f"{UID}:{GID}" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"
            directory = str(self.run_dir)
            host = api.create_host_config(
                # A socket's path may have 107 bytes, and that of a run directory may be longer.
                binds=[
                    f"{directory}:{directory}",
                    f"{directory}/{_NOTIFY}:/run/{_NOTIFY}",
                    f"{_AGENT}:{AGENT}:ro",
                ],
                security_opt=["no-new-privileges"],
                cap_drop=["ALL"],
                **ours,
            )
            environment = {**program["environment"], "NOTIFY_SOCKET": f"/run/{_NOTIFY}/{name}"}
        endpoint = api.create_endpoint_config(ipv4_address=self.addresses[name], aliases=[name])
        made: str = api.create_container(
            image,
            command,
            name=self.name_of(name),
            hostname=name,
            user=user,
            environment=environment,
            labels={LABEL: self._label, "chaos.service": name},
            working_dir=directory,
            host_config=host,
            networking_config=api.create_networking_config({self._network.name: endpoint}),
        )["Id"]
        return made

    def _pid(self, container: str) -> int | None:
        """The service's own process: the child of the container's init."""
        init = self._client.api.inspect_container(container)["State"]["Pid"]
        if not init:
            return None
        looking = Retrying(
            retry=retry_if_result(lambda pid: not pid),
            stop=stop_after_delay(2),
            wait=wait_fixed(0.005),
            retry_error_callback=lambda _: init,
        )
        found: int = looking(lambda: min(procfs.descendants([init]), default=0))
        return found

    def _follow_log(self, child: Child, container: str) -> None:
        def follow() -> None:
            with suppress(Exception), child.log.open("ab", buffering=0) as log:
                lines = self._client.api.logs(container, stream=True, follow=True)
                try:
                    for line in lines:
                        log.write(line)
                finally:
                    lines._response.close()  # its own close() is for a stream that goes on

        threading.Thread(target=follow, daemon=True).start()

    def _hear_engine(self) -> None:
        with suppress(Exception):
            for event in self._events:
                self._hear_event(event)
        with self.changed:
            if self._client is not None:
                self._lost()

    def _hear_event(self, event: Mapping[str, Any]) -> None:
        attributes = event["Actor"]["Attributes"]
        child = self._children.get(attributes.get("chaos.service", ""))
        container = event["Actor"]["ID"]
        if child is None or self._current.get(child.name) != container:
            return
        with self.changed:
            match event["Action"]:
                case "die":
                    self._paused.discard(child.name)
                    self._dead.add(container)
                    code = int(attributes.get("exitCode", -1))
                    how = {"signal": code - 128} if code == 137 else {"code": code}
                    self._bury(child, pid=child.pid, **how)
                case "oom":
                    self.tell(child.name, "oom", pid=child.pid)
                case "pause":
                    self._paused.add(child.name)
                case "unpause":
                    self._paused.discard(child.name)
            self.changed.notify_all()

    def _listen(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    if b"." in self._woken.recv(4096):
                        return
                    continue
                with self.changed:
                    if key.fd in self._selector.get_map():
                        key.data.heard(key.fileobj)
                        self.changed.notify_all()
