"""Defects seeded in servers that other people wrote: of those that can show there, the check catches nearly all.

A foreign server keeps only part of a contract. A defect counts there when it changes an answer and a rule that may report it
held without it (seeding/tally.py); the others say nothing, because the rule fails anyway. Each server needs to be here: its
path in TESTCARD_PRISM, TESTCARD_AIMOCK (npm @copilotkit/aimock, `llmock`), TESTCARD_OPENAI_MOCK_API (npm), TESTCARD_LITELLM.
One contract a server; with TESTCARD_SEEDED=all every contract that it can serve (about ten minutes).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testcard.mocks.app import create_app
from testcard.mocks.serving import serving
from testcard.specs.loader import bundled_ids, load_provider

KEY = "sk-testcard"
PATHS = {
    "prism": os.environ.get("TESTCARD_PRISM") or shutil.which("prism"),
    "aimock": os.environ.get("TESTCARD_AIMOCK"),
    "openai-mock-api": os.environ.get("TESTCARD_OPENAI_MOCK_API"),
    "litellm": os.environ.get("TESTCARD_LITELLM"),
}
SENTENCE = "There is a red boat on a calm lake, early in the morning, and behind it a long row of dark trees and a low hill."
CHAT = "nvidia-nim-vision"
BASES = [("prism", "nvidia-nim-image"), ("aimock", CHAT), ("openai-mock-api", CHAT), ("litellm", CHAT)]
if os.environ.get("TESTCARD_SEEDED") == "all":
    BASES += [("prism", name) for name in bundled_ids() if name != "nvidia-nim-image"]
    BASES += [("aimock", "nebul"), ("litellm", "nanogpt"), ("litellm", "nebul")]
Start = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def base(server: Start, independent: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`with base(kind, provider) as make`: a foreign server is up, and `make()` stands before it."""

    @contextmanager
    def prism(name: str, folder: Path) -> Iterator[Callable[[], Any]]:
        provider = load_provider(name)
        models = {
            provider.openapi.operations[one].path: (provider.models(one) or [""])[0] if provider.models(one) else ""
            for one in provider.profile.operations
        }
        own = independent.SERVERS[name]()
        document = independent.with_examples(provider.folder / "openapi.yaml", own, models, folder / "openapi.json")
        with server([str(PATHS["prism"]), "mock", "-h", "127.0.0.1", "-p", "{port}", str(document)]) as url:
            yield lambda: independent.Forwarding(url, KEY, own.files)

    @contextmanager
    def aimock(name: str, folder: Path) -> Iterator[Callable[[], Any]]:
        picture = base64.b64encode(independent.encoded(independent.paint((512, 512), "a picture"))).decode()
        fixtures = [
            {"match": {"endpoint": "image"}, "response": {"image": {"b64Json": picture}}},
            {"match": {"endpoint": "chat"}, "response": {"content": SENTENCE}},
        ]
        (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
        with server([str(PATHS["aimock"]), "--port", "{port}", "--fixtures", str(folder / "fixtures.json")]) as url:
            yield lambda: independent.Forwarding(url, KEY)

    @contextmanager
    def openai_mock_api(name: str, folder: Path) -> Iterator[Callable[[], Any]]:
        answer = {"id": "any", "messages": [{"role": "user", "matcher": "any"}, {"role": "assistant", "content": SENTENCE}]}
        (folder / "config.json").write_text(json.dumps({"apiKey": KEY, "responses": [answer]}))
        with server([str(PATHS["openai-mock-api"]), "--config", str(folder / "config.json"), "--port", "{port}"]) as url:
            yield lambda: independent.Forwarding(url, KEY)

    @contextmanager
    def litellm(name: str, folder: Path) -> Iterator[Callable[[], Any]]:
        provider = load_provider(name)
        models = {model for one in provider.profile.operations for model in provider.models(one)}
        with serving(create_app([name])) as upstream:
            served = [
                {"model_name": one, "litellm_params": {"model": f"openai/{one}", "api_base": f"{upstream}/v1", "api_key": "testcard"}}
                for one in sorted(models)
            ]
            settings = {"drop_params": True, "telemetry": False, "num_retries": 0}
            config = {"model_list": served, "general_settings": {"master_key": KEY}, "litellm_settings": settings}
            (folder / "config.yaml").write_text(json.dumps(config))
            command = [str(PATHS["litellm"]), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", "{port}"]
            quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "HF_HUB_OFFLINE": "1"}
            with server(command, health="/health/liveliness", **quiet) as url:
                yield lambda: independent.Forwarding(url, KEY)

    kinds = {"prism": prism, "aimock": aimock, "openai-mock-api": openai_mock_api, "litellm": litellm}
    return lambda kind, name: kinds[kind](name, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="session")
def all_found() -> list[Any]:
    """What became of every defect on every server so far."""
    return []


@pytest.mark.parametrize(("kind", "name"), BASES, ids=[f"{kind}-{name}" for kind, name in BASES])
def test_seeded_defects_of_foreign_servers_are_caught(
    base: Callable[..., Any], seeding: ModuleType, all_found: list[Any], kind: str, name: str
) -> None:
    """At least 95 % of the defects that can show on the server are reported by a rule that may report them and held without them."""
    if PATHS[kind] is None:
        pytest.skip(f"{kind} is not here: see the head of this file")
    with base(kind, name) as make:
        judge = seeding.Judge(name)
        found = seeding.tally(judge, make, [one for one in seeding.DEFECTS if name in one.providers])
    for line in seeding.lines(f"{kind}, {name}", found):
        print(line)
    print(f"  at most {judge.most_billed} billed pictures or answers an operation")
    counted = [one for one in found if one.counts]
    missed = [one.defect for one in counted if not one.caught]
    all_found += found
    assert counted
    assert judge.most_billed <= 40
    assert len(missed) <= 0.05 * len(counted), missed


def test_the_figure_over_all_foreign_servers(seeding: ModuleType, all_found: list[Any]) -> None:
    """Together they show most kinds of defect, and at least 95 % of what can show is caught."""
    if not all_found:
        pytest.skip("no foreign server is here: see the head of this file")
    counted = [one for one in all_found if one.counts]
    caught = [one for one in counted if one.caught]
    kinds = {one.defect for one in counted}
    print(f"all foreign servers: caught {len(caught)} of {len(counted)} ({len(all_found)} seeded)")
    print(
        f"  {len(kinds)} of {len(seeding.DEFECTS)} kinds of defect counted on at least one of them, {len({one.defect for one in caught})} caught"
    )
    print(f"  on none: {', '.join(one.name for one in seeding.DEFECTS if one.name not in kinds)}")
    assert len(caught) >= 0.95 * len(counted)
