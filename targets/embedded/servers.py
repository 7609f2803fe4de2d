"""Servers as services of a topology, each with a directory of its own in the run's.

Their programs are looked for where Debian has them, then along ``PATH``. Whatever they must keep
over their own death is in those directories; only ``epmd`` outlives RabbitMQ, until the target
stops.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

from chaos.errors import TargetError
from chaos.target import Service
from targets.topology import Asked, Command, Listening, ServiceSpec

DATABASE, BUS = "database", "bus"
USER = "reference"
EPMD = "epmd"
_IPC_RMID = 0  # bits/ipc.h
_QUIETLY = (
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {{127,0,0,1}}"
)
"""As few schedulers as do, none of which waits busily, and no listener for the network."""
_POSTGRESQL = """
set -e
umask 077
test -s data/PG_VERSION || {
  printf %s "$PASSWORD" > password
  "$PROGRAMS/initdb" -D data -U "$OWNER" --pwfile=password -A scram-sha-256 \
    -E UTF8 --locale=C --no-sync --no-instructions > initdb.log
}
exec "$PROGRAMS/postgres" -D data -p "$PORT" -k "" -c listen_addresses=127.0.0.1 \
  -c fsync=off -c full_page_writes=off -c synchronous_commit=on \
  -c max_connections=300 -c jit=off -c wal_level=minimal -c max_wal_senders=0 \
  -c autovacuum_naptime=1min -c dynamic_shared_memory_type=mmap
"""

_RABBITMQ = """
set -e
umask 077
cat > rabbitmq.conf <<END
default_user = $OWNER
default_pass = $PASSWORD
vm_memory_high_watermark.absolute = 256MB
disk_free_limit.absolute = 50MB
collect_statistics = none
log.console = true
log.console.level = info
log.file = false
END
: > enabled_plugins
export HOME="$PWD" RABBITMQ_CONFIG_FILE="$PWD/rabbitmq.conf" RABBITMQ_MNESIA_BASE="$PWD/mnesia" \
  RABBITMQ_LOG_BASE="$PWD" RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/enabled_plugins" \
  RABBITMQ_FEATURE_FLAGS_FILE="$PWD/feature_flags" RABBITMQ_GENERATED_CONFIG_DIR="$PWD" \
  RABBITMQ_PID_FILE="$PWD/pid" RABBITMQ_NODENAME="rabbit@localhost" \
  RABBITMQ_CONF_ENV_FILE=/dev/null
exec "$PROGRAMS/rabbitmq-server"
"""


def postgresql(password: str) -> ServiceSpec:
    """Describe PostgreSQL, with ``password`` for :data:`USER`, who may do everything.

    Its locale is C, so that it orders texts as SQLite does. Without fsync it loses nothing but by a
    power cut; with ``synchronous_commit`` off it would lose what it had confirmed before a kill.

    Raises:
        TargetError: it is not installed.
    """
    programs = Path(_program("initdb", "postgresql", "/usr/lib/postgresql/*/bin")).parent
    return ServiceSpec(
        DATABASE,
        Command(("/bin/sh", "-c", _POSTGRESQL.replace("{", "{{").replace("}", "}}"))),
        {
            "PROGRAMS": str(programs),
            "PORT": f"{{port:{DATABASE}}}",
            "OWNER": USER,
            "PASSWORD": password,
        },
        ready=Asked(_is_ready),
        stateless=True,  # what it holds is restored in place
        foreign=True,
        cwd=DATABASE,
        user=_account("postgres"),
    )


def rabbitmq(password: str) -> ServiceSpec:
    """Describe RabbitMQ, with ``password`` for :data:`USER`.

    It has an Erlang node of its own, with its own cookie and its own ``epmd``, all on loopback.

    Raises:
        TargetError: it is not installed.
    """
    programs = Path(_program("rabbitmqctl", "rabbitmq-server", "/usr/lib/rabbitmq/bin")).parent
    return ServiceSpec(
        BUS,
        Command(("/bin/sh", "-c", _RABBITMQ)),
        {
            "PROGRAMS": str(programs),
            "OWNER": USER,
            "PASSWORD": password,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": f"{{port:{BUS}}}",
            "RABBITMQ_DIST_PORT": f"{{port:{BUS}-node}}",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _QUIETLY,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": f"{{port:{EPMD}}}",
        },
        ready=Listening(BUS),
        stateless=True,  # its queues are emptied in place
        foreign=True,
        cwd=BUS,
        user=_account("rabbitmq"),
        leaves=(EPMD,),
        start_s=120.0,
    )


def _is_ready(target: Any, service: Service) -> bool:
    """Whether PostgreSQL says that it is; and have the kernel forget its shared memory in time.

    It has a segment of System V's, a lock in effect, which would outlive its death by SIGKILL.
    """
    told = (target.run_dir / DATABASE / "data" / "postmaster.pid").read_text().splitlines()
    if len(told) < 8 or int(told[0]) != service.pid or told[7].strip() != "ready":
        return False
    ctypes.CDLL(None).shmctl(int(told[6].split()[1]), _IPC_RMID, None)
    return True


def _program(name: str, package: str, places: str) -> str:
    """Find a server's program."""
    root = Path("/")
    found = [str(path) for path in sorted(root.glob(places.lstrip("/")), reverse=True)]
    program = shutil.which(name, path=os.pathsep.join((*found, os.environ.get("PATH", os.defpath))))
    if program is None:
        raise TargetError(f"{name} is not installed (Debian: {package})")
    return program


def _account(name: str) -> str:
    """Whom a server runs as that refuses to run as root: nobody else, where we are not root."""
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        raise TargetError(f"there is no user {name}; its package makes it") from None
