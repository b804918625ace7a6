"""`testcard spec diff`: every kind of change is found, weighed for the side it is on, and put at its line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from testcard.harness.rules.promises import RULES
from testcard.harness.spec_changes import touches
from testcard.harness.spec_changes.compare import compare, lines_of
from testcard.specs.loader import BUNDLED
from testcard.specs.openapi import read_openapi
from testkit.command_line import typed

DOCUMENT = BUNDLED / "nanogpt" / "openapi.yaml"

CHANGES = [
    # what is written, what is written instead, where, what is said of it, whether it breaks
    ("enum: [256x256, 512x512, 1024x1024]", "enum: [256x256, 512x512]", "request body/size", "1024x1024 is no longer accepted", True),
    ("enum: [256x256, 512x512, 1024x1024]", "enum: [256x256, 512x512, 1024x1024, 1x1]", "request body/size", "1x1 is accepted now", False),
    ("user: {type: string}", "user: {type: string, enum: [me]}", "request body/user", "accepts me alone now", True),
    ("required: [prompt]", "required: [prompt, model]", "request body/model", "has to be sent now", True),
    ("required: [prompt]", "required: []", "request body/prompt", "may be left out now", False),
    ("        seed: {type: integer}\n", "", "request body/seed", "the field is gone", True),
    ("        seed: {type: integer}\n", "        seed: {type: number}\n", "request body/seed", "the type number is accepted now", False),
    (
        "        seed: {type: integer}\n",
        "        seed: {type: string}\n",
        "request body/seed",
        "the type integer is no longer accepted",
        True,
    ),
    ("user: {type: string}", "user: {type: string}\n        style: {type: string}", "request body/style", "a new field", False),
    ("default: 30}", "default: 20}", "request body/num_inference_steps", "what holds without it is 20, before 30", True),
    ("maximum: 100", "maximum: 50", "request body/num_inference_steps", "maximum is 50, before 100", True),
    ("maximum: 100", "maximum: 200", "request body/num_inference_steps", "maximum is 200, before 100", False),
    ("minimum: 1, maximum: 100", "maximum: 100", "request body/num_inference_steps", "minimum is none, before 1", False),
    ("user: {type: string}", "user: {type: string, maxLength: 9}", "request body/user", "maxLength is 9, before none", True),
    ("user: {type: string}", "user: {type: string, pattern: '^a'}", "request body/user", "pattern is ^a, before none", True),
    ("created: {type: integer}", 'created: {type: [integer, "null"]}', "answer 200/created", "the type null is new", True),
    ("        paymentSource: {type: string}\n", "", "answer 200/paymentSource", "the field is gone", True),
    ("cost: {type: number}", "cost: {type: number}\n        more: {type: string}", "answer 200/more", "a new field", False),
    ("required: [error, message]", "required: [message]", "answer 400/error", "may be missing now", True),
    ("required: [b64_json]", "required: []", "answer 200/data/*/b64_json", "may be missing now", True),
    ("        '400':", "        '429': {description: Slow down.}\n        '400':", "answer 429", "a new status", False),
    ("        '400':", "        '422':", "answer 400", "the status is gone", False),
    ("        '200':", "        '201':", "answer 200", "the status is gone", True),
    (
        "application/json:\n            schema: {$ref: '#/components/schemas/GenerationRequest'}",
        "multipart/form-data:\n            schema: {$ref: '#/components/schemas/GenerationRequest'}",
        "request body as application/json",
        "will no longer do",
        True,
    ),
    ("  /v1/images/generations:", "  /v2/images:", "operation ", "moved from POST /v1/images/generations", True),
    ("scheme: bearer", "scheme: basic", "request security", "asks for the basic scheme", True),
    ("https://nano-gpt.com", "https://example.org", "operation servers", "served at https://example.org", True),
    ("operationId: createImage", "operationId: makeImage", None, None, False),
    ("description: The pictures, with cost and balance.", "description: Pictures.", None, None, False),
    ("#/components/schemas/Error'}", "#/components/schemas/Mistake'}", None, None, False),
]


def changed(folder: Path, old: str, new: str) -> Path:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new)
    if "schemas/Mistake" in text:  # a name within the document is no promise
        text = text.replace("    Error:", "    Mistake:")
    path = folder / "new.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("old", "new", "where", "what", "breaking"), CHANGES, ids=lambda value: str(value)[:40].replace("\n", " "))
def test_a_change_is_found_and_weighed(tmp_path: Path, old: str, new: str, where: str | None, what: str | None, breaking: bool) -> None:
    """What was changed in the text is listed once, at its place; what promises nothing is none."""
    before, after = read_openapi(DOCUMENT), read_openapi(changed(tmp_path, old, new))
    found = compare(before, after)
    if what is None:
        assert found == []
        return
    ours = [one for one in found if what in one.what and f"{one.side} {one.place}" == where]
    assert [one.breaking for one in ours] == [breaking], [(one.side, one.place, one.what) for one in found]
    if not breaking:
        assert not any(one.breaking for one in found)


def test_the_line_is_that_of_what_changed(tmp_path: Path) -> None:
    """What is there stands in the newer document, what is gone in the older one; references are followed."""
    after = read_openapi(changed(tmp_path, "maximum: 100", "maximum: 50"))
    (change,) = compare(read_openapi(DOCUMENT), after)
    file, line = lines_of(change, read_openapi(DOCUMENT), after)
    assert file.endswith("new.yaml")
    assert "num_inference_steps" in (tmp_path / "new.yaml").read_text(encoding="utf-8").splitlines()[line - 1]
    after = read_openapi(changed(tmp_path, "        paymentSource: {type: string}\n", ""))
    (change,) = compare(read_openapi(DOCUMENT), after)
    file, line = lines_of(change, read_openapi(DOCUMENT), after)
    assert file == str(DOCUMENT)
    assert "paymentSource" in DOCUMENT.read_text(encoding="utf-8").splitlines()[line - 1]


def test_a_document_holds_no_change_against_itself(tmp_path: Path) -> None:
    """Also in the other spelling of OpenAPI 3.0: one form stands for both."""
    old = tmp_path / "old.yaml"
    text = DOCUMENT.read_text(encoding="utf-8")
    old.write_text(text.replace("openapi: 3.1.0", "openapi: 3.0.3").replace("user: {type: string}", "user: {type: string, nullable: true}"))
    new = tmp_path / "new.yaml"
    new.write_text(text.replace("user: {type: string}", 'user: {type: [string, "null"]}'))
    assert compare(read_openapi(old), read_openapi(new)) == []


def test_the_command_says_what_a_change_touches_and_fails_when_it_breaks(tmp_path: Path) -> None:
    """Rules, what a mock reads, cases of a check; exit code 1, and 0 for nothing."""
    new = tmp_path / "mine"
    shutil.copytree(DOCUMENT.parent, new)
    document = new / "openapi.yaml"
    document.write_text(DOCUMENT.read_text(encoding="utf-8").replace("maximum: 100", "maximum: 50").replace("default: 1}", "default: 2}"))
    profile = new / "profile.yaml"
    profile.write_text(profile.read_text(encoding="utf-8").replace("[30, 1, 100]", "[30, 1, 50]"))
    done = typed(["spec", "diff", "nanogpt", str(new), "--json"], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    record = json.loads(done.stdout)
    steps = next(row for row in record["changes"] if "maximum" in row["what"])
    assert steps["mock"] == ["reads num_inference_steps as steps"]
    assert {"request.accepts-valid", "request.refuses-invalid"} <= set(steps["rules"])
    assert any("num_inference_steps" in case for case in steps["cases"])
    n = next(row for row in record["changes"] if "without it is 2" in row["what"])
    assert {"request.default-applied", "image.count"} <= set(n["rules"])
    assert record["breaking"] == 2
    assert record["notes"] == []
    assert typed(["spec", "diff", "nanogpt", "nanogpt"], cwd=tmp_path).returncode == 0


def test_a_profile_that_no_longer_fits_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """The changes are told all the same, with the older document's cases."""
    document = changed(tmp_path, "enum: [256x256, 512x512, 1024x1024]", "enum: [512x512]")
    done = typed(["spec", "diff", "nanogpt", str(document)], cwd=tmp_path)
    assert done.returncode == 1
    assert "256x256, 1024x1024 are no longer accepted" in done.stdout
    assert "image.size" in done.stdout
    assert "generate/size:512x512" in done.stdout
    assert "profile.yaml" in done.stderr


@pytest.mark.parametrize("place", ["nowhere.yaml", "deep/nowhere", "nanogtp"])
def test_a_version_that_is_not_there_is_a_usage_error(tmp_path: Path, place: str) -> None:
    """Exit code 2, naming it."""
    done = typed(["spec", "diff", "nanogpt", place], cwd=tmp_path)
    assert done.returncode == 2
    assert place in done.stderr


@pytest.mark.parametrize(
    ("written", "instead", "named"),
    [
        ("minimum: 1, maximum: 100", "minimum: '1', maximum: 100", "num_inference_steps.minimum"),
        ("enum: [256x256, 512x512, 1024x1024]", "enum: 5", "size.enum"),
        ("user: {type: string}", "user: {oneOf: 5}", "user.oneOf"),
        ("security:\n  - bearerAuth: []\n", "security: 5\n", "security"),
        ("bearerAuth:\n      type: http\n", "bearerAuth: 5\n    other:\n      type: http\n", "securitySchemes.bearerAuth"),
    ],
    ids=["bound", "enum", "alternatives", "security", "scheme"],
)
def test_a_document_that_cannot_be_compared_is_named_with_its_line(tmp_path: Path, written: str, instead: str, named: str) -> None:
    """Exit code 2, as from `spec lint`: what is wrong with it is its user's answer."""
    document = changed(tmp_path, written, instead)
    alone = tmp_path / "old.yaml"
    shutil.copy(DOCUMENT, alone)
    done = typed(["spec", "diff", str(alone), str(document)], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "new.yaml:" in done.stderr
    assert named in done.stderr


def test_rules_that_are_named_for_a_change_are_there() -> None:
    """They are found by their ids; one that was renamed would be left out without a word."""
    named = set(re.findall(r'"([a-z]+\.[a-z-]+)"', Path(touches.__file__).read_text(encoding="utf-8")))
    assert len(named) > 5
    assert named <= set(RULES)
