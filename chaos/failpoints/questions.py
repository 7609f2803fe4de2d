"""What the controller asks the agents, and their answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from threading import Condition
from typing import Any

from chaos.errors import PointError
from chaos.failpoints.connection import AgentConnection


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
        self, messages: Mapping[AgentConnection, dict[str, Any]], deadline_s: float
    ) -> dict[AgentConnection, dict[str, Any]]:
        """Send, and wait for the answers of all agents that stay connected.

        Raises:
            PointError: some have not answered by the deadline; names them.
        """
        answers, silent = self.exchange(messages, deadline_s)
        if silent:
            raise PointError(no_answer(silent, deadline_s))
        return answers

    def exchange(
        self, messages: Mapping[AgentConnection, dict[str, Any]], deadline_s: float
    ) -> tuple[dict[AgentConnection, dict[str, Any]], set[AgentConnection]]:
        """The answers to messages, and who is connected but gave none."""
        with self._changed:
            present = [agent for agent in messages if agent in self._agents]
            asked = {next(self._numbers): agent for agent in present}
            self._asked.update(asked)
        for ticket, agent in asked.items():
            agent.send(**messages[agent], ticket=ticket)
        with self._changed:
            self._changed.wait_for(lambda: not self._asked.keys() & asked.keys(), deadline_s)
            silent = {self._asked.pop(t) for t in asked if t in self._asked}
            answers = {
                agent: self._answers.pop(ticket)
                for ticket, agent in asked.items()
                if ticket in self._answers
            }
        return answers, silent

    # ------------------------------------------------------------------ holding `changed`

    def answered(self, message: dict[str, Any]) -> None:
        """Keep an answer, if somebody waits for it."""
        if self._asked.pop(message.get("ticket", 0), None):
            self._answers[message["ticket"]] = message

    def lost(self, agent: AgentConnection) -> None:
        """Nobody waits for its answers any more."""
        for ticket in [ticket for ticket, asked in self._asked.items() if asked is agent]:
            del self._asked[ticket]
