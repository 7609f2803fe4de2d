"""Strategies: which of the schedules that a plan leaves open are executed, and in which order."""

from __future__ import annotations

from chaos.plan import Schedules
from chaos.schedule import Strategy
from chaos.search.depth_first import DepthFirst
from chaos.search.partial_order import PartialOrder
from chaos.search.pct import Pct
from chaos.search.random_walk import RandomWalk
from chaos.search.stated import Stated

__all__ = ["DepthFirst", "PartialOrder", "Pct", "RandomWalk", "Stated", "strategy"]


def strategy(wanted: Schedules, *, sample: int = 0) -> Strategy:
    """The strategy that a plan's ``schedules`` asks for.

    ``sample`` has so many random schedules executed beside those of a search that leaves some out.
    """
    if wanted.stated is not None:
        return Stated(wanted.stated)
    if wanted.first is not None:
        return DepthFirst(wanted.first)
    if wanted.random is not None:
        return RandomWalk(wanted.random, wanted.seed)
    if wanted.pct is not None:
        return Pct(wanted.pct, wanted.depth, wanted.seed)
    if wanted.every is not None:
        return DepthFirst(wanted.every, all_of_them=True)
    assert wanted.all is not None
    return PartialOrder(wanted.all, sample=sample, seed=wanted.seed)
