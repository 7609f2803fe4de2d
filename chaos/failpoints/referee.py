"""Who decides about every hit: whether it acts, and whether it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from threading import Condition, Event
from typing import Any

from chaos.failpoints.arm import Arm
from chaos.failpoints.connection import AgentConnection
from chaos.hit import Hit

_log = logging.getLogger(__name__)


class Referee:
    """Allows strikes, takes them down and withdraws arms that have none left.

    All of it happens on the switchboard's thread. ``changed`` guards ``arms``, those that may
    strike, ``known``, those that anybody may still speak of, and what is under way here; ``on_hit``
    is called with it given back, before the agent may act.
    """

    def __init__(
        self,
        changed: Condition,
        agents: Collection[AgentConnection],
        arms: dict[int, Arm],
        known: Callable[[int], Arm | None],
        on_hit: Callable[[Hit], None],
    ) -> None:
        self._changed = changed
        self._agents = agents
        self._arms = arms
        self._known = known
        self._on_hit = on_hit
        self._allowed: dict[tuple[AgentConnection, int], tuple[Arm, dict[str, Any]]] = {}
        self._dying: list[tuple[AgentConnection, Arm, Hit]] = []  # crashes under way
        self._held: dict[tuple[AgentConnection, int], Event] = {}

    def awaits_death(self, arms: Collection[Arm]) -> bool:
        """Whether somebody is dying of one of these."""
        return any(arm in arms for _, arm, _ in self._dying)

    def let_everyone_go(self) -> None:
        """Say of all who are held that they go on."""
        for held in self._held.values():
            held.set()

    def reached(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        """A call came to an armed point. An agent that does not ask has decided by itself."""
        with self._changed:
            arm = self._known(message["arm"])
            asks = arm is None or arm.asks
            acts = (
                arm is not None
                and (not asks or arm.number in self._arms)
                and arm.count(raised=bool(message["raised"]))
            )
            if arm is not None and asks and acts:
                self._allowed[agent, message["hit"]] = arm, message
                if arm.remaining == 0:
                    del self._arms[arm.number]
            self._changed.notify_all()
        if asks:
            agent.send(**{"is": "verdict"}, hit=message["hit"], act=acts)
        elif arm is not None and acts:
            self._strike(agent, arm, message, message["problem"])

    def acted(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        """An agent that was allowed to act does so, or tells why it cannot."""
        with self._changed:
            arm, reached = self._allowed.pop((agent, message["hit"]))
        self._strike(agent, arm, reached, message["problem"])
        self._withdraw_spent(arm)  # before the call goes on: its function is as it was
        agent.send(**{"is": "recorded"}, hit=message["hit"])

    def resumed(self, agent: AgentConnection, message: dict[str, Any]) -> None:
        """Who was held there goes on."""
        with self._changed:
            held = self._held.pop((agent, message["hit"]), None)
            if held is not None:
                held.set()
            self._changed.notify_all()

    def lost(self, agent: AgentConnection) -> None:
        """Its connection has ended: nobody is held there, and who was dying is dead."""
        with self._changed:
            for key in [key for key in self._held if key[0] is agent]:
                self._held.pop(key).set()
            for dying in [dying for dying in self._dying if dying[0] is agent]:
                self._dying.remove(dying)
                _, arm, hit = dying
                arm._hits.append(hit)
            lost = [self._allowed.pop(key)[0] for key in [*self._allowed] if key[0] is agent]
            for arm in lost:
                arm.failed(agent, "its agent left before it acted")
            self._changed.notify_all()
        for arm in lost:
            self._withdraw_spent(arm)

    def _strike(
        self, agent: AgentConnection, arm: Arm, reached: dict[str, Any], problem: str
    ) -> None:
        if problem:
            with self._changed:
                arm.failed(agent, problem)
                self._changed.notify_all()
            return
        with self._changed:
            hit = self._hit(arm, agent, reached)
        try:
            self._on_hit(hit)
        except Exception:
            _log.exception("on_hit failed for %s", hit)
        with self._changed:
            if hit.action == "crash":
                self._dying.append((agent, arm, hit))
            else:
                arm._hits.append(hit)
            self._changed.notify_all()

    def _withdraw_spent(self, arm: Arm) -> None:
        """Take an arm away that has no strikes left, unless one that was allowed may yet come."""
        with self._changed:
            if arm.remaining != 0 or any(other is arm for other, _ in self._allowed.values()):
                return
        for agent in [agent for agent in self._agents if arm.concerns(agent.service)]:
            agent.send(**{"is": "disarm"}, arms=[arm.number], ticket=0)

    def _hit(self, arm: Arm, agent: AgentConnection, message: dict[str, Any]) -> Hit:
        wanted = arm.request
        number = message["hit"]
        arm._acted += 1
        free = None
        if wanted.action.word == "pause":
            free = self._held[agent, number] = Event()
        return Hit(
            alias=arm.alias,
            function=wanted.point.function,
            when=wanted.when,
            action=wanted.action.word,
            service=agent.service,
            pid=agent.pid,
            thread=message["thread"],
            request=message["request"],
            arm=arm.number,
            number=arm._acted,
            at_ns=message["at_ns"],
            raised=message["raised"],
            main=agent.main,
            whole=agent.main or wanted.action.arguments.get("scope") == "service",
            told=message["told"],
            _free=free,
            _let_go=lambda: agent.send(**{"is": "release"}, hit=number),
            _reported=(agent, number),
        )
