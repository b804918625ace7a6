"""`testcard spec drift`: what answers show beside the document is told, and the proposed patch makes the document say it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import Exchange, SeenResponse, SentRequest, TargetRecord
from testcard.harness.spec_changes.drift import _Finder, drift, patched
from testcard.specs.loader import BUNDLED, load_provider
from testkit.command_line import typed

AS_DOCUMENTED = {"created": 1, "data": [{"b64_json": "AAAA"}], "cost": 0.1}


def recorded(folder: Path, answers: Iterable[tuple[int, Any]], *, provider: str = "nanogpt", method: str = "POST") -> Path:
    """A run of a check that got these answers, each a status and a body (text: not JSON)."""
    target = TargetRecord(provider=provider, name=provider, base_url="http://127.0.0.1:1", mock=True, spec_digest="x")
    with RunWriter.create(folder, "check", targets=[target]) as writer:
        for number, (status, body) in enumerate(answers, 1):
            kind = "text/plain" if isinstance(body, str) else "application/json"
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            writer.append(
                Exchange(
                    id=f"e{number:04d}",
                    operation="createImage",
                    probe="generate/base",
                    source="probe",
                    request=SentRequest(method=method, url="http://127.0.0.1:1/", headers=[], body=writer.body(b"{}")),
                    response=SeenResponse(status=status, headers=[("content-type", kind)], body=writer.body(content)),
                    sent_s=0.0,
                    done_s=1.0,
                )
            )
        writer.finish("pass", 0)
    return folder


ODD: list[tuple[str, list[tuple[int, Any]], list[tuple[str, str]]]] = [
    ("as documented", [(200, AS_DOCUMENTED), (400, {"error": 1, "message": "x"})], []),
    ("a field", [(200, {**AS_DOCUMENTED, "id": "x"}), (200, {**AS_DOCUMENTED, "id": None})], [("/id", "field")]),
    ("two fields of an item", [(200, {"data": [{"b64_json": "A", "seed": 1, "index": 0}]})], [("/data/*/seed", "field"), ("/data/*/index", "field")]),
    ("a field with fields", [(200, {**AS_DOCUMENTED, "usage": {"steps": [1, 2.5], "note": None}})], [("/usage", "field")]),
    ("null", [(200, {**AS_DOCUMENTED, "created": None})], [("/created", "null")]),
    ("a type", [(200, {**AS_DOCUMENTED, "cost": "0.1"})], [("/cost", "type")]),
    ("null and a type", [(200, {**AS_DOCUMENTED, "cost": "0.1"}), (200, {**AS_DOCUMENTED, "cost": None})], [("/cost", "type"), ("/cost", "null")]),
    ("a required field", [(400, {"message": "x"})], [("/error", "missing")]),
    ("both required fields", [(400, {})], [("/error", "missing"), ("/message", "missing")]),
    ("a status", [(429, {"detail": "slow"}), (503, "busy")], [("", "status"), ("", "status")]),
    ("a media type", [(400, "no")], [("", "media-type")]),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "seen"), [(answers, seen) for _, answers, seen in ODD], ids=[name for name, _, _ in ODD])
@pytest.mark.parametrize("version", ["3.1.0", "3.0.3"])
def test_what_is_not_documented_is_told_and_the_patched_document_says_it(
    tmp_path: Path, answers: list[tuple[int, Any]], seen: list[tuple[str, str]], version: str
) -> None:
    """Held against the patched document, the same answers show nothing more, but for what OpenAPI 3.0 has no words for."""
    folder = tmp_path / "provider"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    text = (folder / "openapi.yaml").read_text(encoding="utf-8").replace("openapi: 3.1.0", f"openapi: {version}")
    (folder / "openapi.yaml").write_text(text, encoding="utf-8")
    reader = RunReader(recorded(tmp_path / "run", answers))
    provider = load_provider(str(folder))
    found = drift(provider, [reader])
    assert sorted((one.place, one.kind) for one in found) == sorted(seen)
    files, left = patched(provider, found)
    assert [one.kind for one in left] == (["type"] if version == "3.0.3" and any(kind == "type" for _, kind in seen) else [])
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    for name, (_, after) in files.items():
        (again / name).write_text(after, encoding="utf-8")
    assert [(one.place, one.kind) for one in drift(load_provider(str(again)), [reader])] == [(one.place, one.kind) for one in left]


def test_a_word_of_an_enum_is_added_to_it(tmp_path: Path) -> None:
    """Only there does a value that was sent stand in the patch."""
    folder = tmp_path / "provider"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    path = folder / "openapi.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("paymentSource: {type: string}", "paymentSource: {type: string, enum: [card]}")
    )
    provider = load_provider(str(folder))
    found = drift(provider, [RunReader(recorded(tmp_path / "run", [(200, {**AS_DOCUMENTED, "paymentSource": "nano", "id": "secret"})]))])
    (_, after) = patched(provider, found)[0]["openapi.yaml"]
    assert "enum: [card, nano]" in after
    assert "secret" not in after


def test_an_error_that_is_sent_as_a_success_is_not_held_against_the_schema_of_one(tmp_path: Path) -> None:
    """Where the profile says how to tell one: else its fields would be proposed for a success, and those of a success as optional."""
    folder = tmp_path / "provider"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    reader = RunReader(recorded(tmp_path / "run", [(200, AS_DOCUMENTED), (200, {"status_code": 1004, "status_msg": "no such key"})]))
    assert drift(load_provider(str(folder)), [reader])
    profile = (folder / "profile.yaml").read_text(encoding="utf-8")
    said = "errors:\n  success: {at: /status_code, values: 0}\n"
    assert profile.count("\nerrors:\n") == 1
    told = tmp_path / "told"
    shutil.copytree(folder, told)
    (told / "profile.yaml").write_text(profile.replace("\nerrors:\n", f"\n{said}"), encoding="utf-8")
    assert drift(load_provider(str(told)), [reader]) == []


def test_what_asked_by_another_method_says_nothing_of_the_operation(tmp_path: Path) -> None:
    """A check sends such requests on purpose."""
    run = recorded(tmp_path / "run", [(405, "no")], method="PUT")
    assert drift(load_provider("nanogpt"), [RunReader(run)]) == []


def test_the_printed_patch_applies(tmp_path: Path) -> None:
    """`--patch` prints a unified diff and nothing else on stdout; `patch -p1` takes it in the provider's folder."""
    run = recorded(tmp_path / "run", [(200, {**AS_DOCUMENTED, "id": "x"}), (429, {"detail": "slow"})])
    listed = typed(["spec", "drift", str(run)], cwd=tmp_path)
    assert listed.returncode == 0
    assert "createImage 200 /id: the field is not documented (1 of 1 answers)" in listed.stdout
    assert "--patch | patch -p1 -d" in listed.stderr
    assert typed(["spec", "drift", str(run), "--fail"], cwd=tmp_path).returncode == 1
    diff = typed(["spec", "drift", str(run), "--patch"], cwd=tmp_path).stdout
    folder = tmp_path / "nanogpt"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    subprocess.run(["patch", "-p1", "--dry-run"], input=diff, text=True, cwd=folder, check=True, capture_output=True)
    done = subprocess.run(["git", "apply", "-p1", "-"], input=diff, text=True, cwd=folder, check=True, capture_output=True)
    assert done.returncode == 0
    assert "detail" in (folder / "openapi.yaml").read_text(encoding="utf-8")
    again = typed(["spec", "drift", str(run), "--provider", "./nanogpt", "--json"], cwd=tmp_path)
    assert json.loads(again.stdout)["targets"][0]["drift"] == []


def test_the_document_of_a_bundled_provider_is_changed_in_a_copy(tmp_path: Path) -> None:
    """The printed next step, typed as it is, changes a copy in the user's folder and not the package's file; --patch says so too."""
    run = recorded(tmp_path / "run", [(429, {"detail": "slow"})])
    before = (BUNDLED / "nanogpt" / "openapi.yaml").read_bytes()
    said = typed(["spec", "drift", "run"], cwd=tmp_path).stderr
    step = next(line for line in said.splitlines() if "next: " in line).partition("next: ")[2]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(step, shell=True, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "PATH": path})
    assert (BUNDLED / "nanogpt" / "openapi.yaml").read_bytes() == before
    assert "detail" in (tmp_path / "providers" / "nanogpt" / "openapi.yaml").read_text(encoding="utf-8")
    assert "commands take as ./providers/nanogpt" in said
    again = typed(["spec", "drift", str(run), "--provider", "./providers/nanogpt"], cwd=tmp_path)
    assert "every answer is as documented" in again.stderr
    assert "the patch is for a copy" in typed(["spec", "drift", "run", "--patch"], cwd=tmp_path).stderr
    run_of_own = recorded(tmp_path / "other", [(503, "busy")])
    own = typed(["spec", "drift", str(run_of_own), "--provider", "./providers/nanogpt"], cwd=tmp_path)
    assert own.stderr.rstrip().endswith("--patch | patch -p1 -d providers/nanogpt")  # one's own is patched where it is
    assert "mkdir" not in own.stderr


def test_a_folder_without_a_check_is_a_usage_error(tmp_path: Path) -> None:
    """A benchmark keeps no answers."""
    with RunWriter.create(tmp_path / "run", "bench") as writer:
        writer.finish("pass", 0)
    done = typed(["spec", "drift", str(tmp_path / "run")], cwd=tmp_path)
    assert done.returncode == 2
    assert "holds no check" in done.stderr


def test_alternatives_within_each_other_are_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body nested in a schema that holds itself: each further level takes as long as the one before, not as all of them together."""
    folder = tmp_path / "provider"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    path = folder / "openapi.yaml"
    text = path.read_text(encoding="utf-8").replace("paymentSource: {type: string}", "paymentSource: {$ref: '#/components/schemas/Tree'}")
    tree = "    Tree:\n      oneOf: [{type: string}, {type: object, properties: {in: {$ref: '#/components/schemas/Tree'}}}]\n    Error:\n"
    path.write_text(text.replace("    Error:\n", tree), encoding="utf-8")
    value: Any = 5
    for _ in range(12):
        value = {"in": value}
    walks = []
    walk = _Finder.walk
    monkeypatch.setattr(_Finder, "walk", lambda self, *args: (walks.append(args[2]), walk(self, *args))[1])
    found = drift(load_provider(str(folder)), [RunReader(recorded(tmp_path / "run", [(200, {**AS_DOCUMENTED, "paymentSource": value})]))])
    assert [(one.place, one.kind) for one in found] == [("/paymentSource" + "/in" * 12, "type")]
    assert max(Counter(walks).values()) <= 3  # each place itself, and by both alternatives
