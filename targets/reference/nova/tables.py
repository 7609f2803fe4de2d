"""The tables of the API database and of a cell's database."""

from __future__ import annotations

import sqlalchemy as sa

API = sa.MetaData()
CELL = sa.MetaData()

BUILD_REQUESTS = sa.Table(
    "build_requests",
    API,
    sa.Column("instance", sa.String(36), primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
)
INSTANCE_MAPPINGS = sa.Table(
    "instance_mappings",
    API,
    sa.Column("instance", sa.String(36), primary_key=True),
    sa.Column("cell", sa.String(16)),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("queued_for_delete", sa.Boolean, nullable=False),
)
SETTINGS = sa.Table(
    "settings",
    API,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)

# What users and operators keep beside servers.
FLAVORS = sa.Table(
    "flavors",
    API,
    sa.Column("id", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("ram", sa.Integer, nullable=False),
    sa.Column("disk", sa.Integer, nullable=False),
    sa.Column("ephemeral", sa.Integer, nullable=False),
    sa.Column("swap", sa.Integer, nullable=False),
    sa.Column("rxtx_factor", sa.Float, nullable=False),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
)
FLAVOR_PROJECTS = sa.Table(
    "flavor_projects",
    API,
    sa.Column("flavor", sa.ForeignKey("flavors.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.String(255), primary_key=True),
)
FLAVOR_EXTRA_SPECS = sa.Table(
    "flavor_extra_specs",
    API,
    sa.Column("flavor", sa.ForeignKey("flavors.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
)
KEY_PAIRS = sa.Table(
    "key_pairs",
    API,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("fingerprint", sa.String(255), nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.UniqueConstraint("user_id", "name"),
)
SERVER_GROUPS = sa.Table(
    "instance_groups",
    API,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("policy", sa.String(32), nullable=False),
    sa.Column("max_server_per_host", sa.Integer),
    sa.Column("created_at", sa.String(32), nullable=False),
)
SERVER_GROUP_MEMBERS = sa.Table(
    "instance_group_members",
    API,
    sa.Column(
        "server_group", sa.ForeignKey("instance_groups.uuid", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("instance", sa.String(36), primary_key=True, index=True),
)
AGGREGATES = sa.Table(
    "aggregates",
    API,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
)
AGGREGATE_HOSTS = sa.Table(
    "aggregate_hosts",
    API,
    sa.Column("aggregate", sa.ForeignKey("aggregates.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("host", sa.String(255), primary_key=True),
)
AGGREGATE_METADATA = sa.Table(
    "aggregate_metadata",
    API,
    sa.Column("aggregate", sa.ForeignKey("aggregates.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
)
QUOTAS = sa.Table(
    "quotas",
    API,
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("hard_limit", sa.Integer, nullable=False),
)

INSTANCES = sa.Table(
    "instances",
    CELL,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("image", sa.String(36), nullable=False),
    sa.Column("flavor", sa.String(255), nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("ram", sa.Integer, nullable=False),
    sa.Column("disk", sa.Integer, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False, key="meta"),
    sa.Column("system_metadata", sa.JSON, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("requested_networks", sa.JSON, nullable=False),
    sa.Column("ports", sa.JSON, nullable=False),
    sa.Column("node", sa.String(255)),
    sa.Column("alternates", sa.JSON, nullable=False),
    sa.Column("host", sa.String(255), index=True),
    sa.Column("vm_state", sa.String(32), nullable=False),
    sa.Column("task_state", sa.String(32)),
    sa.Column("power_state", sa.Integer, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
    sa.Column("launched_at", sa.String(32)),
    sa.Column("deleted_at", sa.String(32)),
)
BLOCK_DEVICES = sa.Table(
    "block_device_mappings",
    CELL,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("instance", sa.String(36), nullable=False),
    sa.Column("volume", sa.String(36), nullable=False),
    sa.Column("attachment", sa.String(36), nullable=False),
    sa.Column("device", sa.String(32), nullable=False),
    sa.Column("delete_on_termination", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.UniqueConstraint("instance", "volume"),
)
ACTIONS = sa.Table(
    "instance_actions",
    CELL,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("request", sa.String(64), nullable=False),
    sa.Column("instance", sa.String(36), nullable=False, index=True),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("started_at", sa.String(32), nullable=False),
    sa.Column("finished_at", sa.String(32)),
    sa.Column("result", sa.String(16), nullable=False),
)
ACTION_EVENTS = sa.Table(
    "instance_actions_events",
    CELL,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("action", sa.Integer, nullable=False, index=True),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("started_at", sa.String(32), nullable=False),
    sa.Column("finished_at", sa.String(32)),
    sa.Column("result", sa.String(16), nullable=False),
)
NOTIFICATIONS = sa.Table(
    "notifications",
    CELL,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("request", sa.String(64), nullable=False),
    sa.Column("instance", sa.String(36), nullable=False),
    sa.Column("event_type", sa.String(64), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("sent_at", sa.String(32), nullable=False),
)
FAULTS = sa.Table(
    "instance_faults",
    CELL,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("instance", sa.String(36), nullable=False, index=True),
    sa.Column("message", sa.String(1024), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
)
MIGRATIONS = sa.Table(
    "migrations",
    CELL,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("instance", sa.String(36), nullable=False, index=True),
    sa.Column("migration_type", sa.String(16), nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("source_compute", sa.String(255), nullable=False),
    sa.Column("dest_node", sa.String(255)),
    sa.Column("dest_compute", sa.String(255)),
    sa.Column("requested_host", sa.String(255)),
    sa.Column("source_cell", sa.String(16), nullable=False),
    sa.Column("dest_cell", sa.String(16)),
    sa.Column("rolling_back", sa.Boolean, nullable=False),
    sa.Column("alternates", sa.JSON(none_as_null=True)),
    sa.Column("old_flavor", sa.JSON, nullable=False),
    sa.Column("new_flavor", sa.JSON, nullable=False),
    sa.Column("old_vm_state", sa.String(32), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
COMPUTE_NODES = sa.Table(
    "compute_nodes",
    CELL,
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("ram", sa.Integer, nullable=False),
    sa.Column("disk", sa.Integer, nullable=False),
    sa.Column("vcpus_used", sa.Integer, nullable=False),
    sa.Column("ram_used", sa.Integer, nullable=False),
    sa.Column("disk_used", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
)
SERVICES = sa.Table(
    "services",
    CELL,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("binary", sa.String(255), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.String(255)),
    sa.Column("forced_down", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
    sa.Column("last_seen_up", sa.String(32), nullable=False),
    sa.UniqueConstraint("binary", "host"),
)
