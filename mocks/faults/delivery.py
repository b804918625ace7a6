"""Lies about how a picture is delivered."""

from __future__ import annotations

from dataclasses import replace

from testcard.mocks.exchange import Call, Drawn, in_base64
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import EITHER_WAY


@lie("delivered", "delivery.exclusive", EITHER_WAY, also=("schema.response",))
def _both(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends base64 and an address for the same picture."""
    return [
        replace(
            one,
            base64=one.base64 or in_base64(one.data),
            url=one.url or (call.publish(one) if call.publish else None),
        )
        for one in drawn
    ]


@lie("delivered", "delivery.exclusive/neither", EITHER_WAY, also=("schema.response",))
def _neither(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends items that hold neither base64 nor an address."""
    return [replace(one, base64=None, url=None) for one in drawn]
