"""The reference with two of each API and conductor, and two cells; every plan of ours runs on it.

chaos run suites --target suites.scaled:target
"""

from suites.invariants import *  # noqa: F403 - the target's words are those of the library
from targets.embedded.target import scaled as target

__all__ = ["target"]
