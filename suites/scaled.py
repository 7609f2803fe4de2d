"""The reference with two of each API and conductor, and the same with a second cell.

chaos run suites --target suites.scaled:target
chaos run PLAN --target suites.scaled:wide

All our plans run on the first; those that fill two hosts do not on the second, which has three.
"""

from suites.invariants import *  # noqa: F403 - the target's words are those of the library
from targets.embedded.target import scaled as target
from targets.embedded.target import wide

__all__ = ["target", "wide"]
