"""The API's process: takes up what an earlier one left unfinished, then serves."""

from __future__ import annotations

import logging

from targets.reference import config, context, tokens
from targets.reference.nova import databases, deletion, flavors, process
from targets.reference.nova.api.routes import api
from targets.reference.nova.api.servers import actions, attachments
from targets.reference.nova.rpc import ConductorRpc
from targets.reference.web import serve

LOG = logging.getLogger(__name__)


def resume() -> None:
    """Take up what requests had written down as intended when this process's forerunner died."""
    for step in (ConductorRpc.recover, deletion.resume, actions.resume, attachments.resume):
        try:
            step()
        except Exception:
            # What can not be taken up now is as it was, and can be asked for again.
            LOG.exception("%s.%s failed", step.__module__, step.__name__)


def main() -> None:
    """Run the API."""
    process.begin()
    databases.api()
    for cell in databases.cells():
        databases.cell(cell)
    flavors.add_first()
    with context.use(tokens.service_context()):
        resume()
    serve(api(), config.current())
