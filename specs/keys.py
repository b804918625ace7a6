"""How a document lets requests in: by a key in a header, which every request can carry, or in a way that a profile has to replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from testcard.specs.agreement import SpecProblem, dotted
from testcard.specs.openapi import OpenApi
from testcard.specs.reading import YamlFile

Data = dict[str, Any]


def ways_in(openapi: OpenApi) -> list[tuple[str, ...]]:
    """The ways in which requests of the operations may be let in, each as the names of the schemes that it takes together."""
    stated = [one for owner in (openapi.raw, *(one.raw for one in openapi.operations.values())) for one in owner.get("security") or ()]
    return [tuple(map(str, one)) for one in stated if isinstance(one, Mapping)]


def without_a_header(openapi: OpenApi) -> tuple[tuple[str, ...], str] | None:
    """Where the document asks for a key and says how it travels, and why none of its ways is one that requests can take: a key in one
    header; None where one is, or no key is needed.
    """
    schemes = (openapi.raw.get("components") or {}).get("securitySchemes") or {}
    ways = ways_in(openapi)
    found: tuple[tuple[str, ...], str] | None = None
    for way in ways:
        known = {name: scheme for name in way if isinstance(scheme := openapi.deref(schemes.get(name)), Mapping)}
        if len(known) < len(way) or (len(way) == 1 and header_of(known[way[0]]) is not None) or not way:
            return None
        if len(way) > 1:
            place, said = ("components", "securitySchemes", way[1]), f"is asked for together with {way[0]}, and requests carry one key"
        else:
            scheme = known[way[0]]
            place = ("components", "securitySchemes", way[0])
            kind = f"a key in the {scheme.get('in')}" if scheme.get("type") == "apiKey" else scheme.get("scheme") or scheme.get("type")
            why = ", for addresses are written into runs" if scheme.get("in") == "query" else ""
            said = f"lets requests in by {kind}, and Testcard sends keys in headers only{why}"
        found = found or (place, said)
    return found


def header_of(scheme: Mapping[str, Any]) -> Data | None:
    """The header that a scheme's key goes into; None for a key that goes elsewhere."""
    kind = str(scheme.get("type", "")).lower()
    if kind == "http" and str(scheme.get("scheme", "")).lower() == "bearer":
        return {"name": "Authorization", "prefix": "Bearer "}
    if kind == "apikey" and scheme.get("in") == "header" and scheme.get("name"):
        prefix = "Bearer " if str(scheme["name"]).lower() == "authorization" else ""
        return {"name": str(scheme["name"]), "prefix": prefix}
    if kind == "http" and str(scheme.get("scheme", "")).lower() == "basic":
        return {"name": "Authorization", "prefix": "Basic "}  # the key is what stands after it: user and password in base64
    return {"name": "Authorization", "prefix": "Bearer "} if kind in ("oauth2", "openidconnect") else None


def key_problems(openapi: OpenApi, source: YamlFile) -> Iterator[SpecProblem]:
    """The scheme that keeps requests from being let in, where the profile (`source`) says nothing of its own."""
    found = without_a_header(openapi) if not (isinstance(source.data, Mapping) and "auth" in source.data) else None
    if found is not None:
        pointer, said = found
        file, line = openapi.source.place(pointer)
        how = "say in profile.yaml which header takes the key (auth: {header: {name: …}}), or that none is needed (auth: {})"
        yield SpecProblem(str(file), line, dotted(pointer), f"{said}; {how}")
