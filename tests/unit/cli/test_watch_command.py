"""`testcard watch` refuses what could spend without a bound, and plans before it sends."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from testcard.harness.check.options import CheckOptions
from testcard.harness.watch.looking import Watched, prepare
from testcard.specs.loader import bundled_ids
from testkit.command_line import typed

REFUSED = [
    (["watch"], "no target is named"),
    (["watch", "nanogpt"], "has no base URL"),
    (["watch", "nanogpt=https://nano-gpt.com"], "not on this machine"),
    (["watch", "nanogpt=https://nano-gpt.com", "--live"], "needs a bound on what a day may cost"),
    (["watch", "nanogpt=https://nano-gpt.com", "--live", "--max-cost-per-day", "1"], "needs a price"),
    (["watch", "nanogpt=http://127.0.0.1:1", "--max-requests-per-day", "3"], "its share of a day is 3"),
    (["watch", "nanogpt=http://127.0.0.1:1", "--max-cost-per-day", "0.001"], "its share of a day is $0.001"),
    (["watch", "nanogpt=http://127.0.0.1:1", "--check-every", "soon"], "no length of time"),
    (["watch", "nanogpt=http://127.0.0.1:1", "--rule", "nothing.*"], "matches no rule"),
    (["watch", "nanogpt=http://127.0.0.1:1", "--webhook", "hooks"], "http or https"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_watched_within_a_budget_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Exit code 2, one line, before anything is sent."""
    done = typed(arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("provider", bundled_ids())
def test_a_check_of_a_watch_is_cheap_and_a_probe_is_one_request(provider: str) -> None:
    """For every bundled provider: a base request a task, and few requests that are refused."""
    watched = Watched(provider, CheckOptions(provider=provider, base_url="http://127.0.0.1:1"))
    check, probe = prepare(watched, "check"), prepare(watched, "probe")
    assert len(check.options.rules) >= 5
    assert "schema.response" in check.options.rules
    assert check.requests <= 40
    assert probe.requests <= 5
    assert probe.cost_usd is not None
    assert check.cost_usd is not None
    assert probe.cost_usd <= check.cost_usd


def test_the_configuration_holds_what_would_be_typed_twice(tmp_path: Path) -> None:
    """Flags win; a wrong time is named with its line."""
    config = tmp_path / "testcard.toml"
    config.write_text(
        '[[target]]\nprovider = "nanogpt"\nbase_url = "http://127.0.0.1:1"\n[watch]\nmax_requests_per_day = 2\ncheck_every = "6h"\n'
    )
    done = typed(["watch"], cwd=tmp_path)
    assert done.returncode == 2
    assert "its share of a day is 2" in done.stderr
    config.write_text('[watch]\ncheck_every = "sometimes"\n')
    done = typed(["watch"], cwd=tmp_path)
    assert done.returncode == 2
    assert "testcard.toml:2" in done.stderr
    assert "30m or 6h" in done.stderr


def test_a_limit_on_cost_needs_prices_at_a_server_that_is_no_mock_of_ours(tmp_path: Path) -> None:
    """Before the start: the mocks' made-up prices are nobody else's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"nanogpt=http://127.0.0.1:{server.server_address[1]}"
        done = typed(["watch", url, "--once", "--max-cost-per-day", "5"], cwd=tmp_path)
        server.shutdown()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "needs a price" in done.stderr


def test_a_mock_that_is_down_is_unreachable_and_not_without_a_price(tmp_path: Path) -> None:
    """It has its prices again when it is there again."""
    done = typed(["watch", "nanogpt=http://127.0.0.1:1", "--once", "--no-probe", "--max-cost-per-day", "5"], cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
