"""Each way in which an image API answers, through all that asks one: client, check and benchmark come to the same pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.api import AsyncClient, AuthenticationFailed, Client, RateLimited
from testcard.harness.selftest.mock_runs import full_plan, judge_mock
from testcard.mocks.app import create_app
from testcard.mocks.conditions import Conditions
from testcard.mocks.serving import serving
from testcard.specs.loader import Provider, load_provider
from testkit.command_line import typed

WAYS = Path(__file__).parents[2] / "fixtures" / "ways"
NAMES = sorted(folder.name for folder in WAYS.iterdir())


def provider_of(name: str) -> Provider:
    """The provider of a way."""
    return load_provider(str(WAYS / name))


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """The base URL of a mock of each way."""
    providers = {name: provider_of(name) for name in NAMES}
    with serving(create_app(list(providers.values()))) as url:
        yield {name: f"{url}/{provider.id}" for name, provider in providers.items()}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The row of each way in one short benchmark of all of them, by provider."""
    targets = [part for name in NAMES for part in ("--target", str(WAYS / name))]
    load = ["--rate", "2", "--arrival", "constant", "--duration", "1", "--warmup", "0", "--rounds", "1", "--slo", "error_rate<99%"]
    done = typed(["bench", *targets, *load, "--out", str(tmp_path_factory.mktemp("bench") / "run"), "--quiet", "--json"])
    assert done.returncode == 0, done.stderr
    return {row["provider"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.mark.parametrize("name", NAMES)
def test_both_clients_get_the_picture(urls: dict[str, str], name: str) -> None:
    """The sync and the async one, of the same size, with nothing to note."""
    provider = provider_of(name)
    with Client(provider, base_url=urls[name], poll_interval_s=0.05) as client:
        first = client.generate("a small boat")

    async def again() -> Any:
        async with AsyncClient(provider, base_url=urls[name], poll_interval_s=0.05) as client:
            return await client.generate("a small boat")

    second = asyncio.run(again())
    assert first.pictures
    assert [(one.width, one.height) for one in first.pictures] == [(one.width, one.height) for one in second.pictures]
    assert first.notes == second.notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_check_finds_nothing_broken_and_leaves_no_must_open(name: str) -> None:
    """On the way's own mock; that a picture decodes is seen."""
    verdicts = asyncio.run(judge_mock(full_plan(provider_of(name), 0), [])).verdicts
    assert [(one.rule, one.detail) for one in verdicts if one.verdict in ("fail", "deviates")] == []
    assert [(one.rule, one.detail) for one in verdicts if one.level == "must" and one.verdict in ("unproven", "not-run")] == []
    assert any(one.rule == "image.decodes" and one.verdict == "pass" for one in verdicts)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_counts_its_pictures(rows: dict[str, Any], name: str) -> None:
    """Every request is answered, and each brought at least one picture."""
    row = rows[provider_of(name).id]
    assert (row["ok"], row["errors"]) == (row["requests"], {})
    assert row["requests"] >= 2
    assert row["images_per_s"] > 0


def test_errors_that_are_sent_as_successes_are_errors_to_the_clients(urls: dict[str, str]) -> None:
    """A typed error of the status that the body's code stands for, which says what was sent."""
    provider = provider_of("envelope")
    with (
        Client(provider, base_url=urls["envelope"], api_key="another-key") as client,
        pytest.raises(AuthenticationFailed, match="answered 200 with an error that stands for 401: the key is wrong") as raised,
    ):
        client.generate("a small boat")
    assert raised.value.status == 401
    assert raised.value.code == 1004
    with serving(create_app([provider], conditions=Conditions(rate_limit="1/m"))) as url, Client(provider, base_url=url) as client:
        client.generate("a small boat")
        with pytest.raises(RateLimited):
            client.generate("a large boat")


def test_errors_that_are_sent_as_successes_are_counted_by_a_benchmark(tmp_path: Path) -> None:
    """Each by what its code stands for; none is a picture that was delivered, none a broken answer."""
    with serving(create_app([provider_of("envelope")], conditions=Conditions(rate_limit="2/m"))) as url:
        load = ["--rate", "5", "--arrival", "constant", "--duration", "1", "--warmup", "0", "--rounds", "1", "--slo", "error_rate<99%"]
        # With a limit of requests no turn is taken again for a late generator: its first try would have used up what the server allows.
        load += ["--max-requests", "5"]
        target = ["--target", f"{WAYS / 'envelope'}={url}"]
        done = typed(["bench", *target, *load, "--out", str(tmp_path / "run"), "--quiet", "--json"])
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["ok"], row["errors"]) == (2, {"rate-limited": 3})


def test_a_check_hears_a_refused_key_and_stops(tmp_path: Path) -> None:
    """As from an API that says 401 itself: exit 3 with one request."""
    with serving(create_app([provider_of("envelope")], api_key="another")) as url:
        done = typed(["check", f"{WAYS / 'envelope'}={url}", "--out", str(tmp_path / "run"), "--concurrency", "1"])
    assert done.returncode == 3
    assert "refused the key with status 401" in done.stderr
