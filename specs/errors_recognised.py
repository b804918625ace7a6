"""Where a document says that its errors keep their message and code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testcard.specs.openapi import Operation
from testcard.specs.recognition import Data, bare, leaves, written
from testcard.specs.schemas import type_of


def error_data(operation: Operation) -> Data:
    """Where the operation's documented errors keep their message and code, of each shape that they have, in the document's order; empty
    where they are not described. A body that is but a text is its own message.
    """
    found: Data = {}
    for status, response in operation.responses.items():
        if status.startswith("2"):
            continue
        for name, media in (response.get("content") or {}).items():
            schema = operation.document.expand((media or {}).get("schema", {}))
            text = name.endswith("json") and isinstance(schema, Mapping) and type_of(schema) == "string"
            for key, places in ({"message": [""]} if text else _error_places(schema)).items():
                found[key] = list(dict.fromkeys([*found.get(key, ()), *places]))
    return with_texts_last(found)


def with_texts_last(errors: Data) -> Data:
    """The places with the body itself as the last, for there is always something there."""
    return {key: sorted(places, key=lambda place: place == "") for key, places in errors.items()}


def _as_an_error(place: tuple[str, ...]) -> tuple[bool, bool, int]:
    """The order in which places of a message are tried: a list of plain texts last, and of lists first those that are named for errors."""
    named = any(bare(part).startswith(("error", "detail")) for part in place)
    return place[-1] == "*" and not named, "*" in place and not named, len(place)


def _error_places(schema: Any) -> Data:
    texts = [
        (place, one)
        for place, one in leaves(schema)
        if place and type_of(one) in ("string", None) and "properties" not in one and "items" not in one
    ]
    for wanted in ("message", "msg", "detail", "error", "title", "reason"):
        for place, _ in sorted(texts, key=lambda entry: _as_an_error(entry[0])):
            if place[-1] == wanted or (place[-1] == "*" and len(place) > 1 and place[-2] in (f"{wanted}s", "errors")):
                found: Data = {"message": [written(["0" if part == "*" else part for part in place])]}
                code = next(
                    (other for other, one in leaves(schema) if other[:-1] == place[:-1] and other and other[-1] in ("code", "type")), None
                )
                if code is not None and "*" not in code:
                    found["code"] = [written(code)]
                return found
    return {}
