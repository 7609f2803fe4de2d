"""The library of invariants for a compute control plane, as in the published list of scenarios.

Each is a pure function from evidence to sentences; its number is its place in that list. The
thirteenth, *recoverable*, is built into the engine.
"""

from suites.invariants.actions import actions_are_told
from suites.invariants.allocations import allocations_match_instances
from suites.invariants.answers import no_server_error
from suites.invariants.attachments import attachments_match_block_devices
from suites.invariants.deletes import deletes_fulfilled
from suites.invariants.guests import guests_match_instances
from suites.invariants.instances import instances_at_rest, instances_listed_once
from suites.invariants.migrations import migrations_end
from suites.invariants.ports import ports_match_interfaces
from suites.invariants.quotas import quota_matches_servers
from suites.invariants.usage import usage_tracked
from suites.invariants.volumes import volumes_survive

__all__ = [
    "actions_are_told",
    "allocations_match_instances",
    "attachments_match_block_devices",
    "deletes_fulfilled",
    "guests_match_instances",
    "instances_at_rest",
    "instances_listed_once",
    "migrations_end",
    "no_server_error",
    "ports_match_interfaces",
    "quota_matches_servers",
    "usage_tracked",
    "volumes_survive",
]
