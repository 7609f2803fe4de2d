"""Depth first: the tree of choices is walked, each schedule once, in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.schedule import Choice
from chaos.search.walk import Node, Walk, too_many


class DepthFirst(Walk):
    """Executes the first ``most`` schedules; ``all_of_them`` refuses to leave any out.

    It needs no model of the target: what can be chosen is seen while it runs.
    """

    def __init__(self, most: int, *, all_of_them: bool = False) -> None:
        super().__init__(most)
        self._all = all_of_them

    def begin(self) -> bool:
        """The next leaf of the tree.

        Raises:
            ChaosError: there are more than ``most``, and all were wanted.
        """
        if not super().begin():
            return False
        if self._executed < self._most:
            return True
        if self._all:
            raise too_many(self._most, "every")
        return False

    def _node(self, made: Sequence[Choice], name: str, options: tuple[str, ...]) -> Node:
        return Node(options, wanted=set(options), taken=options[0])
