"""The images that containers start from: which they are, and the one of the services is made.

Each can be named in the environment (``CHAOS_IMAGE_PYTHON``, ``CHAOS_IMAGE_POSTGRES``, …) or in
``[tool.chaos.images]`` of the ``pyproject.toml`` here; else it is the public one. Where no registry
can be reached ``.ci/images/build`` makes them of Debian's packages and names them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from docker.errors import ImageNotFound
from packaging.requirements import Requirement

from targets.containers.engine import EngineError, told

PUBLIC = {
    "python": "python:3.13-slim",
    "postgres": "postgres:17",
    "rabbitmq": "rabbitmq:4",
    "toxiproxy": "ghcr.io/shopify/toxiproxy:2.12.0",
}
_HERE = Path(__file__).parent
_REFERENCE = _HERE.parent / "reference"
_SERVICES = "chaos-reference"
_EXTRAS = ("reference", "containers")
_NOT_THEIRS = ("openstacksdk",)
"""What comes with those extras for a client's sake."""


def image(name: str) -> str:
    """The image of that name (a key of :data:`PUBLIC`)."""
    return os.environ.get(f"CHAOS_IMAGE_{name.upper()}") or _named().get(name) or PUBLIC[name]


def _named() -> dict[str, str]:
    try:
        text = Path("pyproject.toml").read_text()
    except OSError:
        return {}
    found = tomllib.loads(text).get("tool", {}).get("chaos", {}).get("images", {})
    return {name: str(value) for name, value in found.items()}


def services(client: Any) -> str:
    """The image of the reference's services as they are here; made when there is none yet.

    Raises:
        EngineError: it cannot be made; says how that ended.
    """
    base = image("python")
    wanted = f"{_SERVICES}:{_hash(base)}"
    with told(f"look for the image {wanted}"):
        try:
            client.images.get(wanted)
        except ImageNotFound:
            _build(client, wanted, base)
    return wanted


def _build(client: Any, wanted: str, base: str) -> None:
    with tempfile.TemporaryDirectory(prefix="chaos-image-") as folder:
        context = Path(folder)
        shutil.copy(_HERE / "Dockerfile", context)
        (context / "requirements.txt").write_text("".join(f"{one}\n" for one in _requirements()))
        package = context / "reference" / "targets"
        shutil.copytree(
            _REFERENCE, package / "reference", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(_HERE.parent / "__init__.py", package)
        (context / "site").mkdir()
        if os.environ.get("CHAOS_IMAGE_OFFLINE"):
            _install(client, base, context)
        said, failed = "", ""
        with told(f"make the image {wanted}"):
            # To its end, whatever it says: the connection is open until then.
            for line in client.api.build(
                path=folder, tag=wanted, buildargs={"BASE": base}, rm=True, forcerm=True,
                decode=True,
            ):  # fmt: skip
                said += line.get("stream", "")
                failed = line.get("error", "") or failed
        if failed:
            raise EngineError(
                f"the image {wanted} cannot be made of {base}: {failed}\n{said[-800:]}"
            )


def _install(client: Any, base: str, context: Path) -> None:
    """Put what the services need into ``site``, by the pip of this Python for that of the base."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    inside = client.containers.run(base, ["python3", "-c", ask], remove=True).decode().strip()
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-compile", "--only-binary=:all:", f"--python-version={inside}",
        "--target", str(context / "site"), "--requirement", str(context / "requirements.txt"),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise EngineError(f"pip could not install for the image: {ended.stderr.strip()[-500:]}")
    (context / "site" / ".installed").touch()


def _requirements() -> Iterator[str]:
    """What the services need, at the versions that are installed here."""
    for text in requires("control-plane-chaos") or ():
        found = Requirement(text)
        marker = found.marker
        if marker is None or marker.evaluate({"extra": ""}) or found.name in _NOT_THEIRS:
            continue
        if any(marker.evaluate({"extra": extra}) for extra in _EXTRAS):
            extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
            yield f"{found.name}{extras}=={version(found.name)}"


def _hash(base: str) -> str:
    made = hashlib.sha256(f"{base}\n{sorted(_requirements())}".encode())
    for path in sorted((*_REFERENCE.rglob("*.py"), _HERE / "Dockerfile")):
        made.update(f"{path.relative_to(_HERE.parent)}\n".encode() + path.read_bytes())
    return made.hexdigest()[:12]
