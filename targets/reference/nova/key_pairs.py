"""The public keys of users, which their servers get."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from targets.reference.database import utc_now
from targets.reference.nova import databases
from targets.reference.nova.tables import KEY_PAIRS


class KeyPairExists(Exception):
    """The user has a key of this name."""


class InvalidKey(Exception):
    """It is no public key."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A user's key; the private one is nobody's but the user's."""

    id: int
    user_id: str
    name: str
    type: str
    fingerprint: str
    public_key: str
    created_at: str

    @staticmethod
    def get(user_id: str, name: str) -> KeyPair | None:
        """Return a user's key, None when he has none of this name."""
        query = sa.select(KEY_PAIRS).filter_by(user_id=user_id, name=name)
        with databases.api().read() as connection:
            row = connection.execute(query).first()
        return KeyPair(**row._mapping) if row else None

    @staticmethod
    def find(user_id: str) -> list[KeyPair]:
        """Return all keys of a user, by name."""
        query = sa.select(KEY_PAIRS).filter_by(user_id=user_id).order_by(KEY_PAIRS.c.name)
        with databases.api().read() as connection:
            return [KeyPair(**row._mapping) for row in connection.execute(query)]

    @staticmethod
    def create(user_id: str, name: str, kind: str, public_key: str) -> KeyPair:
        """Keep a key.

        Raises:
            KeyPairExists: the user has one of this name.
            InvalidKey: it is none.
        """
        row = {
            "user_id": user_id,
            "name": name,
            "type": kind,
            "fingerprint": fingerprint(public_key, kind),
            "public_key": public_key,
            "created_at": utc_now(),
        }
        try:
            with databases.api().transaction() as connection:
                made = connection.execute(KEY_PAIRS.insert().values(row).returning(KEY_PAIRS)).one()
        except IntegrityError:
            raise KeyPairExists(f"Key pair '{name}' already exists.") from None
        return KeyPair(**made._mapping)

    @staticmethod
    def destroy(user_id: str, name: str) -> bool:
        """Forget a key. True for the one caller who did."""
        with databases.api().transaction() as connection:
            gone = connection.execute(KEY_PAIRS.delete().filter_by(user_id=user_id, name=name))
        return gone.rowcount == 1


def fingerprint(public_key: str, kind: str) -> str:
    """Return the fingerprint of a key: MD5 for SSH as Nova tells it, SHA-1 for a certificate.

    Raises:
        InvalidKey: it is none.
    """
    if kind == "x509":
        if "BEGIN CERTIFICATE" not in public_key:
            raise InvalidKey("failed to generate X509 fingerprint.")
        return hashlib.sha1(public_key.encode(), usedforsecurity=False).hexdigest()
    words = public_key.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
        length = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + length].decode("ascii") != words[0]:
            raise ValueError(words[0])
    except (IndexError, ValueError, binascii.Error):
        raise InvalidKey("failed to generate fingerprint") from None
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def generate() -> tuple[str, str]:
    """Make a key; return its private and its public part."""
    # Imported here: few need it, and it takes as long as the start of a service.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), f"{public.decode()} Generated-by-Nova"
