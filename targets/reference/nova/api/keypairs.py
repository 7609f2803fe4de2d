"""Keypairs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from targets.reference import context
from targets.reference.nova import quotas
from targets.reference.nova.api import microversion
from targets.reference.nova.api.paging import page
from targets.reference.nova.api.router import Router, url
from targets.reference.nova.key_pairs import InvalidKey, KeyPair, KeyPairExists, generate
from targets.reference.schema import Schema, read_body
from targets.reference.web import HttpError, Reply, Request

router = Router()
PlainName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9\-_ ]{1,255}$")]
WideName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9\-_ @.]{1,255}$")]
User = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class NewKeyPair(Schema):
    """A keypair as it is made."""

    name: PlainName
    public_key: str | None = None


class TypedKeyPair(NewKeyPair):
    """The same from 2.2 on."""

    type: Literal["ssh", "x509"] = "ssh"


class UsersKeyPair(TypedKeyPair):
    """The same from 2.10 on: an administrator may make it for somebody else."""

    user_id: User | None = None


class ImportedKeyPair(UsersKeyPair):
    """The same from 2.92 on: none is made any more."""

    name: WideName
    public_key: str


_SCHEMAS = ((92, ImportedKeyPair), (10, UsersKeyPair), (2, TypedKeyPair), (1, NewKeyPair))


@router.route("GET", "/os-keypairs", "os-keypairs:index")
def list_all(request: Request) -> dict[str, Any]:
    """List a user's keypairs."""
    found = KeyPair.find(_user(request))
    links: dict[str, Any] = {}
    if microversion.of(request) >= 35:
        where = url(request, "os-keypairs")
        found, links = page(request, found, lambda pair: pair.name, where, "keypairs")
    return {"keypairs": [{"keypair": _short(pair, request)} for pair in found], **links}


@router.route("POST", "/os-keypairs", "os-keypairs:create")
def create(request: Request) -> Reply:
    """Keep a public key, or make a pair."""
    version = microversion.of(request)
    schema = next(schema for since, schema in _SCHEMAS if version >= since)
    wanted = read_body(schema, request, "keypair").model_dump()
    user = _allowed(wanted.get("user_id"))
    kind, private, public = wanted.get("type", "ssh"), "", wanted["public_key"]
    if public is None:
        if kind != "ssh":
            raise HttpError(400, "Keypair data is invalid: only SSH keys are made here.")
        private, public = generate()
    if 0 <= quotas.limits(context.current().project_id)["key_pairs"] <= len(KeyPair.find(user)):
        raise HttpError(403, "Quota exceeded, too many key pairs.")
    try:
        made = KeyPair.create(user, wanted["name"], kind, public)
    except KeyPairExists as error:
        raise HttpError(409, str(error)) from None
    except InvalidKey as error:
        raise HttpError(400, f"Keypair data is invalid: {error}") from None
    view = _short(made, request) | {"user_id": user}
    if private:
        view["private_key"] = private
    return Reply(201 if version >= 2 else 200, {"keypair": view})


@router.route("GET", "/os-keypairs/{name}", "os-keypairs:show")
def show(request: Request) -> dict[str, Any]:
    """Show one keypair."""
    pair = KeyPair.get(_user(request), request.path["name"])
    if pair is None:
        raise _no_pair(request)
    rest = {
        "id": pair.id,
        "user_id": pair.user_id,
        "created_at": pair.created_at,
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
    return {"keypair": _short(pair, request) | rest}


@router.route("DELETE", "/os-keypairs/{name}", "os-keypairs:delete")
def delete(request: Request) -> Reply:
    """Forget a keypair."""
    if not KeyPair.destroy(_user(request), request.path["name"]):
        raise _no_pair(request)
    return Reply(204 if microversion.of(request) >= 2 else 202)


def _user(request: Request) -> str:
    wanted = request.query.get("user_id") if microversion.of(request) >= 10 else None
    return _allowed(wanted)


def _allowed(wanted: str | None) -> str:
    caller = context.current()
    if wanted and wanted != caller.user_id and not caller.is_admin:
        raise HttpError(403, "Policy doesn't allow os_compute_api:os-keypairs to be performed.")
    return wanted or caller.user_id


def _no_pair(request: Request) -> HttpError:
    name, user = request.path["name"], context.current().user_id
    return HttpError(404, f"Keypair {name} not found for user {user}")


def _short(pair: KeyPair, request: Request) -> dict[str, Any]:
    view = {"name": pair.name, "fingerprint": pair.fingerprint, "public_key": pair.public_key}
    return view | ({"type": pair.type} if microversion.of(request) >= 2 else {})
