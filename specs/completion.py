"""A profile as its writer means it: what it leaves out is taken from the document, and what it says in short is spelt out.

What a profile says itself stands. A field that it gives a meaning is taken as written; one that it only adds something to keeps what was
recognised. A response map that says where the pictures are is taken as written; without that, the document's is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from testcard.specs.agreement import has_place, unsaid
from testcard.specs.errors_recognised import error_data, success_word, with_texts_last
from testcard.specs.keys import header_of, ways_in
from testcard.specs.openapi import OpenApi, Operation, server_url
from testcard.specs.pointers import parts_of, wire_parts
from testcard.specs.profile import OperationProfile
from testcard.specs.recognition import (
    Data,
    answer_schema,
    delivery_words,
    models_of,
    request_data,
    response_data,
)
from testcard.specs.schemas import Schema, schema_at
from testcard.specs.tasks_recognised import cancels, gives_reference, polls, result_pictures, submits, task_data

_TASKS = ("generate", "edit", "variation", "describe")


def spelt_out(data: Mapping[str, Any]) -> Data:
    """Short spellings in full: `operations` as a list of ids, a model as its id alone."""
    found = dict(data)
    operations = found.get("operations")
    if isinstance(operations, list) and all(isinstance(name, str) for name in operations):
        found["operations"] = {name: {} for name in operations}
    elif isinstance(operations, Mapping):
        found["operations"] = {name: {} if entry is None else entry for name, entry in operations.items()}
    if isinstance(found.get("models"), list):
        found["models"] = [{"id": model} if isinstance(model, str) else model for model in found["models"]]
    return found


def with_short_fields(data: Mapping[str, Any]) -> Data:
    """As `spelt_out`, with the fields' short spellings in full as well, for a judge of keys that has no document to go by."""
    found = spelt_out(data)
    if isinstance(found.get("operations"), Mapping):
        found["operations"] = {name: _with_meanings(entry) for name, entry in found["operations"].items()}
    return found


def _with_meanings(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    found = dict(entry)
    for kind in ("fields", "path", "query", "headers"):
        if isinstance(found.get(kind), Mapping):
            found[kind] = {name: _field(own, None) for name, own in found[kind].items()}
    return found


def completed(data: Mapping[str, Any], openapi: OpenApi, folder: str) -> Data:
    """The profile with all that the document says beside it. `folder` is the name of the provider's folder."""
    found = spelt_out(data)
    given: Mapping[str, Any] = found.get("operations") or {}
    operations = {name: _operation(dict(given[name]), operation) for name in given if (operation := openapi.operations.get(name))}
    whole = {name: operations.get(name, entry) for name, entry in given.items()}
    found.setdefault("id", re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "provider")
    info = openapi.raw.get("info") or {}
    found.setdefault("name", str(info.get("title") or found["id"]))
    found.setdefault("document", openapi.source.path.name)
    if "base_urls" not in found:
        urls = [url for server in openapi.raw.get("servers") or () if (url := server_url(server)).startswith("http") and "{" not in url]
        if urls:
            found["base_urls"] = urls
    found.setdefault("auth", _auth(openapi, str(found["id"])))
    _asynchronous(whole, openapi, found)
    for name, entry in whole.items():
        if name in openapi.operations:
            _fit_to_answer(entry, dict(given[name]).get("fields") or {}, openapi.operations[name])
    found["operations"] = whole
    found["models"] = _models(found, whole, openapi)
    if "tasks" not in found:
        able = {task: next((name for name, entry in whole.items() if task in entry.get("tasks", ())), None) for task in _TASKS}
        found["tasks"] = {task: {"operation": name} for task, name in able.items() if name is not None}
    if isinstance(found.get("errors", {}), Mapping):
        found["errors"] = _errors(found.get("errors") or {}, [openapi.operations[name] for name in whole if name in openapi.operations])
    return found


def _errors(own: Mapping[str, Any], operations: Sequence[Operation]) -> Data:
    """Where errors keep what they say, and how one that is sent as a success is told, where the profile says nothing of either."""
    words = [word for operation in operations if (word := success_word(operation)) is not None and word.values]
    found: Data = dict(own)
    if words and "success" not in own:
        found["success"] = {"at": words[0].at, "values": list(words[0].values)}
    if "message" in own:
        return found
    errors: Data = {}
    for operation in operations:
        for key, places in error_data(operation).items():
            errors[key] = list(dict.fromkeys([*errors.get(key, ()), *places]))
    if isinstance(success := found.get("success"), Mapping):
        beside = [word for operation in operations if (word := success_word(operation)) is not None and word.at == success.get("at")]
        for word in beside[:1]:
            for key, place in (("message", word.message), ("code", word.code)):
                if place is not None:
                    errors[key] = list(dict.fromkeys([*errors.get(key, ()), place]))
    return {**(with_texts_last(errors) or {"message": ["/error/message"], "code": ["/error/code"]}), **found}


def _operation(entry: Data, operation: Operation) -> Data:
    said = request_data(operation)
    for kind in ("fields", "path", "query", "headers"):
        recognised: Mapping[str, Data] = said.get(kind, {})
        own = entry.get(kind)
        if isinstance(own, Mapping):
            merged = {name: _field(own[name], recognised.get(name)) for name in own}
            taken = {field.get("means") for field in merged.values() if isinstance(field, Mapping)}
            for name, field in recognised.items():
                if name not in merged:
                    fresh = field["means"] in ("other", "image", "task_id") or field["means"] not in taken
                    merged[name] = field if fresh else {"means": "other"}
            entry[kind] = merged
        elif recognised and own is None:
            entry[kind] = dict(recognised)
    response = entry.get("response")
    if response is None or (isinstance(response, Mapping) and not {"pictures", "binary"} & response.keys()):
        entry["response"] = {**_as_asked(response_data(operation), entry.get("fields") or {}, operation), **(response or {})}
    meanings = {field.get("means") for field in (entry.get("fields") or {}).values() if isinstance(field, Mapping)}
    if "kind" not in entry:
        about_task = (polls(operation) and not meanings) or cancels(operation)
        entry["kind"] = "chat" if "messages" in meanings else "task" if about_task else "images"
    if entry["kind"] == "task":
        entry.setdefault("billed", False)
        if not _keyed(operation) and "auth_required" not in entry:
            entry["auth_required"] = False
    if "tasks" not in entry:
        gives = bool({"pictures", "binary"} & entry["response"].keys()) or "async" in entry or gives_reference(operation)
        entry["tasks"] = _tasks(entry, operation, meanings) if gives or entry["kind"] != "images" else []
        if "needs" not in entry and "edit" in entry["tasks"] and "generate" in entry["tasks"]:
            entry["needs"] = {"edit": ["image"]}
    return entry


def _fit_to_answer(entry: Data, own: Mapping[str, Any], operation: Operation) -> None:
    """Recognised fields without a meaning where the answer has no place for what they ask: several pictures, a way of delivery, a stream.

    What the profile itself says of a field (`own`) stands.
    """
    response = entry.get("response") or {}
    if not any("text/event-stream" in operation.response_media_types(status) for status in operation.success_statuses):
        for name, field in (entry.get("fields") or {}).items():
            if name not in own and isinstance(field, Mapping) and field.get("means") == "stream" and "events" not in response:
                entry["fields"][name] = {"means": "other"}
    if entry.get("kind") != "images" or not {"pictures", "binary"} & response.keys():
        return
    single = "*" not in str(response.get("pictures") or "")
    for name, field in list((entry.get("fields") or {}).items()):
        if name in own or not isinstance(field, Mapping):
            continue
        schema = schema_at(operation.request_schema, wire_parts(name))
        if field.get("means") == "n" and single:
            entry["fields"][name] = {"means": "other", **({"send": field["cheapest"]} if "cheapest" in field else {})}
        elif field.get("means") == "delivery":
            entry["fields"][name] = _ways_with_a_place(dict(field), schema, response)


def _ways_with_a_place(field: Data, schema: Schema, response: Mapping[str, Any]) -> Data:
    """A field that means delivery with only those of its values for which the answer has a place."""
    there = {way for way in ("base64", "url") if way in response} if "binary" not in response else set()
    listed = delivery_words(schema)
    words = {way: word for way, word in listed.items() if way in there}
    if not words:
        stated = next(iter(listed.values()), None)
        return {"means": "other", **({"cheapest": stated} if stated is not None else {})}
    if len(words) < len(listed):
        field |= {"must_accept": list(words.values()), "cheapest": next(iter(words.values()))}
    return field


def _as_asked(response: Data, fields: Mapping[str, Any], operation: Operation) -> Data:
    """The answer's map without the way of delivery that the request's own field for it does not list, and with the field's default."""
    asked = next((name for name, field in fields.items() if isinstance(field, Mapping) and field.get("means") == "delivery"), None)
    schema = operation.properties.get(asked, {}) if asked is not None else {}
    ways = delivery_words(schema)
    usual = next((way for way, word in ways.items() if word == schema.get("default")), None)
    if usual in response and "binary" not in response:
        response = {**response, "default_delivery": usual}
    if len(ways) != 1 or not ways.keys() & response.keys():
        return response
    (way,) = ways
    other = "url" if way == "base64" else "base64"
    return {**{key: value for key, value in response.items() if key != other}, "default_delivery": way}


def _field(own: Any, recognised: Data | None) -> Any:
    if isinstance(own, str):
        return {"means": own}
    if not isinstance(own, Mapping) or "means" in own:
        return own
    return {**(recognised or {"means": "other"}), **own}


def _tasks(entry: Data, operation: Operation, meanings: set[Any]) -> list[str]:
    if entry["kind"] == "task":
        return []
    if entry["kind"] == "chat":
        return ["describe"]
    required = {entry["fields"][name].get("means") for name in operation.required if name in (entry.get("fields") or {})}
    if "image" not in meanings:
        return ["generate"] if "prompt" in meanings else []
    if "prompt" not in meanings or "variation" in operation.id.lower():
        return ["variation"]
    return ["edit"] if "image" in required else ["generate", "edit"]


def _keyed(operation: Operation) -> bool:
    security = operation.raw.get("security", operation.document.raw.get("security"))
    return bool(security) and {} not in security


def _auth(openapi: OpenApi, provider: str) -> Data:
    """The header that carries the key, from the first scheme that the document asks for and that is one, else from a parameter that is
    named for a key; none where it asks for none.
    """
    schemes = (openapi.raw.get("components") or {}).get("securitySchemes") or {}
    asked = [name for way in ways_in(openapi) if len(way) == 1 for name in way]
    known = [scheme for name in dict.fromkeys(asked) if isinstance(scheme := openapi.deref(schemes.get(name)), Mapping)]
    known.sort(key=lambda scheme: scheme.get("type") in ("oauth2", "openIdConnect"))  # a key is what a user has
    headers = [header for scheme in known if (header := header_of(scheme)) is not None]
    if not headers and not ways_in(openapi):
        names = [name for operation in openapi.operations.values() for name in operation.key_headers]
        headers = [{"name": name, "prefix": "Bearer " if name.lower() == "authorization" else ""} for name in dict.fromkeys(names)][:1]
    if not headers:
        return {}
    key_env = re.sub(r"[^A-Z0-9]+", "_", provider.upper()) + "_API_KEY"
    return {"header": headers[0], "also_accepts": headers[1:], "key_env": key_env}


def _models(found: Data, operations: Mapping[str, Data], openapi: OpenApi) -> list[Any]:
    working = [name for name, entry in operations.items() if entry.get("tasks")]
    if "models" in found:
        stated = found["models"] if isinstance(found["models"], list) else []
        return [{"operations": working, **model} if isinstance(model, Mapping) else model for model in stated]
    by_model: dict[str, list[str]] = {}
    for name in working:
        if name in openapi.operations:
            beyond = _beyond_reach(openapi.operations[name])
            for model in models_of(openapi.operations[name]):
                if model not in beyond:
                    by_model.setdefault(model, []).append(name)
    return [{"id": model, "operations": names} for model, names in by_model.items()]


def _beyond_reach(operation: Operation) -> set[Any]:
    """Values of the other kinds of request that need something which neither a request nor the document says."""
    found: set[Any] = set()
    for one in operation.alternatives[1:]:
        kind = replace(operation, chosen=one.name)
        problems = unsaid(kind, OperationProfile.model_validate(_operation({}, kind)))
        if next(problems, None) is not None:
            found.update(value for values in one.values.values() for value in values)
    return found


def _asynchronous(operations: dict[str, Data], openapi: OpenApi, found: Data) -> None:
    """The protocol of each operation that answers without a picture, and the map of the answer that its task ends with."""
    if "async" in found:
        return
    protocols: dict[str, Data] = {}
    listed = [openapi.operations[name] for name in operations if name in openapi.operations]
    for name, entry in operations.items():
        response = entry.get("response") or {}
        if name not in openapi.operations or entry["kind"] != "images" or not entry["tasks"] or "async" in entry:
            continue
        if "binary" in response:
            continue
        others = [one for one in listed if one.id != name]
        there = "pictures" in response and has_place(answer_schema(openapi.operations[name]) or {}, parts_of(str(response["pictures"])))
        if there and not submits(openapi.operations[name], others):
            continue
        protocol = task_data(openapi.operations[name], others)
        if protocol is None:
            continue
        entry["async"] = protocols[name] = protocol
        gives = protocol["result_from"]["operation"] if "result_from" in protocol else protocol.get("operation")
        poll = openapi.operations.get(str(gives))
        if poll is not None:
            entry["response"] = {**result_pictures(poll), **response} if not there else {**response, **result_pictures(poll)}
    working = [name for name, entry in operations.items() if entry.get("tasks")]
    if protocols and set(protocols) == set(working) and all(one == protocols[working[0]] for one in protocols.values()):
        # One protocol for all of them is the provider's.
        found["async"] = protocols[working[0]]
        for name in working:
            del operations[name]["async"]
