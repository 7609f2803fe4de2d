"""The compute service's HTTP interface."""

from targets.reference.nova.api.service import main

__all__ = ["main"]
