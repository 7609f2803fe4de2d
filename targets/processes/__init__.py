"""Runs a topology as processes of this machine."""

from targets.processes.target import ProcessTarget

__all__ = ["ProcessTarget"]
