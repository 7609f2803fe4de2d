"""The command line: init, run, up, rows, museum, sweep, validate, schema, points, report, replay.

What a command needs is imported when it runs: `chaos --help` answers at once.
"""

from __future__ import annotations

import faulthandler

import click

from chaos.cli.beginning import init, up
from chaos.cli.journals import replay, report
from chaos.cli.museum import museum
from chaos.cli.rows import rows
from chaos.cli.running import run
from chaos.cli.sweeping import sweep
from chaos.cli.words import points, schema, validate

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="control-plane-chaos")
def main() -> None:
    """Fault-injection chaos testing for control planes.

    A plan injects a fault at a named point of the control plane's own execution, and says what
    must hold once it has recovered. Start with:

    \b
      chaos init                  begin with a system of your own, which runs at once
      chaos run                   run the plans that are installed, write a report
      chaos sweep server.reboot   crash each service before and after everything that it does
      chaos rows                  what the installed plans are to show, and which do
      chaos museum                show that every known bug is caught, and by which plan
      chaos up                    keep a target running, to look around
      chaos points                the points where a fault can strike
      chaos validate my.plan.yaml check a plan without running it
    """
    faulthandler.enable()  # where a target of the user's own ends the process, it is told where


for command in (init, run, up, rows, museum, sweep, validate, schema, points, report, replay):
    main.add_command(command)
