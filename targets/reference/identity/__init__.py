"""Identity service (Keystone v3): users, projects, roles, tokens and the catalogue.

The users that are there from the start share one password, which whoever starts the service makes
up.
"""

from targets.reference.identity.api import main

__all__ = ["main"]
