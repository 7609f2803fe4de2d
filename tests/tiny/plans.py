"""Plans on the tiny target, short enough to say what a test is about."""

from __future__ import annotations

from typing import Any

from chaos.plan import Injection, Plan, step

PARCEL = step("parcel.make", name="p", place="a")
MOVE = step("parcel.move", parcel="p", to="b")
SEND = step("parcel.send", parcel="p", to="b")


def plan(*injections: Injection, name: str = "plan", **parts: Any) -> Plan:
    """There is a parcel at ``a``, and it is moved to ``b``."""
    return Plan(
        **{
            "name": name,
            "given": (PARCEL,),
            "during": (MOVE,),
            "inject": injections,
            **parts,
        }
    )
