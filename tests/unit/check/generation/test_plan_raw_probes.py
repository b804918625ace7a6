"""Probes that no field can describe: another method, other bytes, another media type."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testcard.harness.check.generation.plan import make_plan
from testcard.harness.pricing import Pricing
from testcard.harness.rules.rule import Probe, Rule, http_clause
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.model import WireRequest
from testcard.specs.loader import load_provider

NANOGPT = load_provider("nanogpt")
SCOPE = Scope(NANOGPT, "createImage")
BASE = Probe("generate/base", "createImage", SCOPE.base_request("generate"), first=True)


def wires(*probes: Probe) -> list[WireRequest]:
    """What a plan of these probes and the base sends, the base first."""
    rule = Rule("http.test", "must", http_clause("15"), "", lambda scope, seen: (), asks=lambda scope: (BASE, *probes))
    plan = make_plan(NANOGPT, Pricing(NANOGPT, mock=True), rules=(rule,), operations=("createImage",), cases=False)
    return [step.wire(NANOGPT, "http://t", "key") for step in plan.steps]


def test_another_method_with_the_same_body() -> None:
    """`method` changes nothing but the method."""
    base, other = wires(replace(BASE, key="generate/put", method="PUT", first=False))
    assert (base.method, other.method) == ("POST", "PUT")
    assert other == replace(base, method="PUT")


def test_no_body_has_no_content_type() -> None:
    """An empty `raw_body` leaves out the content type as well; the key stays."""
    _, other = wires(replace(BASE, key="generate/get", method="GET", raw_body=b"", first=False))
    assert other.body == b""
    assert {name for name, _ in other.headers} == {"accept", "authorization"}


@pytest.mark.parametrize("raw", [b'{"prompt": "a', b"\xff\x00"])
def test_other_bytes_under_the_same_content_type(raw: bytes) -> None:
    """`raw_body` is sent byte for byte."""
    base, other = wires(replace(BASE, key="generate/raw", raw_body=raw, first=False))
    assert other.body == raw
    assert other.headers == base.headers


def test_another_media_type_encodes_or_only_relabels() -> None:
    """`media_type` encodes the fields anew, a content type among `headers` leaves the bytes as they are."""
    form = replace(BASE, key="generate/form", media_type="application/x-www-form-urlencoded", first=False)
    label = replace(BASE, key="generate/label", headers=(("content-type", "application/xml"),), first=False)
    base, encoded, labelled = wires(form, label)
    assert b"&prompt=a+" in encoded.body
    assert dict(encoded.headers)["content-type"] == "application/x-www-form-urlencoded"
    assert labelled.body == base.body
    assert dict(labelled.headers)["content-type"] == "application/xml"


def test_requests_that_differ_only_in_method_are_not_merged() -> None:
    """Two methods are two requests; the same raw request under two keys is one."""
    get = replace(BASE, key="generate/get", method="GET", raw_body=b"", first=False)
    assert len(wires(get, replace(get, key="generate/put", method="PUT"))) == 3
    assert len(wires(get, replace(get, key="generate/again"))) == 2
