"""Lies about the key."""

from __future__ import annotations

from testcard.mocks.exchange import Call, Refused
from testcard.mocks.faults.fault import lie
from testcard.mocks.faults.places import KEYED


@lie("key", "auth.required", KEYED)
def _no_key_needed(call: Call, refused: Refused | None) -> Refused | None:
    """Serves requests that carry no key, or a wrong one."""
    return None


@lie("key", "auth.required/any-key", KEYED)
def _any_key_will_do(call: Call, refused: Refused | None) -> Refused | None:
    """Serves requests whatever key they carry, and refuses only those that carry none."""
    sent = "authorization" in call.headers or "x-api-key" in call.headers
    return None if sent else refused
