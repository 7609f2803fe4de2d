"""What the controller asks the agents, and their answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from threading import Condition
from typing import Any

from chaos.errors import PointError
from chaos.failpoints.connection import AgentConnection

_PATIENCE_S = 0.05
"""So long nobody is asked why he does not answer."""


def no_answer(silent: Collection[AgentConnection], deadline_s: float) -> str:
    """What is wrong with those that gave none."""
    return (
        f"no answer within {deadline_s:g} s from the failpoint agent of: "
        f"{', '.join(sorted(map(str, silent)))}; is the process frozen?"
    )


class Questions:
    """Messages with a ticket, which the agent's answer carries too.

    Any thread may ask; what ``changed`` guards is changed by who holds it. ``agents`` are those
    that are connected.
    """

    def __init__(
        self, changed: Condition, agents: Collection[AgentConnection], numbers: Iterator[int]
    ) -> None:
        self._changed = changed
        self._agents = agents
        self._numbers = numbers
        self._asked: dict[int, AgentConnection] = {}
        self._answers: dict[int, dict[str, Any]] = {}

    def ask(
        self,
        messages: Mapping[AgentConnection, dict[str, Any]],
        deadline_s: float,
        excused: Callable[[AgentConnection], bool] = lambda _: False,
    ) -> dict[AgentConnection, dict[str, Any]]:
        """Send, and wait for the answers of all agents that stay connected and are not excused.

        Raises:
            PointError: some have not answered by the deadline; names them.
        """
        answers, silent = self.exchange(messages, deadline_s, excused)
        if silent:
            raise PointError(no_answer(silent, deadline_s))
        return answers

    def exchange(
        self,
        messages: Mapping[AgentConnection, dict[str, Any]],
        deadline_s: float,
        excused: Callable[[AgentConnection], bool] = lambda _: False,
    ) -> tuple[dict[AgentConnection, dict[str, Any]], set[AgentConnection]]:
        """The answers to messages, and who is connected but gave none.

        Who is ``excused`` need not answer, and is in neither; it is asked of who takes his time.
        """
        with self._changed:
            present = [agent for agent in messages if agent in self._agents]
            asked = {next(self._numbers): agent for agent in present}
            self._asked.update(asked)
        end = time.monotonic() + deadline_s
        for ticket, agent in asked.items():
            agent.send(**messages[agent], ticket=ticket)
        with self._changed:
            while not self._have_answered(asked, min(end - time.monotonic(), _PATIENCE_S)):
                for ticket in [ticket for ticket in asked if ticket in self._asked]:
                    if excused(asked[ticket]):
                        del self._asked[ticket]
                if time.monotonic() >= end:
                    break
            silent = {self._asked.pop(t) for t in asked if t in self._asked}
            answers = {
                agent: self._answers.pop(ticket)
                for ticket, agent in asked.items()
                if ticket in self._answers
            }
        return answers, silent

    def _have_answered(self, asked: Mapping[int, AgentConnection], deadline_s: float) -> bool:
        return self._changed.wait_for(lambda: not self._asked.keys() & asked.keys(), deadline_s)

    # ------------------------------------------------------------------ holding `changed`

    def answered(self, message: dict[str, Any]) -> None:
        """Keep an answer, if somebody waits for it."""
        if self._asked.pop(message.get("ticket", 0), None):
            self._answers[message["ticket"]] = message

    def lost(self, agent: AgentConnection) -> None:
        """Nobody waits for its answers any more."""
        for ticket in [ticket for ticket, asked in self._asked.items() if asked is agent]:
            del self._asked[ticket]
