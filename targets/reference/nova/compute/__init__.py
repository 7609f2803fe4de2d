"""Compute: builds, changes and removes the servers of one host."""

from targets.reference.nova.compute.service import main

__all__ = ["main"]
