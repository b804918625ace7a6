"""The register of faults is sound: names, places, rates."""

from __future__ import annotations

import pytest

from testcard.mocks.faults import FAULTS, FaultSource, parse_fault
from testcard.mocks.stages import NO_HOOKS
from testcard.specs.errors import UsageError
from testcard.specs.loader import bundled_ids, load_provider

RULES = {
    "http.status-documented",
    "http.no-server-error",
    "schema.response",
    "auth.required",
    "request.accepts-valid",
    "request.refuses-invalid",
    "image.count",
    "image.decodes",
    "image.size",
    "image.format",
    "delivery.exclusive",
    "seed.repeatable",
}


def test_every_rule_has_a_fault() -> None:
    """Each rule of the check has at least one fault named after it, and each fault is named after its rule."""
    assert {fault.rule for fault in FAULTS.values()} >= RULES
    for name, fault in FAULTS.items():
        assert name == fault.name
        assert name.split("/")[0] == fault.rule
        assert fault.rule not in fault.also
        assert fault.does.endswith(".")


def test_every_place_exists() -> None:
    """A fault names only operations that the providers have."""
    known = {(name, operation) for name in bundled_ids() for operation in load_provider(name).profile.operations}
    for fault in FAULTS.values():
        assert fault.places or fault.own is not None
        assert set(fault.places) <= known
        assert all(fault.applies(*place) for place in fault.places)
        assert set(fault.providers) == {provider for provider, _ in fault.places}


def test_every_operation_has_faults_of_its_own() -> None:
    """No operation is without faults: what no fault can break, no rule is proved on."""
    for name in bundled_ids():
        for operation in load_provider(name).profile.operations:
            assert len({fault.rule for fault in FAULTS.values() if fault.applies(name, operation)}) >= 3


@pytest.mark.parametrize(("rate", "held"), [("", 100), ("@1", 100), ("@0.5", 50), ("@0.1", 10), ("@0.07", 7)])
def test_a_rate_is_kept_exactly(rate: str, held: int) -> None:
    """A fault with a rate holds for that share of the requests, evenly spread, and in the same rhythm each time."""
    source = FaultSource(load_provider("nanogpt"), "createImage", [parse_fault("image.size" + rate)])
    held_by_each = [bool(source.next()) for _ in range(100)]
    assert sum(held_by_each) == held
    again = FaultSource(load_provider("nanogpt"), "createImage", [parse_fault("image.size" + rate)])
    assert held_by_each == [bool(again.next()) for _ in range(100)]


def test_a_fault_stays_where_it_applies() -> None:
    """An operation that a fault does not apply to stays honest."""
    assert FaultSource(load_provider("opengpu-relay"), "getTask", [parse_fault("image.size")]).next() is NO_HOOKS


@pytest.mark.parametrize("text", ["image.sise", "image.size@0", "image.size@2", "image.size@x", "image.size@nan", ""])
def test_a_wrong_fault_is_a_usage_error(text: str) -> None:
    """A name or rate that cannot be is answered with what can."""
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert "image.size@0.1" in str(caught.value.hint) or "--list-faults" in str(caught.value.hint)
