"""`testcard providers` and `testcard spec lint`, as a person calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from testcard.harness.check.judging.levels import level_of
from testcard.harness.cli import run
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import BUNDLED, bundled_ids, known_ids, load_provider


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, so that no testcard.toml of the checkout plays a part."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_list_names_every_provider_with_models_prices_key_and_url(capsys: pytest.CaptureFixture[str]) -> None:
    """One look tells what there is; prices carry their origin; stdout holds the table and nothing else."""
    assert run(["providers"]) == 0
    out = capsys.readouterr().out
    for name in bundled_ids():
        assert name in out
    for words in (
        "createImageVariation",
        "meta/llama-3.2-90b-vision-instruct",
        "(illustrative)",
        "(list)",
        "RELAY_API_KEY",
        "https://nano-gpt.com",
    ):
        assert words in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_one_provider_shows_fields_and_every_price(capsys: pytest.CaptureFixture[str]) -> None:
    """The details hold each field with its values and each price with source and date."""
    assert run(["providers", "nanogpt"]) == 0
    out = capsys.readouterr().out
    for words in (
        "imageDataUrls",
        "256x256, 512x512, 1024x1024",
        "POST /v1/images/generations",
        "NanoGPT documentation: Image Generation (OpenAI-Compatible), https://docs.nano-gpt.com/",
        "made up for runs",
        "2026-11-20",
        "prompt*",
    ):
        assert words in out


def test_json_of_all_and_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints the same as data: a list of all, an object for one."""
    assert run(["providers", "--json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in everything] == list(known_ids())
    assert run(["providers", "opengpu-relay", "--json"]) == 0
    relay = json.loads(capsys.readouterr().out)
    assert relay in everything
    assert relay["auth"] == {"header": "X-API-Key", "prefix": "", "key_env": "RELAY_API_KEY"}
    assert len(relay["operations"]) == 8
    flux = next(model for model in relay["models"] if model["id"] == "black-forest-labs/FLUX-2-pro")
    assert [price["origin"] for price in flux["prices"]] == ["list", "illustrative"]
    assert not any(price["counts"] for price in flux["prices"])


def test_adopted_and_own_prices_count(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A price counts once testcard.toml adopts the list or states one, and the output says which."""
    text = (
        '[prices.opengpu-relay]\nadopt = "list"\n[prices.opengpu-relay.models]\n"Qwen/qwen-image" = {kind = "per-image", usd_each = 0.5}\n'
    )
    (elsewhere / "testcard.toml").write_text(text)
    assert run(["providers", "opengpu-relay", "--json"]) == 0
    prices = {model["id"]: model["prices"] for model in json.loads(capsys.readouterr().out)["models"]}
    assert [(p["origin"], p["counts"]) for p in prices["black-forest-labs/FLUX-2-pro"]] == [("list", True), ("illustrative", False)]
    assert [(p["origin"], p["counts"]) for p in prices["Qwen/qwen-image"]] == [("config", True), ("list", False), ("illustrative", False)]


def test_promises_are_counted_as_they_hold(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever of them a profile says itself: one of three lines promises no less than the check of it judges."""
    for name in ("nanogpt", "openai-compatible"):
        assert run(["providers", name, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["promises"]
        provider = load_provider(name)
        scopes = [Scope(provider, operation) for operation in provider.profile.operations]
        musts = {rule.id for rule in RULES.values() for scope in scopes if rule.applies(scope) and level_of(scope, rule) == "must"}
        assert told["must"] == len(musts) > 15


def test_providers_of_the_users_own_folder_are_listed(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sixth provider below [providers] path stands in the list like the others."""
    shutil.copytree(BUNDLED / "nebul", elsewhere / "more" / "sixth")
    path = elsewhere / "more" / "sixth" / "profile.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("id: nebul", "id: sixth"), encoding="utf-8")
    (elsewhere / "testcard.toml").write_text('[providers]\npath = ["more"]\n')
    assert run(["providers", "--json"]) == 0
    assert "sixth" in [row["id"] for row in json.loads(capsys.readouterr().out)]
    assert run(["spec", "lint", "sixth"]) == 0


def test_an_unknown_provider_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name exits with 2 and names the right ones on stderr."""
    assert run(["providers", "nanogtp"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nanogpt" in captured.err


def test_lint_passes_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    """No problems: nothing on stdout, exit 0; by id, folder and file."""
    for place in ("nebul", str(BUNDLED / "nebul"), str(BUNDLED / "nebul" / "openapi.yaml")):
        assert run(["spec", "lint", place]) == 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "no problems" in captured.err


def test_lint_prints_file_line_and_key_and_exits_with_2(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem is one line that an editor can jump to; --json gives the same as data."""
    folder = elsewhere / "broken"
    shutil.copytree(BUNDLED / "nanogpt", folder)
    path = folder / "profile.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("cost: /cost", "created: /creation\n      cost: /cost"), encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index("      created: /creation") + 1
    assert run(["spec", "lint", "broken"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"broken/profile.yaml:{line}: operations.createImage.response.created: the answer's schema has no /creation"
    ]
    assert "1 problem in broken" in captured.err
    assert run(["spec", "lint", "broken", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["problems"][0]["line"] == line


def test_lint_of_nothing_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not there exits with 2 and says what to name."""
    assert run(["spec", "lint", "nowhere"]) == 2
    assert "no such file or folder" in capsys.readouterr().err
