"""A document that somebody publishes and a few lines of profile are enough: lint, check, client and bench get along with each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from testcard.harness.api import Client
from testcard.harness.selftest.mock_runs import full_plan, judge_mock
from testcard.mocks.app import create_app
from testcard.mocks.serving import serving
from testcard.specs.lint import lint
from testcard.specs.loader import load_provider
from testkit.command_line import typed
from testkit.foreign import HERE, OTHERS, OWN, Folders

#: What a profile of a provider of the usual kind may need at most.
MOST_LINES = 25
WAYS = HERE.parents[1] / "fixtures" / "ways"


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
def test_lint_accepts_it_and_its_mock_keeps_it(folders: Folders, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lint has nothing to say; the check is green against the provider's own mock: nothing broken, no must left open."""
    folder = folders(name)
    assert lint(folder) == []
    provider = load_provider(str(folder))
    verdicts = asyncio.run(judge_mock(full_plan(provider, 0), [])).verdicts
    lines = len((folder / "profile.yaml").read_text(encoding="utf-8").splitlines())
    with capsys.disabled():
        print(f"\n{name}: {lines} lines of profile; {dict(Counter(one.verdict for one in verdicts))}", end=" ")
    assert lines <= MOST_LINES
    assert [one for one in verdicts if one.verdict in ("fail", "deviates")] == []
    assert [one for one in verdicts if one.level == "must" and one.verdict in ("unproven", "not-run")] == []
    assert any(one.rule == "image.decodes" and one.verdict == "pass" for one in verdicts)


def test_a_picture_comes_from_each(folders: Folders) -> None:
    """The client gets pictures from each provider's mock with a prompt alone: as many as the document says that come."""
    providers = [load_provider(str(folder)) for folder in (*folders.here(), *sorted(WAYS.iterdir()))]
    with serving(create_app(providers)) as url:
        for provider in providers:
            with Client(provider, base_url=f"{url}/{provider.id}", poll_interval_s=0.05) as client:
                result = client.generate("a small boat")
            assert result.pictures, provider.id
            assert result.pictures[0].width > 0, provider.id
            assert result.notes == (), provider.id


def test_a_benchmark_of_all_of_them(folders: Folders, tmp_path: Path) -> None:
    """Every request of a short benchmark is answered with what was asked for, whichever way the pictures come."""
    here = folders.here()
    targets = [part for folder in here for part in ("--target", str(folder))]
    load = ["--rate", "3", "--arrival", "constant", "--duration", "0.4", "--warmup", "0", "--rounds", "1", "--slo", "error_rate<99%"]
    done = typed(["bench", *targets, *load, "--out", str(tmp_path / "run"), "--quiet", "--json"])
    # A machine with other work to do may make the generator late, which decides nothing and loses nothing.
    assert done.returncode == (5 if "generator was late" in done.stderr else 0), done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == len(here)
    assert [(row["provider"], row["errors"]) for row in rows if row["errors"] or not row["requests"]] == []


def test_hundreds_of_operations_of_which_one_is_used(tmp_path: Path) -> None:
    """What a profile does not list is left alone, however much and however broken it is; the file may be called anything."""
    document = yaml.safe_load((WAYS / "webui" / "openapi.yaml").read_text(encoding="utf-8"))
    for number in range(400):
        document["paths"][f"/v1/things-{number}/{{thing-id}}"] = {"get": {"responses": {"200": {"$ref": f"#/nowhere/{number}"}}}}
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "the-api.txt").write_text(yaml.safe_dump(document), encoding="utf-8")
    (folder / "README").write_text("See openapi in the-api.txt: it has a colon: and more.", encoding="utf-8")
    (folder / "profile.yaml").write_text("schema: testcard.profile/1\nid: large\noperations: [txt2img]\n", encoding="utf-8")
    assert lint(folder) == []
    verdicts = asyncio.run(judge_mock(full_plan(load_provider(str(folder)), 0, cases=False), [])).verdicts
    assert [one for one in verdicts if one.verdict in ("fail", "deviates")] == []


@pytest.mark.parametrize("command", [["spec", "lint"], ["check"], ["generate"], ["bench"]])
def test_swagger_2_is_refused_with_the_name_of_a_converter(tmp_path: Path, command: list[str]) -> None:
    """Every command says the same of a document of an old version, and what to do."""
    (tmp_path / "swagger.json").write_text('{"swagger": "2.0", "info": {"title": "Old", "version": "1"}, "paths": {}}', encoding="utf-8")
    (tmp_path / "profile.yaml").write_text("schema: testcard.profile/1\nid: old\noperations: [paint]\n", encoding="utf-8")
    done = typed([*command, f"{tmp_path}/", *(["a boat"] if command == ["generate"] else [])])
    assert done.returncode == 2
    assert "swagger2openapi" in done.stdout + done.stderr


def test_a_profile_of_which_nothing_is_known_to_make_pictures_is_refused(tmp_path: Path) -> None:
    """Lint says that nothing was recognised and which keys would say it, instead of a check that asks for nothing."""
    (tmp_path / "openapi.yaml").write_text(
        "openapi: 3.1.0\ninfo: {title: T, version: '1'}\npaths:\n  /x:\n    post:\n      operationId: x\n      responses: {'200': {description: ok}}\n",
        encoding="utf-8",
    )
    (tmp_path / "profile.yaml").write_text("schema: testcard.profile/1\nid: nothing\noperations: [x]\n", encoding="utf-8")
    said = [problem.message for problem in lint(tmp_path)]
    assert len(said) == 1
    assert "say which of its fields means prompt" in said[0]


def test_what_a_path_needs_has_to_be_given(folders: Folders, tmp_path: Path) -> None:
    """A parameter of the path for which neither file has a value is named by lint."""
    text = (folders("workers") / "profile.yaml").read_text(encoding="utf-8").replace("{send: me}", "other")
    (tmp_path / "openapi.json").write_bytes((folders("workers") / "openapi.json").read_bytes())
    (tmp_path / "profile.yaml").write_text(text, encoding="utf-8")
    assert ["account_id: is required" in str(problem) for problem in lint(tmp_path)] == [True]
