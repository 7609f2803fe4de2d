"""The file by which OpenStack's clients find the reference: its users, each as a cloud."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

CLOUD = "reference"
"""The cloud of the user by whom plans work."""

USERS: Mapping[str, tuple[str, str]] = {
    CLOUD: ("demo", "demo"),
    f"{CLOUD}-alt": ("alt_demo", "alt_demo"),
    f"{CLOUD}-admin": ("admin", "admin"),
    f"{CLOUD}-system-admin": ("admin", ""),
}
"""Cloud: its user and his project; without one he works on the whole system."""

_DEVSTACK = {cloud: cloud.replace(CLOUD, "devstack", 1) for cloud in USERS}
"""The same clouds by the names that the tests of clients look for."""


def write(file: Path, auth_url: str, password: str) -> None:
    """Write ``file``, for its owner alone."""
    file.touch(0o600)
    clouds = "".join(
        _cloud(name, user, project, auth_url, password)
        for cloud, (user, project) in USERS.items()
        for name in (cloud, _DEVSTACK[cloud])
    )
    file.write_text("clouds:\n" + clouds)


def invitation(file: Path) -> str:
    """Say how a client gets in."""
    users = "\n".join(
        f"  {cloud:<24} {user}, {f'project {project}' if project else 'the whole system'}"
        for cloud, (user, project) in USERS.items()
    )
    return f"""\
export OS_CLIENT_CONFIG_FILE={shlex.quote(str(file))} OS_CLOUD={CLOUD}
openstack server list

The clouds in that file, each with its user:
{users}
"""


def _cloud(name: str, user: str, project: str, auth_url: str, password: str) -> str:
    scope = (
        f"project_name: {project}\n      project_domain_id: default"
        if project
        else "system_scope: all"
    )
    return f"""\
  {name}:
    region_name: RegionOne
    identity_api_version: 3
    auth:
      auth_url: {auth_url}
      username: {user}
      password: "{password}"
      user_domain_id: default
      {scope}
"""
