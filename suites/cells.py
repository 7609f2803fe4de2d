"""The reference with two cells: host1 and host3 in the first, host2 in the second.

chaos run suites/cross_cell_resize

The plans of moves between cells name it themselves.
"""

from suites.invariants import *  # noqa: F403 - the target's words are those of the library
from targets.embedded.target import cells as target

__all__ = ["target"]
