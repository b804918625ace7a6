"""Prometheus reads the last verdicts, latencies and the spending; a webhook gets each change, and no key."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from testcard.harness.errors import UsageError
from testcard.harness.watch.ledger import DailyLimits, DayLedger
from testcard.harness.watch.looking import WatchLook
from testcard.harness.watch.watching import VerdictChange, Webhook

AT = "2026-11-29T12:00:00Z"
CHANGE = VerdictChange(at=AT, target="one", before="pass", now="fail", newly_broken=[("image.size", "createImage")])


def test_an_address_that_no_name_has_is_a_usage_error(tmp_path: Path) -> None:
    """IDNA refuses a label of 64 letters before anybody is asked."""
    pytest.importorskip("prometheus_client", reason="the extra watch is not installed: pip install 'testcard[watch]'")
    from testcard.harness.watch.metrics import Metrics

    with DayLedger(tmp_path, DailyLimits(100, 2.0), ["one"], lambda: AT[:10]) as ledger, pytest.raises(UsageError, match="label"):
        Metrics(["one"], ledger).serve(0, "a" * 64)


def test_metrics_say_what_was_seen_and_spent(tmp_path: Path) -> None:
    """Served over HTTP, in Prometheus' text format."""
    pytest.importorskip("prometheus_client", reason="the extra watch is not installed: pip install 'testcard[watch]'")
    from testcard.harness.watch.metrics import Metrics

    with DayLedger(tmp_path, DailyLimits(100, 2.0), ["one"], lambda: AT[:10]) as ledger:
        metrics = Metrics(["one"], ledger)
        grant = ledger.reserve("one", 10, 0.5)
        assert grant is not None
        ledger.settle(grant, 7, 0.25)
        metrics.looked(WatchLook(at=AT, target="one", kind="check", word="fail", broken=[("image.size", "createImage")], deviating=2))
        metrics.looked(WatchLook(at=AT, target="one", kind="probe", word="pass", latency_s=1.5))
        metrics.put_off("one", "check")
        metrics.changed(CHANGE)
        text = httpx.get(f"http://127.0.0.1:{metrics.serve(0, '127.0.0.1')}/metrics", trust_env=False).text
    for line in (
        'testcard_verdict{target="one",verdict="fail"} 1.0',
        'testcard_verdict{target="one",verdict="pass"} 0.0',
        'testcard_broken_musts{target="one"} 1.0',
        'testcard_broken_shoulds{target="one"} 2.0',
        'testcard_up{target="one"} 1.0',
        'testcard_probe_latency_seconds_sum{target="one"} 1.5',
        'testcard_looks_total{kind="check",target="one",verdict="fail"} 1.0',
        'testcard_looks_put_off_total{kind="check",target="one"} 1.0',
        'testcard_verdict_changes_total{target="one"} 1.0',
        'testcard_spent_today_requests{target="one"} 7.0',
        'testcard_spent_today_cost_usd{target="one"} 0.25',
        "testcard_budget_requests 100.0",
        "testcard_budget_cost_usd 2.0",
    ):
        assert line in text


def test_a_webhook_gets_the_change_as_json() -> None:
    """Any 2xx is taken for heard, anything else is said and tried again."""
    seen: list[httpx.Request] = []
    said: list[str] = []
    answers = iter([503, 204])

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(next(answers))

    hook = Webhook("https://hooks.example/T0KEN", said.append, httpx.MockTransport(answer))
    assert [hook.deliver(CHANGE), hook.deliver(CHANGE)] == [False, True]
    body = json.loads(seen[1].content)
    assert (body["schema"], body["target"], body["before"], body["now"]) == ("testcard.watch-change/1", "one", "pass", "fail")
    assert body["newly_broken"] == [["image.size", "createImage"]]
    assert len(said) == 1
    assert "503" in said[0]
    assert "T0KEN" not in said[0]


def test_a_webhook_that_is_not_there_is_said_without_its_address() -> None:
    """An address often holds a token."""
    said: list[str] = []
    assert not Webhook("http://127.0.0.1:1/T0KEN", said.append).deliver(CHANGE)
    assert "ConnectError" in said[0]
    assert "T0KEN" not in said[0]


@pytest.mark.parametrize("address", ["", "ftp://x/y", "hooks.example/x", "http://"])
def test_what_is_no_address_is_a_usage_error(address: str) -> None:
    """Before anything is sent, and without repeating it."""
    with pytest.raises(UsageError, match="http or https"):
        Webhook(address, print)
