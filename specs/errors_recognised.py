"""Where a document says that its errors keep their message and code, and how the body of a success may say that it is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testcard.specs.openapi import Operation
from testcard.specs.recognition import Data, answer_schema, bare, leaves, written
from testcard.specs.schemas import Schema, type_of


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


#: Names of a field that says by its value whether an answer is a success, by the type that it has.
_FLAGS = frozenset({"success", "issuccess", "succeeded", "ok"})
_CODES = frozenset({"code", "statuscode", "errcode", "errorcode", "errno", "retcode", "resultcode", "returncode", "respcode", "ret"})
#: Names of the text that stands beside such a code.
_SAID = frozenset({"msg", "message", "statusmsg", "errmsg", "errormsg", "errormessage", "retmsg", "resultmsg", "respmsg", "statusmessage"})
#: Objects that hold code and text, where those are not in the body itself.
_ENVELOPES = re.compile(r"^(base|common)?_?(resp|response|status|result|ret|header|meta)(_?(info|meta|header))?$", re.IGNORECASE)
_SUCCESSES = frozenset({"0", "00", "000", "0000", "200", "20000", "10000", "ok", "success", "succeeded"})
#: What a description says that a success's code is: "0 means success", "success: 0", "`200` on success".
_SAYS_SO = (
    re.compile(
        r"[`'\"]?\b(\d{1,5})\b[`'\"]?\s*(?:[:=-]|->|is|means?|indicates?|stands for|for|on|if)?\s*(?:a |the |request |an? ok )?succe", re.I
    ),
    re.compile(r"succe\w*\s*(?:[:=-]|->|is|code|when|if|with)*\s*[`'\"]?\b(\d{1,5})\b", re.I),
    re.compile(r"(?:other than|not|non-?)\s*[`'\"]?\b(0|200)\b[`'\"]?[^.]{0,40}(?:error|fail)", re.I),
)


@dataclass(frozen=True, slots=True)
class SuccessWord:
    """Where the body of an answer says whether it is a success, and the values that say so; none where the document does not tell them.

    `message` and `code`: where it says what went wrong.
    """

    at: str
    values: tuple[Any, ...]
    message: str | None = None
    code: str | None = None


def success_word(operation: Operation) -> SuccessWord | None:
    """What in the operation's successful JSON answer may say that it is an error; None where nothing does."""
    found = list(_success_words(answer_schema(operation) or {}))
    told = [one for one in found if one.values]
    return next(iter([*told, *found]), None)


def _success_words(schema: Schema) -> Iterator[SuccessWord]:
    objects: dict[tuple[str, ...], dict[str, Schema]] = {}
    for place, one in leaves(schema):
        if place and "*" not in place and len(place) <= 2:
            objects.setdefault(place[:-1], {}).setdefault(place[-1], one)
    for owner, fields in sorted(objects.items(), key=lambda entry: len(entry[0])):
        if owner and not _ENVELOPES.match(owner[0]):
            continue
        said = next((name for name, one in fields.items() if bare(name) in _SAID and type_of(one) in ("string", None)), None)
        for name, one in fields.items():
            flag = bare(name) in _FLAGS and type_of(one) == "boolean"
            code = said is not None and bare(name) in _CODES and type_of(one) in ("integer", "number", "string")
            # What can only be that of a success is never an error's.
            fixed = "const" in one or len(one.get("enum") or (None, None)) == 1
            if (flag or code) and not fixed:
                message = written((*owner, said)) if said is not None else None
                coded = name if code else next((other for other in fields if bare(other) in _CODES), None)
                at_code = written((*owner, coded)) if coded is not None else None
                yield SuccessWord(written((*owner, name)), (True,) if flag else _values(one), message, at_code)


def _values(schema: Schema) -> tuple[Any, ...]:
    """The values of a code that mean success, as far as its schema tells."""
    number = type_of(schema) != "string"
    stated = [schema.get("default"), schema.get("example"), *(schema.get("examples") or ()), *(schema.get("enum") or ())]
    known = [one for one in stated if str(one).lower() in _SUCCESSES]
    if known:
        return (known[0],)
    words = str(schema.get("description", ""))
    found = next((match[1] for pattern in _SAYS_SO if (match := pattern.search(words))), None)
    return () if found is None else (int(found) if number else found,)
