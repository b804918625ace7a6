"""Lies about the key."""

from __future__ import annotations

from typing import Any

from testcard.mocks.exchange import Answer, Call, Refused
from testcard.mocks.faults.register import EVERY, KEYED, fault, own_authorized, own_keyed

_KEY_HEADERS = ("authorization", "x-api-key")


def _key_of(call: Call) -> str | None:
    """The key as it was sent, without its prefix."""
    sent = next((call.headers[name] for name in _KEY_HEADERS if name in call.headers), None)
    return sent.rpartition(" ")[2] if sent else None


@fault("key", "auth.required", KEYED, own=own_keyed)
def _no_key_needed(call: Call, refused: Refused | None) -> Refused | None:
    """Serves requests that carry no key, and refuses only those that carry a wrong one."""
    return refused if _key_of(call) else None


@fault("key", "auth.wrong-refused", KEYED, own=own_authorized)
def _any_key_will_do(call: Call, refused: Refused | None) -> Refused | None:
    """Serves requests whatever key they carry, and refuses only those that carry none."""
    return None if _key_of(call) else refused


@fault("answer", "auth.not-echoed", EVERY)
def _key_in_a_header(call: Call, answer: Answer) -> Answer:
    """Sends the key back in a header that was meant for tracing."""
    key = _key_of(call)
    if key is not None:
        answer.headers = (*answer.headers, ("x-request-credential", key))
    return answer


@fault("answer", "auth.not-echoed/message", KEYED)
def _key_in_a_message(call: Call, answer: Answer) -> Answer:
    """Says the key in the message of a refusal."""
    key = _key_of(call)
    if 400 <= answer.status < 500 and key is not None and isinstance(answer.json, dict):
        answer.json = _with_key(answer.json, key)
    return answer


def _with_key(body: dict[str, Any], key: str) -> dict[str, Any]:
    """The body with the key appended to every text called message or detail."""
    changed: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, dict):
            changed[name] = _with_key(value, key)
        else:
            changed[name] = f"{value} (key {key})" if name in ("message", "detail") and isinstance(value, str) else value
    return changed
