"""The one module that knows Schemathesis and Hypothesis: schemas in, generated values out, the same for the same seed.

Schemathesis 4.32.5's coverage engine is undocumented and moves fast; it is pinned, and nothing of it is seen outside this
file. Both libraries are imported when values are first asked for (0.2 s).

Left alone, Hypothesis draws constants from the source of whatever modules are loaded, keeps a cache folder in the working
directory, and spends a second on finding out which characters UTF-8 can encode. `_quiet` switches all three off while we
generate, so that a seed means the same values in every process, and nothing is written.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock
from typing import Any, Literal

Kind = Literal["missing-required", "wrong-type", "below-minimum", "above-maximum", "off-step", "bad-enum", "malformed"]
_one_at_a_time = RLock()


@dataclass(frozen=True, slots=True)
class BadValue:
    """A value that its schema does not allow: in which way (`kind`), and by which keyword of the schema."""

    value: Any
    kind: Kind
    keyword: str


def cover(schema: Mapping[str, Any]) -> list[Any]:
    """Values that the schema allows, one for each thing that it says (Schemathesis' coverage phase)."""
    return [value for value, _ in _coverage(json.dumps(schema), positive=True)]


def draw(schema: Mapping[str, Any], *, seed: int, count: int) -> list[Any]:
    """Up to `count` different random values that the schema allows (Schemathesis' fuzzing strategies)."""
    return _drawn(schema, seed, count, positive=True)


def cover_wrong(schema: Mapping[str, Any]) -> list[BadValue]:
    """Values that the schema does not allow, for each of its keywords that a kind exists for."""
    found = []
    for value, scenario in _coverage(json.dumps(schema), positive=False):
        if scenario in _KINDS:
            kind, keyword = _KINDS[scenario]
            exclusive = "exclusive" + keyword.capitalize()
            found.append(BadValue(value, kind, keyword if keyword in schema or exclusive not in schema else exclusive))
    return found


def draw_wrong(schema: Mapping[str, Any], *, seed: int, count: int) -> list[Any]:
    """Random values from Schemathesis' mutations of the schema; which of them it really forbids is for the caller to see."""
    return _drawn(schema, seed, count, positive=False)


#: Schemathesis' scenarios in our words. Those about the wire's form of parameters and about extra properties are left out.
_KINDS: Mapping[str, tuple[Kind, str]] = {
    "incorrect_type": ("wrong-type", "type"),
    "invalid_enum_value": ("bad-enum", "enum"),
    "value_below_minimum": ("below-minimum", "minimum"),
    "value_above_maximum": ("above-maximum", "maximum"),
    "not_multiple_of": ("off-step", "multipleOf"),
    "string_below_min_length": ("below-minimum", "minLength"),
    "string_above_max_length": ("above-maximum", "maxLength"),
    "array_below_min_items": ("below-minimum", "minItems"),
    "array_above_max_items": ("above-maximum", "maxItems"),
}


@lru_cache(maxsize=1024)
def _coverage(schema: str, *, positive: bool) -> tuple[tuple[Any, str], ...]:
    """Values with the scenario each stands for. The coverage engine has its own fixed seed, so what it gives can be kept."""
    with _one_at_a_time, _quiet():
        import jsonschema_rs
        from schemathesis.core.parameters import ParameterLocation
        from schemathesis.generation import GenerationMode
        from schemathesis.generation.coverage import GenerationSession
        from schemathesis.specs.openapi.coverage._schema import CoverageContext, cover_schema_iter

        own = json.loads(schema)  # a copy: the engine writes into the schemas that it walks
        context = CoverageContext(
            root_schema=own,
            location=ParameterLocation.BODY,
            media_type=("application", "json"),
            generation_modes=[GenerationMode.POSITIVE if positive else GenerationMode.NEGATIVE],
            is_required=True,
            custom_formats={},
            validator_cls=jsonschema_rs.Draft202012Validator,
            session=GenerationSession(),  # the shared one would hand on values drawn earlier in this process
        )
        return tuple((generated.value, str(generated.scenario.value)) for generated in cover_schema_iter(context, own))


def _drawn(schema: Mapping[str, Any], seed: int, count: int, *, positive: bool) -> list[Any]:
    with _one_at_a_time, _quiet():
        import hypothesis
        import schemathesis
        from schemathesis.config import SchemathesisConfig
        from schemathesis.generation import GenerationMode
        from schemathesis.generation.feedback import FeedbackSources

        # The value is wrapped in an object, so that a mutation of it cannot become "no body at all".
        wrapped = {
            "type": "object",
            "additionalProperties": False,
            "required": ["value"],
            "properties": {"value": json.loads(json.dumps(schema))},
        }
        body = {"required": True, "content": {"application/json": {"schema": wrapped}}}
        document = {
            "openapi": "3.1.0",
            "info": {"title": "one value", "version": "1"},
            "paths": {"/": {"post": {"requestBody": body, "responses": {"200": {"description": "any"}}}}},
        }
        operation = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())["/"]["POST"]
        mode = GenerationMode.POSITIVE if positive else GenerationMode.NEGATIVE
        found: dict[str, Any] = {}

        @hypothesis.seed(seed)
        @hypothesis.settings(
            database=None,
            deadline=None,
            max_examples=count,
            phases=(hypothesis.Phase.generate,),
            suppress_health_check=list(hypothesis.HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode, feedback=FeedbackSources()))
        def collect(case: Any) -> None:
            if isinstance(case.body, dict) and set(case.body) == {"value"}:
                value = case.body["value"]
                found.setdefault(json.dumps(value, sort_keys=True, default=repr), value)

        collect()
        return list(found.values())


@contextmanager
def _quiet() -> Iterator[None]:
    """Hypothesis without constants from loaded modules, without files, without the slow start; as it was when the block ends."""
    import hypothesis.configuration as configuration
    from hypothesis.internal import charmap
    from hypothesis.internal.conjecture import providers
    from hypothesis.internal.intervalsets import IntervalSet

    private: Any = providers
    found_locally, encodable = private._get_local_constants, charmap.intervals_from_codec
    home = configuration.storage_directory(intent_to_write=False).path
    nothing = private.Constants()
    utf8 = (IntervalSet([(0, 0xD7FF), (0xE000, 0x10FFFF)]), IntervalSet([]))

    def intervals(codec: str) -> Any:
        return utf8 if codec == "utf-8" else encodable(codec)

    with tempfile.TemporaryDirectory(prefix="testcard-") as scratch:
        private._get_local_constants = lambda: nothing
        private.CONSTANTS_CACHE.cache.clear()
        charmap.intervals_from_codec = intervals  # type: ignore[assignment]
        configuration.set_hypothesis_home_dir(scratch)
        try:
            yield
        finally:
            private._get_local_constants = found_locally
            private.CONSTANTS_CACHE.cache.clear()
            charmap.intervals_from_codec = encodable
            configuration.set_hypothesis_home_dir(home)


__all__: Sequence[str] = ["BadValue", "Kind", "cover", "cover_wrong", "draw", "draw_wrong"]
