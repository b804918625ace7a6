"""Schema cases: what must be accepted, what breaks exactly one promise, the same every time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from testcard.harness.check.generation.schema_cases import SchemaCase, generate, plain, wire_bytes
from testcard.harness.wire.model import InputImage
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.errors import SpecError
from testcard.specs.loader import BUNDLED, Provider, bundled_ids, load_provider
from testcard.specs.pointers import at, pointer_of

OPERATIONS = [
    (name, operation)
    for name in bundled_ids()
    for operation, profile in load_provider(name).profile.operations.items()
    if profile.kind != "task"
]
ALL = 10_000


@lru_cache(maxsize=64)
def cases(name: str, operation: str, seed: int = 1) -> tuple[Provider, list[SchemaCase]]:
    provider = load_provider(name)
    return provider, generate(provider, operation, seed=seed, max_positive=ALL, max_negative=ALL)


def positive(found: list[SchemaCase]) -> list[SchemaCase]:
    return [case for case in found if case.positive]


def negative(found: list[SchemaCase]) -> list[SchemaCase]:
    return [case for case in found if not case.positive]


def validator(provider: Provider, operation: str) -> Any:
    return jsonschema.Draft202012Validator(provider.operation(operation).request_schema)


def is_json(provider: Provider, operation: str) -> bool:
    return provider.operation(operation).request_media_type == "application/json"


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_positive_cases_keep_the_schema_as_written(name: str, operation: str) -> None:
    """A validator that had no part in generating them finds nothing wrong with any positive case, for several seeds."""
    for seed in (1, 2) if name == "nanogpt" else (1,):
        provider, found = cases(name, operation, seed)
        assert positive(found)
        for case in positive(found):
            assert list(validator(provider, operation).iter_errors(plain(case.fields.body))) == [], case.id


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_positive_cases_stay_inside_the_safe_domain(name: str, operation: str) -> None:
    """Every value is one that the profile says must be accepted (or the case says it may be refused); no number of pictures but one."""
    provider, found = cases(name, operation)
    schema = provider.operation(operation).properties
    for case in positive(found):
        assert case.images == 1
        for wire, value in case.fields.body.items():
            entry = provider.field(operation, wire, case.request.model)
            assert entry is not None
            if entry.means == "n":
                assert value == 1
            stated = [*entry.must_accept, *schema[wire].get("enum", ()), schema[wire].get("default")]
            if case.may_refuse:
                stated += entry.may_refuse
            if entry.means not in ("prompt", "messages", "image", "mask", "user", "negative_prompt", "model"):
                assert value in stated, (case.id, wire, value)
            if entry.means == "model":
                assert value in [model.id for model in provider.profile.models]
            if entry.means == "prompt":
                assert len(value) > 10


def pictures_in(value: Any) -> list[str | InputImage]:
    if isinstance(value, InputImage):
        return [value]
    if isinstance(value, dict):
        return [picture for item in value.values() for picture in pictures_in(item)]
    if isinstance(value, list):
        return [picture for item in value for picture in pictures_in(item)]
    return [value] if isinstance(value, str) and len(value) > 200 else []


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_pictures_in_positive_cases_are_real(name: str, operation: str) -> None:
    """Whatever a case carries as a picture decodes, in the spelling that the field wants; nothing else is that long."""
    provider, found = cases(name, operation)
    profile = provider.operation_profile(operation)
    seen = 0
    for case in positive(found):
        for wire, value in case.fields.body.items():
            entry = profile.fields[wire]
            for picture in pictures_in(value):
                assert entry.means in ("image", "mask", "messages")
                data = picture.data if isinstance(picture, InputImage) else lenient_base64(picture)
                assert data is not None
                assert inspect(data).problem is None
                assert isinstance(picture, InputImage) == (entry.format == "file")
                if isinstance(picture, str):
                    assert picture.startswith("data:image/png;base64,") == (entry.format in ("data-url", "messages"))
                seen += 1
    assert bool(seen) == any(entry.means in ("image", "messages") for entry in profile.fields.values())


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_no_two_cases_send_the_same_bytes(name: str, operation: str) -> None:
    """A billed request is never repeated, and ids are unique."""
    provider, found = cases(name, operation)
    for part in (positive(found), negative(found)):
        sent = Counter((wire_bytes(provider, case).url, wire_bytes(provider, case).body) for case in part)
        assert max(sent.values()) == 1
    assert len({case.id for case in found}) == len(found)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_documented_values_and_optional_fields_are_all_seen(name: str, operation: str) -> None:
    """Without a limit, each must-accept value is sent in some case, and each pair of them that can go together in one."""
    provider, found = cases(name, operation)
    profile = provider.operation_profile(operation)
    sent = [case.fields.body for case in positive(found)]
    stated: dict[str, list[Any]] = {}
    for wire, entry in profile.fields.items():
        if entry.means in ("n", "async", "prompt", "messages", "image", "mask", "width", "height"):
            continue
        values = list(entry.must_accept) or provider.operation(operation).properties[wire].get("enum", [])
        stated[wire] = [value for value in values if value not in entry.may_refuse]
        for value in stated[wire]:
            assert any(body.get(wire) == value for body in sent), (wire, value)
    for (a, first), (b, second) in combinations(stated.items(), 2):
        for x in first:
            for y in second:
                assert any(body.get(a) == x and body.get(b) == y for body in sent), (a, x, b, y)
    for wire, entry in profile.fields.items():
        if entry.means in ("image", "mask", "user"):
            may = profile.needs.get("inpaint") and entry.means == "mask"
            many = any(other.many for other in profile.fields.values()) and wire not in provider.operation(operation).required
            assert may or many or any(wire in body for body in sent), wire


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_spare_cases_only_combine_what_others_show(name: str, operation: str) -> None:
    """Every value of a spare case is in one that is sent in any case; essential cases come first, and are few."""
    _, found = cases(name, operation)
    certain = [case for case in positive(found) if not case.spare]
    spare = [case for case in positive(found) if case.spare]
    assert positive(found) == certain + spare
    assert len(certain) <= 14
    shown = {(wire, json.dumps(plain(value))) for case in certain for wire, value in case.fields.body.items()}
    for case in spare:
        for wire, value in case.fields.body.items():
            if wire not in ("prompt", "messages"):
                assert (wire, json.dumps(plain(value))) in shown, (case.id, wire)


def differences(base: Any, other: Any, at: str = "") -> list[str]:
    """Pointers to where two bodies differ, as deep as they agree in kind."""
    if type(base) is type(other) and isinstance(base, dict) and base and other:
        keys = [*base, *(key for key in other if key not in base)]
        return [place for key in keys for place in differences(base.get(key, ...), other.get(key, ...), f"{at}/{key}")]
    if type(base) is type(other) and isinstance(base, list) and base and other and len(base) == len(other):
        return [place for index, pair in enumerate(zip(base, other, strict=True)) for place in differences(*pair, f"{at}/{index}")]
    return [] if base is other or (type(base) is type(other) and base == other) else [at]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_negative_cases_are_one_mutation_from_their_base_and_break_the_schema(name: str, operation: str) -> None:
    """Each differs from an accepted base in one place, where it says so, and an independent validator refuses it for that."""
    for seed in (1, 2) if name == "nanogpt" else (1,):
        provider, found = cases(name, operation, seed)
        by_id = {case.id: case for case in positive(found)}
        required = provider.operation(operation).required
        assert [case.parameter for case in found if case.kind == "missing-required"] == [wire for wire in required if wire != "n"]
        for case in negative(found):
            assert case.kind is not None
            assert case.base is not None
            base = by_id[case.base].fields
            assert not by_id[case.base].may_refuse
            if case.kind == "malformed":
                assert case.fields == base
                assert case.raw
                continue
            assert case.fields.path == base.path
            assert differences(base.body, case.fields.body) == [case.at], case.id
            if is_json(provider, operation) or case.kind == "missing-required":
                errors = list(validator(provider, operation).iter_errors(plain(case.fields.body)))
                broken = "" if case.kind == "missing-required" else case.at
                assert {pointer_of(error.absolute_path) for error in errors} == {broken}, case.id
                keywords = {error.validator for error in errors}
                assert case.place.rsplit("/", 1)[-1] in keywords, case.id
                assert len(keywords) == 1 or case.kind == "wrong-type", case.id  # a value of another type is in no enum either
            assert case.level == ("must" if case.kind == "missing-required" else "info" if case.null else "should")
            *above, last = case.at.strip("/").split("/")
            may_be_left_out = not last.isdigit() and (bool(above) or last not in required)
            assert case.null == (case.kind == "wrong-type" and may_be_left_out and at(case.fields.body, case.at) is None)


def test_malformed_bodies_do_not_parse() -> None:
    """JSON that was cut off is JSON to nobody; a cut-off multipart body holds no whole part, so no parser finds the required ones."""
    for name, operation in OPERATIONS:
        _, found = cases(name, operation)
        (case,) = [case for case in found if case.kind == "malformed"]
        assert case.raw is not None
        assert case.media_type is not None
        if case.media_type == "application/json":
            with pytest.raises(ValueError, match="Expecting"):
                json.loads(case.raw)
        else:
            boundary = case.media_type.split("boundary=")[1].encode()
            assert boundary in case.raw
            assert case.raw.count(boundary) == 1
            assert b"\r\n\r\n" not in case.raw


def test_form_values_are_wrong_however_their_text_is_read() -> None:
    """A multipart part is text: "1" for a number or a number for a string is no mistake, and is not called one."""
    provider, found = cases("nebul", "createImageEdit")
    wrong = [case for case in found if case.kind == "wrong-type"]
    assert {case.parameter for case in wrong} <= {"n", "guidance"}
    assert wrong
    for case in wrong:
        value = case.fields.body[str(case.parameter)]
        schema = provider.operation("createImageEdit").properties[str(case.parameter)]
        for reading in (value, str(value)):
            assert not jsonschema.Draft202012Validator(schema).is_valid(reading)


def test_places_that_the_profile_calls_lenient_are_left_alone() -> None:
    """A message's content may be a plain string; no negative case says otherwise."""
    for seed in (1, 2, 3):
        _, found = cases("nvidia-nim-vision", "createVisionChatCompletion", seed)
        contents = [case for case in found if case.at == "/messages/0/content"]
        assert all(not isinstance(case.fields.body["messages"][0]["content"], str) for case in contents)


def test_nothing_costly_is_asked_for_by_mistake() -> None:
    """No mutated count, size or step number goes further than just past its bound, so a server that takes it does little work."""
    for name, operation in OPERATIONS:
        provider, found = cases(name, operation)
        fields = provider.operation_profile(operation).fields
        for case in negative(found):
            assert case.images <= 5
            for wire, value in case.fields.body.items():
                if fields[wire].means in ("n", "width", "height", "steps", "max_tokens") and isinstance(value, int | float):
                    assert value <= max(101, 64 + 33, 512), (case.id, value)


def test_limits_hold_and_the_most_telling_come_first() -> None:
    """Bases and the barest request lead the positive cases, required fields the negative ones; limits cut the tail."""
    for name, operation in OPERATIONS[::3]:
        provider, everything = cases(name, operation)
        few = generate(provider, operation, seed=1, max_positive=4, max_negative=3)
        assert sum(case.images for case in positive(few)) <= 4
        assert len(positive(few)) <= 4
        assert len(negative(few)) <= 3
        assert [case.id for case in few if case.positive] == [case.id for case in everything if case.positive][:4]
        assert few[0].id == f"{few[0].request.task}/base"
        assert negative(few)[0].kind == "missing-required"


def test_a_model_that_the_user_names_is_the_only_one_asked_for() -> None:
    """With --model, no case leaves the model out or names another."""
    provider = load_provider("nanogpt")
    for case in generate(provider, "createImage", seed=1, model="flux-kontext"):
        if case.at != "/model":
            assert case.fields.body["model"] == "flux-kontext"
    for case in generate(load_provider("nvidia-nim-image"), "generateImage", seed=1, model="nvidia/edify-image"):
        assert case.fields.path == {"publisher": "nvidia", "model": "edify-image"}


def test_polling_has_no_schema_cases() -> None:
    """An operation without a body of the task's own has none."""
    assert cases("opengpu-relay", "getTask")[1] == []


SCRIPT = """
import hashlib
from testcard.harness.check.generation.schema_cases import generate, wire_bytes
from testcard.specs.loader import load_provider
EVERY_SEED = (("nvidia-nim-image", "generateImage"),)
SOME_SEEDS = (("nanogpt", "createImage"), ("nebul", "createImageEdit"), ("nvidia-nim-vision", "createVisionChatCompletion"))
for seed in range(20):
    digest = hashlib.sha256()
    for name, operation in EVERY_SEED if seed else EVERY_SEED + SOME_SEEDS:
        provider = load_provider(name)
        for case in generate(provider, operation, seed=seed):
            request = wire_bytes(provider, case)
            digest.update(repr((case.id, case.description, request.url, request.headers, request.body)).encode())
    print(digest.hexdigest())
"""


def test_twenty_seeds_give_the_same_bytes_in_two_fresh_processes(tmp_path: Path) -> None:
    """Same seed, same sequence, whatever else was loaded or drawn before; seeds differ; nothing is written beside us."""
    running = []
    for number, prelude in enumerate(("", "import xml.dom.minidom, email, decimal; CONSTANT = 987654321; TEXT = 'a local constant'\n")):
        folder = tmp_path / str(number)
        folder.mkdir()
        script = folder / "generate_cases.py"
        script.write_text(prelude + SCRIPT)
        environment = {"PYTHONHASHSEED": str(number + 1), "PATH": "", "HOME": str(folder)}
        running.append(subprocess.Popen([sys.executable, str(script)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True))
    first, second = (process.communicate(timeout=300)[0].split() for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert first == second
    assert len(set(first)) == 20
    for number in (0, 1):
        assert [path.name for path in (tmp_path / str(number)).iterdir()] == ["generate_cases.py"]
    # This process has a history of its own (Hypothesis' plugin, other tests); it makes no difference either.
    digest = hashlib.sha256()
    provider = load_provider("nvidia-nim-image")
    for case in generate(provider, "generateImage", seed=3):
        request = wire_bytes(provider, case)
        digest.update(repr((case.id, case.description, request.url, request.headers, request.body)).encode())
    assert digest.hexdigest() == first[3]


def test_a_profile_that_contradicts_its_schema_is_a_spec_error(tmp_path: Path) -> None:
    """A must-accept value outside the schema's enum is pointed at in profile.yaml before anything is sent."""
    shutil.copytree(BUNDLED / "nanogpt", tmp_path / "nanogpt")
    path = tmp_path / "nanogpt" / "profile.yaml"
    text = path.read_text()
    old = "must_accept: [256x256, 512x512, 1024x1024]"
    assert old in text
    path.write_text(text.replace(old, "must_accept: [256x256, 300x300]"))
    with pytest.raises(SpecError) as caught:
        generate(load_provider(str(tmp_path / "nanogpt")), "createImage", seed=1)
    assert caught.value.line is not None
    assert "300x300" in path.read_text().splitlines()[caught.value.line - 1]
